// One square of a window: the pictures of a head in it, the grid, the chunks, what is marked.

/** @import { Cell, ThemeColors, Picture, Window } from "../../types.js" */
/** @import { Inset } from "./window.js" */

import { clamp } from "../common.js";
import { TEXT_PIXELS } from "./window.js";

/**
 * What is drawn in every square.
 * @typedef {object} SquareContent
 * @property {Window} view
 * @property {number} length tokens of the text
 * @property {number} side pixels along a square
 * @property {ThemeColors} theme
 * @property {Picture[]} pictures the older and coarser first
 * @property {number} version of what is shown: a picture of another one is of another text or layer
 * @property {boolean} dimStale whether such a picture is faint
 * @property {string} computed all, none or blocks
 * @property {number} block tokens of a chunk
 * @property {number} selected
 * @property {number[]} pinned a cell of the model, or empty
 */

/**
 * Draw the pictures of a head in its square at x, y, and the marks over them.
 * @param {CanvasRenderingContext2D} context
 * @param {SquareContent} content
 * @param {number} head
 * @param {number} x
 * @param {number} y
 * @param {Cell | null} focus the cell of this square that is pointed at
 * @param {string} missingText shown where nothing of the head can be drawn yet
 */
export function drawSquare(context, content, head, x, y, focus, missingText) {
  const { view, side, theme } = content;
  const cell = side / view.span;
  context.save();
  context.beginPath();
  context.rect(x, y, side, side);
  context.clip();
  for (const picture of content.pictures) drawPicture(context, content, picture, head, x, y);
  if (cell >= TEXT_PIXELS) drawGrid(context, content, x, y);
  drawChunks(context, content, x, y);
  drawSelected(context, content, x, y);
  const { pinned } = content;
  if (pinned[0] === head) drawMark(context, content, x, y, pinned[1], pinned[2], 1, theme.accent);
  if (focus) {
    const tokens = content.pictures.at(-1)?.pixel ?? 1;
    const [n, m] = [focus[1], focus[2]].map((token) => token - (token % tokens));
    drawMark(context, content, x, y, n, m, tokens, theme.ink);
  }
  context.restore();
  if (missingText) {
    context.fillStyle = theme.muted;
    context.textAlign = "center";
    context.font = "12px system-ui, sans-serif";
    context.fillText(missingText, x + side / 2, y + side / 2, side);
  }
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.setLineDash(content.computed === "none" ? [3, 3] : []);
  context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
  context.setLineDash([]);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {SquareContent} content
 * @param {Picture} picture
 * @param {number} head
 * @param {number} x
 * @param {number} y
 */
function drawPicture(context, { view, side, version, dimStale }, picture, head, x, y) {
  const bitmap = picture.bitmaps.get(head);
  if (!bitmap) return;
  const cell = side / view.span;
  const [left, top] = [
    x + (picture.cols[0] - view.m) * cell,
    y + (picture.rows[0] - view.n) * cell,
  ];
  const width = picture.width * picture.pixel * cell;
  const height = picture.height * picture.pixel * cell;
  context.clearRect(left, top, width, height);
  context.globalAlpha = picture.version !== version && dimStale ? 0.25 : 1;
  context.drawImage(bitmap, left, top, width, height);
  context.globalAlpha = 1;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {SquareContent} content
 * @param {number} x
 * @param {number} y
 */
function drawGrid(context, { view, side, theme }, x, y) {
  const cell = side / view.span;
  context.strokeStyle = theme.line;
  context.lineWidth = 0.5;
  context.beginPath();
  for (let n = Math.ceil(view.n); n < view.n + view.span; n++) {
    // Beyond the diagonal there are no cells.
    const end = Math.min(side, (n + 1 - view.m) * cell);
    context.moveTo(x, y + (n - view.n) * cell);
    context.lineTo(x + Math.max(0, end), y + (n - view.n) * cell);
  }
  for (let m = Math.ceil(view.m); m < view.m + view.span; m++) {
    const from = Math.max(0, (m - 1 - view.n) * cell);
    context.moveTo(x + (m - view.m) * cell, y + Math.min(side, from));
    context.lineTo(x + (m - view.m) * cell, y + side);
  }
  context.stroke();
}

/**
 * The chunks, which chunkwise mode computes.
 * @param {CanvasRenderingContext2D} context
 * @param {SquareContent} content
 * @param {number} x
 * @param {number} y
 */
function drawChunks(context, { view, length, side, theme, computed, block }, x, y) {
  const cell = side / view.span;
  if (computed !== "blocks" || block * cell < 4) return;
  context.strokeStyle = theme.ink;
  context.lineWidth = 1;
  context.beginPath();
  const start = Math.max(view.n, view.m);
  const stop = Math.min(view.n, view.m) + view.span;
  for (let first = Math.floor(start / block) * block; first < stop; first += block) {
    const size = Math.min(block, length - first) * cell;
    const [left, top] = [x + (first - view.m) * cell, y + (first - view.n) * cell];
    context.rect(left + 0.5, top + 0.5, size - 1, size - 1);
  }
  context.stroke();
}

/**
 * The row of the selected token, or an arrow to where it is.
 * @param {CanvasRenderingContext2D} context
 * @param {SquareContent} content
 * @param {number} x
 * @param {number} y
 */
function drawSelected(context, { view, length, side, theme, selected }, x, y) {
  if (selected < 0 || selected >= length) return;
  const cell = side / view.span;
  const middle = (selected + 0.5 - view.n) * cell;
  context.strokeStyle = context.fillStyle = theme.accent;
  context.lineWidth = 2;
  if (middle < 0 || middle > side) {
    const [edge, tip] = middle < 0 ? [8, 1] : [side - 8, side - 1];
    context.beginPath();
    context.moveTo(x + 3, y + edge);
    context.lineTo(x + 15, y + edge);
    context.lineTo(x + 9, y + tip);
    context.fill();
  } else {
    const thickness = Math.max(cell, 3);
    const from = Math.max(-4, -view.m * cell);
    const end = clamp((selected + 1 - view.m) * cell, from + 3, side + 4);
    context.strokeRect(x + from, y + middle - thickness / 2, end - from, thickness);
  }
}

/**
 * A frame around so many tokens of each axis, from n and m on.
 * @param {CanvasRenderingContext2D} context
 * @param {SquareContent} content
 * @param {number} x
 * @param {number} y
 * @param {number} n
 * @param {number} m
 * @param {number} tokens
 * @param {string} color
 */
function drawMark(context, { view, side, theme }, x, y, n, m, tokens, color) {
  const cell = side / view.span;
  const size = Math.max(tokens * cell, 5);
  const left = x + (m + tokens / 2 - view.m) * cell - size / 2;
  const top = y + (n + tokens / 2 - view.n) * cell - size / 2;
  // On paper of the other brightness, since the colours are the same in light and dark.
  for (const { stroke, width } of [
    { stroke: theme.paper, width: 4 },
    { stroke: color, width: 2 },
  ]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.strokeRect(left, top, size, size);
  }
}

/**
 * The whole triangle with the window in it.
 * @param {CanvasRenderingContext2D} context
 * @param {SquareContent} content
 * @param {Picture} overview
 * @param {Inset} inset
 */
export function drawInset(context, { view, length, theme }, overview, { x, y, size }) {
  context.fillStyle = theme.paper;
  context.fillRect(x - 1, y - 1, size + 2, size + 2);
  const scale = size / length;
  const [bitmap] = overview.bitmaps.values();
  context.save();
  context.beginPath();
  context.rect(x, y, size, size);
  context.clip();
  context.drawImage(
    bitmap,
    x,
    y,
    overview.width * overview.pixel * scale,
    overview.height * overview.pixel * scale,
  );
  context.restore();
  context.strokeStyle = theme.muted;
  context.lineWidth = 1;
  context.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
  context.strokeStyle = theme.accent;
  context.lineWidth = 2;
  const frame = Math.max(5, view.span * scale);
  /** @param {number} start */
  const at = (start) => clamp((start + view.span / 2) * scale - frame / 2, 0, size - frame);
  context.strokeRect(x + at(view.m), y + at(view.n), frame, frame);
}
