// The pictures of a window: the colour indices that the kernel sends become bitmaps.

/** @import { Bytes, Picture, PictureMessage } from "../../types.js" */

import { bitmapOf, bytesOf } from "../common.js";
import { paletteOf } from "../multiples.js";

/**
 * The pixel of each colour index: for values, and in greys for upper bounds, which have no sign.
 * @param {Uint8Array} colors
 * @param {boolean} signed
 */
export function palettes(colors, signed) {
  const greys = new Uint8Array(3 * 256);
  for (let index = 1; index < 256; index++) {
    const share = signed ? Math.abs(index - 128) / 127 : (index - 1) / 254;
    greys.fill(Math.round(250 - 190 * share), 3 * index, 3 * index + 3);
  }
  const [values, bounds] = [colors, greys].map(paletteOf);
  values[0] = bounds[0] = 0; // nothing here
  return { values, bounds };
}

/**
 * The image of the `i`-th head of a picture, from the colour indices of all heads.
 * @param {PictureMessage} message
 * @param {number} i
 * @param {Uint8Array} indices
 * @param {{ values: Uint32Array, bounds: Uint32Array }} palette
 */
export function imageOf(message, i, indices, { values, bounds }) {
  const palette = message.bounds.includes(message.heads[i]) ? bounds : values;
  const image = new ImageData(message.width, message.height);
  const pixels = new Uint32Array(image.data.buffer);
  const size = message.height * message.width;
  for (let j = 0; j < size; j++) pixels[j] = palette[indices[i * size + j]];
  return image;
}

/**
 * The picture of a window with one bitmap per head, from what the kernel sent.
 * @param {PictureMessage} message
 * @param {Bytes} buffer
 * @param {Uint8Array} colors
 * @param {boolean} signed
 * @param {number} version of what is shown
 * @returns {Picture}
 */
export function pictureOf(message, buffer, colors, signed, version) {
  const indices = bytesOf(buffer);
  const palette = palettes(colors, signed);
  const bitmaps = message.heads.map(
    (head, i) => /** @type {const} */ ([head, bitmapOf(imageOf(message, i, indices, palette))]),
  );
  return { ...message, bitmaps: new Map(bitmaps), version };
}
