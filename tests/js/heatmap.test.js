// How the places of a plane become pixels.

import assert from "node:assert/strict";
import { test } from "node:test";
import "./browser_classes.js";
import { expandDiagonals, paint } from "../../retnet_viz/ui/panels/heatmap.js";
import { arrange, GAP, LABEL, paletteOf } from "../../retnet_viz/ui/panels/multiples.js";
import { fitText, ticks } from "../../retnet_viz/ui/panels/tiled/axes.js";
import { palettes } from "../../retnet_viz/ui/panels/tiled/tile_pictures.js";

const palette = Uint32Array.from({ length: 256 }, (_, index) => index); // a pixel is its place

/** @param {ImageData} image */
function pixels(image) {
  return [...new Uint32Array(image.data.buffer)];
}

test("each cell on or below the diagonal is a pixel, nothing is above it", () => {
  const cells = Uint8Array.of(1, 9, 9, 2, 3, 9, 4, 5, 6);
  const image = paint(cells, 3, palette, false, 10);
  assert.equal(image.width, 3);
  assert.deepEqual(pixels(image), [1, 0, 0, 2, 3, 0, 4, 5, 6]);
});

test("of cells that share a pixel the one farthest from zero is shown", () => {
  const length = 4;
  const cells = new Uint8Array(length * length).fill(128); // 128 is the zero of signed values
  cells[3 * length + 1] = 20; // 108 below it
  cells[3 * length + 0] = 200; // 72 above it
  assert.deepEqual(pixels(paint(cells, length, palette, true, 2)), [128, 0, 20, 128]);
  // Of unsigned ones the largest.
  assert.deepEqual(pixels(paint(cells, length, palette, false, 2)), [128, 0, 200, 128]);
});

test("a length that the limit does not divide loses no row and no column", () => {
  const length = 5;
  const cells = new Uint8Array(length * length).fill(1);
  cells[4 * length + 4] = 77;
  const image = paint(cells, length, palette, false, 2);
  assert.equal(image.width, 2); // three tokens a pixel, then two
  assert.deepEqual(pixels(image), [1, 0, 1, 77]);
});

test("places by distance stand along the diagonals", () => {
  const length = 4;
  const cells = expandDiagonals(Uint8Array.of(10, 11, 12, 13), length);
  for (let n = 0; n < length; n++) {
    for (let m = 0; m <= n; m++) assert.equal(cells[n * length + m], 10 + n - m);
  }
});

test("squares are as large as the box allows", () => {
  for (const [count, width, height] of [
    [1, 300, 300],
    [4, 800, 250],
    [4, 250, 800],
    [8, 640, 480],
  ]) {
    const { side, columns } = arrange(count, width, height, LABEL);
    const rows = Math.ceil(count / columns);
    /**
     * @param {number} size
     * @param {number} across
     */
    const fits = (size, across) =>
      across * size + (across - 1) * GAP <= width &&
      Math.ceil(count / across) * (size + LABEL) + (Math.ceil(count / across) - 1) * GAP <= height;
    assert.ok(rows * columns >= count);
    assert.ok(fits(side, columns));
    for (let across = 1; across <= count; across++) assert.ok(!fits(side + 1, across));
  }
  assert.deepEqual(arrange(3, 5, 5, LABEL), { side: 0, columns: 1 }); // no room at all
});

test("colours become pixels in the machine's order of bytes", () => {
  const bytes = new Uint8Array(paletteOf(Uint8Array.of(1, 2, 3, 250, 251, 252)).buffer);
  assert.deepEqual([...bytes], [1, 2, 3, 255, 250, 251, 252, 255]);
});

test("bounds are drawn in greys that darken away from zero, and nothing is transparent", () => {
  const colors = new Uint8Array(3 * 256).fill(9);
  for (const signed of [true, false]) {
    const { values, bounds } = palettes(colors, signed);
    assert.equal(values[0], 0);
    assert.equal(bounds[0], 0);
    /** @param {number} index */
    const grey = (index) => new Uint8Array(bounds.buffer, 4 * index, 4)[0];
    const zero = signed ? 128 : 1;
    assert.equal(grey(zero), 250);
    assert.ok(grey(255) < grey(zero + 60));
    if (signed) assert.equal(grey(128 - 50), grey(128 + 50));
  }
});

test("marks are round numbers within the window, as many as there is room for", () => {
  assert.deepEqual(ticks(0, 10, 60, 50), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(ticks(97, 20, 10, 50), [100, 105, 110, 115]);
  for (const [start, length, cell, room] of [
    [0, 131072, 0.003, 44],
    [1234, 777, 0.9, 54],
    [5, 3, 100, 44],
  ]) {
    const tokens = ticks(start, length, cell, room);
    assert.ok(tokens.length > 0);
    assert.ok(tokens.every((mark) => mark >= start && mark < start + length));
    const steps = tokens.slice(1).map((mark, i) => mark - tokens[i]);
    assert.ok(steps.every((step) => step * cell >= room && step === steps[0]));
  }
});

test("a text that is too wide ends with an ellipsis and keeps whole characters", () => {
  /** @type {any} */
  const context = {
    measureText: (/** @type {string} */ text) => ({ width: 10 * [...text].length }),
  };
  assert.equal(fitText(context, "three", 50), "three");
  assert.equal(fitText(context, "three", 40), "thr…");
  assert.equal(fitText(context, "🦊🦊🦊", 20), "🦊…");
  assert.equal(fitText(context, "three", 5), "…");
});
