// What the pointers do on the canvas of a window: look, pin, drag, pinch, zoom by the wheel.

/** @import { Cell, Spot, Window } from "../../types.js" */
/** @import { Grip, Inset } from "./window.js" */

import { squareAt } from "../multiples.js";
import { dragged, isInInset, middleOf, windowFromInset, zoomed } from "./window.js";

const CLICK = 4; // pixels by which a click may slip

/** @typedef {{ cell: number[], selected: number }} Marked */

/**
 * The panel, as far as pointers act on it.
 * @typedef {object} Panel
 * @property {() => { view: Window, whole: boolean, length: number, side: number, squares: Spot[], inset: Inset | null }} place
 * @property {(spot: Spot) => Cell | null} cellAt
 * @property {() => Cell | null} focus the cell that is looked at
 * @property {() => Marked} marked
 * @property {(marked: Marked) => void} restore
 * @property {(spot: Cell | null) => void} look
 * @property {(spot: Cell | null) => void} pin
 * @property {(to: Window) => boolean} turnTo whether the window has moved
 * @property {() => void} showWhole
 */

/**
 * Let the pointers on a canvas act on a panel.
 * @param {HTMLCanvasElement} canvas
 * @param {Panel} panel
 */
export function pointAt(canvas, panel) {
  /** @type {Map<number, Spot>} */
  const pointers = new Map();
  /** @type {Grip | null} */
  let grip = null; // where a drag or pinch began
  let slipped = false;
  /** @type {Marked | null} */
  let before = null; // what a first click may have to give back

  /**
   * @param {MouseEvent} event
   * @returns {Spot}
   */
  function spotOf(event) {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  function hold() {
    if (!pointers.size) {
      grip = null;
      return;
    }
    const { squares, side, view } = panel.place();
    const middle = middleOf([...pointers.values()]);
    const [, x, y] = squareAt(middle.x, middle.y, squares, side) ?? [0, 0.5, 0.5];
    grip = { ...middle, view, share: [x, y] };
  }

  function drag() {
    if (!grip) return;
    const now = middleOf([...pointers.values()]);
    if (!slipped && !now.apart && Math.hypot(now.x - grip.x, now.y - grip.y) < CLICK) return;
    slipped = true;
    panel.look(null);
    const { length, side } = panel.place();
    panel.turnTo(dragged(grip, now, length, side));
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, spotOf(event));
    canvas.setPointerCapture(event.pointerId);
    if (pointers.size === 1) slipped = false;
    hold();
  });
  canvas.addEventListener("pointermove", (event) => {
    const spot = spotOf(event);
    if (!pointers.has(event.pointerId)) return panel.look(panel.cellAt(spot));
    pointers.set(event.pointerId, spot);
    drag();
  });
  for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) {
    canvas.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      hold();
    });
  }
  canvas.addEventListener("pointerleave", () => panel.look(null));
  canvas.addEventListener("blur", () => panel.look(null));
  canvas.addEventListener("click", (event) => {
    if (slipped || event.detail > 1) return;
    before = panel.marked();
    const spot = spotOf(event);
    const { inset, view, length } = panel.place();
    if (inset && isInInset(spot, inset)) {
      panel.turnTo(windowFromInset(spot, inset, view, length));
    } else {
      panel.pin(panel.focus() ?? panel.cellAt(spot)); // a click's own place is in whole pixels
    }
  });
  canvas.addEventListener("dblclick", (event) => {
    if (slipped || isInInset(spotOf(event), panel.place().inset)) return;
    if (before) panel.restore(before);
    panel.showWhole();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      const { squares, side, view, length } = panel.place();
      const spot = spotOf(event);
      const found = squareAt(spot.x, spot.y, squares, side);
      if (!found || !length) return;
      const lines = event.deltaMode === 1 ? 16 : 1;
      const factor = Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002));
      const moved = panel.turnTo(zoomed(view, length, factor, found[1], found[2]));
      if (!moved && panel.place().whole) return; // the page scrolls where nothing is left to zoom
      event.preventDefault();
      panel.look(panel.cellAt(spot));
    },
    { passive: false },
  );
}
