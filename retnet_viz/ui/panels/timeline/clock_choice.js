// The buttons that choose the clock of the modes side by side: steps or measured time.

/** @import { Model, TimelineTraits } from "../../types.js" */

import { buttonElement, element } from "../common.js";

/**
 * The buttons that choose a clock. `show` marks the one that is selected.
 * @param {Model<TimelineTraits>} model
 */
export function clockChoice(model) {
  const box = element("div", "rv-timeline-clocks");
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Clock");
  const [steps, time] = ["steps", "measured time"].map((name) => {
    const button = buttonElement("rv-button rv-tool rv-timeline-choice", name);
    button.addEventListener("click", () => {
      model.set("clock", name);
      model.save_changes();
    });
    box.append(button);
    return button;
  });
  /**
   * @param {boolean} measured
   * @param {boolean} canMeasure
   */
  function show(measured, canMeasure) {
    steps.setAttribute("aria-pressed", String(!measured));
    time.setAttribute("aria-pressed", String(measured));
    time.disabled = !canMeasure;
    time.title = canMeasure ? "" : "The steps are being measured";
  }
  return { box, show };
}
