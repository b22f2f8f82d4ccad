// plotly.js, which the kernel gives once per page, to the first figure that asks.

/** @import { Bytes, Plotly, PlotAnswers, Request } from "../../types.js" */

import { bytesOf } from "../common.js";

/**
 * What a script without exports hands to a module system, of which it finds one of its own.
 * @param {Bytes} script
 */
async function loaded(script) {
  const source = new TextDecoder().decode(bytesOf(script));
  const wrapped = `const module = { exports: {} }; const exports = module.exports; const define = undefined;\n${source}\nexport default module.exports;`;
  const url = URL.createObjectURL(new Blob([wrapped], { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/**
 * plotly.js, the same for all figures of the page. Where it cannot be had, the next call asks anew.
 * @param {Request<PlotAnswers>} request
 * @returns {Promise<Plotly>}
 */
export function library(request) {
  globalThis.retnetVizPlotly ??= request("plotly.js")
    .then(({ buffers }) => loaded(buffers[0]))
    .catch((error) => {
      globalThis.retnetVizPlotly = undefined;
      throw error;
    });
  return globalThis.retnetVizPlotly;
}
