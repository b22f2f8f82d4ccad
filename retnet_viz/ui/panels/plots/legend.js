// The legend below a figure. plotly's own takes a third of the drawing time and does not wrap in a
// narrow panel.

/** @import { Figure, Trace } from "../../types.js" */

import { buttonElement, element } from "../common.js";
import { plainText } from "./tables.js";

const AXIS_HEIGHT = 33; // pixels that the numbers and the title of an axis need below it

/** @type {Record<string, string>} */
const SYMBOLS = { circle: "●", square: "■", diamond: "◆" };

/**
 * The traces that the legend below a figure names; none where plotly draws a legend inside.
 * @param {Partial<Figure>} figure
 */
export function namedTraces({ data = [], layout = {} }) {
  const { orientation, yref } = layout.legend ?? {};
  if (!layout.showlegend || orientation !== "h" || yref !== "container") return [];
  return data.filter(({ name, showlegend }) => name && showlegend !== false);
}

/** @param {Trace} trace */
const groupOf = ({ legendgroup, name }) => legendgroup ?? name;

/** @type {Record<string, string>} */
const DASHES = { dash: "dashed", dot: "dotted" };

/** @param {Trace} trace */
function swatch({ line = {}, marker = {}, mode = "lines", fill = "", fillcolor = "" }) {
  const mark = element("span", `rv-line-mark ${fill && "rv-band"}`);
  mark.setAttribute("aria-hidden", "true");
  mark.style.color = (fill && fillcolor) || line.color || marker.color || "";
  mark.style.borderTopStyle = DASHES[line.dash ?? ""] ?? "solid";
  if (mode.includes("markers")) {
    mark.append(element("span", "", SYMBOLS[marker.symbol ?? "circle"] ?? "●"));
  }
  return mark;
}

/**
 * Buttons below a figure, one for each name, that show or hide its lines.
 * @param {() => void} onChange
 */
export function figureLegend(onChange) {
  const el = element("div", "rv-names");
  /** @type {Set<string | undefined>} */
  const hidden = new Set();
  let legendKey = "";

  /** @param {Partial<Figure>} figure */
  function show(figure) {
    const traces = namedTraces(figure);
    const newKey = JSON.stringify(
      traces.map(({ name, line, marker, mode }) => [name, line, marker, mode]),
    );
    if (newKey === legendKey) return;
    legendKey = newKey;
    el.hidden = !traces.length;
    el.replaceChildren(
      ...traces.map((trace) => {
        const button = buttonElement("", plainText(trace.name));
        button.title = "Show or hide";
        button.prepend(swatch(trace));
        const group = groupOf(trace);
        button.setAttribute("aria-pressed", String(!hidden.has(group)));
        button.addEventListener("click", () => {
          if (!hidden.delete(group)) hidden.add(group);
          button.setAttribute("aria-pressed", String(!hidden.has(group)));
          onChange();
        });
        return button;
      }),
    );
  }

  return {
    el,
    show,
    /**
     * The figure without plotly's legend and without the hidden traces.
     * @param {Figure} figure
     * @returns {Figure}
     */
    applyTo: ({ data, layout }) => ({
      data: data.map((trace) =>
        hidden.has(groupOf(trace)) ? { ...trace, visible: false } : trace,
      ),
      layout: el.hidden
        ? layout
        : { ...layout, showlegend: false, margin: { ...layout.margin, b: AXIS_HEIGHT } },
    }),
  };
}
