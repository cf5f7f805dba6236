// What a sample looks like: a picture, or numbers as bars or lines.

import { $, number, palette, sized, state } from "./common.js";

export function show(name, made) {
  const picture = $(name);
  if (made instanceof Blob) {
    const old = picture.src, link = URL.createObjectURL(made);
    picture.src = link;
    if (old.startsWith("blob:")) picture.addEventListener("load", () => URL.revokeObjectURL(old), { once: true });
  } else if (typeof made === "string") {
    picture.src = made;
  } else {
    plot($(`${name}-frame`), Array.isArray(made) ? made : made.values);
  }
}

function plot(frame, values) {
  const canvas = frame.querySelector("canvas") || frame.appendChild(document.createElement("canvas"));
  const image = frame.querySelector("img");
  if (image) image.hidden = true;
  const { width, height, pen } = sized(canvas);
  const style = getComputedStyle(document.documentElement);
  pen.clearRect(0, 0, width, height);
  if (state.space.kind === "bars") bars(pen, values, width, height, style);
  else lines(pen, values, width, height, style);
}

function lines(pen, rows, width, height, style) {
  const all = rows.flat().filter((value) => value !== null), pad = 10;
  const low = Math.min(0, ...all), high = Math.max(0, ...all, low + 1e-6);
  const y = (value) => height - pad - ((value - low) / (high - low)) * (height - 2 * pad);
  pen.strokeStyle = style.getPropertyValue("--soft");
  pen.lineWidth = 0.5;
  pen.beginPath(); pen.moveTo(pad, y(0)); pen.lineTo(width - pad, y(0)); pen.stroke();
  pen.lineWidth = 1.5;
  rows.forEach((row, i) => {
    pen.strokeStyle = palette(i);
    pen.beginPath();
    row.forEach((value, t) => { // null is no observation, but padding or a gap
      const at = [pad + (t / Math.max(row.length - 1, 1)) * (width - 2 * pad), y(value)];
      if (value !== null) pen[t && row[t - 1] !== null ? "lineTo" : "moveTo"](...at);
    });
    pen.stroke();
  });
}

// One bar per column, from the least to the greatest of its values in the data: columns have units of their own.
function bars(pen, values, width, height, style) {
  const { columns, ranges } = state.space, named = rowsOfNames() && width > 120, pad = named ? 6 : 10;
  const share = (i) => Math.min(Math.max((values[i] - ranges[i][0]) / Math.max(ranges[i][1] - ranges[i][0], 1e-9), 0), 1);
  const each = ((named ? height : width) - 2 * pad) / values.length;
  const accent = style.getPropertyValue("--accent"), ink = style.getPropertyValue("--ink");
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  values.forEach((value, i) => {
    pen.fillStyle = accent;
    if (value === null) return;
    if (!named) {
      const tall = Math.max(share(i) * (height - 2 * pad), 1);
      pen.fillRect(pad + i * each, height - pad - tall, Math.max(each - 1, 1), tall);
      return;
    }
    const y = pad + i * each;
    pen.globalAlpha = 0.35;
    pen.fillRect(pad, y + 1, Math.max(share(i) * (width - 2 * pad), 1), each - 2);
    pen.globalAlpha = 1;
    pen.fillStyle = ink;
    const told = number(value, 3), room = width - 2 * pad - 14 - pen.measureText(told).width;
    pen.textAlign = "right";
    pen.fillText(told, width - pad - 4, y + each / 2);
    pen.textAlign = "left";
    pen.fillText(fitted(pen, columns[i], room), pad + 4, y + each / 2);
  });
}

function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  while (text && pen.measureText(`${text}…`).width > room) text = text.slice(0, -1);
  return `${text}…`;
}

// Whether bars can have names: their number, of which there is room for 40.
export function rowsOfNames() {
  const { kind, columns, shape } = state.space;
  return kind === "bars" && columns.length === shape[0] && columns.length <= 40 ? columns.length : 0;
}
