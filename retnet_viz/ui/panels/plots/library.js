// plotly.js: a file of the server, or else what the kernel sends. Once per page, for all its figures.

/** @import { Bytes, Plotly, PlotAnswers, PlotTraits, Request, Model } from "../../types.js" */

import { bytesOf } from "../common.js";

/**
 * Run a CommonJS script as an ES module, and give its `module.exports`.
 * @param {Bytes} script
 */
async function importScript(script) {
  const source = new TextDecoder().decode(bytesOf(script));
  const moduleSource = `const module = { exports: {} }; const exports = module.exports; const define = undefined;\n${source}\nexport default module.exports;`;
  const url = URL.createObjectURL(new Blob([moduleSource], { type: "text/javascript" }));
  try {
    return (await import(url)).default;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/**
 * The address of plotly.js on the server of the kernel, "" where none is known.
 * @param {Pick<Model<PlotTraits>, "get" | "widget_manager">} model
 */
export function libraryAddress(model) {
  const path = model.get("library");
  const server = model.widget_manager?.kernel?.serverSettings?.baseUrl;
  return path && server ? new URL(path, new URL(server, location.href)).href : "";
}

/**
 * @param {Request<PlotAnswers>} request
 * @returns {Promise<Plotly>}
 */
async function fetchPlotly(request, address = "") {
  try {
    // A kernel that runs another cell does not keep a page from this.
    if (address) return (await import(address)).default;
  } catch {
    // Another server: the kernel has it too.
  }
  const { buffers } = await request("plotly.js");
  return importScript(buffers[0]);
}

/**
 * plotly.js, one for all figures of the page. Where loading fails, the next call tries again.
 * @param {Request<PlotAnswers>} request
 * @returns {Promise<Plotly>}
 */
export function loadPlotly(request, address = "") {
  globalThis.retnetVizPlotly ??= fetchPlotly(request, address).catch((error) => {
    globalThis.retnetVizPlotly = undefined;
    throw error;
  });
  return globalThis.retnetVizPlotly;
}
