// The clock of the modes side by side: a tick is a step of the run with the most steps.

/** @import { Moment, Run, RunMessage } from "../../types.js" */

const STEPS_PER_SECOND = 4; // at speed 1; more where the longest run would take over MAX_SECONDS
const MAX_SECONDS = 20;
const MEASURED_SECONDS = 10; // that playing the slowest run takes in measured time at speed 1
const TOLERANCE = 1e-9; // of a measured time, which may be rounded on its way

/** @typedef {Run & { timeAfter: number[] }} MeasuredRun */

/**
 * The running total after each of some values: their sum so far, or their maximum, as `add` says.
 * @param {number[]} values
 * @param {(total: number, value: number) => number} add
 */
export function accumulate(values, add) {
  let total = 0;
  return values.map((value) => {
    total = add(total, value);
    return total;
  });
}

/**
 * @param {RunMessage} run
 * @returns {Run}
 */
export function prepare(run) {
  /**
   * @param {number} a
   * @param {number} b
   */
  const plus = (a, b) => a + b;
  return {
    ...run,
    steps: run.flops.length,
    flopsAfter: accumulate(run.flops, plus),
    timeAfter: run.milliseconds && accumulate(run.milliseconds, plus),
    peakAfter: accumulate(run.held_bytes, Math.max),
  };
}

/**
 * The last of some numbers, 0 where there are none.
 * @param {number[]} values
 */
export function lastValue(values) {
  return values.at(-1) ?? 0;
}

/**
 * How many of the ascending `values` are at most `limit`.
 * @param {number[]} values
 * @param {number} limit
 */
export function countUpTo(values, limit) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The runs, where there are some and all are measured; else null.
 * @param {Run[]} runs
 * @returns {MeasuredRun[] | null}
 */
export function measuredRuns(runs) {
  const measured = runs.filter((run) => run.timeAfter !== null);
  const all = runs.length > 0 && measured.length === runs.length;
  return all ? /** @type {MeasuredRun[]} */ (measured) : null;
}

/**
 * The run with the most steps, the first of them.
 * @template {Run} Kind
 * @param {Kind[]} runs
 */
export function longestRun(runs) {
  return runs.reduce((a, b) => (b.steps > a.steps ? b : a));
}

/**
 * The measured time at the end of a tick; after the last tick, the end of the slowest run.
 * @param {MeasuredRun[]} runs
 * @param {number} tick
 */
export function timeOfTick(runs, tick) {
  const run = longestRun(runs);
  if (tick >= run.steps) return Math.max(...runs.map(({ timeAfter }) => lastValue(timeAfter)));
  return tick > 0 ? run.timeAfter[tick - 1] : 0;
}

/**
 * How many ticks are done at a measured time.
 * @param {MeasuredRun[]} runs
 * @param {number} time
 */
export function tickOfTime(runs, time) {
  return countUpTo(longestRun(runs).timeAfter, time * (1 + TOLERANCE));
}

/**
 * The times at which any run ends a step.
 * @param {MeasuredRun[]} runs
 */
export function eventsOf(runs) {
  return [...new Set(runs.flatMap(({ timeAfter }) => timeAfter))].sort((a, b) => a - b);
}

/**
 * The measured time of the next or previous event; at the ends, 0 or the last event.
 * @param {number[]} events
 * @param {number} at
 * @param {1 | -1} direction
 */
export function adjacentEvent(events, at, direction) {
  const count = countUpTo(events, at * (1 + TOLERANCE));
  const isHere = count > 0 && events[count - 1] >= at * (1 - TOLERANCE);
  const next = direction > 0 ? count : count - (isHere ? 2 : 1);
  return next < 0 ? 0 : events[Math.min(next, events.length - 1)];
}

/**
 * Where a run is: in steps, the step that a tick made is the current one; in measured time, the one
 * that is running.
 * @param {Run} run
 * @param {boolean} measured whether `at` is milliseconds, else ticks
 * @param {number} at
 * @returns {Moment}
 */
export function momentOf(run, measured, at) {
  const times = run.timeAfter;
  const inTime = measured && times !== null;
  const done = inTime ? countUpTo(times, at * (1 + TOLERANCE)) : Math.min(at, run.steps);
  const running = inTime ? (at > 0 ? done : -1) : at - 1;
  const current = running < run.steps ? running : -1;
  const last = done - 1;
  let time = null;
  if (times) time = inTime ? Math.min(at, lastValue(times)) : done ? times[last] : 0;
  return {
    done,
    current,
    finished: done === run.steps,
    tokens: done ? run.stop_token[last] : 0,
    flops: done ? run.flopsAfter[last] : 0,
    heldBytes: current >= 0 ? run.held_bytes[current] : done ? run.carried_bytes[last] : 0,
    peak: Math.max(done ? run.peakAfter[last] : 0, current >= 0 ? run.held_bytes[current] : 0),
    time,
  };
}

/**
 * How much a second of playing shows: steps, or measured milliseconds.
 * @param {number} speed
 * @param {boolean} measured
 * @param {number} end
 */
export function rateOf(speed, measured, end) {
  return (
    speed * (measured ? end / MEASURED_SECONDS : Math.max(STEPS_PER_SECOND, end / MAX_SECONDS))
  );
}

/**
 * The position after playing on by `amount`: in measured time any number, in steps a whole one,
 * with the fraction kept as `remainder`.
 * @param {{ at: number, remainder: number }} now
 * @param {number} amount
 * @param {boolean} measured
 * @param {number} end
 */
export function advanceClock({ at, remainder }, amount, measured, end) {
  if (measured) return { at: Math.min(end, at + amount), remainder: 0 };
  const ticks = Math.floor(remainder + amount);
  return { at: Math.min(end, at + ticks), remainder: remainder + amount - ticks };
}
