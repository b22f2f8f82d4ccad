// A host for plotly figures.

/** @import { Layout, Plotly, PlotlyBox, PlotAnswers, PlotTraits, Request, View } from "../../types.js" */

import { countDrawing, element, fontScale, perFrame, tableToggle } from "../common.js";
import { errorMessage, newestOnly, requester } from "../request.js";
import { choiceRows } from "./choices.js";
import { figureLegend } from "./legend.js";
import { libraryAddress, loadPlotly } from "./library.js";
import { fitTitle, tablesOf, titleOf } from "./tables.js";

const LOAD_TIMEOUT = 60_000; // ms: plotly.js has 5 MB, and a kernel may be busy while a page opens

const CONFIG = {
  displaylogo: false,
  responsive: false,
  doubleClick: "reset",
  modeBarButtons: [["toImage"]], // not the button that sends a figure to a cloud service
  toImageButtonOptions: { format: "png", scale: 3 },
};

/**
 * The layout of a figure in a panel of this width: a figure may have another one for a narrow panel.
 * @param {Layout} layout
 * @param {number} width
 * @returns {Layout}
 */
export function layoutFor(layout, width) {
  const { narrow } = layout.meta ?? {};
  return narrow && width < narrow.below ? { ...layout, ...narrow.layout } : layout;
}

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
  const errorLine = element("p", "rv-empty");
  errorLine.setAttribute("role", "alert");
  const legend = figureLegend(() => schedule());
  const choices = choiceRows((id) => {
    model.set("chosen", id);
    model.save_changes();
  });
  el.append(drawing, choices.el, legend.el, sentence);
  const toggle = tableToggle(el, () => tablesOf(model.get("figure")));
  /** @type {Request<PlotAnswers>} */
  const request = requester(model, LOAD_TIMEOUT);
  /** @type {Plotly | null} */
  let plotly = null; // until the page has it
  let disposed = false;
  let listening = false;
  let drawnSize = "";

  function describe() {
    const { layout = {} } = model.get("figure");
    const text = layout.meta?.sentence ?? "";
    sentence.hidden = !text;
    sentence.textContent = sentence.title = text;
    legend.show(model.get("figure"));
    drawing.setAttribute("aria-label", [titleOf(layout), text].filter(Boolean).join(". "));
    toggle.refresh();
  }

  function showStale() {
    el.classList.toggle("rv-stale", model.get("stale"));
    el.setAttribute("aria-busy", String(model.get("stale")));
  }

  const load = newestOnly(async () => {
    if (plotly || disposed) return;
    try {
      plotly = await loadPlotly(request, libraryAddress(model));
      errorLine.remove();
      schedule();
    } catch (error) {
      errorLine.textContent = `The figures cannot be drawn: ${errorMessage(error)}`;
      drawing.before(errorLine);
    }
  });

  // The selection moves more often than the figure changes: a line over the drawing costs nothing.
  function placeCursor() {
    const { xaxis: axis, _size: size } = box._fullLayout ?? {};
    const x = model.get("cursor");
    const at = x >= 0 && axis?.visible && axis.d2p ? axis.d2p(x) : NaN;
    const isInside = axis && size && at >= 0 && at <= axis._length;
    cursor.hidden = !isInside;
    if (!isInside) return;
    const scale = fontScale(el, "--rv-figure");
    cursor.style.left = `${scale * (axis._offset + at)}px`;
    cursor.style.top = `${scale * size.t}px`;
    cursor.style.height = `${scale * size.h}px`;
  }

  const showChoices = () =>
    choices.show(model.get("offers") ? model.get("figure").layout?.meta?.choices : [], () => {
      const { yaxis: axis } = box._fullLayout ?? {};
      if (!axis?.d2p) return null;
      const scale = fontScale(el, "--rv-figure");
      const [first, second] = [axis.d2p(0), axis.d2p(1)].map((y) => scale * y);
      const top = drawing.offsetTop + scale * axis._offset + first - (second - first) / 2;
      return { top, height: second - first };
    });

  const schedule = perFrame(draw);
  const sizeNow = () =>
    `${drawing.clientWidth} x ${drawing.clientHeight} x ${fontScale(el, "--rv-figure")}`;

  async function draw() {
    const { data, layout = {} } = model.get("figure");
    // In the view for a projector the whole figure is enlarged.
    const scale = fontScale(el, "--rv-figure");
    const [width, height] = [drawing.clientWidth / scale, drawing.clientHeight / scale];
    box.style.transform = scale === 1 ? "" : `scale(${scale})`;
    if (disposed || !plotly || !data || !width || !height) return;
    const react = () => {
      // plotly writes into what it is given, and the model's value must stay as the kernel sent it.
      const figure = structuredClone(legend.applyTo({ data, layout }));
      const title = fitTitle(figure.layout.title, width);
      const full = { ...layoutFor(figure.layout, width), title, width, height, autosize: false };
      return plotly?.react(box, figure.data, full, CONFIG);
    };
    const size = sizeNow();
    const isResized = drawnSize !== "" && drawnSize !== size;
    drawnSize = size;
    await react();
    // plotly places a legend within the margins of its last drawing: a new size takes two.
    if (isResized && !disposed && box._fullLayout?.showlegend) await react();
    if (disposed) return;
    if (!listening) {
      listening = true;
      box.on("plotly_click", (event) => {
        const x = event.points[0]?.x;
        if (typeof x !== "number" || !Number.isInteger(x)) return;
        model.set("clicked", x);
        model.save_changes();
      });
      box.on("plotly_afterplot", placeCursor);
      box.on("plotly_relayouting", placeCursor);
    }
    placeCursor();
    showChoices();
    countDrawing(el);
  }

  model.on("change:figure", () => {
    describe();
    if (plotly) schedule.soon();
    else load();
  });
  model.on("change:stale", showStale);
  model.on("change:cursor", placeCursor);
  model.on("change:offers", showChoices);
  const onResize = () => {
    if (sizeNow() !== drawnSize) schedule();
  };
  const resizeObserver = new ResizeObserver(onResize);
  resizeObserver.observe(drawing);
  window.addEventListener("retnet-viz-theme", onResize);
  describe();
  showStale();
  load();
  return () => {
    disposed = true;
    resizeObserver.disconnect();
    window.removeEventListener("retnet-viz-theme", onResize);
    plotly?.purge(box);
  };
}

export default { render };
