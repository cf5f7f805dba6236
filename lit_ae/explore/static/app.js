// The page of lit_ae explore: plain JavaScript, no build step.

import { $, dark, palette, shade, state } from "./common.js";
import { draw, drawBack, layout, lift, project, toPlane } from "./map.js";
import { rowsOfNames, show } from "./samples.js";

const STEPS = 21;
const touch = matchMedia("(pointer: coarse)");
const subscript = (i) => `z${[...String(i)].map((digit) => String.fromCharCode(0x2080 + Number(digit))).join("")}`;

async function ask(path, question) {
  const options = question === undefined ? {} : question instanceof Blob
    ? { method: "POST", body: question, headers: { "content-type": "application/octet-stream" } }
    : { method: "POST", body: JSON.stringify(question), headers: { "content-type": "application/json" } };
  const answer = await fetch(path, options);
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(typeof said.detail === "string" ? said.detail : `The server said ${answer.status}.`);
  }
  return answer.headers.get("content-type") === "image/png" ? answer.blob() : answer.json();
}

function say(text) {
  $("message").textContent = text || "";
  $("message").hidden = !text;
}

// ---- decoding: one question at a time, and the newest point is never left out

const busy = { decode: false, again: false };

async function decode() {
  if (busy.decode) { busy.again = true; return; }
  busy.decode = true;
  try {
    do {
      busy.again = false;
      show("decoded", await ask("/api/decode", { z: state.z, condition: condition() }));
    } while (busy.again);
    say("");
  } catch (error) {
    say(error.message);
  } finally {
    busy.decode = false;
  }
}

const condition = () => (state.space.conditions.length ? Number($("condition").value) : null);

function closest([x, y]) {
  let best = -1, least = Infinity;
  state.space.points.forEach((p, i) => {
    const far = (p[0] - x) ** 2 + (p[1] - y) ** 2;
    if (far < least && (state.only < 0 || state.space.groups[i] === state.only)) { least = far; best = i; }
  });
  return best;
}

const samples = new Map();

async function sample(i) {
  if (!samples.has(i)) samples.set(i, ask(`/api/sample/${i}`));
  return samples.get(i);
}

async function near() {
  const i = closest(project(state.z));
  if (i === state.nearest || i < 0) return;
  state.nearest = i;
  const { classes, groups } = state.space;
  $("nearest-name").textContent = classes.length > 1 ? `Nearest sample: ${classes[groups[i]].name}` : "Nearest sample";
  const found = await sample(i).catch((error) => say(error.message));
  if (found && state.nearest === i) show("nearest", found);
}

function moveTo(z) {
  state.z = z;
  for (const input of document.querySelectorAll(".slider input")) {
    const value = z[input.dataset.dim];
    input.value = value;
    input.nextElementSibling.textContent = value.toFixed(2).replace("-", "−");
  }
  near();
  draw();
  decode();
}

// ---- what hands do

function hold(held) {
  state.held = held;
  const free = touch.matches ? "Touch and move to decode." : "Move to decode, click to hold the point.";
  $("hint").textContent = held && !touch.matches ? "Held: click again to go on." : free;
  draw();
}

function onMap() {
  const map = $("map");
  const follow = (event) => {
    const box = map.getBoundingClientRect();
    moveTo(lift(toPlane(event.clientX - box.left, event.clientY - box.top)));
  };
  map.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" ? !state.held : event.buttons) follow(event);
  });
  map.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse") hold(!state.held);
    if (event.pointerType !== "mouse" || state.held) follow(event);
  });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "Escape") hold(false);
    if (!step) return;
    event.preventDefault();
    const by = (event.shiftKey ? 40 : 8) / state.view.scale;
    moveTo(state.z.map((v, i) => v + by * (step[0] * state.space.axes[0][i] + step[1] * state.space.axes[1][i])));
  });
}

function makeSliders() {
  const { sliders, dim, start } = state.space;
  $("sliders-title").textContent = sliders.length < dim ? `Latents: ${sliders.length} most active of ${dim}` : "Latents";
  for (const { dim: i, low, high } of sliders) {
    const row = document.createElement("label");
    row.className = "slider";
    row.innerHTML = `<span></span><input type="range" step="any"><output></output>`;
    row.firstChild.textContent = subscript(i + 1);
    const input = row.children[1];
    Object.assign(input, { min: low, max: high });
    input.dataset.dim = i;
    input.addEventListener("input", () => moveTo(state.z.map((v, j) => (j === i ? Number(input.value) : v))));
    $("sliders").append(row);
  }
  $("reset").addEventListener("click", () => moveTo([...start]));
}

function makeLegend() {
  const { classes } = state.space;
  if (classes.length < 2) return;
  classes.forEach(({ name, colour }, i) => {
    const item = document.createElement("li"), button = document.createElement("button"), dot = document.createElement("i");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.title = `Show ${name} alone`;
    const paint = () => (dot.style.background = shade(colour));
    paint();
    dark.addEventListener("change", paint);
    button.append(dot, name);
    button.addEventListener("click", () => {
      state.only = state.only === i ? -1 : i;
      document.querySelectorAll("#legend button").forEach((b, j) => b.setAttribute("aria-pressed", String(j === state.only)));
      drawBack();
      near();
      draw();
    });
    item.append(button);
    $("legend").append(item);
  });
}

function nameLines() {
  const { kind, columns, shape } = state.space;
  if (kind !== "lines" || columns.length !== shape[0] || columns.length > 6) return;
  columns.forEach((name, i) => {
    const item = document.createElement("span"), dot = document.createElement("i");
    dot.style.background = palette(i);
    item.append(dot, name);
    $("lines").append(item);
  });
}

function makeMorph() {
  let timer = 0;
  const frame = () => {
    show("frame", state.path.frames[$("when").value]);
    draw();
  };
  const morph = async () => {
    if (state.ends.a === undefined || state.ends.b === undefined) return;
    try {
      const [a, b] = await Promise.all([state.ends.a, state.ends.b].map((i) => ask(`/api/latents/${i}`)));
      const question = { a: a.z, b: b.z, steps: STEPS, way: $("way").value, condition: condition() };
      state.path = await ask("/api/morph", question);
      $("when").disabled = $("play").disabled = false;
      frame();
    } catch (error) {
      say(error.message);
    }
  };
  const choose = async (name) => {
    if (state.nearest < 0) return;
    state.ends[name] = state.nearest;
    draw();
    show(name, await sample(state.nearest));
    $("when").value = 10;
    morph();
  };
  $("use-a").addEventListener("click", () => choose("a"));
  $("use-b").addEventListener("click", () => choose("b"));
  $("way").addEventListener("change", morph);
  $("when").addEventListener("input", frame);
  const stop = () => { clearInterval(timer); timer = 0; $("play").textContent = "Play"; };
  $("play").addEventListener("click", () => {
    if (timer) { stop(); return; }
    let by = 1;
    $("play").textContent = "Stop";
    timer = setInterval(() => {
      const now = Number($("when").value);
      if (now + by < 0 || now + by >= STEPS) by = -by;
      $("when").value = now + by;
      frame();
    }, 90);
  });
  return morph;
}

function makeUpload() {
  let last = null;
  const encode = async (file) => {
    if (!file) return;
    last = file;
    const given = condition() === null ? "" : `&condition=${condition()}`;
    try {
      const found = await ask(`/api/encode?invert=${$("invert").checked}${given}`, file);
      show("seen", found.seen);
      show("reconstruction", found.reconstruction);
      state.upload = found.at;
      moveTo(found.z);
      hold(true);
      say("");
    } catch (error) {
      say(error.message);
    }
  };
  $("file").addEventListener("change", () => { encode($("file").files[0]); $("file").value = ""; });
  $("invert").addEventListener("change", () => encode(last));
  const drop = $("drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") encode(event.dataTransfer.files[0]);
    });
  }
}

async function begin() {
  const space = (state.space = await ask("/api/map"));
  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  document.title = `${space.title} · lit_ae explore`;
  $("title").textContent = space.title;
  $("facts").textContent = `${space.variant} · ${count(space.dim, "latent")} · ${count(space.points.length, `${space.split} sample`)}`;
  $("upload-card").hidden = space.kind !== "picture";
  for (const frame of document.querySelectorAll(".frame")) {
    if (space.kind === "picture") frame.style.aspectRatio = `${space.shape[2]} / ${space.shape[1]}`;
    if (rowsOfNames() && frame.closest(".pair")) Object.assign(frame.style, { aspectRatio: "auto", height: `${rowsOfNames() * 18 + 12}px` });
  }
  makeSliders();
  makeLegend();
  nameLines();
  onMap();
  const morph = makeMorph();
  makeUpload();
  $("condition-field").hidden = !space.conditions.length;
  space.conditions.forEach((name, i) => $("condition").append(new Option(name, i)));
  $("condition").addEventListener("change", () => { decode(); morph(); });
  state.z = [...space.start];
  layout();
  moveTo(state.z);
  new ResizeObserver(layout).observe(document.querySelector(".map-box"));
  dark.addEventListener("change", layout);
  hold(false);
  document.body.dataset.ready = "true";
}

begin().catch((error) => say(error.message));
