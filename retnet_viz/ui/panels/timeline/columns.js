// A column of the modes side by side: the mode's name, its picture, its numbers as bars.

/** @import { Moment, Quantity, Run } from "../../types.js" */

import { element, setText } from "../common.js";
import { statusOf, withUnit } from "./quantities.js";

/** @type {Record<string, (size: number) => string>} */
const TAGLINES = {
  parallel: () => "every cell at once, the masked half too",
  recurrent: () => "one token at a time: no cells, one state",
  chunkwise: (size) =>
    `${size} ${size === 1 ? "token" : "tokens"} at a time: cells in a chunk, a state between`,
};

/**
 * The elements of a column; `pictureKey` changes where its picture must be drawn again.
 * @typedef {object} Column
 * @property {HTMLElement} root
 * @property {HTMLElement} count
 * @property {HTMLElement} stage
 * @property {HTMLCanvasElement} canvas
 * @property {{ bar: HTMLElement, peak: HTMLElement, value: HTMLElement }[]} lines
 * @property {string} pictureKey
 */

/**
 * @param {Quantity} quantity
 * @param {HTMLElement} bars
 */
function addLine({ name, peak: hasPeak }, bars) {
  const line = element("div", "rv-timeline-line");
  line.dataset.quantity = name;
  const track = element("span", "rv-timeline-track");
  const bar = element("span", "rv-timeline-fill");
  const peak = element("span", "rv-timeline-peak");
  peak.hidden = true;
  peak.title = "most held so far";
  track.append(bar, peak);
  const value = element("span", "rv-timeline-value");
  line.append(element("span", "rv-timeline-label", hasPeak ? `${name} now` : name), track, value);
  bars.append(line);
  return { bar, peak, value };
}

/**
 * @param {Run} run
 * @param {Quantity[]} quantities
 * @returns {Column}
 */
export function makeColumn(run, quantities) {
  const root = element("section", "rv-timeline-column");
  root.dataset.mode = run.mode;
  root.style.setProperty("--rv-mode", run.color);
  root.setAttribute("aria-label", `${run.mode} mode`);
  const head = element("div", "rv-timeline-head");
  const count = element("span", "rv-timeline-count");
  head.append(element("span", "rv-timeline-name", run.mode), count);
  const size = run.stop_token[0] - run.first_token[0];
  const tagline = element("div", "rv-timeline-tagline", TAGLINES[run.mode]?.(size) ?? "");
  tagline.title = tagline.textContent ?? "";
  const stage = element("div", "rv-timeline-picture");
  const canvas = element("canvas");
  canvas.setAttribute("aria-hidden", "true");
  stage.append(canvas);
  const bars = element("div", "rv-timeline-bars");
  const lines = quantities.map((quantity) => addLine(quantity, bars));
  const body = element("div", "rv-timeline-body");
  body.append(stage, bars);
  const view = element("div", "rv-timeline-view");
  view.append(body);
  root.append(head, tagline, view);
  return { root, count, stage, canvas, lines, pictureKey: "" };
}

/**
 * Show the numbers of a moment in a column.
 * @param {Column} column
 * @param {Run} run
 * @param {Moment} moment
 * @param {Quantity[]} quantities
 * @param {boolean} measured
 */
export function showNumbers(column, run, moment, quantities, measured) {
  setText(column.count, statusOf(run, moment, measured));
  column.root.classList.toggle("rv-timeline-done", moment.finished);
  quantities.forEach((quantity, i) => {
    const { bar, peak, value } = column.lines[i];
    const now = quantity.now(moment);
    /** @param {number} amount */
    const share = (amount) => (quantity.top ? amount / quantity.top : 0);
    bar.style.transform = `scaleX(${share(now ?? 0)})`;
    if (quantity.peak) {
      const peakValue = quantity.peak(moment);
      peak.hidden = !peakValue;
      peak.style.left = `${100 * share(peakValue)}%`;
    }
    setText(value, withUnit(quantity, now));
  });
}
