// Shared by the small multiples of a plane: title, layout of the squares, colours, legend.

/** @import { Head, Point, Tick, PanelTitle } from "../types.js" */

import { child, cssVariable, element, fontScale, pixelContext } from "./common.js";

export const LABEL = 18; // pixels above each square for its head, where letters have their usual size
export const GAP = 10;

/**
 * The largest squares that fit into the box, each below a label of so many pixels. All numbers of
 * columns are tried.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} label
 */
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

/**
 * The square at a point: its number, and the point's place in it in shares of its side; null
 * outside.
 * @param {number} px
 * @param {number} py
 * @param {Point[]} squares
 * @param {number} side
 * @returns {[square: number, x: number, y: number] | null}
 */
export function squareAt(px, py, squares, side) {
  for (const [i, corner] of squares.entries()) {
    const [x, y] = [(px - corner.x) / side, (py - corner.y) / side];
    if (x >= 0 && y >= 0 && x < 1 && y < 1) return [i, x, y];
  }
  return null;
}

/**
 * The line above a square: a head's colour and name.
 * @param {CanvasRenderingContext2D} context
 * @param {Element} el
 * @param {Head} head
 * @param {number} x
 * @param {number} y
 * @param {number} side
 */
export function drawLabel(context, el, { label, color }, x, y, side) {
  const scale = fontScale(el);
  context.fillStyle = color;
  context.fillRect(x, y - 14 * scale, 10 * scale, 10 * scale);
  context.fillStyle = cssVariable(el, "--rv-ink");
  context.font = `600 ${12 * scale}px system-ui, sans-serif`;
  context.fillText(label, x + 14 * scale, y - 5 * scale, side - 14 * scale);
}

/**
 * The colours as pixels of an image, whatever the order of this machine's bytes.
 * @param {Uint8Array} colors
 */
export function paletteOf(colors) {
  const bytes = new Uint8Array((colors.length / 3) * 4);
  for (let i = 0; i < colors.length / 3; i++) {
    bytes.set([colors[3 * i], colors[3 * i + 1], colors[3 * i + 2], 255], 4 * i);
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * The first line of a panel: what it shows, and whether the mode computed it.
 * @param {Element} el
 * @param {PanelTitle} titled
 */
export function writeTitle(el, { title = "", origin = "", computed = "" }) {
  child(el, ".rv-name", HTMLElement).textContent = title;
  const label = child(el, ".rv-origin", HTMLElement);
  label.textContent = label.title = origin;
  label.dataset.computed = computed;
}

/**
 * The legend of a panel: the colours, and the values at its marks.
 * @param {Element} el
 * @param {Uint8Array} colors
 * @param {boolean | undefined} signed
 * @param {Tick[]} ticks
 */
export function drawLegend(el, colors, signed, ticks = []) {
  child(el, ".rv-ticks", HTMLElement).replaceChildren(
    ...ticks.map(([position, text]) => {
      const tick = element("span", "", text);
      tick.style.left = `${100 * (signed ? (position + 1) / 2 : position)}%`;
      return tick;
    }),
  );
  const palette = paletteOf(colors);
  if (!palette.length) return;
  const canvas = child(el, ".rv-legend canvas", HTMLCanvasElement);
  canvas.width = 255;
  const bar = new ImageData(255, 10);
  const pixels = new Uint32Array(bar.data.buffer);
  for (let row = 0; row < 10; row++) pixels.set(palette.subarray(1), 255 * row);
  pixelContext(canvas).putImageData(bar, 0, 0);
}
