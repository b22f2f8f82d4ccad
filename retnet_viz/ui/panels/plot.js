// A host for plotly figures. plotly.js is asked of the kernel once per page, by the first figure.

import { element, letterScale, perFrame, tableToggle } from "./common.js";

function library(model) {
  globalThis.retnetVizPlotly ??= new Promise((resolve, reject) => {
    const receive = (message, buffers) => {
      if (!message["plotly.js"]) return;
      model.off("msg:custom", receive);
      const source = new TextDecoder().decode(buffers[0]);
      // The bundle looks for a module system to hand itself to; give it one of its own.
      const wrapped = `const module = { exports: {} }; const exports = module.exports; const define = undefined;\n${source}\nexport default module.exports;`;
      const url = URL.createObjectURL(new Blob([wrapped], { type: "text/javascript" }));
      import(url)
        .then((loaded) => resolve(loaded.default), reject)
        .finally(() => URL.revokeObjectURL(url));
    };
    model.on("msg:custom", receive);
    model.send({ wants: "plotly.js" });
  });
  return globalThis.retnetVizPlotly;
}

const AXIS = 33; // pixels that the numbers and the title of an axis need below it

const CONFIG = {
  displaylogo: false,
  responsive: false,
  doubleClick: "reset",
  modeBarButtons: [["toImage"]], // not the button that sends a figure to a cloud service
  toImageButtonOptions: { format: "png", scale: 3 },
};

// -- tables: the numbers of a figure, for those who cannot see it or want them exactly -----------

const MOST_ROWS = 512;
const MOST_CELLS = 64; // rows, and columns, of a heatmap

// Text as a person reads it, of text as plotly takes it: with tags and entities.
function plain(text) {
  if (!/[<&]/.test(text)) return String(text ?? "");
  const spaced = text.replace(/<br\s*\/?>/gi, " ");
  return new DOMParser().parseFromString(spaced, "text/html").body.textContent;
}

function titleOf(thing) {
  return plain(thing?.title?.text ?? (typeof thing?.title === "string" ? thing.title : ""));
}

export function entry(value) {
  if (typeof value !== "number") return plain(value ?? "");
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

// A title that would run under the panel's button is cut; its whole text names the drawing.
export function fitted(title, width) {
  const text = plain(title?.text ?? "");
  const room = Math.floor((width - 84) / 7.4); // characters of the title's bold 14 pixels
  if (text.length <= room) return title;
  const escaped = text
    .slice(0, Math.max(4, room - 1))
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;");
  return { ...title, text: `${escaped}…` };
}

// The layout of the axis "x" or "y" that a trace is drawn on.
function axisOf(trace, letter, layout) {
  const id = trace[`${letter}axis`] ?? letter;
  return layout[`${letter}axis${id.slice(1)}`] ?? {};
}

// What an axis writes at a place: the text of its tick, if it has one, else the place itself.
export function namer({ tickvals, ticktext }) {
  const names = new Map((ticktext ?? []).map((text, i) => [tickvals?.[i], plain(text)]));
  return (place) => names.get(place) ?? entry(place);
}

// The caption with a note on what of `[most, all, what]` a table leaves out.
export function captioned(caption, ...limits) {
  const left = limits
    .filter(([most, all]) => all > most)
    .map(([most, all, what]) => `${all - most} of ${all} ${what}`);
  return left.length ? `${caption} (${left.join(" and ")} are not shown)` : caption;
}

export function heatmapTable(trace, layout, caption) {
  const rows = trace.z ?? [];
  const width = Math.max(0, ...rows.map((row) => row.length));
  const [xAxis, yAxis] = ["x", "y"].map((letter) => axisOf(trace, letter, layout));
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

// One row per place, one column per trace: lines and bars that share an axis share a table.
export function seriesTables(traces, layout, caption) {
  const groups = new Map();
  for (const trace of traces) {
    const [along, across] = trace.orientation === "h" ? ["y", "x"] : ["x", "y"];
    const values = trace[across] ?? [];
    const start = trace[`${along}0`] ?? 0;
    const places = trace[along] ?? values.map((_, i) => start + i * (trace[`d${along}`] ?? 1));
    const axis = axisOf(trace, along, layout);
    const valueAxis = axisOf(trace, across, layout);
    const column = {
      name: plain(trace.name ?? "") || titleOf(valueAxis) || "value",
      values: new Map(places.map((place, i) => [place, values[i]])),
    };
    // Points that repeat a place, as on a closed curve, cannot share rows with other traces.
    const alone = column.values.size < Math.min(places.length, values.length);
    const key = JSON.stringify([along, titleOf(axis), alone && groups.size]);
    if (!groups.has(key)) groups.set(key, { axis, title: titleOf(axis), columns: [], alone: null });
    const group = groups.get(key);
    group.columns.push(column);
    if (alone) group.alone = places.map((place, i) => [place, values[i]]);
  }
  return [...groups.values()].map(({ axis, title, columns, alone }) => {
    const name = namer(axis);
    let rows = alone;
    if (!rows) {
      const places = [...new Set(columns.flatMap(({ values }) => [...values.keys()]))];
      if (places.every((place) => typeof place === "number")) places.sort((a, b) => a - b);
      rows = places.map((place) => [place, ...columns.map(({ values }) => values.get(place))]);
    }
    return [
      captioned(caption, [MOST_ROWS, rows.length, "rows"]),
      [title, ...columns.map((column) => column.name)],
      rows.slice(0, MOST_ROWS).map(([place, ...values]) => [name(place), ...values.map(entry)]),
    ];
  });
}

function tablesOf({ data = [], layout = {} }) {
  const shown = data.filter((trace) => trace.visible !== false && trace.hoverinfo !== "skip");
  const caption = titleOf(layout);
  const isSeries = ({ type = "scatter" }) => ["scatter", "scattergl", "bar"].includes(type);
  return [
    ...seriesTables(shown.filter(isSeries), layout, caption),
    ...shown
      .filter(({ type }) => type === "heatmap")
      .map((trace) => heatmapTable(trace, layout, plain(trace.name ?? "") || caption)),
  ];
}

// -- the legend: plotly's own costs a third of a drawing, and does not wrap in a narrow panel ------

const SYMBOLS = { circle: "●", square: "■", diamond: "◆" };

// The traces that the legend below a figure names; none where plotly draws a legend inside.
export function namedTraces({ data = [], layout = {} }) {
  const { orientation, yref } = layout.legend ?? {};
  if (!layout.showlegend || orientation !== "h" || yref !== "container") return [];
  return data.filter(({ name, showlegend }) => name && showlegend !== false);
}

const groupOf = ({ legendgroup, name }) => legendgroup ?? name;

function swatch({ line = {}, marker = {}, mode = "lines", fill = "", fillcolor = "" }) {
  const mark = element("span", `rv-line-mark ${fill && "rv-band"}`);
  mark.setAttribute("aria-hidden", "true");
  mark.style.color = (fill && fillcolor) || line.color || marker.color || "";
  mark.style.borderTopStyle = { dash: "dashed", dot: "dotted" }[line.dash] ?? "solid";
  if (mode.includes("markers")) {
    mark.append(element("span", "", SYMBOLS[marker.symbol ?? "circle"] ?? "●"));
  }
  return mark;
}

// Buttons below a drawing, one for each name; pressed, a name's lines are shown.
function legendBelow(changed) {
  const el = element("div", "rv-names");
  const hidden = new Set();
  let shown = "";

  function show(figure) {
    const traces = namedTraces(figure);
    const looks = JSON.stringify(
      traces.map(({ name, line, marker, mode }) => [name, line, marker, mode]),
    );
    if (looks === shown) return;
    shown = looks;
    el.hidden = !traces.length;
    el.replaceChildren(
      ...traces.map((trace) => {
        const button = element("button", "", plain(trace.name));
        button.type = "button";
        button.title = "Show or hide";
        button.prepend(swatch(trace));
        const group = groupOf(trace);
        button.setAttribute("aria-pressed", String(!hidden.has(group)));
        button.addEventListener("click", () => {
          if (!hidden.delete(group)) hidden.add(group);
          button.setAttribute("aria-pressed", String(!hidden.has(group)));
          changed();
        });
        return button;
      }),
    );
  }

  return {
    el,
    show,
    // The figure without plotly's legend, and without what is hidden.
    applied: ({ data, layout }) => ({
      data: data.map((trace) =>
        hidden.has(groupOf(trace)) ? { ...trace, visible: false } : trace,
      ),
      layout: el.hidden
        ? layout
        : { ...layout, showlegend: false, margin: { ...layout.margin, b: AXIS } },
    }),
  };
}

// -- the panel -----------------------------------------------------------------------------------

async function render({ model, el }) {
  el.classList.add("rv-panel", "rv-plot");
  const drawing = element("div", "rv-drawing");
  drawing.setAttribute("role", "img");
  const box = element("div");
  const cursor = element("div", "rv-cursor");
  cursor.hidden = true;
  drawing.append(box, cursor);
  const sentence = element("p", "rv-sentence");
  sentence.hidden = true;
  const legend = legendBelow(() => schedule());
  el.append(drawing, legend.el, sentence);
  const toggle = tableToggle(el, () => tablesOf(model.get("figure")));
  let gone = false;
  let listening = false;
  let drawnSize = "";
  let Plotly = null; // until the page has it

  function describe() {
    const { layout = {} } = model.get("figure");
    const said = layout.meta?.sentence ?? "";
    sentence.hidden = !said;
    sentence.textContent = sentence.title = said;
    legend.show(model.get("figure"));
    drawing.setAttribute("aria-label", [titleOf(layout), said].filter(Boolean).join(". "));
    toggle.refresh();
  }

  function mark() {
    el.classList.toggle("rv-stale", model.get("stale"));
    el.setAttribute("aria-busy", String(model.get("stale")));
  }

  describe();
  mark();
  model.on("change:figure", describe);
  model.on("change:stale", mark);
  Plotly = await library(model);
  if (gone) return;

  // The selection moves more often than the figure changes: a line over the drawing costs nothing.
  function point() {
    const { xaxis: axis, _size: size } = box._fullLayout ?? {};
    const x = model.get("cursor");
    const at = x >= 0 && axis?.visible && axis.d2p ? axis.d2p(x) : NaN;
    cursor.hidden = !(at >= 0 && at <= axis._length);
    if (cursor.hidden) return;
    const scale = letterScale(el, "--rv-figure");
    cursor.style.left = `${scale * (axis._offset + at)}px`;
    cursor.style.top = `${scale * size.t}px`;
    cursor.style.height = `${scale * size.h}px`;
  }

  const schedule = perFrame(draw);
  const sizeNow = () =>
    `${drawing.clientWidth} x ${drawing.clientHeight} x ${letterScale(el, "--rv-figure")}`;

  async function draw() {
    const figure = model.get("figure");
    // For a projector all of a figure is larger, its letters and its lines.
    const scale = letterScale(el, "--rv-figure");
    const [width, height] = [drawing.clientWidth / scale, drawing.clientHeight / scale];
    box.style.transform = scale === 1 ? "" : `scale(${scale})`;
    if (gone || !Plotly || !figure.data || !width || !height) return;
    const react = () => {
      // plotly writes into what it is given, and the model's value must stay as the kernel sent it.
      const { data, layout } = structuredClone(legend.applied(figure));
      const title = fitted(layout.title, width);
      const full = { ...layout, title, width, height, autosize: false };
      return Plotly.react(box, data, full, CONFIG);
    };
    const size = sizeNow();
    const resizes = drawnSize !== "" && drawnSize !== size;
    drawnSize = size;
    await react();
    // plotly places a legend within the margins of its last drawing: a new size takes two.
    if (resizes && !gone && box._fullLayout.showlegend) await react();
    if (gone) return;
    if (!listening) {
      listening = true;
      box.on("plotly_click", (event) => {
        const x = event.points[0]?.x;
        if (!Number.isInteger(x)) return;
        model.set("clicked", x);
        model.save_changes();
      });
      box.on("plotly_afterplot", point);
      box.on("plotly_relayouting", point);
    }
    point();
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
  }

  model.on("change:figure", schedule.soon);
  model.on("change:cursor", point);
  const resize = () => {
    if (sizeNow() !== drawnSize) schedule();
  };
  const resized = new ResizeObserver(resize);
  resized.observe(drawing);
  window.addEventListener("retnet-viz-theme", resize);
  schedule();
  return () => {
    gone = true;
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", resize);
    Plotly.purge(box);
  };
}

export default { render };
