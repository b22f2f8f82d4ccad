// The keys and the buttons that move the window of a plane.

/** @import { Cell, Window } from "../../types.js" */

import { minSpan, windowAt, zoomWindow } from "./window.js";

const ZOOM_STEP = 1.5; // zoom of a button or a key
const KEYS =
  "Arrow keys pan, with Shift by a whole window; plus and minus zoom; Home shows the whole " +
  "triangle, Enter the selected token; Page Up and Page Down choose the head, Space pins " +
  "the cell in the middle.";

/**
 * The panel, as far as keys and buttons act on it.
 * @typedef {object} ControlledPanel
 * @property {() => { view: Window, isWhole: boolean, length: number, focus: Cell | null, selected: number }} state
 * @property {() => boolean} isPinned
 * @property {() => void} unpin
 * @property {(cell: Cell | null) => void} setFocus
 * @property {(change?: number) => void} focusMiddle of the head `change` squares further
 * @property {(cell: Cell | null) => void} pin
 * @property {(to: Window) => boolean} setView
 * @property {() => void} showWhole
 * @property {() => void} showToken
 */

/**
 * Let the keys on a canvas and the buttons of a toolbar act on a panel. `enable` of the result
 * enables the buttons that can do something now.
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLElement} tools
 * @param {ControlledPanel} panel
 */
export function bindControls(canvas, tools, panel) {
  canvas.setAttribute("aria-description", KEYS);

  /**
   * @param {number} rows
   * @param {number} columns
   */
  function pan(rows, columns) {
    const { view, length } = panel.state();
    panel.setView(windowAt(view.n + rows, view.m + columns, view.span, length));
  }

  /** @param {number} factor */
  function zoom(factor) {
    const { view, length } = panel.state();
    panel.setView(zoomWindow(view, length, factor));
  }

  canvas.addEventListener("keydown", (event) => {
    const { view, length, focus } = panel.state();
    if (!length || event.ctrlKey || event.metaKey || event.altKey) return;
    const distance = view.span * (event.shiftKey ? 1 : 0.1);
    /** @type {Record<string, () => void>} */
    const keyActions = {
      ArrowUp: () => pan(-distance, 0),
      ArrowDown: () => pan(distance, 0),
      ArrowLeft: () => pan(0, -distance),
      ArrowRight: () => pan(0, distance),
      "+": () => zoom(ZOOM_STEP),
      "=": () => zoom(ZOOM_STEP),
      "-": () => zoom(1 / ZOOM_STEP),
      Home: panel.showWhole,
      0: panel.showWhole,
      Enter: panel.showToken,
      PageUp: () => panel.focusMiddle(-1),
      PageDown: () => panel.focusMiddle(1),
      " ": () => panel.pin(focus),
      Escape: panel.unpin,
    };
    if (!(event.key in keyActions)) return;
    if (event.key === "Escape" && !focus && !panel.isPinned()) return; // the page's
    keyActions[event.key]();
    if (event.key === "Escape") panel.setFocus(null);
    else if (!event.key.startsWith("Page")) panel.focusMiddle();
    event.preventDefault();
    event.stopPropagation();
  });

  /** @type {Record<string, () => void>} */
  const buttonActions = {
    in: () => zoom(ZOOM_STEP),
    out: () => zoom(1 / ZOOM_STEP),
    whole: panel.showWhole,
    token: panel.showToken,
  };
  const buttons = [...tools.querySelectorAll("button")];
  for (const button of buttons) {
    button.addEventListener("click", () => buttonActions[button.dataset.act ?? ""]());
  }

  return {
    enable() {
      const { view, isWhole, length, selected } = panel.state();
      /** @type {Record<string, boolean>} */
      const disabled = {
        in: view.span <= minSpan(length),
        out: isWhole,
        whole: isWhole,
        token: selected < 0 || selected >= length,
      };
      for (const button of buttons) button.disabled = disabled[button.dataset.act ?? ""];
    },
  };
}
