// What all parts of the page share: what it knows, and how it draws.

export const $ = (id) => document.getElementById(id);
export const state = { space: null, z: null, held: false, nearest: -1, only: -1, upload: null, path: null, ends: {}, view: null };

export const palette = (i) => ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"][i % 6];

export function sized(canvas) {
  const ratio = window.devicePixelRatio || 1, { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { width, height, pen };
}

export const dark = matchMedia("(prefers-color-scheme: dark)");

export function shade(hex) { // the darkest colours would drown in a dark page
  if (!dark.matches) return hex;
  const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgb(${parts.map((v) => Math.round(v + (255 - v) * 0.3)).join(" ")})`;
}

export const number = (v, digits) => String(Number(v.toPrecision(digits))).replace("-", "−");
