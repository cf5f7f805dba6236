// The map of the data, and the way from it to latents and back.

import { $, shade, sized, number, state } from "./common.js";

// ---- the plane: from the map to latents and back

export const lift = ([x, y]) => state.space.mean.map((m, i) => m + x * state.space.axes[0][i] + y * state.space.axes[1][i]);
export const project = (z) => state.space.axes.map((axis) => axis.reduce((sum, a, i) => sum + a * (z[i] - state.space.mean[i]), 0));

// ---- the map

const back = document.createElement("canvas");

export function layout() {
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
export const toPlane = (x, y) => {
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

export function drawBack() {
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

export function draw() {
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
