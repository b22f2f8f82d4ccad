// The keys and the buttons that move the window of a plane.

/** @import { Cell, Window } from "../../types.js" */

import { finest, windowAt, zoomed } from "./window.js";

const STEP = 1.5; // zoom of a button or a key
const KEYS =
  "Arrow keys pan, with Shift by a whole window; plus and minus zoom; Home shows the whole " +
  "triangle, Enter the selected token; Page Up and Page Down choose the head, Space pins " +
  "the cell in the middle.";

/**
 * The panel, as far as keys and buttons act on it.
 * @typedef {object} Controlled
 * @property {() => { view: Window, whole: boolean, length: number, focus: Cell | null, selected: number }} place
 * @property {() => boolean} isPinned
 * @property {() => void} unpin
 * @property {(spot: Cell | null) => void} look
 * @property {(change?: number) => void} lookAtMiddle of a head so many further
 * @property {(spot: Cell | null) => void} pin
 * @property {(to: Window) => boolean} turnTo
 * @property {() => void} showWhole
 * @property {() => void} showToken
 */

/**
 * Let the keys on a canvas and the buttons of a tool bar act on a panel. `enable` of what this gives
 * says which of the buttons have something to do.
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLElement} tools
 * @param {Controlled} panel
 */
export function controls(canvas, tools, panel) {
  canvas.setAttribute("aria-description", KEYS);

  /**
   * @param {number} rows
   * @param {number} columns
   */
  function pan(rows, columns) {
    const { view, length } = panel.place();
    panel.turnTo(windowAt(view.n + rows, view.m + columns, view.span, length));
  }

  /** @param {number} factor */
  function zoom(factor) {
    const { view, length } = panel.place();
    panel.turnTo(zoomed(view, length, factor));
  }

  canvas.addEventListener("keydown", (event) => {
    const { view, length, focus } = panel.place();
    if (!length || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = view.span * (event.shiftKey ? 1 : 0.1);
    /** @type {Record<string, () => void>} */
    const actions = {
      ArrowUp: () => pan(-by, 0),
      ArrowDown: () => pan(by, 0),
      ArrowLeft: () => pan(0, -by),
      ArrowRight: () => pan(0, by),
      "+": () => zoom(STEP),
      "=": () => zoom(STEP),
      "-": () => zoom(1 / STEP),
      Home: panel.showWhole,
      0: panel.showWhole,
      Enter: panel.showToken,
      PageUp: () => panel.lookAtMiddle(-1),
      PageDown: () => panel.lookAtMiddle(1),
      " ": () => panel.pin(focus),
      Escape: panel.unpin,
    };
    if (!(event.key in actions)) return;
    if (event.key === "Escape" && !focus && !panel.isPinned()) return; // the page's
    actions[event.key]();
    if (event.key === "Escape") panel.look(null);
    else if (!event.key.startsWith("Page")) panel.lookAtMiddle();
    event.preventDefault();
    event.stopPropagation();
  });

  /** @type {Record<string, () => void>} */
  const acts = {
    in: () => zoom(STEP),
    out: () => zoom(1 / STEP),
    whole: panel.showWhole,
    token: panel.showToken,
  };
  const buttons = [...tools.querySelectorAll("button")];
  for (const button of buttons) {
    button.addEventListener("click", () => acts[button.dataset.act ?? ""]());
  }

  return {
    enable() {
      const { view, whole, length, selected } = panel.place();
      /** @type {Record<string, boolean>} */
      const off = {
        in: view.span <= finest(length),
        out: whole,
        whole,
        token: selected < 0 || selected >= length,
      };
      for (const button of buttons) button.disabled = off[button.dataset.act ?? ""];
    },
  };
}
