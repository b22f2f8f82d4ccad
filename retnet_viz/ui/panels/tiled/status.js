// The progress bar over a plane while it is prepared, with a button that stops that.

/** @import { Model, TiledTraits } from "../../types.js" */

import { child } from "../common.js";

const BAR_DELAY = 1000; // ms: what is prepared faster shows no bar

/**
 * The bar shows after a delay while something is prepared, and at once where that was stopped or
 * failed. `onChange` is called whenever the bar appears, disappears or changes its text.
 * @param {HTMLElement} bar
 * @param {Model<TiledTraits>} model
 * @param {() => void} onChange
 */
export function statusBar(bar, model, onChange) {
  const label = child(bar, "span", HTMLElement);
  const progress = child(bar, "progress", HTMLProgressElement);
  const button = child(bar, "button", HTMLButtonElement);
  let timer = 0;
  progress.setAttribute("aria-label", "preparing");
  button.addEventListener("click", () => {
    model.send(model.get("status").state === "stopped" ? { resume: true } : { cancel: true });
  });

  function close() {
    clearTimeout(timer);
    timer = 0;
  }

  function show() {
    const { state, text = "", done = 0 } = model.get("status");
    if (state !== "preparing") {
      close();
      bar.hidden = state === "idle";
    } else if (bar.hidden) {
      timer ||= window.setTimeout(() => {
        timer = 0;
        bar.hidden = false;
        onChange();
      }, BAR_DELAY);
    }
    label.textContent = text;
    progress.hidden = state !== "preparing";
    progress.value = done;
    button.hidden = state === "failed";
    button.textContent = state === "stopped" ? "continue" : "cancel";
    onChange();
  }

  return { show, close };
}
