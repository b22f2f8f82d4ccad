// The pictures of a window, as the kernel sends them: places in a table of colours become bitmaps.

/** @import { Bytes, Picture, SentPicture } from "../../types.js" */

import { bitmapOf, bytesOf } from "../common.js";
import { paletteOf } from "../multiples.js";

/**
 * Pixels for places: of values, and of upper bounds, which have no sign and are drawn in greys.
 * @param {Uint8Array} colors
 * @param {boolean} signed
 */
export function palettes(colors, signed) {
  const greys = new Uint8Array(3 * 256);
  for (let place = 1; place < 256; place++) {
    const share = signed ? Math.abs(place - 128) / 127 : (place - 1) / 254;
    greys.fill(Math.round(250 - 190 * share), 3 * place, 3 * place + 3);
  }
  const [values, bounds] = [colors, greys].map(paletteOf);
  values[0] = bounds[0] = 0; // nothing here
  return { values, bounds };
}

/**
 * The image of one head, the `i`-th of a picture, of the places of all.
 * @param {SentPicture} sent
 * @param {number} i
 * @param {Uint8Array} places
 * @param {{ values: Uint32Array, bounds: Uint32Array }} palette
 */
export function imageOf(sent, i, places, { values, bounds }) {
  const palette = sent.bounds.includes(sent.heads[i]) ? bounds : values;
  const image = new ImageData(sent.width, sent.height);
  const pixels = new Uint32Array(image.data.buffer);
  const size = sent.height * sent.width;
  for (let j = 0; j < size; j++) pixels[j] = palette[places[i * size + j]];
  return image;
}

/**
 * The picture of a window with one bitmap per head, from what the kernel sent.
 * @param {SentPicture} sent
 * @param {Bytes} buffer
 * @param {Uint8Array} colors
 * @param {boolean} signed
 * @param {number} version of what is shown
 * @returns {Picture}
 */
export function pictureOf(sent, buffer, colors, signed, version) {
  const places = bytesOf(buffer);
  const palette = palettes(colors, signed);
  const bitmaps = sent.heads.map(
    (head, i) => /** @type {const} */ ([head, bitmapOf(imageOf(sent, i, places, palette))]),
  );
  return { ...sent, bitmaps: new Map(bitmaps), version };
}
