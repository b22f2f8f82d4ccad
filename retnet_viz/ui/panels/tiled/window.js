// The window onto a plane: its limits, how it moves, and which cell is at a point of it.

/** @import { Cell, Point, Window } from "../../types.js" */

import { clamp, formatInteger } from "../common.js";
import { GAP, squareAt } from "../multiples.js";

export const TEXT_PIXELS = 13; // pixels that a token's text needs
const MIN_SPAN = 4;
const MAX_NEAR_SPAN = 40; // tokens, at most, after a step from the whole triangle to a token

/** @typedef {{ x: number, y: number, size: number }} Inset where the overview stands */

/**
 * The start of a drag or pinch: the middle of the pointers, the distance between them (0 for one),
 * the window at that time, and the middle's place in its square, in shares of the side.
 * @typedef {Point & { distance: number, view: Window, share: [x: number, y: number] }} GestureStart
 */

/**
 * The fewest tokens that a window of a text of `length` tokens may have along a side.
 * @param {number} length
 */
export function minSpan(length) {
  return Math.min(MIN_SPAN, length);
}

/**
 * The window that starts at row n and column m, moved into the plane of `length` tokens.
 * @param {number} n
 * @param {number} m
 * @param {number} tokens
 * @param {number} length
 * @returns {Window}
 */
export function windowAt(n, m, tokens, length) {
  const span = clamp(tokens, minSpan(length), length);
  const top = clamp(n, 0, length - span);
  // A corner of the triangle stays in sight.
  const left = clamp(m, 0, Math.min(length - span, top + 0.8 * span));
  return { n: top, m: left, span };
}

/**
 * Zoom in by a factor around the point (x, y) of the square, in shares of its side; it stays in
 * place.
 * @param {Window} view
 * @param {number} length
 * @param {number} factor
 */
export function zoomWindow(view, length, factor, x = 0.5, y = 0.5) {
  const span = clamp(view.span / factor, minSpan(length), length);
  return windowAt(view.n + y * (view.span - span), view.m + x * (view.span - span), span, length);
}

/**
 * The window with token `selected` in the middle of its rows. It keeps its size, but zooms in from
 * the whole triangle.
 * @param {Window} view
 * @param {number} length
 * @param {number} selected
 * @param {number[]} pinned the cell in whose column the middle is, where it is of this token
 * @param {number} side pixels along a square
 */
export function windowOnToken(view, length, selected, pinned, side) {
  const span = view.span >= length ? clamp(side / TEXT_PIXELS, MIN_SPAN, MAX_NEAR_SPAN) : view.span;
  const m = pinned.length && pinned[1] === selected ? pinned[2] : selected - 0.3 * span;
  return windowAt(selected + 0.5 - span / 2, m + 0.5 - span / 2, span, length);
}

/**
 * The window after the pointers have moved from `start` to `now`: the cell under them stays there.
 * @param {GestureStart} start
 * @param {Point & { distance: number }} now
 * @param {number} length
 * @param {number} side
 */
export function dragWindow(start, now, length, side) {
  const { view } = start;
  const factor = now.distance && start.distance ? now.distance / start.distance : 1;
  const span = clamp(view.span / factor, minSpan(length), length);
  const [x, y] = start.share;
  return windowAt(
    view.n + y * (view.span - span) - ((now.y - start.y) / side) * span,
    view.m + x * (view.span - span) - ((now.x - start.x) / side) * span,
    span,
    length,
  );
}

/**
 * The middle of some pointers, and the distance between the first two; 0 for one.
 * @param {Point[]} points
 */
export function gestureOf(points) {
  const x = points.reduce((sum, point) => sum + point.x, 0) / points.length;
  const y = points.reduce((sum, point) => sum + point.y, 0) / points.length;
  const [a, b] = points;
  return { x, y, distance: b ? Math.hypot(a.x - b.x, a.y - b.y) : 0 };
}

/**
 * The tokens to request along an axis. Their number does not depend on `start`, so that a pan
 * changes no number of tokens per pixel.
 * @param {number} start
 * @param {number} span
 * @param {number} length
 */
export function tokenRange(start, span, length) {
  const tokens = Math.min(length, Math.ceil(span) + 1);
  const first = Math.min(Math.floor(start), length - tokens);
  return [first, first + tokens];
}

/**
 * The cell of the plane at a point, with the number of its square; null outside.
 * @param {Point} point
 * @param {Point[]} squares
 * @param {number} side
 * @param {Window} view
 * @param {number} length
 * @returns {Cell | null}
 */
export function planeCellAt(point, squares, side, view, length) {
  const hit = squareAt(point.x, point.y, squares, side);
  if (!hit) return null;
  const [square, x, y] = hit;
  const [n, m] = [Math.floor(view.n + y * view.span), Math.floor(view.m + x * view.span)];
  return Math.max(n, m) < length ? [square, n, m] : null;
}

/**
 * The cell in the middle of the window, in a square.
 * @param {number} square
 * @param {Window} view
 * @param {number} length
 * @returns {Cell}
 */
export function middleCell(square, view, length) {
  const [n, m] = [view.n, view.m].map((start) => Math.floor(start + view.span / 2));
  return [square, clamp(n, 0, length - 1), clamp(m, 0, n)];
}

/**
 * The top left corners of squares, with room for an axis left of each row and a label above each.
 * @param {number} count
 * @param {number} columns
 * @param {number} side
 * @param {number} width of the canvas
 * @param {number} margin
 * @param {number} label
 * @returns {Point[]}
 */
export function cornersOf(count, columns, side, width, margin, label) {
  const rowWidth = columns * (side + GAP) - GAP;
  const left = Math.max(0, (width - rowWidth - margin) / 2) + margin;
  return Array.from({ length: count }, (_, i) => ({
    x: Math.round(left + (i % columns) * (side + GAP)),
    y: Math.round(Math.floor(i / columns) * (side + label + GAP) + label),
  }));
}

/**
 * The place of the overview: beside the squares where there is room, else in the first one.
 * @param {Point[]} squares
 * @param {number} side
 * @param {number} width of the canvas
 * @param {number} top
 * @returns {Inset}
 */
export function insetBox(squares, side, width, top) {
  const right = Math.max(...squares.map(({ x }) => x)) + side;
  if (width - right >= 92) {
    return { x: right + 10, y: Math.round(top), size: Math.min(120, width - right - 12) };
  }
  const size = Math.round(clamp(side / 4, 34, 110));
  return { x: squares[0].x + side - size - 4, y: squares[0].y + 4, size };
}

/**
 * @param {Point} point
 * @param {Inset | null} inset
 */
export function isInInset(point, inset) {
  if (!inset) return false;
  const [x, y] = [point.x - inset.x, point.y - inset.y];
  return x >= 0 && y >= 0 && x < inset.size && y < inset.size;
}

/**
 * The window with its middle at a point of the overview.
 * @param {Point} point
 * @param {Inset} inset
 * @param {Window} view
 * @param {number} length
 */
export function windowFromInset(point, inset, view, length) {
  /**
   * @param {number} p
   * @param {number} corner
   */
  const at = (p, corner) => ((p - corner) / inset.size) * length - view.span / 2;
  return windowAt(at(point.y, inset.y), at(point.x, inset.x), view.span, length);
}

/**
 * A range of tokens as a text, such as "0–1,999".
 * @param {number} start
 * @param {number} tokens
 */
export function formatRange(start, tokens) {
  const [first, stop] = [Math.floor(start), Math.ceil(start + tokens)];
  return stop - first > 1
    ? `${formatInteger(first)}–${formatInteger(stop - 1)}`
    : formatInteger(first);
}
