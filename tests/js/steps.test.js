// The mode at work: which step is played when, and what is at a point of the stage.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { requester } from "../../retnet_viz/ui/panels/request.js";
import { barAt, barsLayout, barText } from "../../retnet_viz/ui/panels/steps/bars.js";
import {
  cellOfPlane,
  highlightOfCell,
  planeCaption,
} from "../../retnet_viz/ui/panels/steps/plane.js";
import { sceneStore } from "../../retnet_viz/ui/panels/steps/scenes.js";
import {
  lastToken,
  nextDue,
  periodOf,
  stepCount,
  stepOf,
  tokensAfter,
} from "../../retnet_viz/ui/panels/steps/schedule.js";
import {
  axisText,
  bandOf,
  colorPixels,
  entryAt,
  picturesOf,
  shapeOf,
  tokenOfEntry,
} from "../../retnet_viz/ui/panels/steps/step_pictures.js";
import { modelWithoutPage, turn } from "./fake_kernel.js";

/** @import { Plane, Scene, StagePicture } from "../../retnet_viz/ui/types.js" */

const CHUNKS = { length: 10, stride: 4 }; // steps of tokens 0-3, 4-7, 8-9

test("a step gives the outputs of its tokens, the last one of what is left", () => {
  assert.equal(stepCount(CHUNKS), 3);
  assert.deepEqual(
    [0, 3, 4, 7, 8, 9].map((n) => stepOf(CHUNKS, n)),
    [0, 0, 1, 1, 2, 2],
  );
  assert.deepEqual(
    [-1, 0, 1, 2, 3].map((step) => lastToken(CHUNKS, step)),
    [3, 3, 7, 9, 9],
  );
  assert.equal(stepCount({ length: 8, stride: 4 }), 2);
  assert.equal(stepCount({ length: 0, stride: 1 }), 0);
});

test("the tokens that come next are those of the next steps, and no more than there are", () => {
  assert.deepEqual(tokensAfter({ length: 9, stride: 1 }, 3, 4), [4, 5, 6, 7]);
  assert.deepEqual(tokensAfter({ length: 9, stride: 1 }, 6, 4), [7, 8]);
  assert.deepEqual(tokensAfter({ length: 9, stride: 1 }, 8, 4), []);
  assert.deepEqual(tokensAfter(CHUNKS, 1, 4), [7, 9]);
  assert.deepEqual(tokensAfter({ length: 5, stride: 5 }, 0, 1), []);
});

test("a late frame is made good, a long wait is not", () => {
  assert.equal(nextDue(1000, 1010, 100), 1100);
  assert.equal(nextDue(1000, 1050, 100), 1100);
  assert.equal(nextDue(1000, 1400, 100), 1450);
  assert.equal(periodOf(8, false), 125);
  assert.equal(periodOf(8, true), 500); // who wants less motion gets two steps a second
  assert.equal(periodOf(1, true), 1000);
});

/** @type {Plane} */
const PLANE = {
  first: 4,
  last: 12,
  row: 9,
  lit: [8, 10, 4, 10],
  done: [[4, 8, 4, 8]],
  built: true,
  cells: [2, 6],
  at: 0,
};

test("a point of the plane is a cell, and outside it is none", () => {
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    cellOfPlane(PLANE, 120, 80, x, y);
  assert.deepEqual(at(20, 0), [4, 4]); // 8 x 8 cells of 10 pixels, from x = 20 on
  assert.deepEqual(at(29.9, 9.9), [4, 4]);
  assert.deepEqual(at(30, 10), [5, 5]);
  assert.deepEqual(at(99.9, 79.9), [11, 11]);
  assert.deepEqual(at(20, 50), [9, 4]);
  for (const [x, y] of [
    [19.9, 0],
    [100, 0],
    [20, -0.1],
    [20, 80],
  ]) {
    assert.equal(at(x, y), null);
  }
});

test("a cell lights the term that it belongs to", () => {
  assert.deepEqual(highlightOfCell(PLANE, 9, 9), { term: "weights", m: 9 });
  assert.deepEqual(highlightOfCell(PLANE, 8, 4), { term: "weights", m: null }); // not the row that is read
  assert.deepEqual(highlightOfCell(PLANE, 9, 3), { term: "cross", m: 3 });
  assert.deepEqual(highlightOfCell(PLANE, 7, 6), { term: "cross", m: null });
  assert.deepEqual(highlightOfCell(PLANE, 10, 9), { term: "cross", m: null });
  assert.deepEqual(highlightOfCell(PLANE, 9, 10), { term: null, m: 10 }); // comes later
  const recurrent = { ...PLANE, lit: null };
  assert.deepEqual(highlightOfCell(recurrent, 9, 9), { term: "added", m: 9 });
  assert.deepEqual(highlightOfCell(recurrent, 9, 8), { term: "faded", m: 8 });
  assert.deepEqual(highlightOfCell(recurrent, 8, 9), { term: null, m: 9 });
});

/** @type {StagePicture} */
const PICTURE = {
  term: "weights",
  label: "W",
  rows: "token n",
  cols: "token m",
  height: 2,
  width: 6,
  rowStart: 8,
  colStart: 4,
  norm: "1",
  computed: true,
  scale: "weights",
  signed: true,
  at: 0,
};
/** @type {Scene} */
const SCENE = {
  step: 1,
  steps: 3,
  sentence: "",
  formula: "",
  lines: [["(", PICTURE, ")"], [{ ...PICTURE, term: "v" }]],
  plane: PLANE,
  bars: null,
  limits: {},
  cost: "",
};

test("the plane's caption says what its colours mean", () => {
  assert.equal(
    planeCaption(SCENE, 2000),
    "tokens 4 to 11 of 2,000. Colour: this step; grey: earlier; blank: never.",
  );
  const single = { ...SCENE, plane: { ...PLANE, done: [] } };
  assert.equal(
    planeCaption(single, 8),
    "8 × 8 cells (n ↓, m →). Colour: this step; blank: later or never.",
  );
  assert.match(planeCaption({ ...single, steps: 1 }, 8), /Colour: all at once, in this step\.$/);
  const none = { ...SCENE, plane: { ...PLANE, built: false } };
  assert.match(planeCaption(none, 8), /Blank: this mode builds no cells\.$/);
});

test("a point of a picture is an entry, at its edges the nearest", () => {
  assert.deepEqual(entryAt(PICTURE, 0, 0), [0, 0]);
  assert.deepEqual(entryAt(PICTURE, 0.17, 0.5), [1, 1]);
  assert.deepEqual(entryAt(PICTURE, 0.16, 0.49), [0, 0]);
  assert.deepEqual(entryAt(PICTURE, 1, 1), [1, 5]);
  assert.deepEqual(entryAt(PICTURE, -0.1, 1.2), [1, 0]);
});

test("an entry knows its token m, and a token its place in a picture", () => {
  const keys = { ...PICTURE, rows: "token m", cols: "d_k", rowStart: 3, height: 4, width: 2 };
  const state = { ...PICTURE, rows: "d_k", cols: "d_v" };
  assert.equal(tokenOfEntry(PICTURE, 1, 2), 6);
  assert.equal(tokenOfEntry(keys, 1, 2), 4);
  assert.equal(tokenOfEntry(state, 1, 2), null);
  assert.deepEqual(bandOf(keys, 4), { left: 0, width: 100, top: 25, height: 25 });
  assert.deepEqual(bandOf({ ...PICTURE, width: 5 }, 8), {
    left: 80,
    width: 20,
    top: 0,
    height: 100,
  });
  for (const m of [2, 7]) assert.equal(bandOf(keys, m), null);
  for (const m of [3, 10]) assert.equal(bandOf(PICTURE, m), null);
  assert.equal(bandOf(PICTURE, null), null);
  assert.equal(bandOf(state, 4), null);
});

test("places become the colours of a table", () => {
  const pixels = new Uint8ClampedArray(8);
  colorPixels(pixels, Uint8Array.of(2, 0), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9));
  assert.deepEqual([...pixels], [7, 8, 9, 255, 1, 2, 3, 255]);
});

test("scenes whose pictures stand in the same places have one shape", () => {
  assert.deepEqual(
    picturesOf(SCENE).map(({ term }) => term),
    ["weights", "v"],
  );
  assert.equal(shapeOf(SCENE), shapeOf({ ...SCENE, lines: [["[", PICTURE, "]"], SCENE.lines[1]] }));
  assert.notEqual(shapeOf(SCENE), shapeOf({ ...SCENE, lines: [["(", PICTURE, ")"]] }));
  assert.equal(axisText("token m", 5), "5 tokens ↓ ");
  assert.equal(axisText("d_v", 8), "8 d_v");
  assert.equal(axisText("", 8), "");
});

test("a bar is found by its place", () => {
  const bars = {
    title: "",
    term: "k",
    values: [0.5, 0.25, 1],
    first: 7,
    slots: 4,
    limit: 1,
    unit: "share",
    labels: ["a", "b", "c"],
  };
  const at = (/** @type {number} */ x) => barAt(bars, 126, 100, x); // slots of 20 pixels from 46 on
  assert.deepEqual([45.9, 46, 65.9, 66, 105.9, 106].map(at), [-1, 0, 0, 1, 2, -1]);
  assert.equal(barText(bars, 1), "token 8 “b”: 0.2500 (share)");
  assert.deepEqual(barsLayout(bars, 126, 100), { hasLabels: true, baseline: 55, slot: 20 });
  assert.ok(!barsLayout({ ...bars, slots: 41 }, 2000, 100).hasLabels);
  assert.ok(!barsLayout(bars, 63, 100).hasLabels);
  assert.ok(barsLayout(bars, 64, 100).hasLabels);
});

/** @param {string} name */
function store(name = "scene") {
  const model = modelWithoutPage();
  /** @type {[number, string][]} */
  const arrivals = [];
  const scenes = sceneStore(requester(model), (token, error) => {
    arrivals.push([token, error instanceof Error ? error.message : ""]);
  });
  const reply = (/** @type {number} */ i) =>
    model.reply({ answers: model.sent[i].question, [name]: SCENE }, [Uint8Array.of(1, 2).buffer]);
  return { model, scenes, arrivals, reply };
}

test("a scene is asked for once, and kept", async () => {
  const { model, scenes, arrivals, reply } = store();
  scenes.ask(3, 1);
  scenes.ask(3, 1);
  assert.deepEqual(
    model.sent.map(({ ask, about }) => [ask, about]),
    [["scene", { version: 1, token: 3 }]],
  );
  reply(0);
  await turn();
  scenes.ask(3, 1);
  assert.equal(model.sent.length, 1);
  assert.deepEqual(arrivals, [[3, ""]]);
  assert.deepEqual([...(scenes.get(3)?.bytes ?? [])], [1, 2]);
  assert.equal(scenes.get(4), null);
});

test("a scene of an earlier text is not shown", async () => {
  const { model, scenes, arrivals, reply } = store();
  scenes.ask(3, 1);
  scenes.forget();
  reply(0);
  await turn();
  assert.equal(scenes.get(3), null);
  assert.deepEqual(arrivals, []);
  scenes.ask(3, 2); // is asked anew
  assert.equal(model.sent.length, 2);
});

test("of many scenes the newest are kept", async () => {
  const { scenes, reply } = store();
  for (let n = 0; n < 97; n++) scenes.ask(n, 1);
  for (let n = 0; n < 97; n++) reply(n);
  await turn();
  assert.equal(scenes.get(0), null);
  for (const n of [1, 96]) assert.ok(scenes.get(n));
});

test("a scene that never comes is told, and can be asked for again", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { model, scenes, arrivals } = store();
    const request = scenes.ask(3, 1);
    mock.timers.tick(60_000);
    await request;
    assert.deepEqual(arrivals, [[3, "The kernel has not answered."]]);
    scenes.ask(3, 1);
    assert.equal(model.sent.length, 2);
  } finally {
    mock.timers.reset();
  }
});
