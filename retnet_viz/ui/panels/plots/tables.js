// The numbers of a figure as tables, for those who cannot see it or want them exactly.

/** @import { Axis, Figure, Layout, AxisValue, Table, Title, Trace } from "../../types.js" */

const MAX_ROWS = 512;
const MAX_CELLS = 64; // rows, and columns, of a heatmap

/**
 * The plain text of a plotly text, which may have tags and entities.
 * @param {unknown} value
 */
export function plainText(value) {
  const text = String(value ?? "");
  if (!/[<&]/.test(text)) return text;
  const oneLine = text.replace(/<br\s*\/?>/gi, " ");
  return new DOMParser().parseFromString(oneLine, "text/html").body.textContent ?? "";
}

/** @param {{ title?: string | Title }} thing */
export function titleOf({ title }) {
  return plainText(typeof title === "string" ? title : title?.text);
}

/** @param {unknown} value */
export function formatEntry(value) {
  if (typeof value !== "number") return plainText(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

/**
 * Cut a title that would run under the panel's button. Its whole text is the figure's accessible
 * name.
 * @param {Title | undefined} title
 * @param {number} width
 */
export function fitTitle(title, width) {
  const text = plainText(title?.text);
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
 * A function that gives the text of a value on an axis: its tick's text, or else the value itself.
 * @param {Axis} axis
 * @returns {(place: AxisValue | undefined) => string}
 */
export function namer({ tickvals, ticktext }) {
  const names = new Map((ticktext ?? []).map((text, i) => [tickvals?.[i], plainText(text)]));
  return (place) => names.get(place) ?? formatEntry(place);
}

/**
 * The caption with a note on the rows or columns that a table leaves out.
 * @param {string} caption
 * @param {[limit: number, count: number, noun: string][]} limits
 */
export function captionWithOmissions(caption, ...limits) {
  const omissions = limits
    .filter(([limit, count]) => count > limit)
    .map(([limit, count, noun]) => `${count - limit} of ${count} ${noun}`);
  return omissions.length ? `${caption} (${omissions.join(" and ")} are not shown)` : caption;
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
  const columns = Array.from({ length: Math.min(width, MAX_CELLS) }, (_, i) => i);
  const corner = [titleOf(yAxis), titleOf(xAxis)].filter(Boolean).join(" \\ ");
  return [
    captionWithOmissions(caption, [MAX_CELLS, rows.length, "rows"], [MAX_CELLS, width, "columns"]),
    [corner, ...columns.map((i) => nameX(trace.x?.[i] ?? i))],
    rows
      .slice(0, MAX_CELLS)
      .map((row, j) => [nameY(trace.y?.[j] ?? j), ...columns.map((i) => formatEntry(row[i]))]),
  ];
}

/**
 * The content of a table: an axis with its columns; or one column alone, in its own order.
 * @typedef {object} Group
 * @property {Axis} axis
 * @property {string} title
 * @property {{ name: string, values: Map<AxisValue, unknown> }[]} columns
 * @property {[AxisValue, ...unknown[]][] | null} alone
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
      name: plainText(trace.name) || titleOf(valueAxis) || "value",
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
      captionWithOmissions(caption, [MAX_ROWS, rows.length, "rows"]),
      [title, ...columns.map((column) => column.name)],
      rows
        .slice(0, MAX_ROWS)
        .map(([place, ...values]) => [name(place), ...values.map(formatEntry)]),
    ];
  });
}

/** @param {Partial<Figure>} figure */
export function tablesOf({ data = [], layout = {} }) {
  const visibleTraces = data.filter(
    (trace) => trace.visible !== false && trace.hoverinfo !== "skip",
  );
  const caption = titleOf(layout);
  /** @param {Trace} trace */
  const isSeries = ({ type = "scatter" }) => ["scatter", "scattergl", "bar"].includes(type);
  return [
    ...seriesTables(visibleTraces.filter(isSeries), layout, caption),
    ...visibleTraces
      .filter(({ type }) => type === "heatmap")
      .map((trace) => heatmapTable(trace, layout, plainText(trace.name) || caption)),
  ];
}
