// The plane of cells beside the stage: the cells of earlier steps, and those of this one.

/** @import { Block, SceneData, ThemeColors, Plane, Scene } from "../../types.js" */

import { clamp, formatInteger } from "../common.js";
import { paintIndices } from "./step_pictures.js";

/**
 * The cell at a point of a canvas that shows a plane as its largest square; null outside.
 * @param {Plane} plane
 * @param {number} width
 * @param {number} height
 * @param {number} x
 * @param {number} y
 * @returns {[n: number, m: number] | null}
 */
export function cellOfPlane(plane, width, height, x, y) {
  const side = Math.min(width, height);
  const cell = side / (plane.last - plane.first);
  const m = plane.first + Math.floor((x - (width - side) / 2) / cell);
  const n = plane.first + Math.floor(y / cell);
  const isInside = Math.min(n, m) >= plane.first && Math.max(n, m) < plane.last;
  return isInside ? [n, m] : null;
}

/**
 * The term of the step's formula that a cell belongs to, and the token m to highlight; null for
 * none.
 * @param {Plane} plane
 * @param {number} n
 * @param {number} m
 * @returns {{ term: string | null, m: number | null }}
 */
export function highlightOfCell({ lit, row }, n, m) {
  let term = null;
  if (m <= n && !lit) term = m === row ? "added" : "faded";
  if (m <= n && lit) term = isInBlock(lit, n, m) ? "weights" : "cross";
  return { term, m: n === row || !lit ? m : null };
}

/**
 * @param {Block} block
 * @param {number} n
 * @param {number} m
 */
function isInBlock([n0, n1, m0, m1], n, m) {
  return n >= n0 && n < n1 && m >= m0 && m < m1;
}

/**
 * What the plane shows, in words.
 * @param {Scene} scene
 * @param {number} length tokens of the text
 */
export function planeCaption({ plane, steps }, length) {
  const size = plane.last - plane.first;
  const part =
    size < length
      ? `tokens ${plane.first} to ${plane.last - 1} of ${formatInteger(length)}`
      : `${size} × ${size} cells (n ↓, m →)`;
  let colors = "Blank: this mode builds no cells";
  if (plane.built) {
    if (plane.done.length) colors = "Colour: this step; grey: earlier; blank: never";
    else if (steps > 1) colors = "Colour: this step; blank: later or never";
    else colors = "Colour: all at once, in this step";
  }
  return `${part}. ${colors}.`;
}

/**
 * Only cells (n, m) with m <= n exist: a staircase.
 * @param {number} size
 * @param {number} cell
 */
function staircase(size, cell) {
  const stairs = new Path2D();
  stairs.moveTo(0, 0);
  for (let n = 0; n < size; n++) {
    stairs.lineTo((n + 1) * cell, n * cell);
    stairs.lineTo((n + 1) * cell, (n + 1) * cell);
  }
  stairs.lineTo(0, size * cell);
  stairs.closePath();
  return stairs;
}

/**
 * Draw the plane of a scene as the largest square of a canvas of this size, from the top left on.
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number} height
 * @param {SceneData} data
 * @param {HTMLCanvasElement} scratch
 * @param {Uint8Array} colors
 * @param {ThemeColors} theme
 * @param {number | null} highlightedToken one of those that are read; null for none
 */
export function drawPlane(
  context,
  width,
  height,
  { scene, bytes },
  scratch,
  colors,
  theme,
  highlightedToken,
) {
  const { plane } = scene;
  const side = Math.min(width, height);
  const size = plane.last - plane.first;
  const cell = side / size;
  /** @param {number} n */
  const at = (n) => (clamp(n, plane.first, plane.last) - plane.first) * cell;
  const stairs = staircase(size, cell);
  context.translate((width - side) / 2, 0);
  context.save();
  context.clip(stairs);
  context.fillStyle = theme.line;
  for (const [n0, n1, m0, m1] of plane.done) {
    context.fillRect(at(m0), at(n0), at(m1) - at(m0), at(n1) - at(n0));
  }
  if (plane.lit && plane.cells) {
    const [n0, n1, m0, m1] = plane.lit;
    paintIndices(scratch, bytes, plane.at, plane.cells[0], plane.cells[1], colors);
    context.imageSmoothingEnabled = false;
    context.drawImage(scratch, at(m0), at(n0), at(m1) - at(m0), at(n1) - at(n0));
  }
  context.restore();
  context.lineWidth = 1;
  context.strokeStyle = theme.line;
  context.setLineDash(plane.built ? [] : [3, 3]);
  context.stroke(stairs);
  context.setLineDash([]);
  if (plane.lit) {
    const [n0, n1, m0, m1] = plane.lit;
    context.lineWidth = 2;
    context.strokeStyle = theme.ink;
    context.strokeRect(
      at(m0) + 1,
      at(n0) + 1,
      Math.max(2, at(m1) - at(m0) - 2),
      Math.max(2, at(n1) - at(n0) - 2),
    );
  }
  const row = at(plane.row);
  const thickness = Math.max(cell, 3);
  context.lineWidth = 2;
  context.strokeStyle = theme.accent;
  context.strokeRect(
    1,
    Math.min(row, side - thickness) + 0.5,
    Math.max((plane.row - plane.first + 1) * cell - 1, 3),
    thickness - 1,
  );
  if (
    highlightedToken !== null &&
    highlightedToken >= plane.first &&
    highlightedToken <= plane.row
  ) {
    context.fillStyle = theme.accent;
    context.globalAlpha = 0.75;
    context.fillRect(at(highlightedToken), row, Math.max(cell, 4), thickness);
    context.globalAlpha = 1;
  }
}
