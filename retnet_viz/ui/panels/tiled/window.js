// The window that is shown of a plane: where it may stand, how it moves, what is at a point of it.

/** @import { Cell, Spot, Window } from "../../types.js" */

import { clamp, grouped } from "../common.js";
import { GAP, squareAt } from "../multiples.js";

export const READABLE = 13; // pixels that a token's text needs
const FINEST = 4;
const NEAR = 40; // tokens at most that "to the selected token" shows from afar

/** @typedef {{ x: number, y: number, size: number }} Inset where the overview stands */

/**
 * What a drag or a pinch holds: the middle of the pointers, how far they are apart (0 for one), the
 * window as it was then, and where in it they were, in shares of its side.
 * @typedef {Spot & { apart: number, view: Window, share: [x: number, y: number] }} Grip
 */

/**
 * Tokens along a square at the closest.
 * @param {number} length
 */
export function finest(length) {
  return Math.min(FINEST, length);
}

/**
 * The window from row n and column m on, or the nearest that the plane of `length` tokens has.
 * @param {number} n
 * @param {number} m
 * @param {number} tokens
 * @param {number} length
 * @returns {Window}
 */
export function windowAt(n, m, tokens, length) {
  const span = clamp(tokens, finest(length), length);
  const top = clamp(n, 0, length - span);
  // A corner of the triangle stays in sight.
  const left = clamp(m, 0, Math.min(length - span, top + 0.8 * span));
  return { n: top, m: left, span };
}

/**
 * Closer by a factor, around a point of the square in shares of its side, which stays where it is.
 * @param {Window} view
 * @param {number} length
 * @param {number} factor
 */
export function zoomed(view, length, factor, x = 0.5, y = 0.5) {
  const span = clamp(view.span / factor, finest(length), length);
  return windowAt(view.n + y * (view.span - span), view.m + x * (view.span - span), span, length);
}

/**
 * With token `selected` in the middle of the rows: in the window's size, or closer from the whole.
 * @param {Window} view
 * @param {number} length
 * @param {number} selected
 * @param {number[]} pinned the cell in whose column the middle is, where it is of this token
 * @param {number} side pixels along a square
 */
export function windowOnToken(view, length, selected, pinned, side) {
  const span = view.span >= length ? clamp(side / READABLE, FINEST, NEAR) : view.span;
  const m = pinned.length && pinned[1] === selected ? pinned[2] : selected - 0.3 * span;
  return windowAt(selected + 0.5 - span / 2, m + 0.5 - span / 2, span, length);
}

/**
 * As pointers moved it since they took hold: what was under them stays there.
 * @param {Grip} grip
 * @param {Spot & { apart: number }} now
 * @param {number} length
 * @param {number} side
 */
export function dragged(grip, now, length, side) {
  const { view } = grip;
  const factor = now.apart && grip.apart ? now.apart / grip.apart : 1;
  const span = clamp(view.span / factor, finest(length), length);
  const [x, y] = grip.share;
  return windowAt(
    view.n + y * (view.span - span) - ((now.y - grip.y) / side) * span,
    view.m + x * (view.span - span) - ((now.x - grip.x) / side) * span,
    span,
    length,
  );
}

/**
 * The middle of some pointers, and how far the first two are apart; 0 for one.
 * @param {Spot[]} spots
 */
export function middleOf(spots) {
  const x = spots.reduce((sum, spot) => sum + spot.x, 0) / spots.length;
  const y = spots.reduce((sum, spot) => sum + spot.y, 0) / spots.length;
  const [a, b] = spots;
  return { x, y, apart: b ? Math.hypot(a.x - b.x, a.y - b.y) : 0 };
}

/**
 * The tokens that are asked for along an axis: as many wherever the window stands, so that the tokens
 * per pixel stay as they are.
 * @param {number} start
 * @param {number} span
 * @param {number} length
 */
export function tokensAsked(start, span, length) {
  const tokens = Math.min(length, Math.ceil(span) + 1);
  const first = Math.min(Math.floor(start), length - tokens);
  return [first, first + tokens];
}

/**
 * The cell of the plane at a point, by its square; null where there is none.
 * @param {Spot} spot
 * @param {Spot[]} squares
 * @param {number} side
 * @param {Window} view
 * @param {number} length
 * @returns {Cell | null}
 */
export function planeCellAt(spot, squares, side, view, length) {
  const found = squareAt(spot.x, spot.y, squares, side);
  if (!found) return null;
  const [square, x, y] = found;
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
 * The corners of squares, with the axis of each row of them on its left and a line above each.
 * @param {number} count
 * @param {number} columns
 * @param {number} side
 * @param {number} width of the canvas
 * @param {number} margin
 * @param {number} label
 * @returns {Spot[]}
 */
export function cornersOf(count, columns, side, width, margin, label) {
  const used = columns * (side + GAP) - GAP;
  const left = Math.max(0, (width - used - margin) / 2) + margin;
  return Array.from({ length: count }, (_, i) => ({
    x: Math.round(left + (i % columns) * (side + GAP)),
    y: Math.round(Math.floor(i / columns) * (side + label + GAP) + label),
  }));
}

/**
 * Where the overview stands: beside the squares where there is room, else in the first.
 * @param {Spot[]} squares
 * @param {number} side
 * @param {number} width of the canvas
 * @param {number} top
 * @returns {Inset}
 */
export function insetPlace(squares, side, width, top) {
  const right = Math.max(...squares.map(({ x }) => x)) + side;
  if (width - right >= 92) {
    return { x: right + 10, y: Math.round(top), size: Math.min(120, width - right - 12) };
  }
  const size = Math.round(clamp(side / 4, 34, 110));
  return { x: squares[0].x + side - size - 4, y: squares[0].y + 4, size };
}

/**
 * @param {Spot} spot
 * @param {Inset | null} inset
 */
export function isInInset(spot, inset) {
  if (!inset) return false;
  const [x, y] = [spot.x - inset.x, spot.y - inset.y];
  return x >= 0 && y >= 0 && x < inset.size && y < inset.size;
}

/**
 * The window whose middle is at a point of the overview.
 * @param {Spot} spot
 * @param {Inset} inset
 * @param {Window} view
 * @param {number} length
 */
export function windowFromInset(spot, inset, view, length) {
  /**
   * @param {number} p
   * @param {number} corner
   */
  const at = (p, corner) => ((p - corner) / inset.size) * length - view.span / 2;
  return windowAt(at(spot.y, inset.y), at(spot.x, inset.x), view.span, length);
}

/**
 * The tokens from `start` on, in words.
 * @param {number} start
 * @param {number} tokens
 */
export function spanOf(start, tokens) {
  const [first, stop] = [Math.floor(start), Math.ceil(start + tokens)];
  return stop - first > 1 ? `${grouped(first)}–${grouped(stop - 1)}` : grouped(first);
}
