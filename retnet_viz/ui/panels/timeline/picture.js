// The plane of cells as one mode fills it. It is drawn as geometry, block by block and never cell by
// cell, so that 2,048 tokens cost what 20 do.

/** @import { ThemeColors, Moment, Run } from "../../types.js" */

import { clamp, element, pixelContext } from "../common.js";

const LEFT = 18; // pixels beside a picture for the mark of the outputs so far
const TOP = 15; // pixels above it for its axis

/**
 * The place of the plane on a canvas, its side, and the side of a cell.
 * @typedef {{ x: number, y: number, side: number, cell: number }} Frame
 */

/** @typedef {{ left: number, top: number, width: number, height: number }} Box */

/**
 * The frame of a plane of `length` tokens on a canvas of this size; null where it is too small.
 * @param {number} length
 * @param {number} width
 * @param {number} height
 * @returns {Frame | null}
 */
export function frameIn(length, width, height) {
  const side = Math.floor(Math.min(width - LEFT - 2, height - TOP - 2));
  if (side < 20) return null;
  return { x: Math.max(LEFT, Math.floor((width - side) / 2)), y: TOP, side, cell: side / length };
}

/**
 * Where the cells of a step stand; it is as high as its outputs, and without width where it has none.
 * @param {Run} run
 * @param {number} step
 * @param {Frame} frame
 * @returns {Box}
 */
export function boxOf(run, step, { x, y, cell }) {
  return {
    left: x + run.first_cell[step] * cell,
    top: y + run.first_token[step] * cell,
    width: (run.stop_cell[step] - run.first_cell[step]) * cell,
    height: Math.max(1, (run.stop_token[step] - run.first_token[step]) * cell),
  };
}

/**
 * The steps whose cells are shaded: the earlier ones, and the one at work. A mode without cells has
 * none.
 * @param {Run} run
 * @param {Moment} moment
 * @returns {{ earlier: number[], active: number[] }}
 */
export function shadedSteps(run, { current, done }) {
  const count = Math.max(0, current >= 0 ? Math.min(done, current) : done);
  const hasCells = current >= 0 && run.stop_cell[current] > run.first_cell[current];
  return {
    earlier: Array.from({ length: run.stop_cell[0] ? count : 0 }, (_, step) => step),
    active: hasCells ? [current] : [],
  };
}

/**
 * The cells with m <= n as a path: a staircase, or its diagonal where steps are too small to see.
 * @param {Frame} frame
 * @param {number} length
 */
function lowerTriangle({ x, y, side, cell }, length) {
  const path = new Path2D();
  path.moveTo(x, y);
  if (cell < 3) {
    path.lineTo(x + side, y + side);
  } else {
    for (let n = 0; n < length; n++) {
      path.lineTo(x + (n + 1) * cell, y + n * cell);
      path.lineTo(x + (n + 1) * cell, y + (n + 1) * cell);
    }
  }
  path.lineTo(x, y + side);
  path.closePath();
  return path;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} color
 */
function hatching(context, color) {
  const tile = element("canvas");
  tile.width = tile.height = 6;
  const lines = pixelContext(tile);
  lines.strokeStyle = color;
  lines.lineWidth = 1;
  lines.beginPath();
  for (const shift of [-6, 0, 6]) {
    lines.moveTo(shift, 6);
    lines.lineTo(shift + 6, 0);
  }
  lines.stroke();
  return context.createPattern(tile, "repeat") ?? color;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Run} run
 * @param {Moment} moment
 * @param {number} length
 * @param {number} width
 * @param {number} height
 * @param {ThemeColors} theme
 */
export function drawPicture(context, run, moment, length, width, height, theme) {
  const frame = frameIn(length, width, height);
  if (!frame) return;
  const { x, y, side, cell } = frame;
  const triangle = lowerTriangle(frame, length);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = theme.muted;
  context.fillText("n ↓", x - LEFT, y - 4);
  context.fillText("m →", x + 10, y - 4);
  const { earlier, active } = shadedSteps(run, moment);
  drawCells(context, run, earlier, active, frame, triangle);
  if (cell >= 6 && (earlier.length || active.length)) drawGrid(context, frame, length, theme.paper);
  context.strokeStyle = theme.muted;
  context.globalAlpha = 0.7;
  context.lineWidth = 1;
  context.setLineDash([2, 3]);
  context.stroke(triangle);
  context.setLineDash([]);
  context.globalAlpha = 1;
  // The outputs so far.
  context.fillStyle = theme.line;
  context.fillRect(x - 5, y, 3, side);
  context.fillStyle = run.color;
  context.fillRect(x - 5, y, 3, moment.tokens * cell);
  const { current } = moment;
  if (current >= 0) drawCurrentStep(context, boxOf(run, current, frame), x, theme.ink);
  if (run.mode === "parallel") return;
  if (current >= 0) drawStateArrow(context, run, current, frame, theme.ink);
  drawState(context, run.color, moment.done > 0 || current > 0, frame, theme);
}

/**
 * Cells that were computed; over the diagonal they are computed too, and masked to 0.
 * @param {CanvasRenderingContext2D} context
 * @param {Run} run
 * @param {number[]} earlier
 * @param {number[]} active
 * @param {Frame} frame
 * @param {Path2D} triangle
 */
function drawCells(context, run, earlier, active, frame, triangle) {
  /**
   * @param {number[]} steps
   * @param {number} alpha
   */
  const fill = (steps, alpha) => {
    context.globalAlpha = alpha;
    for (const step of steps) {
      const { left, top, width, height } = boxOf(run, step, frame);
      context.fillRect(left, top, width, height);
    }
  };
  context.save();
  context.clip(triangle);
  context.fillStyle = run.color;
  fill(earlier, 0.45);
  fill(active, 1);
  context.restore();
  context.save();
  const above = new Path2D();
  above.rect(frame.x, frame.y, frame.side, frame.side);
  above.addPath(triangle);
  context.clip(above, "evenodd");
  context.fillStyle = hatching(context, run.color);
  fill(earlier, 0.35);
  fill(active, 0.8);
  context.restore();
  context.globalAlpha = 1;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Frame} frame
 * @param {number} length
 * @param {string} color
 */
function drawGrid(context, { x, y, side, cell }, length, color) {
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.beginPath();
  for (let i = 1; i < length; i++) {
    context.moveTo(x + i * cell, y);
    context.lineTo(x + i * cell, y + side);
    context.moveTo(x, y + i * cell);
    context.lineTo(x + side, y + i * cell);
  }
  context.stroke();
}

/**
 * The step at work: a frame around its cells, and an arrow to its rows.
 * @param {CanvasRenderingContext2D} context
 * @param {Box} box
 * @param {number} x of the plane
 * @param {string} ink
 */
function drawCurrentStep(context, box, x, ink) {
  context.lineWidth = 1.5;
  if (box.width) {
    context.strokeStyle = ink;
    context.strokeRect(box.left, box.top, box.width, box.height);
  }
  context.fillStyle = ink;
  const middle = box.top + box.height / 2;
  context.beginPath();
  context.moveTo(x - 2, middle);
  context.lineTo(x - 11, middle - 5);
  context.lineTo(x - 11, middle + 5);
  context.fill();
}

/**
 * Where the state stands: above the diagonal, where a causal mode has no cells.
 * @param {Frame} frame
 */
export function stateBox({ x, side }) {
  const size = Math.round(clamp(side * 0.13, 18, 40));
  return { left: x + side - size, size };
}

/**
 * The rows that read the state, with an arrow from it; the band on their left is what it stands for.
 * @param {CanvasRenderingContext2D} context
 * @param {Run} run
 * @param {number} step
 * @param {Frame} frame
 * @param {string} ink
 */
function drawStateArrow(context, run, step, frame, ink) {
  const { x, y, cell } = frame;
  const { left, size } = stateBox(frame);
  const [first, stop] = [run.first_token[step], run.stop_token[step]];
  const [top, height] = [y + first * cell, Math.max(3, (stop - first) * cell)];
  const hasCells = run.stop_cell[step] > run.first_cell[step];
  const right = x + stop * cell;
  context.fillStyle = run.color;
  context.globalAlpha = hasCells ? 0.22 : 0.4;
  context.fillRect(x, top, (hasCells ? first : stop) * cell, height);
  context.globalAlpha = 1;
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 1.25;
  const [fromX, fromY] = [left + size / 2, y + size];
  const toY = top + height / 2;
  context.beginPath();
  if (toY > fromY + 6) {
    context.moveTo(fromX, fromY);
    context.lineTo(fromX, right < fromX - 8 ? toY : Math.max(fromY, top - 1));
  }
  if (right < fromX - 8) {
    const startX = toY > fromY + 6 ? fromX : left;
    context.moveTo(startX, toY);
    context.lineTo(right + 3, toY);
    context.moveTo(right + 8, toY - 4);
    context.lineTo(right + 3, toY);
    context.lineTo(right + 8, toY + 4);
  }
  context.stroke();
}

/**
 * The state, empty before the first step.
 * @param {CanvasRenderingContext2D} context
 * @param {string} color
 * @param {boolean} isFilled
 * @param {Frame} frame
 * @param {ThemeColors} theme
 */
function drawState(context, color, isFilled, frame, theme) {
  const { left, size } = stateBox(frame);
  const { y } = frame;
  context.fillStyle = theme.paper;
  context.fillRect(left, y, size, size);
  context.globalAlpha = isFilled ? 0.3 : 0;
  context.fillStyle = color;
  context.fillRect(left, y, size, size);
  context.globalAlpha = 1;
  context.strokeStyle = color;
  context.lineWidth = 2;
  context.strokeRect(left + 1, y + 1, size - 2, size - 2);
  context.fillStyle = theme.ink;
  context.font = `italic 600 ${Math.round(size * 0.55)}px serif`;
  context.textAlign = "center";
  context.fillText("S", left + size / 2, y + size * 0.69);
  context.textAlign = "start";
}
