// What a page without a kernel says of its cells, and how its widgets are answered.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cellIndex,
  cellNumbers,
  cellText,
  fillTemplate,
  formatSignificant,
  superscript,
} from "../../retnet_viz/ui/export/snapshot/cell_text.js";
import { recordedModel } from "../../retnet_viz/ui/export/snapshot/recorded_model.js";
import { requester } from "../../retnet_viz/ui/panels/request.js";

test("numbers are written as Python's g does", () => {
  for (const [value, digits, text] of /** @type {[number, number, string][]} */ ([
    [0, 3, "0"],
    [1, 3, "1"],
    [0.5, 4, "0.5"],
    [-0.123456, 3, "-0.123"],
    [123.456, 3, "123"],
    [1234.5, 3, "1.23e+03"],
    [999.6, 3, "1e+03"],
    [0.0001234, 3, "0.000123"],
    [0.00001234, 3, "1.23e-05"],
    [1e-5, 4, "1e-05"],
    [1e-120, 4, "1e-120"],
    [100, 3, "100"],
    [0.96875, 4, "0.9688"],
    [Number.NaN, 3, "nan"],
    [-Infinity, 3, "-inf"],
  ])) {
    assert.equal(formatSignificant(value, digits), text);
  }
});

test("a sentence takes its values, also where they have braces", () => {
  assert.equal(fillTemplate("{a} and {b}, {a}", { a: "{b}", b: 2 }), "{b} and 2, {b}");
  assert.equal(superscript(1290), "¹²⁹⁰");
});

test("a cell says what it is made of, or that it comes later", () => {
  const sentences = {
    weight: "h{head} {n} {reader} {m} {read}: {score} x {power} {decay} = {weight}",
    decay: "h{head} {n} {m}: {power} {decay}",
    later: "{n} {reader} not {m} {read}",
  };
  const numbers = {
    score: () => 0.33333,
    decay: (/** @type {number} */ head) => head + 0.12345,
    weight: () => -0.66666,
  };
  const tokens = ["a", "b", "c"];
  assert.equal(
    cellText(sentences, "retention", [1, 2, 0], tokens, numbers),
    "h1 2 c 0 a: 0.333 x ² 1.12 = -0.667",
  );
  assert.equal(cellText(sentences, "decay", [1, 2, 0], tokens, numbers), "h1 2 0: ² 1.123");
  assert.equal(cellText(sentences, "decay", [1, 0, 2], tokens, numbers), "0 a not 2 c");
});

test("cells up to the diagonal stand row by row, head by head", () => {
  const indices = [];
  for (let head = 0; head < 2; head++) {
    for (let n = 0; n < 4; n++) {
      for (let m = 0; m <= n; m++) indices.push(cellIndex(4, head, n, m));
    }
  }
  assert.deepEqual(indices, [...indices.keys()]);
});

test("weights that a page does not have are scores times decay, as 32 bits round it", () => {
  const scores = Float32Array.of(3, 5, 7); // cells (0, 0), (1, 0), (1, 1) of the only head
  const decay = Float32Array.of(1, 0.1);
  const without = cellNumbers(2, { scores, weights: null, decay });
  assert.equal(without.weight(0, 1, 0), Math.fround(5 * Math.fround(0.1)));
  assert.equal(without.weight(0, 1, 1), 7);
  const weights = Float32Array.of(0, -2, 0);
  assert.equal(cellNumbers(2, { scores, weights, decay }).weight(0, 1, 0), -2);
  assert.equal(cellNumbers(2, { scores, weights, decay }).weight(0, 1, 1), 0);
});

test("a recorded widget's questions are answered or refused, every one", async () => {
  const bytes = new ArrayBuffer(2);
  const model = recordedModel(
    { token: 1 },
    {
      answers: {
        text: (about) => ({ text: `of ${about}` }),
        scene: () => [{ scene: 3 }, [bytes]],
        gone: () => {
          throw new Error("There is no such step.");
        },
      },
    },
  );
  const request = requester(model, 1000);
  assert.equal((await request("text", 7)).text, "of 7");
  assert.deepEqual((await request("scene")).buffers, [bytes]);
  await assert.rejects(request("gone"), /no such step/);
  await assert.rejects(request("anything"), /Nothing here answers anything/);
});

test("a recorded widget hears what has changed, and tells what it saves", () => {
  /** @type {unknown[]} */
  const events = [];
  const model = recordedModel(
    { token: 1, head: 0, cell: [1] },
    { onSave: ({ token }) => events.push(["saved", token]) },
  );
  const onAnyChange = () => {
    events.push("change");
  };
  model.on("change:token change:cell", () => events.push(["token", model.get("token")]));
  model.on("change", onAnyChange);
  model.set("token", 1); // it is that already
  assert.deepEqual(events, []);
  model.set({ token: 2, head: 0 });
  assert.deepEqual(events, [["token", 2], "change"]);
  model.set("cell", [1]); // of a list nobody knows whether it is another
  model.off("change", onAnyChange);
  model.save_changes();
  assert.deepEqual(events.slice(2), [["token", 2], "change", ["saved", 2]]);
});
