// Rows of a figure that can be chosen: buttons that lie over its bars, in one stop of the Tab key.

/** @import { Choice } from "../../types.js" */

import { buttonElement, clamp, element } from "../common.js";

/**
 * The element with the buttons; `choose(id)` is called with the first entry of the chosen row. Its
 * `show` puts a button over each row, where `place()` says that the first one is and how high.
 * @param {(id: number) => void} choose
 */
export function choiceRows(choose) {
  const el = element("div", "rv-choices");
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "Append one of these to the text");
  el.hidden = true;
  /** @type {Choice[]} */
  let shown = [];
  /** @type {HTMLButtonElement[]} */
  const buttons = [];
  let current = 0; // the one that Tab reaches

  /** @param {number} i */
  function moveTo(i) {
    current = i;
    for (const [j, button] of buttons.entries()) button.tabIndex = j === i ? 0 : -1;
  }

  /** @param {number} i */
  function addButton(i) {
    const button = buttonElement("rv-choice");
    button.addEventListener("click", () => {
      moveTo(i);
      choose(shown[i][0]);
    });
    buttons.push(button);
    el.append(button);
  }

  el.addEventListener("keydown", (event) => {
    /** @type {Record<string, number>} */
    const places = {
      ArrowUp: current - 1,
      ArrowDown: current + 1,
      Home: 0,
      End: shown.length - 1,
    };
    const to = places[event.key];
    if (to === undefined) return;
    moveTo(clamp(to, 0, shown.length - 1));
    buttons[current].focus();
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    el,
    /**
     * @param {Choice[] | undefined} choices
     * @param {() => { top: number, height: number } | null} place
     */
    show(choices = [], place) {
      const where = choices.length ? place() : null;
      el.hidden = !where;
      if (!where) return;
      shown = choices;
      while (buttons.length < choices.length) addButton(buttons.length);
      while (buttons.length > choices.length) buttons.pop()?.remove();
      for (const [i, [, text, share]] of choices.entries()) {
        buttons[i].title = `Append “${text}” (${share})`;
        buttons[i].setAttribute("aria-label", buttons[i].title);
        buttons[i].style.height = `${where.height}px`;
      }
      el.style.top = `${where.top}px`;
      moveTo(Math.min(current, choices.length - 1));
    },
  };
}
