// The clock of the modes side by side: steps and measured time, and what is done at each moment.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  countUpTo,
  momentOf,
  prepare,
  tickOfTime,
  timeOfTick,
} from "../../retnet_viz/ui/panels/timeline/clock.js";
import { digits, quantitiesOf, withUnit } from "../../retnet_viz/ui/panels/timeline/quantities.js";

/** @import { SentRun } from "../../retnet_viz/ui/types.js" */

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

/** @param {Partial<SentRun> & { milliseconds: number[] }} given */
function runOf(given) {
  const run = prepare({ ...NOTHING, ...given });
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
    [second.done, second.current, second.tokens, second.flops, second.held, second.peak],
    [2, 1, 2, 3e6, 400, 400],
  );
  assert.equal(second.time, 30);
  const after = momentOf(quick, false, 3); // done long ago: it carries its state
  assert.deepEqual([after.done, after.current, after.finished, after.held], [1, -1, true, 40]);
});

test("in measured time, the step that is running is the current one and not yet done", () => {
  const within = momentOf(slow, true, 45);
  assert.deepEqual([within.done, within.current, within.tokens, within.flops], [2, 2, 2, 3e6]);
  assert.equal(within.held, 200);
  assert.equal(within.peak, 400);
  assert.equal(within.time, 45);
  const border = momentOf(slow, true, 30); // the second step is done, the third begins
  assert.deepEqual([border.done, border.current], [2, 2]);
  const end = momentOf(slow, true, 100);
  assert.deepEqual([end.done, end.current, end.finished, end.held], [4, -1, true, 80]);
  assert.equal(momentOf(quick, true, 99).time, 70); // it stood still at its end
});

test("a race that was not measured has no times", () => {
  const untimed = prepare({ ...slow, milliseconds: null });
  assert.equal(momentOf(untimed, false, 2).time, null);
  const [, , , time] = quantitiesOf([untimed]);
  assert.equal(withUnit(time, time.now(momentOf(untimed, false, 2))), "not measured");
});

test("each quantity has one unit for all modes, and its end is the largest of them", () => {
  const [steps, flops, held, time] = quantitiesOf(runs);
  assert.deepEqual([steps.top, flops.top, held.top, time.top], [4, 10e6, 5000, 100]);
  assert.equal(withUnit(steps, 1), "1 step");
  assert.equal(withUnit(steps, 4), "4 steps");
  assert.equal(withUnit(flops, 3e6), "3.00 MFLOP");
  assert.equal(withUnit(held, 400), "0.400 kB");
  assert.equal(withUnit(time, 45), "45.0 ms");
  const large = quantitiesOf([prepare({ ...quick, flops: [2e10], held_bytes: [3e7] })]);
  assert.equal(withUnit(large[1], 2e10), "20.0 GFLOP");
  assert.equal(withUnit(large[2], 3e7), "30.0 MB");
});

test("numbers have three digits, and thousands a comma", () => {
  assert.deepEqual([0, 0.00012, 0.01234, 5.678, 999.4, 999.5, 12345.6].map(digits), [
    "0",
    "0.0001",
    "0.0123",
    "5.68",
    "999",
    "1,000",
    "12,346",
  ]);
});
