// The bars below the pictures: one value for each token of the step.

/** @import { Bars, ThemeColors } from "../../types.js" */

const LEFT = 46; // pixels for the numbers of the axis
const TOP = 4;

/**
 * Where the bars stand on a canvas of this size.
 * @param {Bars} bars
 * @param {number} width
 * @param {number} height
 */
export function barsLayout(bars, width, height) {
  const hasLabels = bars.slots <= 40 && width / bars.slots >= 16;
  const labelHeight = hasLabels ? Math.min(54, height * 0.45) : 16;
  return {
    hasLabels,
    baseline: height - labelHeight,
    slot: (width - LEFT) / Math.max(bars.slots, 1),
  };
}

/**
 * The number of the bar at a place along a canvas of this size; -1 where there is none.
 * @param {Bars} bars
 * @param {number} width
 * @param {number} height
 * @param {number} x
 */
export function barAt(bars, width, height, x) {
  const i = Math.floor((x - LEFT) / barsLayout(bars, width, height).slot);
  return i >= 0 && i < bars.values.length ? i : -1;
}

/**
 * @param {Bars} bars
 * @param {number} i
 */
export function barText({ first, labels, values, unit }, i) {
  return `token ${first + i} “${labels[i]}”: ${values[i].toPrecision(4)} (${unit})`;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} width
 * @param {number} height
 * @param {Bars} bars
 * @param {string} color
 * @param {ThemeColors} theme
 * @param {number | null} highlightedToken null for none
 * @param {number} token the selected one
 */
export function drawBars(context, width, height, bars, color, theme, highlightedToken, token) {
  const { hasLabels, baseline, slot } = barsLayout(bars, width, height);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = theme.muted;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const limit = bars.limit || 1;
  context.fillText(limit.toPrecision(2).replace(/\.?0+$/, ""), LEFT - 6, TOP + 4);
  context.fillText("0", LEFT - 6, baseline);
  context.strokeStyle = theme.line;
  context.beginPath();
  context.moveTo(LEFT, baseline + 0.5);
  context.lineTo(width, baseline + 0.5);
  context.stroke();
  bars.values.forEach((value, i) => {
    const m = bars.first + i;
    const barHeight = (value / limit) * (baseline - TOP);
    const barWidth = Math.max(1, slot - Math.min(2, slot / 4));
    context.fillStyle = m === highlightedToken ? theme.accent : color;
    context.fillRect(LEFT + i * slot + 0.5, baseline - barHeight, barWidth, barHeight);
    if (!hasLabels) return;
    context.save();
    context.translate(LEFT + (i + 0.5) * slot, baseline + 4);
    context.rotate(-Math.PI / 2);
    context.fillStyle = m === highlightedToken || m === token ? theme.accent : theme.ink;
    context.font = `${Math.min(12, slot - 2)}px ui-monospace, "DejaVu Sans Mono", monospace`;
    context.textAlign = "right";
    context.fillText(bars.labels[i].slice(0, 7), 0, 0);
    context.restore();
  });
  if (hasLabels || !bars.values.length) return;
  context.fillStyle = theme.muted;
  context.textAlign = "center";
  const interval = Math.max(1, Math.ceil(bars.slots / 8));
  for (let i = 0; i < bars.slots; i += interval) {
    context.fillText(String(bars.first + i), LEFT + (i + 0.5) * slot, baseline + 9);
  }
}
