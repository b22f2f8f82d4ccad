// The numbers of the modes side by side, as texts and as a table.

/** @import { Moment, Quantity, Run, Table } from "../../types.js" */

import { formatInteger } from "../common.js";
import { lastValue } from "./clock.js";

/** @param {number} value */
export function formatNumber(value) {
  if (!value) return "0";
  if (value >= 999.5) return formatInteger(Math.round(value));
  return value >= 1e-3 ? value.toPrecision(3) : value.toPrecision(1);
}

/**
 * The four quantities to compare, each in one unit for all modes.
 * @param {Run[]} runs
 * @returns {[steps: Quantity, flops: Quantity, memory: Quantity, time: Quantity]}
 */
export function quantitiesOf(runs) {
  /** @param {(run: Run) => number} measure */
  const largest = (measure) => Math.max(0, ...runs.map(measure));
  const flops = largest((run) => lastValue(run.flopsAfter));
  const bytes = largest((run) => lastValue(run.peakAfter));
  const [flop, flopUnit] = flops >= 1e10 ? /** @type {const} */ ([1e9, "GFLOP"]) : [1e6, "MFLOP"];
  const [byte, byteUnit] = bytes >= 1e7 ? /** @type {const} */ ([1e6, "MB"]) : [1e3, "kB"];
  return [
    {
      name: "steps",
      unit: "",
      phrase: "",
      top: largest((run) => run.steps),
      now: (moment) => moment.done,
      total: (run) => run.steps,
      format: formatInteger,
      unitOf: (value) => (value === 1 ? "step" : "steps"),
    },
    {
      name: "FLOPs",
      phrase: "computed",
      unit: flopUnit,
      top: flops,
      now: (moment) => moment.flops,
      total: (run) => lastValue(run.flopsAfter),
      format: (value) => formatNumber(value / flop),
    },
    {
      name: "held",
      phrase: "held",
      unit: byteUnit,
      top: bytes,
      now: (moment) => moment.heldBytes,
      peak: (moment) => moment.peak,
      total: (run) => lastValue(run.peakAfter),
      format: (value) => formatNumber(value / byte),
    },
    {
      name: "time",
      phrase: "passed",
      unit: "ms",
      top: largest((run) => lastValue(run.timeAfter ?? [])),
      now: (moment) => moment.time,
      total: (run) => run.timeAfter && lastValue(run.timeAfter),
      format: formatNumber,
    },
  ];
}

/**
 * @param {Quantity} quantity
 * @param {number | null} value
 */
export function withUnit(quantity, value) {
  if (value === null) return "not measured";
  return `${quantity.format(value)} ${quantity.unitOf?.(value) ?? quantity.unit}`;
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
    return `step ${formatInteger(now)} of ${formatInteger(run.steps)}`;
  }
  if (measured && moment.time !== null) return `done: ${formatNumber(moment.time)} ms`;
  return `done: ${formatInteger(run.steps)} step${run.steps === 1 ? "" : "s"}`;
}

/**
 * The moment in words.
 * @param {number} at
 * @param {number} end
 * @param {boolean} measured
 */
export function momentText(at, end, measured) {
  if (measured) return `${formatNumber(at)} of ${formatNumber(end)} ms`;
  return `step ${formatInteger(at)} of ${formatInteger(end)}`;
}

/**
 * How much a second of playing shows, in words.
 * @param {number} rate
 * @param {boolean} measured
 */
export function paceText(rate, measured) {
  if (measured) return `1 s here = ${formatNumber(rate)} ms measured`;
  return `1 s here = ${Number(formatNumber(rate))} steps of each`;
}

/**
 * The moment of all runs in one sentence.
 * @param {string} caption
 * @param {Run[]} runs
 * @param {Moment[]} moments
 * @param {Quantity[]} quantities
 * @param {boolean} measured
 */
export function summaryOf(caption, runs, moments, quantities, measured) {
  const parts = runs.map((run, i) => {
    const numbers = quantities
      .filter(({ phrase, now }) => phrase && now(moments[i]) !== null)
      .map((quantity) => `${withUnit(quantity, quantity.now(moments[i]))} ${quantity.phrase}`);
    return `${run.mode} ${statusOf(run, moments[i], measured)}, ${numbers.join(", ")}`;
  });
  return `${caption}. ${parts.join("; ")}.`;
}

/**
 * The moment of all runs as a table, a column for each.
 * @param {string} caption
 * @param {Run[]} runs
 * @param {Moment[]} moments
 * @param {Quantity[]} quantities
 * @param {number} length tokens of the text
 * @returns {Table}
 */
export function momentTable(caption, runs, moments, quantities, length) {
  const rows = quantities.flatMap((quantity) => {
    const { name, peak } = quantity;
    const unit = quantity.unit && `, ${quantity.unit}`;
    /** @param {number | null} value */
    const formatOrNone = (value) => (value === null ? "not measured" : quantity.format(value));
    const now = moments.map((moment) => formatOrNone(quantity.now(moment)));
    const total = runs.map((run) => formatOrNone(quantity.total(run)));
    if (!peak)
      return [
        [`${name} so far${unit}`, ...now],
        [`${name} in all${unit}`, ...total],
      ];
    return [
      [`${name} now${unit}`, ...now],
      [`most ${name} so far${unit}`, ...moments.map((moment) => formatOrNone(peak(moment)))],
      [`most ${name} in all${unit}`, ...total],
    ];
  });
  const outputs = moments.map(({ tokens }) => `${tokens} of ${length}`);
  return [caption, ["", ...runs.map(({ mode }) => mode)], [["outputs given", ...outputs], ...rows]];
}
