// A question: its answers as buttons, or a slider with a button. The kernel checks the choice. They
// are no radio buttons: there the arrow keys would choose each answer that they pass.

/** @import { QuizTraits, View } from "../types.js" */

import { buttonElement, element } from "./common.js";

/**
 * Switch JupyterLab's shortcuts off while this control has the focus. To mark an element around it
 * is not enough: some shortcuts act on the focused element itself.
 * @template {HTMLElement} Control
 * @param {Control} control
 */
function suppressShortcuts(control) {
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
    const button = suppressShortcuts(buttonElement("rv-button rv-answer"));
    const verdict = element("span", "rv-verdict");
    button.append(verdict, element("span", "", label));
    button.addEventListener("click", () => choose(i));
    return { button, verdict };
  });
  answers.append(...buttons.map(({ button }) => button));
  const slider = buttons.length ? null : makeSlider();

  function makeSlider() {
    const [low, high, step] = model.get("limits");
    const input = suppressShortcuts(element("input"));
    input.type = "range";
    [input.min, input.max, input.step] = [low, high, step].map(String);
    input.value = String(model.get("chosen") ?? Math.round((low + high) / 2));
    input.setAttribute("aria-label", "Your prediction");
    const value = element("output");
    const showValue = () => {
      value.textContent = Number(input.value).toLocaleString("en");
    };
    input.addEventListener("input", showValue);
    const button = suppressShortcuts(buttonElement("rv-button rv-answer", "Check"));
    button.addEventListener("click", () => choose(Number(input.value)));
    answers.append(input, value, button);
    showValue();
    return { input, showValue };
  }

  // Mark the chosen answer and, once the kernel has said it, the right one.
  function markAnswers() {
    const choice = model.get("chosen");
    const { answer = null } = model.get("result");
    buttons.forEach(({ button, verdict }, i) => {
      button.setAttribute("aria-pressed", String(i === choice));
      const symbol = i === answer ? "✓" : i === choice && answer !== null ? "✗" : "";
      verdict.textContent = symbol;
      button.classList.toggle("rv-right", i === answer);
    });
    if (slider && choice !== null) {
      slider.input.value = String(choice);
      slider.showValue();
    }
  }

  function showResult() {
    const { right = null, text = null } = model.get("result");
    result.textContent = text ?? (model.get("chosen") === null ? "" : "…");
    result.dataset.right = right === null ? "" : String(right);
    markAnswers();
  }

  model.on("change:result", showResult);
  model.on("change:chosen", () => {
    result.textContent = "…"; // computing may take a while
    markAnswers();
  });
  showResult();
}

export default { render };
