// What the grid of all heads says and where its parts stand: functions of numbers and texts alone.

/** @import { HeadPlace, HeadShares, HeadsLayout, HeadsMeta, Table } from "../../types.js" */

import { clamp } from "../common.js";

// Pixels, where letters have their usual size.
const BESIDE = 218; // of a cell whose numbers stand beside its thumbnail
const BELOW = 80; // of one whose numbers stand below it
const NAME = 58; // of a layer's name
const DIGIT = 6.5; // of a digit of a half-life beyond the third
const BETWEEN = 6; // of the gap between two cells, whatever the letters

/**
 * How a row of so many heads stands in a width: numbers beside the thumbnails where that fits, else
 * below them; a name above its row where it would take the place of the last head. What fits neither
 * way scrolls, and else all of the width is used.
 * @param {number} heads
 * @param {number} width
 * @param {number} scale by which letters are larger than usual
 * @param {number} digits of the longest half-life
 * @returns {HeadsLayout}
 */
export function headsLayout(heads, width, scale, digits) {
  const more = DIGIT * Math.max(0, digits - 3);
  const gaps = (heads - 1) * BETWEEN;
  const room = width - NAME * scale - gaps; // beside a name
  const isBeside = heads * (BESIDE + more) * scale <= room;
  const least = ((isBeside ? BESIDE : BELOW) + more) * scale;
  const isNamedAbove = heads * least > room;
  const share = Math.floor((isNamedAbove ? width - gaps : room) / heads);
  return { cell: Math.max(least, share), isBeside, isNamedAbove };
}

/**
 * The head to which a key leads from another; null where the key leads nowhere.
 * @param {string} key
 * @param {HeadPlace} from
 * @param {number} layers
 * @param {number} heads
 * @returns {HeadPlace | null}
 */
export function headAfterKey(key, [layer, head], layers, heads) {
  /** @type {Record<string, HeadPlace>} */
  const places = {
    ArrowLeft: [layer, head - 1],
    ArrowRight: [layer, head + 1],
    ArrowUp: [layer - 1, head],
    ArrowDown: [layer + 1, head],
    Home: [layer, 0],
    End: [layer, heads - 1],
    PageUp: [0, head],
    PageDown: [layers - 1, head],
  };
  const place = places[key];
  return place ? [clamp(place[0], 0, layers - 1), clamp(place[1], 0, heads - 1)] : null;
}

/**
 * What a thumbnail is called: layer 1, head 2, half-life 44 tokens, +3.10 to “·dog”, silent.
 * @param {HeadPlace} place
 * @param {HeadsMeta} meta
 * @param {HeadShares} shares
 * @param {boolean} isSilent
 */
export function headLabel([layer, head], meta, shares, isSilent) {
  const parts = [`layer ${layer}`, `head ${head}`];
  const life = meta.halfLives?.[layer]?.[head];
  if (life) parts.push(`half-life ${life}`);
  const share = shares.texts?.[layer]?.[head];
  if (share) parts.push(`${share} to ${shares.token}`);
  if (isSilent) parts.push("silent");
  return parts.join(", ");
}

/**
 * A bar from the middle for a share: where it begins and how long it is, in % of the whole width.
 * @param {number} value
 * @param {number} largest the largest magnitude of any share
 */
export function shareBar(value, largest) {
  const length = largest > 0 ? (50 * Math.abs(value)) / largest : 0;
  return { start: value < 0 ? 50 - length : 50, length };
}

/**
 * The largest magnitude of any share.
 * @param {HeadShares} shares
 */
export function largestShare({ values = [] }) {
  return values.flat().reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/**
 * The panel as a table.
 * @param {HeadsMeta} meta
 * @param {HeadShares} shares
 * @param {(place: HeadPlace) => boolean} isSilent
 * @returns {Table[]}
 */
export function headsTables(meta, shares, isSilent) {
  const { halfLives, gammas, largest } = meta;
  if (!halfLives || !gammas || !largest) return [];
  const rows = halfLives.flatMap((lives, layer) =>
    lives.map((life, head) => [
      `layer ${layer}, head ${head}`,
      gammas[layer][head],
      life,
      largest[layer][head],
      shares.texts?.[layer]?.[head] ?? "–",
      isSilent([layer, head]) ? "yes" : "no",
    ]),
  );
  const share = shares.token ? `share in the logit of ${shares.token}` : "share in the logit";
  return [["All heads", ["", "γ", "half-life", "largest |weight|", share, "silent"], rows]];
}
