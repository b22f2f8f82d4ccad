// Which step is played when: the steps of a mode over a text, and the pace.

import { clamp } from "../common.js";

const LATE = 50; // ms of lateness that playing makes good
const CALM = 2; // steps a second at most where a person wants less motion

/** @typedef {{ length: number, stride: number }} Steps tokens of the text, and tokens in a step */

/**
 * The step that gives the output of token n.
 * @param {Steps} steps
 * @param {number} n
 */
export function stepOf({ stride }, n) {
  return Math.floor(n / stride);
}

/**
 * How many steps there are.
 * @param {Steps} steps
 */
export function stepCount({ length, stride }) {
  return Math.ceil(length / stride);
}

/**
 * The last token of a step, or of the nearest that there is.
 * @param {Steps} steps
 * @param {number} step
 */
export function lastOf(steps, step) {
  const { length, stride } = steps;
  return Math.min((clamp(step, 0, stepCount(steps) - 1) + 1) * stride, length) - 1;
}

/**
 * The last tokens of the steps that come after token n, `most` of them.
 * @param {Steps} steps
 * @param {number} n
 * @param {number} most
 */
export function tokensAfter(steps, n, most) {
  const now = stepOf(steps, n);
  const left = clamp(stepCount(steps) - 1 - now, 0, most);
  return Array.from({ length: left }, (_, i) => lastOf(steps, now + 1 + i));
}

/**
 * Milliseconds of a step.
 * @param {number} speed steps a second
 * @param {boolean} isCalm
 */
export function periodOf(speed, isCalm) {
  return 1000 / (isCalm ? Math.min(CALM, speed) : speed);
}

/**
 * When the next step is due: on from when this one was, so that one late frame is not lost for good,
 * but with no burst after a long wait.
 * @param {number} due
 * @param {number} now
 * @param {number} period
 */
export function nextDue(due, now, period) {
  return Math.max(due, now - LATE) + period;
}
