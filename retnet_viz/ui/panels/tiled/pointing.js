// Mouse and touch on the canvas of a window: hover, pin, drag, pinch, zoom by the wheel.

/** @import { Cell, Point, Window } from "../../types.js" */
/** @import { GestureStart, Inset } from "./window.js" */

import { squareAt } from "../multiples.js";
import { dragWindow, gestureOf, isInInset, windowFromInset, zoomWindow } from "./window.js";

const CLICK_SLACK = 4; // pixels that a pointer may move within a click

/** @typedef {{ cell: number[], selected: number }} Selection */

/**
 * The panel, as far as pointers act on it.
 * @typedef {object} Panel
 * @property {() => { view: Window, isWhole: boolean, length: number, side: number, squares: Point[], inset: Inset | null }} state
 * @property {(point: Point) => Cell | null} cellAt
 * @property {() => Cell | null} focus the cell that is looked at
 * @property {() => Selection} selection
 * @property {(selection: Selection) => void} restore
 * @property {(cell: Cell | null) => void} setFocus
 * @property {(cell: Cell | null) => void} pin
 * @property {(to: Window) => boolean} setView whether the window has moved
 * @property {() => void} showWhole
 */

/**
 * Let the pointers on a canvas act on a panel.
 * @param {HTMLCanvasElement} canvas
 * @param {Panel} panel
 */
export function bindPointers(canvas, panel) {
  /** @type {Map<number, Point>} */
  const pointers = new Map();
  /** @type {GestureStart | null} */
  let start = null; // where a drag or pinch began
  let isDrag = false;
  /** @type {Selection | null} */
  let previousSelection = null; // the selection before a click: a double click restores it

  /**
   * @param {MouseEvent} event
   * @returns {Point}
   */
  function pointOf(event) {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  function startGesture() {
    if (!pointers.size) {
      start = null;
      return;
    }
    const { squares, side, view } = panel.state();
    const gesture = gestureOf([...pointers.values()]);
    const [, x, y] = squareAt(gesture.x, gesture.y, squares, side) ?? [0, 0.5, 0.5];
    start = { ...gesture, view, share: [x, y] };
  }

  function drag() {
    if (!start) return;
    const now = gestureOf([...pointers.values()]);
    if (!isDrag && !now.distance && Math.hypot(now.x - start.x, now.y - start.y) < CLICK_SLACK)
      return;
    isDrag = true;
    panel.setFocus(null);
    const { length, side } = panel.state();
    panel.setView(dragWindow(start, now, length, side));
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, pointOf(event));
    canvas.setPointerCapture(event.pointerId);
    if (pointers.size === 1) isDrag = false;
    startGesture();
  });
  canvas.addEventListener("pointermove", (event) => {
    const point = pointOf(event);
    if (!pointers.has(event.pointerId)) return panel.setFocus(panel.cellAt(point));
    pointers.set(event.pointerId, point);
    drag();
  });
  for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) {
    canvas.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      startGesture();
    });
  }
  canvas.addEventListener("pointerleave", () => panel.setFocus(null));
  canvas.addEventListener("blur", () => panel.setFocus(null));
  canvas.addEventListener("click", (event) => {
    if (isDrag || event.detail > 1) return;
    previousSelection = panel.selection();
    const point = pointOf(event);
    const { inset, view, length } = panel.state();
    if (inset && isInInset(point, inset)) {
      panel.setView(windowFromInset(point, inset, view, length));
    } else {
      panel.pin(panel.focus() ?? panel.cellAt(point)); // a click's own place is in whole pixels
    }
  });
  canvas.addEventListener("dblclick", (event) => {
    if (isDrag || isInInset(pointOf(event), panel.state().inset)) return;
    if (previousSelection) panel.restore(previousSelection);
    panel.showWhole();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      const { squares, side, view, length } = panel.state();
      const point = pointOf(event);
      const hit = squareAt(point.x, point.y, squares, side);
      if (!hit || !length) return;
      const lineHeight = event.deltaMode === 1 ? 16 : 1;
      const factor = Math.exp(-event.deltaY * lineHeight * (event.ctrlKey ? 0.01 : 0.002));
      const hasMoved = panel.setView(zoomWindow(view, length, factor, hit[1], hit[2]));
      if (!hasMoved && panel.state().isWhole) return; // let the page scroll
      event.preventDefault();
      panel.setFocus(panel.cellAt(point));
    },
    { passive: false },
  );
}
