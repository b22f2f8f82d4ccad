// A question: answers as buttons, or a slider with one; the kernel says whether the choice is right.
// Buttons, not radio buttons: with those the arrow keys would answer on the way to an answer.

/** @import { QuizTraits, View } from "../types.js" */

import { buttonElement, element } from "./common.js";

/**
 * JupyterLab's own keys rest while this very element has the focus; marking one around it is not
 * enough, as some of its shortcuts are for whatever has the focus.
 * @template {HTMLElement} Control
 * @param {Control} control
 */
function ownKeys(control) {
  control.dataset.lmSuppressShortcuts = "true";
  return control;
}

/** @param {View<QuizTraits>} view */
function render({ model, el }) {
  const box = element("fieldset", "rv-question");
  box.append(element("legend", "", model.get("question")));
  const answers = element("div", "rv-answers");
  const result = element("p", "rv-result");
  result.setAttribute("role", "status");
  box.append(answers, result);
  el.append(box);

  /** @param {number} value */
  function choose(value) {
    model.set("chosen", value);
    model.save_changes();
  }

  const buttons = model.get("labels").map((label, i) => {
    const button = ownKeys(buttonElement("rv-answer"));
    const verdict = element("span", "rv-verdict");
    button.append(verdict, element("span", "", label));
    button.addEventListener("click", () => choose(i));
    return { button, verdict };
  });
  answers.append(...buttons.map(({ button }) => button));
  const slider = buttons.length ? null : makeSlider();

  function makeSlider() {
    const [low, high, step] = model.get("limits");
    const input = ownKeys(element("input"));
    input.type = "range";
    [input.min, input.max, input.step] = [low, high, step].map(String);
    input.value = String(model.get("chosen") ?? Math.round((low + high) / 2));
    input.setAttribute("aria-label", "Your prediction");
    const value = element("output");
    const tell = () => {
      value.textContent = Number(input.value).toLocaleString("en");
    };
    input.addEventListener("input", tell);
    const button = ownKeys(buttonElement("rv-answer", "Check"));
    button.addEventListener("click", () => choose(Number(input.value)));
    answers.append(input, value, button);
    tell();
    return { input, tell };
  }

  // Which answer is chosen, and once that is known, which one is right.
  function mark() {
    const chosen = model.get("chosen");
    const { answer = null } = model.get("result");
    buttons.forEach(({ button, verdict }, i) => {
      button.setAttribute("aria-pressed", String(i === chosen));
      const marked = i === answer ? "✓" : i === chosen && answer !== null ? "✗" : "";
      verdict.textContent = marked;
      button.classList.toggle("rv-right", i === answer);
    });
    if (slider && chosen !== null) {
      slider.input.value = String(chosen);
      slider.tell();
    }
  }

  function judge() {
    const { right = null, text = null } = model.get("result");
    result.textContent = text ?? (model.get("chosen") === null ? "" : "…");
    result.dataset.right = right === null ? "" : String(right);
    mark();
  }

  model.on("change:result", judge);
  model.on("change:chosen", () => {
    result.textContent = "…"; // computing may take a while
    mark();
  });
  judge();
}

export default { render };
