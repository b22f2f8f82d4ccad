// The window of a long text: where it may stand, how it moves, what is at a point of it.

import assert from "node:assert/strict";
import { test } from "node:test";
import "./browser_classes.js";
import { GAP, squareAt } from "../../retnet_viz/ui/panels/multiples.js";
import { namesOf, tickLabels } from "../../retnet_viz/ui/panels/tiled/axes.js";
import { imageOf, palettes } from "../../retnet_viz/ui/panels/tiled/tile_pictures.js";
import {
  cornersOf,
  dragWindow,
  formatRange,
  gestureOf,
  insetBox,
  isInInset,
  middleCell,
  planeCellAt,
  tokenRange,
  windowAt,
  windowFromInset,
  windowOnToken,
  zoomWindow,
} from "../../retnet_viz/ui/panels/tiled/window.js";

/** @import { Picture } from "../../retnet_viz/ui/types.js" */

const LENGTH = 1000;

test("a window stays within the text, and a corner of the triangle in sight", () => {
  assert.deepEqual(windowAt(200, 100, 50, LENGTH), { n: 200, m: 100, span: 50 });
  assert.deepEqual(windowAt(-5, -5, 50, LENGTH), { n: 0, m: 0, span: 50 });
  assert.deepEqual(windowAt(990, 100, 50, LENGTH), { n: 950, m: 100, span: 50 });
  assert.deepEqual(windowAt(200, 700, 50, LENGTH), { n: 200, m: 240, span: 50 });
  assert.deepEqual(windowAt(990, 990, 50, LENGTH), { n: 950, m: 950, span: 50 });
  assert.deepEqual(windowAt(3, 3, 5000, LENGTH), { n: 0, m: 0, span: LENGTH });
  assert.equal(windowAt(3, 3, 0.1, LENGTH).span, 4); // no closer than that
  assert.equal(windowAt(0, 0, 0.1, 3).span, 3); // or than the text is long
});

test("what is under the pointer stays there while the window zooms", () => {
  const view = { n: 400, m: 300, span: 100 };
  const closer = zoomWindow(view, LENGTH, 2, 0.25, 0.75);
  assert.deepEqual(closer, { n: 437.5, m: 312.5, span: 50 });
  assert.equal(closer.n + 0.75 * closer.span, view.n + 0.75 * view.span);
  assert.equal(closer.m + 0.25 * closer.span, view.m + 0.25 * view.span);
  assert.deepEqual(zoomWindow(view, LENGTH, 2), { n: 425, m: 325, span: 50 });
});

test("the selected token is brought to the middle of the rows", () => {
  const near = windowOnToken({ n: 0, m: 0, span: 100 }, LENGTH, 500, [], 400);
  assert.deepEqual(near, { n: 450.5, m: 420.5, span: 100 });
  const pinned = windowOnToken({ n: 0, m: 0, span: 100 }, LENGTH, 500, [2, 500, 300], 400);
  assert.deepEqual(pinned, { n: 450.5, m: 250.5, span: 100 });
  const other = windowOnToken({ n: 0, m: 0, span: 100 }, LENGTH, 500, [2, 400, 300], 400);
  assert.deepEqual(other, near); // that cell is of another token
  // From the whole it goes as near as tokens can be read, 40 of them at most.
  const fullView = { n: 0, m: 0, span: LENGTH };
  assert.equal(windowOnToken(fullView, LENGTH, 500, [], 260).span, 20);
  assert.equal(windowOnToken(fullView, LENGTH, 500, [], 5200).span, 40);
});

test("a drag moves the plane with the pointer, a pinch zooms it", () => {
  const view = { n: 400, m: 300, span: 100 };
  /** @type {[number, number]} */
  const share = [0.5, 0.5];
  const start = { x: 100, y: 100, distance: 0, view, share };
  const moved = dragWindow(start, { x: 150, y: 80, distance: 0 }, LENGTH, 200);
  assert.deepEqual(moved, { n: 410, m: 275, span: 100 });
  const pinch = dragWindow(
    { ...start, distance: 50 },
    { x: 100, y: 100, distance: 100 },
    LENGTH,
    200,
  );
  assert.deepEqual(pinch, { n: 425, m: 325, span: 50 });
  assert.deepEqual(gestureOf([{ x: 4, y: 8 }]), { x: 4, y: 8, distance: 0 });
  const two = [
    { x: 0, y: 0 },
    { x: 6, y: 8 },
  ];
  assert.deepEqual(gestureOf(two), { x: 3, y: 4, distance: 10 });
});

test("as many tokens are asked for wherever the window stands", () => {
  assert.deepEqual(tokenRange(0, 100, LENGTH), [0, 101]);
  assert.deepEqual(tokenRange(450.5, 100, LENGTH), [450, 551]);
  assert.deepEqual(tokenRange(450.5, 99.2, LENGTH), [450, 551]);
  assert.deepEqual(tokenRange(900, 100, LENGTH), [899, 1000]);
  assert.deepEqual(tokenRange(0, LENGTH, LENGTH), [0, LENGTH]);
});

test("a point of a square is a cell, and beyond the text none", () => {
  const squares = [
    { x: 10, y: 20 },
    { x: 120, y: 20 },
  ];
  assert.deepEqual(squareAt(10, 20, squares, 100), [0, 0, 0]);
  assert.deepEqual(squareAt(170, 45, squares, 100), [1, 0.5, 0.25]);
  for (const [x, y] of [
    [9.9, 20],
    [110, 20],
    [10, 19.9],
    [10, 120],
  ]) {
    assert.equal(squareAt(x, y, squares, 100), null);
  }
  const view = { n: 500.5, m: 400, span: 10 };
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    planeCellAt({ x, y }, squares, 100, view, LENGTH);
  assert.deepEqual(at(120, 20), [1, 500, 400]);
  assert.deepEqual(at(120, 24.9), [1, 500, 400]);
  assert.deepEqual(at(120, 25), [1, 501, 400]);
  assert.deepEqual(at(139.9, 20), [1, 500, 401]);
  assert.deepEqual(at(140, 20), [1, 500, 402]);
  assert.equal(at(115, 20), null);
  assert.equal(
    planeCellAt({ x: 10, y: 119 }, squares, 100, { n: 995.5, m: 0, span: 5 }, LENGTH),
    null,
  );
  assert.deepEqual(middleCell(1, view, LENGTH), [1, 505, 405]);
  assert.deepEqual(middleCell(0, { n: 400, m: 405, span: 10 }, LENGTH), [0, 405, 405]);
});

test("squares stand beside each other with room for their axis, in the middle", () => {
  assert.deepEqual(cornersOf(3, 2, 100, 50 + 210 + 40, 50, 18), [
    { x: 70, y: 18 },
    { x: 70 + 100 + GAP, y: 18 },
    { x: 70, y: 18 + 100 + GAP + 18 },
  ]);
});

test("the overview stands beside the squares or in the first, and moves the window", () => {
  const squares = [
    { x: 60, y: 18 },
    { x: 170, y: 18 },
  ];
  assert.deepEqual(insetBox(squares, 100, 270 + 92, 18), { x: 280, y: 18, size: 80 });
  assert.deepEqual(insetBox(squares, 100, 600, 18), { x: 280, y: 18, size: 120 });
  assert.deepEqual(insetBox(squares, 100, 270 + 91, 18), {
    x: 60 + 100 - 34 - 4,
    y: 22,
    size: 34,
  });
  const inset = { x: 280, y: 18, size: 100 };
  assert.ok(isInInset({ x: 280, y: 18 }, inset));
  assert.ok(isInInset({ x: 379, y: 117 }, inset));
  for (const point of [
    { x: 279, y: 18 },
    { x: 380, y: 18 },
    { x: 280, y: 118 },
  ]) {
    assert.ok(!isInInset(point, inset));
  }
  assert.ok(!isInInset({ x: 280, y: 18 }, null));
  const view = { n: 0, m: 0, span: 100 };
  assert.deepEqual(windowFromInset({ x: 310, y: 68 }, inset, view, LENGTH), {
    n: 450,
    m: 250,
    span: 100,
  });
});

test("along an axis stand tokens where they can be read, else round numbers", () => {
  const names = ["a", "b", "c", "d"];
  const nameOf = (/** @type {number} */ token) => names[token - 5];
  assert.deepEqual(tickLabels(5.4, 3, 20, LENGTH, 24, nameOf), [
    [5, "a"],
    [6, "b"],
    [7, "c"],
  ]);
  assert.deepEqual(tickLabels(5.6, 3, 20, 8, 24, nameOf), [
    [6, "b"],
    [7, "c"],
  ]);
  assert.deepEqual(tickLabels(0, 3000, 0.1, 3000, 100, nameOf), [
    [0, "0"],
    [1000, "1,000"],
    [2000, "2,000"],
  ]);
  /** @type {any} */
  const picture = { rows: [5, 9], cols: [2, 6], names: [names, ["w", "x", "y", "z"]] };
  assert.equal(namesOf(picture, 0)(6), "b");
  assert.equal(namesOf(picture, 1)(3), "x");
  assert.equal(namesOf(picture, 1)(6), undefined);
  assert.equal(namesOf(null, 1)(6), undefined);
});

test("a window is said by its first and last token", () => {
  assert.equal(formatRange(0, 2000), "0–1,999");
  assert.equal(formatRange(450.5, 10), "450–460");
  assert.equal(formatRange(7, 1), "7");
});

test("the heads of a picture take their own places, and greys where they are bounds", () => {
  /** @type {any} */
  const message = { heads: [3, 5], bounds: [5], width: 2, height: 1 };
  const colors = new Uint8Array(768).map((_, i) => Math.floor(i / 3));
  const indices = Uint8Array.of(7, 9, 255, 0);
  const palette = palettes(colors, false);
  assert.deepEqual([...imageOf(message, 0, indices, palette).data], [7, 7, 7, 255, 9, 9, 9, 255]);
  assert.deepEqual([...imageOf(message, 1, indices, palette).data], [60, 60, 60, 255, 0, 0, 0, 0]);
});
