// The numbers of the modes side by side, and what is said of them.

/** @import { Moment, Quantity, Run, Table } from "../../types.js" */

import { grouped } from "../common.js";
import { lastOfAll } from "./clock.js";

/** @param {number} value */
export function digits(value) {
  if (!value) return "0";
  if (value >= 999.5) return grouped(Math.round(value));
  return value >= 1e-3 ? value.toPrecision(3) : value.toPrecision(1);
}

/**
 * The four quantities that race, each in one unit for all modes.
 * @param {Run[]} runs
 * @returns {[steps: Quantity, flops: Quantity, held: Quantity, time: Quantity]}
 */
export function quantitiesOf(runs) {
  /** @param {(run: Run) => number} read */
  const most = (read) => Math.max(0, ...runs.map(read));
  const flops = most((run) => lastOfAll(run.flopsAfter));
  const bytes = most((run) => lastOfAll(run.peakAfter));
  const [flop, flopUnit] = flops >= 1e10 ? /** @type {const} */ ([1e9, "GFLOP"]) : [1e6, "MFLOP"];
  const [byte, byteUnit] = bytes >= 1e7 ? /** @type {const} */ ([1e6, "MB"]) : [1e3, "kB"];
  return [
    {
      name: "steps",
      unit: "",
      phrase: "",
      top: most((run) => run.steps),
      now: (moment) => moment.done,
      total: (run) => run.steps,
      write: grouped,
      unitOf: (value) => (value === 1 ? "step" : "steps"),
    },
    {
      name: "FLOPs",
      phrase: "computed",
      unit: flopUnit,
      top: flops,
      now: (moment) => moment.flops,
      total: (run) => lastOfAll(run.flopsAfter),
      write: (value) => digits(value / flop),
    },
    {
      name: "held",
      phrase: "held",
      unit: byteUnit,
      top: bytes,
      now: (moment) => moment.held,
      peak: (moment) => moment.peak,
      total: (run) => lastOfAll(run.peakAfter),
      write: (value) => digits(value / byte),
    },
    {
      name: "time",
      phrase: "passed",
      unit: "ms",
      top: most((run) => lastOfAll(run.timeAfter ?? [])),
      now: (moment) => moment.time,
      total: (run) => run.timeAfter && lastOfAll(run.timeAfter),
      write: digits,
    },
  ];
}

/**
 * @param {Quantity} quantity
 * @param {number | null} value
 */
export function withUnit(quantity, value) {
  if (value === null) return "not measured";
  return `${quantity.write(value)} ${quantity.unitOf?.(value) ?? quantity.unit}`;
}

/**
 * How far a run is, in words.
 * @param {Run} run
 * @param {Moment} moment
 * @param {boolean} measured
 */
export function statusOf(run, moment, measured) {
  if (!moment.finished) {
    const now = measured && moment.current >= 0 ? moment.current + 1 : moment.done;
    return `step ${grouped(now)} of ${grouped(run.steps)}`;
  }
  if (measured && moment.time !== null) return `done: ${digits(moment.time)} ms`;
  return `done: ${grouped(run.steps)} step${run.steps === 1 ? "" : "s"}`;
}

/**
 * The moment in words.
 * @param {number} at
 * @param {number} end
 * @param {boolean} measured
 */
export function momentText(at, end, measured) {
  if (measured) return `${digits(at)} of ${digits(end)} ms`;
  return `step ${grouped(at)} of ${grouped(end)}`;
}

/**
 * What a second of playing is worth, in words.
 * @param {number} rate
 * @param {boolean} measured
 */
export function paceText(rate, measured) {
  if (measured) return `1 s here = ${digits(rate)} ms measured`;
  return `1 s here = ${Number(digits(rate))} steps of each`;
}

/**
 * The moment of all runs in one sentence.
 * @param {string} when
 * @param {Run[]} runs
 * @param {Moment[]} moments
 * @param {Quantity[]} quantities
 * @param {boolean} measured
 */
export function summaryOf(when, runs, moments, quantities, measured) {
  const parts = runs.map((run, i) => {
    const numbers = quantities
      .filter(({ phrase, now }) => phrase && now(moments[i]) !== null)
      .map((quantity) => `${withUnit(quantity, quantity.now(moments[i]))} ${quantity.phrase}`);
    return `${run.mode} ${statusOf(run, moments[i], measured)}, ${numbers.join(", ")}`;
  });
  return `${when}. ${parts.join("; ")}.`;
}

/**
 * The moment of all runs as a table, a column for each.
 * @param {string} when
 * @param {Run[]} runs
 * @param {Moment[]} moments
 * @param {Quantity[]} quantities
 * @param {number} length tokens of the text
 * @returns {Table}
 */
export function momentTable(when, runs, moments, quantities, length) {
  const rows = quantities.flatMap((quantity) => {
    const { name, peak } = quantity;
    const unit = quantity.unit && `, ${quantity.unit}`;
    /** @param {number | null} value */
    const shown = (value) => (value === null ? "not measured" : quantity.write(value));
    const now = moments.map((moment) => shown(quantity.now(moment)));
    const total = runs.map((run) => shown(quantity.total(run)));
    if (!peak)
      return [
        [`${name} so far${unit}`, ...now],
        [`${name} in all${unit}`, ...total],
      ];
    return [
      [`${name} now${unit}`, ...now],
      [`most ${name} so far${unit}`, ...moments.map((moment) => shown(peak(moment)))],
      [`most ${name} in all${unit}`, ...total],
    ];
  });
  const given = moments.map(({ tokens }) => `${tokens} of ${length}`);
  return [when, ["", ...runs.map(({ mode }) => mode)], [["outputs given", ...given], ...rows]];
}
