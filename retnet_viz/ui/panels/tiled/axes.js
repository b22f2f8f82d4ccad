// The numbers and the tokens along the squares.

/** @import { ThemeColors, Picture, Window } from "../../types.js" */

import { formatInteger } from "../common.js";
import { TEXT_PIXELS } from "./window.js";

export const TITLE = 15; // height of an axis title
const ROOM = [54, 44]; // pixels for the numbers or tokens along n and along m

/**
 * The pixels beside and below squares in a box of so many pixels' height.
 * @param {number} height
 */
export function margins(height) {
  return { left: TITLE + ROOM[0], bottom: TITLE + (height < 260 ? 18 : ROOM[1]) };
}

/**
 * The marks along an axis: round numbers, at least `room` pixels apart.
 * @param {number} start
 * @param {number} length
 * @param {number} cell pixels along a token
 * @param {number} room
 */
export function ticks(start, length, cell, room) {
  const minStep = Math.max(1, room / cell);
  const decade = 10 ** Math.floor(Math.log10(minStep));
  const factor = [1, 2, 5].find((x) => x * decade >= minStep) ?? 10;
  const step = Math.ceil(factor * decade);
  const tokens = [];
  for (let token = Math.ceil(start / step) * step; token < start + length; token += step) {
    tokens.push(token);
  }
  return tokens;
}

/**
 * Every visible token with its text where that fits, else round numbers: [token, text].
 * @param {number} start
 * @param {number} span
 * @param {number} cell pixels along a token
 * @param {number} length
 * @param {number} room pixels that a number needs
 * @param {(token: number) => string | undefined} nameOf
 * @returns {[token: number, text: string][]}
 */
export function tickLabels(start, span, cell, length, room, nameOf) {
  const first = Math.floor(start);
  if (cell < TEXT_PIXELS || nameOf(first + 1) === undefined) {
    return ticks(start, span, cell, room).map((token) => [token, formatInteger(token)]);
  }
  const tokens = Array.from({ length: Math.ceil(span) + 1 }, (_, i) => first + i);
  return tokens
    .filter((token) => token < length && token + 0.5 >= start && token + 0.5 <= start + span)
    .map((token) => [token, nameOf(token) ?? formatInteger(token)]);
}

/**
 * `text` cut to so many pixels.
 * @param {Pick<CanvasRenderingContext2D, "measureText">} context
 * @param {string} text
 * @param {number} width
 */
export function fitText(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  const letters = [...text];
  while (letters.length && context.measureText(`${letters.join("")}…`).width > width) letters.pop();
  return `${letters.join("")}…`;
}

/**
 * A function that gives the text of a token along rows (0) or columns (1), if the picture has it.
 * @param {Picture | null} picture
 * @param {0 | 1} axis
 * @returns {(token: number) => string | undefined}
 */
export function namesOf(picture, axis) {
  if (!picture) return () => undefined;
  const first = picture[axis ? "cols" : "rows"][0];
  return (token) => picture.names[axis][token - first];
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {ThemeColors} theme
 */
function axisStyle(context, theme) {
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = theme.muted;
  context.strokeStyle = theme.muted;
  context.lineWidth = 1;
}

/**
 * The axis of n, on the left of the square at x, y.
 * @param {CanvasRenderingContext2D} context
 * @param {{ view: Window, length: number, side: number, theme: ThemeColors }} content
 * @param {(token: number) => string | undefined} nameOf
 * @param {number} x
 * @param {number} y
 * @param {number} margin
 */
export function drawRows(context, { view, length, side, theme }, nameOf, x, y, margin) {
  const cell = side / view.span;
  axisStyle(context, theme);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const [token, text] of tickLabels(view.n, view.span, cell, length, 24, nameOf)) {
    const at = y + (token + 0.5 - view.n) * cell;
    if (at > y + side) continue;
    context.fillRect(x - 4, at - 0.5, 4, 1);
    context.fillText(fitText(context, text, margin - TITLE - 8), x - 6, at);
  }
  context.save();
  context.translate(x - margin + TITLE - 4, y + side / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText("token n (reading)", 0, 0, side);
  context.restore();
}

/**
 * The axis of m, below the square that ends at y.
 * @param {CanvasRenderingContext2D} context
 * @param {{ view: Window, length: number, side: number, theme: ThemeColors }} content
 * @param {(token: number) => string | undefined} nameOf
 * @param {number} x
 * @param {number} y
 * @param {number} margin
 */
export function drawColumns(context, { view, length, side, theme }, nameOf, x, y, margin) {
  const cell = side / view.span;
  axisStyle(context, theme);
  const labels = tickLabels(view.m, view.span, cell, length, 62, nameOf);
  const upright = labels.length > 1 && cell >= TEXT_PIXELS && nameOf(labels[1][0]) !== undefined;
  for (const [token, text] of labels) {
    const at = x + (token + 0.5 - view.m) * cell;
    if (at > x + side) continue;
    context.fillRect(at - 0.5, y, 1, 4);
    context.save();
    context.translate(at, y + 6);
    if (upright) context.rotate(-Math.PI / 2);
    context.textAlign = upright ? "right" : "center";
    context.textBaseline = upright ? "middle" : "top";
    const half = context.measureText(text).width / 2;
    // The last number ends with the square, so that it does not run into the next one.
    const shift = upright ? 0 : Math.min(0, x + side - at - half) + Math.max(0, x + half - at);
    context.fillText(upright ? fitText(context, text, margin - TITLE - 6) : text, shift, 0);
    context.restore();
  }
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText("token m (read)", x + side / 2, y + (upright ? margin : 18 + TITLE) - 3, side);
}
