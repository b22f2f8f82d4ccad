// The bar over a plane for what takes long to prepare, with a button that stops it.

/** @import { Model, TiledTraits } from "../../types.js" */

import { child } from "../common.js";

const PATIENCE = 1000; // ms before a progress bar is worth the unrest

/**
 * The bar for what takes long to prepare, at once where that was stopped or failed. `changed` is
 * called where it comes, goes or says something else.
 * @param {HTMLElement} bar
 * @param {Model<TiledTraits>} model
 * @param {() => void} changed
 */
export function statusBar(bar, model, changed) {
  const says = child(bar, "span", HTMLElement);
  const progress = child(bar, "progress", HTMLProgressElement);
  const button = child(bar, "button", HTMLButtonElement);
  let patience = 0;
  progress.setAttribute("aria-label", "preparing");
  button.addEventListener("click", () => {
    model.send(model.get("status").state === "stopped" ? { resume: true } : { cancel: true });
  });

  function close() {
    clearTimeout(patience);
    patience = 0;
  }

  function show() {
    const { state, text = "", done = 0 } = model.get("status");
    if (state !== "preparing") {
      close();
      bar.hidden = state === "idle";
    } else if (bar.hidden) {
      patience ||= window.setTimeout(() => {
        patience = 0;
        bar.hidden = false;
        changed();
      }, PATIENCE);
    }
    says.textContent = text;
    progress.hidden = state !== "preparing";
    progress.value = done;
    button.hidden = state === "failed";
    button.textContent = state === "stopped" ? "continue" : "cancel";
    changed();
  }

  return { show, close };
}
