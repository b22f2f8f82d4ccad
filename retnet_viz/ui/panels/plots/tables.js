// The numbers of a figure as tables, for those who cannot see it or want them exactly.

/** @import { Axis, Figure, Layout, Place, Table, Title, Trace } from "../../types.js" */

const MOST_ROWS = 512;
const MOST_CELLS = 64; // rows, and columns, of a heatmap

/**
 * Text as a person reads it, of text as plotly takes it: with tags and entities.
 * @param {unknown} given
 */
export function plain(given) {
  const text = String(given ?? "");
  if (!/[<&]/.test(text)) return text;
  const spaced = text.replace(/<br\s*\/?>/gi, " ");
  return new DOMParser().parseFromString(spaced, "text/html").body.textContent ?? "";
}

/** @param {{ title?: string | Title }} thing */
export function titleOf({ title }) {
  return plain(typeof title === "string" ? title : title?.text);
}

/** @param {unknown} value */
export function entry(value) {
  if (typeof value !== "number") return plain(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

/**
 * A title that would run under the panel's button is cut; its whole text names the drawing.
 * @param {Title | undefined} title
 * @param {number} width
 */
export function fitted(title, width) {
  const text = plain(title?.text);
  const room = Math.floor((width - 84) / 7.4); // characters of the title's bold 14 pixels
  if (text.length <= room) return title;
  const escaped = text
    .slice(0, Math.max(4, room - 1))
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;");
  return { ...title, text: `${escaped}…` };
}

/**
 * The layout of the axis that a trace is drawn on.
 * @param {Trace} trace
 * @param {"x" | "y"} letter
 * @param {Layout} layout
 * @returns {Axis}
 */
function axisOf(trace, letter, layout) {
  const id = trace[`${letter}axis`] ?? letter;
  return layout[`${letter}axis${id.slice(1)}`] ?? {};
}

/**
 * What an axis writes at a place: the text of its tick, if it has one, else the place itself.
 * @param {Axis} axis
 * @returns {(place: Place | undefined) => string}
 */
export function namer({ tickvals, ticktext }) {
  const names = new Map((ticktext ?? []).map((text, i) => [tickvals?.[i], plain(text)]));
  return (place) => names.get(place) ?? entry(place);
}

/**
 * The caption with a note on what of `[most, all, what]` a table leaves out.
 * @param {string} caption
 * @param {[most: number, all: number, what: string][]} limits
 */
export function captioned(caption, ...limits) {
  const left = limits
    .filter(([most, all]) => all > most)
    .map(([most, all, what]) => `${all - most} of ${all} ${what}`);
  return left.length ? `${caption} (${left.join(" and ")} are not shown)` : caption;
}

/**
 * @param {Trace} trace
 * @param {Layout} layout
 * @param {string} caption
 * @returns {Table}
 */
export function heatmapTable(trace, layout, caption) {
  const rows = trace.z ?? [];
  const width = Math.max(0, ...rows.map((row) => row.length));
  const [xAxis, yAxis] = [axisOf(trace, "x", layout), axisOf(trace, "y", layout)];
  const [nameX, nameY] = [namer(xAxis), namer(yAxis)];
  const columns = Array.from({ length: Math.min(width, MOST_CELLS) }, (_, i) => i);
  const corner = [titleOf(yAxis), titleOf(xAxis)].filter(Boolean).join(" \\ ");
  return [
    captioned(caption, [MOST_CELLS, rows.length, "rows"], [MOST_CELLS, width, "columns"]),
    [corner, ...columns.map((i) => nameX(trace.x?.[i] ?? i))],
    rows
      .slice(0, MOST_CELLS)
      .map((row, j) => [nameY(trace.y?.[j] ?? j), ...columns.map((i) => entry(row[i]))]),
  ];
}

/**
 * What becomes a table: an axis, and the columns along it; or one column alone, in its own order.
 * @typedef {object} Group
 * @property {Axis} axis
 * @property {string} title
 * @property {{ name: string, values: Map<Place, unknown> }[]} columns
 * @property {[Place, ...unknown[]][] | null} alone
 */

/**
 * One row per place, one column per trace: lines and bars that share an axis share a table.
 * @param {Trace[]} traces
 * @param {Layout} layout
 * @param {string} caption
 * @returns {Table[]}
 */
export function seriesTables(traces, layout, caption) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const trace of traces) {
    /** @type {["x" | "y", "x" | "y"]} */
    const [along, across] = trace.orientation === "h" ? ["y", "x"] : ["x", "y"];
    const values = trace[across] ?? [];
    const start = trace[`${along}0`] ?? 0;
    const step = trace[`d${along}`] ?? 1;
    const places = trace[along] ?? values.map((_, i) => start + i * step);
    const axis = axisOf(trace, along, layout);
    const valueAxis = axisOf(trace, across, layout);
    const column = {
      name: plain(trace.name) || titleOf(valueAxis) || "value",
      values: new Map(places.map((place, i) => [place, values[i]])),
    };
    // Points that repeat a place, as on a closed curve, cannot share rows with other traces.
    const alone = column.values.size < Math.min(places.length, values.length);
    const key = JSON.stringify([along, titleOf(axis), alone && groups.size]);
    /** @type {Group} */
    const group = groups.get(key) ?? { axis, title: titleOf(axis), columns: [], alone: null };
    groups.set(key, group);
    group.columns.push(column);
    if (alone) group.alone = places.map((place, i) => [place, values[i]]);
  }
  return [...groups.values()].map(({ axis, title, columns, alone }) => {
    const name = namer(axis);
    let rows = alone;
    if (!rows) {
      const places = [...new Set(columns.flatMap(({ values }) => [...values.keys()]))];
      if (places.every((place) => typeof place === "number"))
        places.sort((a, b) => Number(a) - Number(b));
      rows = places.map((place) => [place, ...columns.map(({ values }) => values.get(place))]);
    }
    return [
      captioned(caption, [MOST_ROWS, rows.length, "rows"]),
      [title, ...columns.map((column) => column.name)],
      rows.slice(0, MOST_ROWS).map(([place, ...values]) => [name(place), ...values.map(entry)]),
    ];
  });
}

/** @param {Partial<Figure>} figure */
export function tablesOf({ data = [], layout = {} }) {
  const shown = data.filter((trace) => trace.visible !== false && trace.hoverinfo !== "skip");
  const caption = titleOf(layout);
  /** @param {Trace} trace */
  const isSeries = ({ type = "scatter" }) => ["scatter", "scattergl", "bar"].includes(type);
  return [
    ...seriesTables(shown.filter(isSeries), layout, caption),
    ...shown
      .filter(({ type }) => type === "heatmap")
      .map((trace) => heatmapTable(trace, layout, plain(trace.name) || caption)),
  ];
}
