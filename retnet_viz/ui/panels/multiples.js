// What the small multiples of a plane share: the title, where squares stand, colours, the legend.

import { cssVariable, element, letterScale } from "./common.js";

export const LABEL = 18; // pixels above each square for its head, where letters have their usual size
export const GAP = 10;

// Squares as large as the box allows, each below a line of so many pixels: the best number of columns
// by trying all.
export function arrange(count, width, height, label) {
  let best = { side: 0, columns: 1 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const side = Math.floor(
      Math.min((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows - label),
    );
    if (side > best.side) best = { side, columns };
  }
  return best;
}

// The line above a square: a head's colour and name.
export function drawLabel(context, el, text, color, x, y, side) {
  const scale = letterScale(el);
  context.fillStyle = color;
  context.fillRect(x, y - 14 * scale, 10 * scale, 10 * scale);
  context.fillStyle = cssVariable(el, "--rv-ink");
  context.font = `600 ${12 * scale}px system-ui, sans-serif`;
  context.fillText(text, x + 14 * scale, y - 5 * scale, side - 14 * scale);
}

// The colours as pixels of an image, whatever the order of this machine's bytes.
export function paletteOf(colors) {
  const bytes = new Uint8Array((colors.length / 3) * 4);
  for (let i = 0; i < colors.length / 3; i++) {
    bytes.set([colors[3 * i], colors[3 * i + 1], colors[3 * i + 2], 255], 4 * i);
  }
  return new Uint32Array(bytes.buffer);
}

// The first line of a panel: what it shows, and whether the mode computed it.
export function writeTitle(el, { title = "", origin = "", computed = "" }) {
  el.querySelector(".rv-name").textContent = title;
  const said = el.querySelector(".rv-origin");
  said.textContent = said.title = origin;
  said.dataset.computed = computed;
}

// The legend of a panel: the colours, and the values at its marks.
export function drawLegend(el, colors, signed, ticks = []) {
  el.querySelector(".rv-ticks").replaceChildren(
    ...ticks.map(([place, text]) => {
      const tick = element("span", "", text);
      tick.style.left = `${100 * (signed ? (place + 1) / 2 : place)}%`;
      return tick;
    }),
  );
  const palette = paletteOf(colors);
  if (!palette.length) return;
  const canvas = el.querySelector(".rv-legend canvas");
  canvas.width = 255;
  const bar = new ImageData(255, 10);
  const pixels = new Uint32Array(bar.data.buffer);
  for (let row = 0; row < 10; row++) pixels.set(palette.subarray(1), 255 * row);
  canvas.getContext("2d").putImageData(bar, 0, 0);
}
