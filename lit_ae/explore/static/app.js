// The page of lit_ae explore: plain JavaScript, no build step.

const $ = (id) => document.getElementById(id);
const STEPS = 21;
const state = { space: null, z: null, held: false, nearest: -1, only: -1, upload: null, path: null, ends: {}, view: null };

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

// ---- what a sample looks like: a picture, or numbers as bars or lines

function show(name, made) {
  const picture = $(name);
  if (made instanceof Blob) {
    const old = picture.src, link = URL.createObjectURL(made);
    picture.src = link;
    if (old.startsWith("blob:")) picture.addEventListener("load", () => URL.revokeObjectURL(old), { once: true });
  } else if (typeof made === "string") {
    picture.src = made;
  } else {
    plot($(`${name}-frame`), made.values || made);
  }
}

function plot(frame, values) {
  const canvas = frame.querySelector("canvas") || frame.appendChild(document.createElement("canvas"));
  const image = frame.querySelector("img");
  if (image) image.hidden = true;
  const { width, height, pen } = sized(canvas);
  const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--soft");
  pen.clearRect(0, 0, width, height);
  const rows = Array.isArray(values[0]) ? values : [values];
  const all = rows.flat(), low = Math.min(0, ...all), high = Math.max(0, ...all, low + 1e-6), pad = 10;
  const y = (value) => height - pad - ((value - low) / (high - low)) * (height - 2 * pad);
  pen.strokeStyle = ink;
  pen.lineWidth = 0.5;
  pen.beginPath(); pen.moveTo(pad, y(0)); pen.lineTo(width - pad, y(0)); pen.stroke();
  pen.fillStyle = style.getPropertyValue("--accent");
  if (state.space.kind === "bars") {
    const columns = state.space.columns, across = (width - 2 * pad) / values.length;
    if (columns.length === values.length && values.length <= 12 && width > 120) return bars(pen, values, columns, width, height, ink);
    values.forEach((value, i) => pen.fillRect(pad + i * across, Math.min(y(value), y(0)), Math.max(across - 1, 1), Math.abs(y(value) - y(0))));
    return;
  }
  pen.lineWidth = 1.5;
  rows.forEach((row, i) => {
    pen.strokeStyle = palette(i);
    pen.beginPath();
    row.forEach((value, t) => pen.lineTo(pad + (t / Math.max(row.length - 1, 1)) * (width - 2 * pad), y(value)));
    pen.stroke();
  });
}

function bars(pen, values, columns, width, height, ink) {
  const each = (height - 12) / values.length, reach = values.map((v) => Math.abs(v)), most = Math.max(...reach, 1e-9);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  values.forEach((value, i) => {
    const y = 6 + i * each;
    pen.globalAlpha = 0.35;
    pen.fillRect(6, y + 1, Math.max((reach[i] / most) * (width - 12), 1), each - 2);
    pen.globalAlpha = 1;
    const before = pen.fillStyle;
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    pen.fillText(columns[i].slice(0, 16), 10, y + each / 2, width * 0.6);
    pen.textAlign = "right";
    pen.fillText(number(value, 3), width - 10, y + each / 2);
    pen.textAlign = "left";
    pen.fillStyle = before;
  });
}

const palette = (i) => ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"][i % 6];

function sized(canvas) {
  const ratio = window.devicePixelRatio || 1, { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height, pen };
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)");

function shade(hex) { // the darkest colours would drown in a dark page
  if (!dark.matches) return hex;
  const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgb(${parts.map((v) => Math.round(v + (255 - v) * 0.3)).join(" ")})`;
}

const number = (v, digits) => String(Number(v.toPrecision(digits))).replace("-", "−");
const subscript = (i) => `z${[...String(i)].map((digit) => String.fromCharCode(0x2080 + Number(digit))).join("")}`;

// ---- the plane: from the map to latents and back

const lift = ([x, y]) => state.space.mean.map((m, i) => m + x * state.space.axes[0][i] + y * state.space.axes[1][i]);
const project = (z) => state.space.axes.map((axis) => axis.reduce((sum, a, i) => sum + a * (z[i] - state.space.mean[i]), 0));

// ---- the map

const back = document.createElement("canvas");

function layout() {
  const { width, height, pen } = sized($("map")), points = state.space.points;
  if (!width || !height) return;
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const spanOf = (v) => [Math.min(...v), Math.max(...v)];
  const [left, right] = spanOf(xs), [low, high] = spanOf(ys);
  const scale = Math.min((width - 64) / Math.max(right - left, 1e-6), (height - 56) / Math.max(high - low, 1e-6), 1e6);
  const middle = [(left + right) / 2, (low + high) / 2];
  state.view = { width, height, scale, pen, middle, at: [34 + (width - 34) / 2, (height - 30) / 2] };
  drawBack();
  draw();
}

const toScreen = ([x, y]) => {
  const { scale, middle, at } = state.view;
  return [at[0] + (x - middle[0]) * scale, at[1] - (y - middle[1]) * scale];
};
const toPlane = (x, y) => {
  const { scale, middle, at } = state.view;
  return [middle[0] + (x - at[0]) / scale, middle[1] - (y - at[1]) / scale];
};

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high; v += step) found.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return found.map((v) => [v, number(v, 6)]);
}

function drawBack() {
  const { width, height } = state.view, ratio = window.devicePixelRatio || 1;
  back.width = Math.round(width * ratio);
  back.height = Math.round(height * ratio);
  const pen = back.getContext("2d"), style = getComputedStyle(document.documentElement);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const [x0, y0] = toPlane(34, height - 30), [x1, y1] = toPlane(width, 0);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = style.getPropertyValue("--soft");
  pen.strokeStyle = style.getPropertyValue("--grid");
  pen.lineWidth = 1;
  pen.textAlign = "center";
  const named = pen.measureText(state.space.labels[0]).width;
  for (const [v, name] of ticks(x0, x1, width / 80)) {
    const x = Math.round(toScreen([v, 0])[0]) + 0.5;
    pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, height - 30); pen.stroke();
    if (x < width - named - 24) pen.fillText(name, x, height - 14);
  }
  pen.textAlign = "right";
  for (const [v, name] of ticks(y0, y1, height / 70)) {
    const y = Math.round(toScreen([0, v])[1]) + 0.5;
    pen.beginPath(); pen.moveTo(34, y); pen.lineTo(width, y); pen.stroke();
    if (y > 30) pen.fillText(name, 28, y + 4);
  }
  const [across, up] = state.space.labels;
  pen.fillStyle = style.getPropertyValue("--ink");
  pen.fillText(across, width - 4, height - 14);
  pen.textAlign = "left";
  pen.fillText(up, 4, 12);
  const { points, groups, classes } = state.space, radius = points.length > 1200 ? 3 : 4;
  const order = points.map((_, i) => i);
  if (state.only >= 0) order.sort((a, b) => (groups[a] === state.only) - (groups[b] === state.only));
  for (const i of order) {
    const [x, y] = toScreen(points[i]);
    pen.globalAlpha = state.only >= 0 && groups[i] !== state.only ? 0.1 : 0.75;
    pen.fillStyle = shade(classes[groups[i]].colour);
    pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.fill();
  }
}

function ring(pen, [x, y], radius, colour, width = 2) {
  const halo = getComputedStyle(document.documentElement).getPropertyValue("--card");
  for (const [stroke, line] of [[halo, width + 3], [colour, width]]) {
    pen.strokeStyle = stroke;
    pen.lineWidth = line;
    pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.stroke();
  }
}

function tag(pen, [x, y], text, colour) {
  ring(pen, [x, y], 7, colour);
  pen.font = "600 13px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.lineWidth = 4;
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--card");
  pen.strokeText(text, x + 11, y - 7);
  pen.fillStyle = colour;
  pen.fillText(text, x + 11, y - 7);
}

function draw() {
  if (!state.view) return;
  const { width, height, pen } = state.view, { points } = state.space;
  const style = getComputedStyle(document.documentElement), ink = style.getPropertyValue("--ink");
  pen.clearRect(0, 0, width, height);
  pen.drawImage(back, 0, 0, width, height);
  if (state.path) {
    pen.strokeStyle = ink;
    pen.lineWidth = 1.5;
    pen.setLineDash([5, 4]);
    pen.beginPath();
    state.path.points.forEach((p) => pen.lineTo(...toScreen(p)));
    pen.stroke();
    pen.setLineDash([]);
    ring(pen, toScreen(state.path.points[$("when").value]), 5, ink);
  }
  for (const [name, i] of Object.entries(state.ends)) tag(pen, toScreen(points[i]), name.toUpperCase(), ink);
  if (state.upload) tag(pen, toScreen(state.upload), "yours", style.getPropertyValue("--accent"));
  if (state.z) {
    const here = toScreen(project(state.z));
    if (state.nearest >= 0) {
      const near = toScreen(points[state.nearest]);
      pen.strokeStyle = ink; pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(...here); pen.lineTo(...near); pen.stroke();
      ring(pen, near, 6, shade(state.space.classes[state.space.groups[state.nearest]].colour));
    }
    ring(pen, here, state.held ? 8 : 5, ink);
    if (state.held) { pen.fillStyle = ink; pen.beginPath(); pen.arc(...here, 2.5, 0, 7); pen.fill(); }
  }
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
  $("sliders-title").textContent = sliders.length < dim ? `Latents: the ${sliders.length} most active of ${dim}` : "Latents";
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
  }
  makeSliders();
  makeLegend();
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
