// Small multiples of the T x T plane on one canvas. Colours come as places in a table; the value
// that a readout shows is asked of the kernel, which has the numbers themselves.

/** @import { Cell, HeatmapAnswers, HeatmapTraits, Request, Spot, View } from "../types.js" */

import {
  bitmapOf,
  bytesOf,
  child,
  clamp,
  contextOf,
  countDrawing,
  cssVariable,
  letterScale,
  perFrame,
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
import { newestOnly, requests, whyOf } from "./request.js";

/**
 * Paint one head into an image of at most `limit` pixels a side; `cells` are the places of its
 * length x length cells, all of them on or below the diagonal. Where several cells share a pixel the
 * one farthest from zero is shown, so that a single large weight is never lost.
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
      let place = 0;
      let best = -1;
      for (let n = y * step; n < rows; n++) {
        const stop = n * length + Math.min(n + 1, (x + 1) * step);
        for (let i = n * length + x * step; i < stop; i++) {
          const p = cells[i];
          if (p === 0) continue;
          const strength = signed ? Math.abs(p - 128) : p;
          if (strength > best) {
            best = strength;
            place = p;
          }
        }
      }
      if (place) pixels[y * side + x] = palette[place];
    }
  }
  return image;
}

/**
 * The places of length x length cells that are the same along each diagonal.
 * @param {Uint8Array} places one for each distance n - m
 * @param {number} length
 */
export function spread(places, length) {
  const cells = new Uint8Array(length * length);
  const backwards = places.slice().reverse();
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
  /** @type {Spot[]} */
  let squares = [];
  let side = 0;
  /** @type {Cell | null} */
  let focus = null; // the cell under the pointer or the cursor keys
  let legendOf = ""; // what the legend was drawn for
  let stale = true; // the images must be painted anew
  /** @type {Request<HeatmapAnswers>} */
  const request = requests(model);
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
      const places = cells.subarray(i * size, (i + 1) * size);
      const image = paint(
        diagonal ? spread(places, length) : places,
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
  function outline(context, x, y, length, block) {
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
   * @param {number} cell
   * @param {number[]} spot
   * @param {string} color
   */
  function mark(context, x, y, cell, [, n, m], color) {
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
    const label = LABEL * letterScale(el);
    const layout = arrange(Math.max(1, heads.length), width, height, label);
    if (layout.side !== side) stale = true;
    side = layout.side;
    const context = contextOf(canvas, width, height);
    squares = [];
    if (length && side > 8) {
      if (stale) stale = !paintAll();
      if (stale) return;
      context.imageSmoothingEnabled = false;
      const used = layout.columns * side + (layout.columns - 1) * GAP;
      const left = Math.max(0, (width - used) / 2);
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
          outline(context, x, y, length, block);
        }
        if (selected >= 0 && selected < length) {
          context.strokeStyle = cssVariable(el, "--rv-accent");
          context.lineWidth = 2;
          const thickness = Math.max(cell, 3);
          const top = y + (selected + 0.5) * cell - thickness / 2;
          context.strokeRect(x, top, Math.max((selected + 1) * cell, 3), thickness);
        }
        const pinned = model.get("cell");
        if (pinned[0] === head.index) mark(context, x, y, cell, pinned, "--rv-accent");
        if (focus?.[0] === i) mark(context, x, y, cell, focus, "--rv-ink");
      });
    }
    countDrawing(el);
  }

  const schedule = perFrame(draw);

  function describe() {
    const meta = model.get("meta");
    writeTitle(el, meta);
    canvas.setAttribute("aria-label", `${meta.title || ""}: ${meta.summary || ""}`);
    const look = JSON.stringify([meta.signed, meta.ticks, bytesOf(model.get("colors")).length]);
    if (look === legendOf) return;
    legendOf = look;
    drawLegend(el, bytesOf(model.get("colors")), meta.signed, meta.ticks);
  }

  // The line below: the pinned cell where nothing is pointed at, else what the whole plane shows.
  function show() {
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
  function at(event) {
    const { length = 0 } = model.get("meta");
    const box = canvas.getBoundingClientRect();
    const found = squareAt(event.clientX - box.left, event.clientY - box.top, squares, side);
    return found && [found[0], Math.floor(found[2] * length), Math.floor(found[1] * length)];
  }

  /**
   * The cell of the model that a cell of the squares is.
   * @param {Cell} spot
   * @returns {Cell}
   */
  function named([square, n, m]) {
    const { heads = [] } = model.get("meta");
    return [heads[square].index, n, m];
  }

  const ask = newestOnly(async () => {
    if (!focus) return;
    const cell = named(focus);
    const { text } = await request("cell", cell).catch((error) => ({ text: whyOf(error) }));
    if (!focus || String(named(focus)) !== String(cell)) return;
    readout.setAttribute("aria-live", "polite");
    readout.textContent = readout.title = text;
  });

  /** @param {Cell | null} spot */
  function look(spot) {
    if (String(spot) === String(focus)) return;
    focus = spot;
    if (spot) ask();
    else show();
    schedule();
  }

  /** @param {Cell} spot */
  function pin(spot) {
    const cell = named(spot);
    const same = String(model.get("cell")) === String(cell);
    model.set("cell", same ? [] : cell);
    model.set("selected", spot[1]);
    model.save_changes();
  }

  canvas.addEventListener("pointermove", (event) => look(at(event)));
  canvas.addEventListener("pointerleave", () => look(null));
  canvas.addEventListener("blur", () => look(null));
  canvas.addEventListener("click", (event) => {
    // What the pointer was seen on: a click's own coordinates are rounded to whole pixels.
    const spot = focus ?? at(event);
    if (spot) pin(spot);
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
      look([clamp(h, 0, heads.length - 1), clamp(n, 0, length - 1), clamp(m, 0, length - 1)]);
    } else if ((event.key === "Enter" || event.key === " ") && focus) {
      pin(focus);
    } else if (event.key === "Escape" && (focus || model.get("cell").length)) {
      model.set("cell", []);
      model.save_changes();
      look(null);
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
      else ask();
    }
    describe();
    show();
    schedule();
  });
  model.on("change:selected change:cell", schedule);
  if (toggle) model.on("change:cells change:selected change:meta", toggle.refresh);
  model.on("change:readout", show);
  const resized = new ResizeObserver(schedule);
  resized.observe(stage);
  window.addEventListener("retnet-viz-theme", schedule);
  describe();
  show();
  schedule();
  return () => {
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", schedule);
  };
}

export default { render };
