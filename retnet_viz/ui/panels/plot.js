// A host for plotly figures.

/** @import { Plotly, PlotlyBox, PlotAnswers, PlotTraits, Request, View } from "../types.js" */

import { countDrawing, element, letterScale, perFrame, tableToggle } from "./common.js";
import { legendBelow } from "./plots/legend.js";
import { library } from "./plots/library.js";
import { fitted, tablesOf, titleOf } from "./plots/tables.js";
import { newestOnly, requests, whyOf } from "./request.js";

const PATIENCE = 60_000; // ms: plotly.js is 5 MB, and the kernel may be at work while a page opens

const CONFIG = {
  displaylogo: false,
  responsive: false,
  doubleClick: "reset",
  modeBarButtons: [["toImage"]], // not the button that sends a figure to a cloud service
  toImageButtonOptions: { format: "png", scale: 3 },
};

/** @param {View<PlotTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-plot");
  const drawing = element("div", "rv-drawing");
  drawing.setAttribute("role", "img");
  const box = /** @type {PlotlyBox} */ (element("div"));
  const cursor = element("div", "rv-cursor");
  cursor.hidden = true;
  drawing.append(box, cursor);
  const sentence = element("p", "rv-sentence");
  sentence.hidden = true;
  const trouble = element("p", "rv-empty");
  trouble.setAttribute("role", "alert");
  const legend = legendBelow(() => schedule());
  el.append(drawing, legend.el, sentence);
  const toggle = tableToggle(el, () => tablesOf(model.get("figure")));
  /** @type {Request<PlotAnswers>} */
  const request = requests(model, PATIENCE);
  /** @type {Plotly | null} */
  let plotly = null; // until the page has it
  let gone = false;
  let listening = false;
  let drawnSize = "";

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

  const load = newestOnly(async () => {
    if (plotly || gone) return;
    try {
      plotly = await library(request);
      trouble.remove();
      schedule();
    } catch (error) {
      trouble.textContent = `The figures cannot be drawn: ${whyOf(error)}`;
      drawing.before(trouble);
    }
  });

  // The selection moves more often than the figure changes: a line over the drawing costs nothing.
  function point() {
    const { xaxis: axis, _size: size } = box._fullLayout ?? {};
    const x = model.get("cursor");
    const at = x >= 0 && axis?.visible && axis.d2p ? axis.d2p(x) : NaN;
    const isIn = axis && size && at >= 0 && at <= axis._length;
    cursor.hidden = !isIn;
    if (!isIn) return;
    const scale = letterScale(el, "--rv-figure");
    cursor.style.left = `${scale * (axis._offset + at)}px`;
    cursor.style.top = `${scale * size.t}px`;
    cursor.style.height = `${scale * size.h}px`;
  }

  const schedule = perFrame(draw);
  const sizeNow = () =>
    `${drawing.clientWidth} x ${drawing.clientHeight} x ${letterScale(el, "--rv-figure")}`;

  async function draw() {
    const { data, layout = {} } = model.get("figure");
    // For a projector all of a figure is larger, its letters and its lines.
    const scale = letterScale(el, "--rv-figure");
    const [width, height] = [drawing.clientWidth / scale, drawing.clientHeight / scale];
    box.style.transform = scale === 1 ? "" : `scale(${scale})`;
    if (gone || !plotly || !data || !width || !height) return;
    const react = () => {
      // plotly writes into what it is given, and the model's value must stay as the kernel sent it.
      const figure = structuredClone(legend.applied({ data, layout }));
      const title = fitted(figure.layout.title, width);
      const full = { ...figure.layout, title, width, height, autosize: false };
      return plotly?.react(box, figure.data, full, CONFIG);
    };
    const size = sizeNow();
    const resizes = drawnSize !== "" && drawnSize !== size;
    drawnSize = size;
    await react();
    // plotly places a legend within the margins of its last drawing: a new size takes two.
    if (resizes && !gone && box._fullLayout?.showlegend) await react();
    if (gone) return;
    if (!listening) {
      listening = true;
      box.on("plotly_click", (event) => {
        const x = event.points[0]?.x;
        if (typeof x !== "number" || !Number.isInteger(x)) return;
        model.set("clicked", x);
        model.save_changes();
      });
      box.on("plotly_afterplot", point);
      box.on("plotly_relayouting", point);
    }
    point();
    countDrawing(el);
  }

  model.on("change:figure", () => {
    describe();
    if (plotly) schedule.soon();
    else load();
  });
  model.on("change:stale", mark);
  model.on("change:cursor", point);
  const resize = () => {
    if (sizeNow() !== drawnSize) schedule();
  };
  const resized = new ResizeObserver(resize);
  resized.observe(drawing);
  window.addEventListener("retnet-viz-theme", resize);
  describe();
  mark();
  load();
  return () => {
    gone = true;
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", resize);
    plotly?.purge(box);
  };
}

export default { render };
