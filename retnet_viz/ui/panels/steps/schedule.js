// The steps of a mode over a text, and when each is played.

import { clamp } from "../common.js";

const MAX_LATENESS = 50; // ms of delay that playing catches up on
const MAX_CALM_SPEED = 2; // steps a second at most where a person wants less motion

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
 * The last token of a step; beyond the ends, that of the first or last step.
 * @param {Steps} steps
 * @param {number} step
 */
export function lastToken(steps, step) {
  const { length, stride } = steps;
  return Math.min((clamp(step, 0, stepCount(steps) - 1) + 1) * stride, length) - 1;
}

/**
 * The last tokens of the next steps after token n, at most `limit`.
 * @param {Steps} steps
 * @param {number} n
 * @param {number} limit
 */
export function tokensAfter(steps, n, limit) {
  const step = stepOf(steps, n);
  const count = clamp(stepCount(steps) - 1 - step, 0, limit);
  return Array.from({ length: count }, (_, i) => lastToken(steps, step + 1 + i));
}

/**
 * Milliseconds of a step.
 * @param {number} speed steps a second
 * @param {boolean} reducedMotion
 */
export function periodOf(speed, reducedMotion) {
  return 1000 / (reducedMotion ? Math.min(MAX_CALM_SPEED, speed) : speed);
}

/**
 * The time of the next step. It counts from the time when this step was due, so that a late frame
 * delays nothing; after a long wait it counts from now, so that no burst of steps follows.
 * @param {number} due
 * @param {number} now
 * @param {number} period
 */
export function nextDue(due, now, period) {
  return Math.max(due, now - MAX_LATENESS) + period;
}
