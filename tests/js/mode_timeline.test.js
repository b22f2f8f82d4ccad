// The clock of the modes side by side: steps and measured time, and what is done at each moment.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  adjacentEvent,
  advanceClock,
  countUpTo,
  eventsOf,
  longestRun,
  measuredRuns,
  momentOf,
  prepare,
  rateOf,
  tickOfTime,
  timeOfTick,
} from "../../retnet_viz/ui/panels/timeline/clock.js";
import {
  boxOf,
  frameIn,
  shadedSteps,
  stateBox,
} from "../../retnet_viz/ui/panels/timeline/picture.js";
import {
  formatNumber,
  momentTable,
  momentText,
  paceText,
  quantitiesOf,
  statusOf,
  summaryOf,
  withUnit,
} from "../../retnet_viz/ui/panels/timeline/quantities.js";

/** @import { RunMessage } from "../../retnet_viz/ui/types.js" */

const NOTHING = {
  mode: "recurrent",
  color: "",
  first_token: [],
  stop_token: [],
  first_cell: [],
  stop_cell: [],
  flops: [],
  held_bytes: [],
  carried_bytes: [],
};

/** @param {Partial<RunMessage> & { milliseconds: number[] }} values */
function runOf(values) {
  const run = prepare({ ...NOTHING, ...values });
  return { ...run, timeAfter: run.timeAfter ?? [] };
}

// Four steps, one token each, in 10, 20, 30 and 40 ms; and one that does all at once in 70 ms.
const slow = runOf({
  flops: [1e6, 2e6, 3e6, 4e6],
  milliseconds: [10, 20, 30, 40],
  held_bytes: [100, 400, 200, 300],
  carried_bytes: [50, 60, 70, 80],
  stop_token: [1, 2, 3, 4],
});
const quick = runOf({
  flops: [5e6],
  milliseconds: [70],
  held_bytes: [5000],
  carried_bytes: [40],
  stop_token: [4],
});
const runs = [quick, slow];

test("numbers up to a limit are counted, the limit among them", () => {
  const values = [1, 2, 2, 5];
  assert.deepEqual(
    [0, 1, 1.5, 2, 4.9, 5, 9].map((limit) => countUpTo(values, limit)),
    [0, 1, 1, 3, 3, 4, 4],
  );
  assert.equal(countUpTo([], 1), 0);
});

test("a run knows what is done after each step, and the most that it held so far", () => {
  assert.deepEqual(slow.timeAfter, [10, 30, 60, 100]);
  assert.deepEqual(slow.flopsAfter, [1e6, 3e6, 6e6, 10e6]);
  assert.deepEqual(slow.peakAfter, [100, 400, 400, 400]);
  assert.equal(slow.steps, 4);
  assert.equal(prepare({ ...slow, milliseconds: null }).timeAfter, null);
});

test("ticks and measured time are the same moments", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((tick) => timeOfTick(runs, tick)),
    [0, 10, 30, 60, 100],
  );
  for (const tick of [0, 1, 2, 3, 4]) assert.equal(tickOfTime(runs, timeOfTick(runs, tick)), tick);
  assert.equal(tickOfTime(runs, 9.9), 0);
  assert.equal(tickOfTime(runs, 10.1), 1);
  // The end is that of the slowest run, also where another has more steps.
  const last = runOf({ ...quick, milliseconds: [250] });
  assert.equal(timeOfTick([last, slow], 4), 250);
});

test("in steps, the step of the tick is the current one and is done with it", () => {
  const first = momentOf(slow, false, 0);
  assert.deepEqual(
    [first.done, first.current, first.finished, first.tokens, first.flops],
    [0, -1, false, 0, 0],
  );
  const second = momentOf(slow, false, 2);
  assert.deepEqual(
    [second.done, second.current, second.tokens, second.flops, second.heldBytes, second.peak],
    [2, 1, 2, 3e6, 400, 400],
  );
  assert.equal(second.time, 30);
  const after = momentOf(quick, false, 3); // done long ago: it carries its state
  assert.deepEqual([after.done, after.current, after.finished, after.heldBytes], [1, -1, true, 40]);
});

test("in measured time, the step that is running is the current one and not yet done", () => {
  const within = momentOf(slow, true, 45);
  assert.deepEqual([within.done, within.current, within.tokens, within.flops], [2, 2, 2, 3e6]);
  assert.equal(within.heldBytes, 200);
  assert.equal(within.peak, 400);
  assert.equal(within.time, 45);
  const border = momentOf(slow, true, 30); // the second step is done, the third begins
  assert.deepEqual([border.done, border.current], [2, 2]);
  const end = momentOf(slow, true, 100);
  assert.deepEqual([end.done, end.current, end.finished, end.heldBytes], [4, -1, true, 80]);
  assert.equal(momentOf(quick, true, 99).time, 70); // it stood still at its end
});

test("a race that was not measured has no times", () => {
  const untimed = prepare({ ...slow, milliseconds: null });
  assert.equal(momentOf(untimed, false, 2).time, null);
  const [, , , time] = quantitiesOf([untimed]);
  assert.equal(withUnit(time, time.now(momentOf(untimed, false, 2))), "not measured");
});

test("each quantity has one unit for all modes, and its end is the largest of them", () => {
  const [steps, flops, memory, time] = quantitiesOf(runs);
  assert.deepEqual([steps.top, flops.top, memory.top, time.top], [4, 10e6, 5000, 100]);
  assert.equal(withUnit(steps, 1), "1 step");
  assert.equal(withUnit(steps, 4), "4 steps");
  assert.equal(withUnit(flops, 3e6), "3.00 MFLOP");
  assert.equal(withUnit(memory, 400), "0.400 kB");
  assert.equal(withUnit(time, 45), "45.0 ms");
  const large = quantitiesOf([prepare({ ...quick, flops: [2e10], held_bytes: [3e7] })]);
  assert.equal(withUnit(large[1], 2e10), "20.0 GFLOP");
  assert.equal(withUnit(large[2], 3e7), "30.0 MB");
});

test("numbers have three digits, and thousands a comma", () => {
  assert.deepEqual([0, 0.00012, 0.01234, 5.678, 999.4, 999.5, 12345.6].map(formatNumber), [
    "0",
    "0.0001",
    "0.0123",
    "5.68",
    "999",
    "1,000",
    "12,346",
  ]);
});

test("the clock is that of the first run with the most steps, where all are measured", () => {
  const other = runOf({ ...slow, mode: "chunkwise", milliseconds: [1, 1, 1, 1] });
  assert.equal(longestRun([quick, slow, other]), slow);
  assert.deepEqual(measuredRuns(runs), runs);
  assert.equal(measuredRuns([]), null);
  assert.equal(measuredRuns([quick, prepare({ ...slow, milliseconds: null })]), null);
});

test("in measured time a step goes to the next end of a step of any mode", () => {
  const events = eventsOf(runs);
  assert.deepEqual(events, [10, 30, 60, 70, 100]);
  const on = (/** @type {number} */ at) => adjacentEvent(events, at, 1);
  const back = (/** @type {number} */ at) => adjacentEvent(events, at, -1);
  assert.deepEqual([0, 10, 15, 60, 99, 100].map(on), [10, 30, 30, 70, 100, 100]);
  assert.deepEqual(
    [100, 99, 70, 65, 30, 15, 10, 5, 0].map(back),
    [70, 70, 60, 60, 10, 10, 0, 0, 0],
  );
  // An event that was rounded on its way to the kernel and back is the same event.
  assert.equal(on(30 * (1 - 1e-12)), 60);
  assert.equal(back(30 * (1 + 1e-12)), 10);
});

test("at speed 1 steps are four a second, or as many as end in 20 seconds", () => {
  assert.equal(rateOf(1, false, 10), 4);
  assert.equal(rateOf(2, false, 80), 8);
  assert.equal(rateOf(1, false, 2000), 100);
  assert.equal(rateOf(0.5, true, 100), 5); // the slowest run in 10 seconds, at speed 1
});

test("playing goes on by whole steps and loses none of the time between them", () => {
  let now = { at: 0, remainder: 0 };
  const ticks = [];
  for (let i = 0; i < 6; i++) {
    now = advanceClock(now, 0.75, false, 4);
    ticks.push(now.at);
  }
  assert.deepEqual(ticks, [0, 1, 2, 3, 3, 4]);
  assert.deepEqual(advanceClock({ at: 3, remainder: 0.5 }, 5, false, 4).at, 4); // not beyond the end
  assert.deepEqual(advanceClock({ at: 10, remainder: 0.5 }, 2.5, true, 100), {
    at: 12.5,
    remainder: 0,
  });
  assert.equal(advanceClock({ at: 99, remainder: 0 }, 2.5, true, 100).at, 100);
});

// Two tokens, then two more, with the cells of a chunk.
const chunks = runOf({
  ...slow,
  mode: "chunkwise",
  flops: [1, 1],
  held_bytes: [1, 1],
  carried_bytes: [1, 1],
  milliseconds: [1, 1],
  first_token: [0, 2],
  stop_token: [2, 4],
  first_cell: [0, 2],
  stop_cell: [2, 4],
});

test("a picture is the largest square that leaves room for its axes", () => {
  assert.deepEqual(frameIn(4, 100, 97), { x: 18, y: 15, side: 80, cell: 20 });
  assert.deepEqual(frameIn(4, 300, 97), { x: 110, y: 15, side: 80, cell: 20 });
  assert.equal(frameIn(4, 100, 36), null);
  assert.equal(frameIn(4, 100, 37)?.side, 20);
});

test("the cells of a step stand where its tokens are", () => {
  const frame = { x: 10, y: 20, side: 80, cell: 20 };
  assert.deepEqual(boxOf(chunks, 0, frame), { left: 10, top: 20, width: 40, height: 40 });
  assert.deepEqual(boxOf(chunks, 1, frame), { left: 50, top: 60, width: 40, height: 40 });
  assert.equal(boxOf(chunks, 1, { ...frame, cell: 0.1 }).height, 1); // never too low to see
  assert.deepEqual(stateBox(frame), { left: 10 + 80 - 18, size: 18 });
  assert.deepEqual(stateBox({ ...frame, side: 200 }), { left: 10 + 200 - 26, size: 26 });
  assert.equal(stateBox({ ...frame, side: 900 }).size, 40);
});

test("steps that are done are shaded, the one at work stands out", () => {
  const shaded = (/** @type {number} */ at) => shadedSteps(chunks, momentOf(chunks, false, at));
  assert.deepEqual([0, 1, 2, 3].map(shaded), [
    { earlier: [], active: [] },
    { earlier: [], active: [0] },
    { earlier: [0], active: [1] },
    { earlier: [0, 1], active: [] }, // others still run
  ]);
  const state = { ...chunks, first_cell: [0, 0], stop_cell: [0, 0] }; // a mode without cells
  assert.deepEqual(shadedSteps(state, momentOf(state, false, 2)), { earlier: [], active: [] });
});

test("a moment is said in words and as a table", () => {
  const quantities = quantitiesOf(runs);
  const moments = runs.map((run) => momentOf(run, false, 2));
  assert.equal(momentText(2, 4000, false), "step 2 of 4,000");
  assert.equal(momentText(30, 100, true), "30.0 of 100 ms");
  assert.equal(paceText(4, false), "1 s here = 4 steps of each");
  assert.equal(paceText(12.3456, true), "1 s here = 12.3 ms measured");
  assert.equal(statusOf(slow, moments[1], false), "step 2 of 4");
  assert.equal(statusOf(quick, moments[0], false), "done: 1 step");
  assert.equal(statusOf(slow, momentOf(slow, false, 4), false), "done: 4 steps");
  // In measured time the step that is running counts.
  assert.equal(statusOf(slow, momentOf(slow, true, 45), true), "step 3 of 4");
  assert.equal(statusOf(slow, momentOf(slow, true, 100), true), "done: 100 ms");
  assert.equal(
    summaryOf("now", [slow], [moments[1]], quantities, false),
    "now. recurrent step 2 of 4, 3.00 MFLOP computed, 0.400 kB held, 30.0 ms passed.",
  );
  const [caption, header, rows] = momentTable("now", runs, moments, quantities, 4);
  assert.equal(caption, "now");
  assert.deepEqual(header, ["", "recurrent", "recurrent"]);
  assert.deepEqual(rows, [
    ["outputs given", "4 of 4", "2 of 4"],
    ["steps so far", "1", "2"],
    ["steps in all", "1", "4"],
    ["FLOPs so far, MFLOP", "5.00", "3.00"],
    ["FLOPs in all, MFLOP", "5.00", "10.0"],
    ["held now, kB", "0.0400", "0.400"],
    ["most held so far, kB", "5.00", "0.400"],
    ["most held in all, kB", "5.00", "0.400"],
    ["time so far, ms", "70.0", "30.0"],
    ["time in all, ms", "70.0", "100"],
  ]);
});
