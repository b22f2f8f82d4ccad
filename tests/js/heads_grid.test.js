// The grid of all heads: how it stands, what its parts are called, where keys lead.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  headAfterKey,
  headLabel,
  headsLayout,
  headsTables,
  largestShare,
  shareBar,
} from "../../retnet_viz/ui/panels/heads/heads_text.js";

/** @import { HeadsMeta } from "../../retnet_viz/ui/types.js" */

/** @type {HeadsMeta} */
const meta = {
  layers: 2,
  heads: 2,
  side: 4,
  headColors: ["red", "blue"],
  halfLives: [
    ["22 tokens", "∞ tokens"],
    ["22 tokens", "1 token"],
  ],
  gammas: [
    ["0.969", "1"],
    ["0.969", "0.5"],
  ],
  largest: [
    ["3", "4"],
    ["5", "6"],
  ],
};
const shares = {
  state: "ready",
  values: [
    [1, -3],
    [0, 2],
  ],
  texts: [
    ["+1.00", "-3.00"],
    ["0.00", "+2.00"],
  ],
  token: "“·dog”",
};

test("numbers stand beside the thumbnails where that fits, else below them", () => {
  assert.equal(headsLayout(4, 1234, 1, 3).isBeside, true);
  assert.equal(headsLayout(4, 344, 1, 3).isBeside, false);
  assert.equal(headsLayout(16, 1900, 1, 3).isBeside, false);
  assert.equal(headsLayout(4, 1234, 1.9, 3).isBeside, false); // letters for a projector
  for (const heads of [1, 4, 8, 16]) {
    for (const width of [300, 344, 800, 1234, 1900]) {
      const { cell, isBeside, isNamedAbove } = headsLayout(heads, width, 1, 3);
      const row = heads * cell + 6 * (heads - 1);
      assert.ok(cell >= (isBeside ? 218 : 80));
      if (isBeside) assert.equal(isNamedAbove, false);
      if (!isNamedAbove) assert.ok(row + 58 <= width);
      assert.ok(row <= width || cell === 80); // wider than the panel only where it must be
      assert.ok(width - row < 58 + heads); // and all of it is used
    }
  }
});

test("four heads stand side by side on a phone", () => {
  const { cell, isNamedAbove } = headsLayout(4, 344, 1, 3);
  assert.ok(isNamedAbove);
  assert.ok(4 * cell + 3 * 6 <= 344);
});

test("a long half-life has room", () => {
  assert.equal(headsLayout(16, 800, 1, 5).cell, 80 + 2 * 6.5);
  assert.equal(headsLayout(16, 800, 2, 5).cell, 2 * (80 + 2 * 6.5));
});

test("arrows lead to the heads around one, and no further than the last", () => {
  assert.deepEqual(headAfterKey("ArrowRight", [0, 0], 3, 4), [0, 1]);
  assert.deepEqual(headAfterKey("ArrowRight", [0, 3], 3, 4), [0, 3]);
  assert.deepEqual(headAfterKey("ArrowLeft", [1, 0], 3, 4), [1, 0]);
  assert.deepEqual(headAfterKey("ArrowUp", [0, 2], 3, 4), [0, 2]);
  assert.deepEqual(headAfterKey("ArrowDown", [1, 2], 3, 4), [2, 2]);
  assert.deepEqual(headAfterKey("Home", [1, 2], 3, 4), [1, 0]);
  assert.deepEqual(headAfterKey("End", [1, 2], 3, 4), [1, 3]);
  assert.deepEqual(headAfterKey("PageUp", [2, 1], 3, 4), [0, 1]);
  assert.deepEqual(headAfterKey("PageDown", [0, 1], 3, 4), [2, 1]);
  assert.equal(headAfterKey("Tab", [0, 0], 3, 4), null);
});

test("a thumbnail is called by its place, its numbers and whether it is silent", () => {
  assert.equal(
    headLabel([1, 1], meta, shares, true),
    "layer 1, head 1, half-life 1 token, +2.00 to “·dog”, silent",
  );
  assert.equal(
    headLabel([0, 1], meta, { state: "pending" }, false),
    "layer 0, head 1, half-life ∞ tokens",
  );
  const empty = { ...meta, side: 0, halfLives: undefined };
  assert.equal(headLabel([0, 0], empty, { state: "pending" }, false), "layer 0, head 0");
});

test("a bar begins in the middle and is as long as its share of the largest", () => {
  assert.equal(largestShare(shares), 3);
  assert.equal(largestShare({ state: "pending" }), 0);
  assert.deepEqual(shareBar(3, 3), { start: 50, length: 50 });
  assert.deepEqual(shareBar(-1.5, 3), { start: 25, length: 25 });
  assert.deepEqual(shareBar(0, 0), { start: 50, length: 0 });
});

test("the table has a row for each head", () => {
  const [[, header, rows]] = headsTables(meta, shares, ([layer]) => layer === 1);
  assert.equal(header[4], "share in the logit of “·dog”");
  assert.deepEqual(rows[1], ["layer 0, head 1", "1", "∞ tokens", "4", "-3.00", "no"]);
  assert.deepEqual(rows[3], ["layer 1, head 1", "0.5", "1 token", "6", "+2.00", "yes"]);
  const waiting = headsTables(meta, { state: "pending" }, () => false);
  assert.equal(waiting[0][2][0][4], "–");
  assert.deepEqual(
    headsTables({ ...meta, halfLives: undefined }, shares, () => false),
    [],
  );
});
