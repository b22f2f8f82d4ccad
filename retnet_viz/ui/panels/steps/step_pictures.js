// The pictures of a step's matrices and vectors, in the lines of its equation.

/** @import { Scene, StagePicture } from "../../types.js" */

import { clamp, element, pixelContext, setText } from "../common.js";

const SIGNED_COLORS = 768; // bytes of the first table of colours; that of magnitudes follows

/**
 * A picture on the page: its elements, and the picture that they show now.
 * @typedef {object} PictureView
 * @property {StagePicture} picture
 * @property {HTMLElement} box
 * @property {[name: HTMLElement, norm: HTMLElement, size: HTMLElement]} captions
 * @property {HTMLCanvasElement} canvas
 * @property {HTMLElement} mark
 */

/**
 * Give every pixel of an image the colour of its index in a table of RGB.
 * @param {Uint8ClampedArray} pixels RGBA
 * @param {Uint8Array} indices
 * @param {Uint8Array} colors
 */
export function colorPixels(pixels, indices, colors) {
  for (let i = 0; i < indices.length; i++) {
    const from = 3 * indices[i];
    pixels[4 * i] = colors[from];
    pixels[4 * i + 1] = colors[from + 1];
    pixels[4 * i + 2] = colors[from + 2];
    pixels[4 * i + 3] = 255;
  }
}

/**
 * Show height x width colour indices, from byte `at` on, on a canvas of as many pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} height
 * @param {number} width
 * @param {Uint8Array} colors
 */
export function paintIndices(canvas, bytes, at, height, width, colors) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const image = new ImageData(width, height);
  colorPixels(image.data, bytes.subarray(at, at + height * width), colors);
  pixelContext(canvas).putImageData(image, 0, 0);
}

/**
 * The pictures of a scene, line by line.
 * @param {Scene} scene
 */
export function picturesOf(scene) {
  return scene.lines.flat().filter((part) => typeof part !== "string");
}

/**
 * The signs between the pictures of a scene.
 * @param {Scene} scene
 */
function operatorsOf(scene) {
  return scene.lines.flat().filter((part) => typeof part === "string");
}

/**
 * A key that is equal for two scenes with the same terms in the same order.
 * @param {Scene} scene
 */
export function shapeOf({ lines, bars }) {
  const terms = lines.map((line) =>
    line.map((part) => (typeof part === "string" ? "+" : part.term)),
  );
  return `${terms.join()}|${bars?.term}`;
}

/**
 * The elements of a picture. `onPointerMove` is called with each move of a pointer on it.
 * @param {StagePicture} picture
 * @param {(view: PictureView, event: PointerEvent) => void} onPointerMove
 * @returns {PictureView}
 */
function createPictureView(picture, onPointerMove) {
  const box = element("figure", "rv-picture");
  box.dataset.term = picture.term;
  const caption = element("figcaption");
  const frame = element("div", "rv-frame");
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  const mark = element("div", "rv-mark");
  frame.append(canvas, mark);
  frame.classList.toggle("rv-flat", !picture.rows); // a vector
  box.classList.toggle("rv-square", picture.rows === "token n" && picture.cols === "token m");
  /** @type {PictureView["captions"]} */
  const captions = [element("b"), element("span", "rv-norm"), element("span", "rv-size")];
  caption.append(...captions);
  box.append(caption, frame);
  const view = { picture, box, captions, canvas, mark };
  canvas.addEventListener("pointermove", (event) => onPointerMove(view, event));
  return view;
}

/**
 * The lines of a scene's equation as elements, and the pictures in them.
 * @param {Scene} scene
 * @param {(view: PictureView, event: PointerEvent) => void} onPointerMove
 */
export function buildLines(scene, onPointerMove) {
  /** @type {PictureView[]} */
  const views = [];
  const rows = scene.lines.map((line) => {
    const row = element("div", "rv-line");
    row.classList.toggle(
      "rv-flat",
      line.every((part) => typeof part === "string" || !part.rows),
    );
    for (const part of line) {
      if (typeof part === "string") {
        const width = part.length > 5 ? "rv-operator rv-wide" : "rv-operator";
        row.append(element("span", width, part));
      } else {
        const view = createPictureView(part, onPointerMove);
        views.push(view);
        row.append(view.box);
      }
    }
    return row;
  });
  return { rows, views };
}

/**
 * An axis of a picture in a caption: how many, of what, and along which way.
 * @param {string} name
 * @param {number} size
 */
export function axisText(name, size) {
  if (!name) return "";
  const noun = name.startsWith("token") ? "tokens" : name;
  const isFirst = ["d_k", "token n", "token m"].includes(name);
  return `${size} ${noun}${isFirst ? " ↓ " : ""}`;
}

/**
 * Show the pictures of a scene in the elements of an earlier one of the same shape.
 * @param {HTMLElement} lines
 * @param {PictureView[]} views
 * @param {Scene} scene
 * @param {Uint8Array} bytes
 * @param {Uint8Array} colors of signed values, then of magnitudes
 */
export function showPictures(lines, views, scene, bytes, colors) {
  for (const [i, picture] of picturesOf(scene).entries()) {
    const view = views[i];
    view.picture = picture;
    const [name, norm, size] = view.captions;
    setText(name, picture.label);
    setText(norm, `‖·‖ ${picture.norm}`);
    setText(size, axisText(picture.rows, picture.height) + axisText(picture.cols, picture.width));
    view.box.title = picture.computed
      ? "computed by this mode"
      : "derived from what this mode computed";
    view.box.dataset.computed = picture.computed ? "all" : "none";
    view.canvas.setAttribute("aria-label", `${picture.label}, norm ${picture.norm}`);
    const table = picture.signed ? colors : colors.subarray(SIGNED_COLORS);
    paintIndices(view.canvas, bytes, picture.at, picture.height, picture.width, table);
  }
  const operators = operatorsOf(scene);
  for (const [i, sign] of lines.querySelectorAll(".rv-operator").entries())
    setText(sign, operators[i]);
}

/**
 * The entry of a picture at a point, in shares of its width and height.
 * @param {StagePicture} picture
 * @param {number} x
 * @param {number} y
 * @returns {[row: number, column: number]}
 */
export function entryAt({ height, width }, x, y) {
  return [clamp(Math.floor(y * height), 0, height - 1), clamp(Math.floor(x * width), 0, width - 1)];
}

/**
 * The token m that an entry of a picture is of; null where it has no such axis.
 * @param {StagePicture} picture
 * @param {number} row
 * @param {number} column
 */
export function tokenOfEntry({ rows, cols, rowStart, colStart }, row, column) {
  if (cols === "token m") return colStart + column;
  return rows === "token m" ? rowStart + row : null;
}

/**
 * Where the entries of token m stand in a picture, in percent of it; null where it has none.
 * @param {StagePicture} picture
 * @param {number | null} m
 */
export function bandOf({ rows, cols, rowStart, colStart, height, width }, m) {
  if (m === null) return null;
  const isColumn = cols === "token m";
  if (!isColumn && rows !== "token m") return null;
  const [index, count] = isColumn ? [m - colStart, width] : [m - rowStart, height];
  if (index < 0 || index >= count) return null;
  const [start, size] = [(100 * index) / count, 100 / count];
  return isColumn
    ? { left: start, width: size, top: 0, height: 100 }
    : { left: 0, width: 100, top: start, height: size };
}

/**
 * Mark the entries of token m in a picture.
 * @param {PictureView} view
 * @param {number | null} m
 */
export function markToken({ picture, mark }, m) {
  const band = bandOf(picture, m);
  mark.hidden = !band;
  for (const [side, share] of Object.entries(band ?? {})) {
    mark.style.setProperty(side, share ? `${share}%` : "0");
  }
}
