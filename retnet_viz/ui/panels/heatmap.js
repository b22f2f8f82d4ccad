// Small multiples of the T x T plane on one canvas. The kernel sends indices into a colour table;
// the value in the readout is requested from the kernel, which has the numbers.

/** @import { Cell, HeatmapAnswers, HeatmapTraits, Request, Point, View } from "../types.js" */

import {
  bitmapOf,
  bytesOf,
  child,
  clamp,
  countDrawing,
  cssVariable,
  fontScale,
  perFrame,
  prepareCanvas,
  tableToggle,
} from "./common.js";
import {
  arrange,
  drawLabel,
  drawLegend,
  GAP,
  LABEL,
  paletteOf,
  squareAt,
  writeTitle,
} from "./multiples.js";
import { cellReader, requester } from "./request.js";

/**
 * Paint one head into an image of at most `limit` pixels a side. `cells` are the colour indices of
 * its length x length cells; those above the diagonal are not read.
 * Where several cells share a pixel, it shows the one farthest from zero: no large weight is lost.
 * @param {Uint8Array} cells
 * @param {number} length
 * @param {Uint32Array} palette
 * @param {boolean} signed
 * @param {number} limit
 */
export function paint(cells, length, palette, signed, limit) {
  const step = Math.max(1, Math.ceil(length / limit));
  const side = Math.ceil(length / step);
  const image = new ImageData(side, side);
  const pixels = new Uint32Array(image.data.buffer);
  for (let y = 0; y < side; y++) {
    const rows = Math.min(length, (y + 1) * step);
    for (let x = 0; x <= y; x++) {
      let index = 0;
      let strongest = -1;
      for (let n = y * step; n < rows; n++) {
        const stop = n * length + Math.min(n + 1, (x + 1) * step);
        for (let i = n * length + x * step; i < stop; i++) {
          const p = cells[i];
          if (p === 0) continue;
          const strength = signed ? Math.abs(p - 128) : p;
          if (strength > strongest) {
            strongest = strength;
            index = p;
          }
        }
      }
      if (index) pixels[y * side + x] = palette[index];
    }
  }
  return image;
}

/**
 * The colour indices of length x length cells that are equal along each diagonal.
 * @param {Uint8Array} indices one for each distance n - m
 * @param {number} length
 */
export function expandDiagonals(indices, length) {
  const cells = new Uint8Array(length * length);
  const backwards = indices.slice().reverse();
  for (let n = 0; n < length; n++) cells.set(backwards.subarray(length - 1 - n), n * length);
  return cells;
}

/** @param {View<HeatmapTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-heatmap");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name"></span><span class="rv-origin"></span></div>
    <div class="rv-canvas-box"><canvas tabindex="0" role="application"></canvas></div>
    <div class="rv-legend"><canvas height="10" aria-hidden="true"></canvas><div class="rv-ticks"></div></div>
    <div class="rv-readout" role="status"></div>`;
  const stage = child(el, ".rv-canvas-box", HTMLElement);
  const canvas = child(stage, "canvas", HTMLCanvasElement);
  const readout = child(el, ".rv-readout", HTMLElement);
  /** @type {HTMLCanvasElement[]} */
  let images = [];
  /** @type {Point[]} */
  let squares = [];
  let side = 0;
  /** @type {Cell | null} */
  let focus = null; // the cell under the pointer or the cursor keys
  let legendKey = ""; // what the legend was drawn for
  let stale = true; // the images must be painted again
  /** @type {Request<HeatmapAnswers>} */
  const request = requester(model);
  const toggle = model.get("tabular")
    ? tableToggle(el, async () => (await request("tables")).tables)
    : null;

  function paintAll() {
    const { length = 0, heads = [], signed = false, diagonal } = model.get("meta");
    const cells = bytesOf(model.get("cells"));
    const palette = paletteOf(bytesOf(model.get("colors")));
    const size = diagonal ? length : length * length;
    if (!length || cells.length !== heads.length * size) return false;
    images = heads.map((_, i) => {
      const indices = cells.subarray(i * size, (i + 1) * size);
      const image = paint(
        diagonal ? expandDiagonals(indices, length) : indices,
        length,
        palette,
        signed,
        2 * side,
      );
      return bitmapOf(image);
    });
    return true;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} x
   * @param {number} y
   * @param {number} length
   * @param {number} block
   */
  function drawBlocks(context, x, y, length, block) {
    const cell = side / length;
    context.strokeStyle = cssVariable(el, "--rv-ink");
    context.lineWidth = 1;
    context.beginPath();
    for (let first = 0; first < length; first += block) {
      const size = Math.min(block, length - first) * cell;
      context.rect(x + first * cell + 0.5, y + first * cell + 0.5, size - 1, size - 1);
    }
    context.stroke();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} x
   * @param {number} y
   * @param {number} cell its side in pixels
   * @param {number[]} position
   * @param {string} color
   */
  function drawMark(context, x, y, cell, [, n, m], color) {
    const size = Math.max(cell, 5);
    context.strokeStyle = cssVariable(el, color);
    context.lineWidth = 2;
    context.strokeRect(
      x + (m + 0.5) * cell - size / 2,
      y + (n + 0.5) * cell - size / 2,
      size,
      size,
    );
  }

  function draw() {
    const meta = model.get("meta");
    const { length = 0, heads = [], block = 0 } = meta;
    const width = stage.clientWidth;
    const height = stage.clientHeight;
    if (!width || !height) return;
    const label = LABEL * fontScale(el);
    const layout = arrange(Math.max(1, heads.length), width, height, label);
    if (layout.side !== side) stale = true;
    side = layout.side;
    const context = prepareCanvas(canvas, width, height);
    squares = [];
    if (length && side > 8) {
      if (stale) stale = !paintAll();
      if (stale) return;
      context.imageSmoothingEnabled = false;
      const totalWidth = layout.columns * side + (layout.columns - 1) * GAP;
      const left = Math.max(0, (width - totalWidth) / 2);
      const selected = model.get("selected");
      const cell = side / length;
      heads.forEach((head, i) => {
        const x = left + (i % layout.columns) * (side + GAP);
        const y = Math.floor(i / layout.columns) * (side + label + GAP) + label;
        squares.push({ x, y });
        drawLabel(context, el, head, x, y, side);
        context.drawImage(images[i], x, y, side, side);
        context.strokeStyle = cssVariable(el, "--rv-line");
        context.lineWidth = 1;
        context.setLineDash(meta.computed === "none" ? [3, 3] : []);
        context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
        context.setLineDash([]);
        if (meta.computed === "blocks" && block * cell >= 4) {
          drawBlocks(context, x, y, length, block);
        }
        if (selected >= 0 && selected < length) {
          context.strokeStyle = cssVariable(el, "--rv-accent");
          context.lineWidth = 2;
          const thickness = Math.max(cell, 3);
          const top = y + (selected + 0.5) * cell - thickness / 2;
          context.strokeRect(x, top, Math.max((selected + 1) * cell, 3), thickness);
        }
        const pinned = model.get("cell");
        if (pinned[0] === head.index) drawMark(context, x, y, cell, pinned, "--rv-accent");
        if (focus?.[0] === i) drawMark(context, x, y, cell, focus, "--rv-ink");
      });
    }
    countDrawing(el);
  }

  const schedule = perFrame(draw);

  function showTitle() {
    const meta = model.get("meta");
    writeTitle(el, meta);
    canvas.setAttribute("aria-label", `${meta.title || ""}: ${meta.summary || ""}`);
    const newKey = JSON.stringify([meta.signed, meta.ticks, bytesOf(model.get("colors")).length]);
    if (newKey === legendKey) return;
    legendKey = newKey;
    drawLegend(el, bytesOf(model.get("colors")), meta.signed, meta.ticks);
  }

  // The line below, where nothing is pointed at: the pinned cell, or a summary of the whole plane.
  function showReadout() {
    if (focus) return;
    const pinned = model.get("readout");
    // The sentence is new with every keystroke: too much to be read aloud each time.
    readout.setAttribute("aria-live", pinned ? "polite" : "off");
    readout.textContent = readout.title = pinned || model.get("meta").sentence || "";
  }

  /**
   * @param {MouseEvent} event
   * @returns {Cell | null}
   */
  function cellAt(event) {
    const { length = 0 } = model.get("meta");
    const box = canvas.getBoundingClientRect();
    const hit = squareAt(event.clientX - box.left, event.clientY - box.top, squares, side);
    return hit && [hit[0], Math.floor(hit[2] * length), Math.floor(hit[1] * length)];
  }

  /**
   * A cell with the number of its head in the model, from one with the number of its square.
   * @param {Cell} cell
   * @returns {Cell}
   */
  function modelCell([square, n, m]) {
    const { heads = [] } = model.get("meta");
    return [heads[square].index, n, m];
  }

  const requestReadout = cellReader(
    request,
    () => focus && modelCell(focus),
    (text) => {
      readout.setAttribute("aria-live", "polite");
      readout.textContent = readout.title = text;
    },
  );

  /** @param {Cell | null} cell */
  function setFocus(cell) {
    if (String(cell) === String(focus)) return;
    focus = cell;
    if (cell) requestReadout();
    else showReadout();
    schedule();
  }

  /** @param {Cell} cell */
  function pin(cell) {
    const pinned = modelCell(cell);
    const same = String(model.get("cell")) === String(pinned);
    model.set("cell", same ? [] : pinned);
    model.set("selected", cell[1]);
    model.save_changes();
  }

  canvas.addEventListener("pointermove", (event) => setFocus(cellAt(event)));
  canvas.addEventListener("pointerleave", () => setFocus(null));
  canvas.addEventListener("blur", () => setFocus(null));
  canvas.addEventListener("click", (event) => {
    // The cell of the last pointer move: a click's own coordinates are rounded to whole pixels.
    const cell = focus ?? cellAt(event);
    if (cell) pin(cell);
  });
  canvas.addEventListener("keydown", (event) => {
    const { length = 0, heads = [] } = model.get("meta");
    if (!length) return;
    /** @type {Record<string, Cell>} */
    const moves = {
      ArrowUp: [0, -1, 0],
      ArrowDown: [0, 1, 0],
      ArrowLeft: [0, 0, -1],
      ArrowRight: [0, 0, 1],
      PageUp: [-1, 0, 0],
      PageDown: [1, 0, 0],
    };
    if (event.key in moves) {
      const start = focus || [0, Math.max(0, model.get("selected")), 0];
      const [h, n, m] = start.map((value, i) => value + moves[event.key][i]);
      setFocus([clamp(h, 0, heads.length - 1), clamp(n, 0, length - 1), clamp(m, 0, length - 1)]);
    } else if ((event.key === "Enter" || event.key === " ") && focus) {
      pin(focus);
    } else if (event.key === "Escape" && (focus || model.get("cell").length)) {
      model.set("cell", []);
      model.save_changes();
      setFocus(null);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });

  model.on("change:cells change:colors change:meta", () => {
    stale = true;
    if (focus) {
      const { length = 0, heads = [] } = model.get("meta");
      if (focus[0] >= heads.length || focus[1] >= length || focus[2] >= length) focus = null;
      else requestReadout();
    }
    showTitle();
    showReadout();
    schedule();
  });
  model.on("change:selected change:cell", schedule);
  if (toggle) model.on("change:cells change:selected change:meta", toggle.refresh);
  model.on("change:readout", showReadout);
  const resizeObserver = new ResizeObserver(schedule);
  resizeObserver.observe(stage);
  window.addEventListener("retnet-viz-theme", schedule);
  showTitle();
  showReadout();
  schedule();
  return () => {
    resizeObserver.disconnect();
    window.removeEventListener("retnet-viz-theme", schedule);
  };
}

export default { render };
