// All heads at once: a thumbnail of each, in rows of a layer, with its numbers and its switch.

/** @import { HeadPlace, HeadsMeta, HeadsTraits, View } from "../../types.js" */

import {
  buttonElement,
  bytesOf,
  child,
  countDrawing,
  element,
  fontScale,
  perFrame,
  pixelContext,
  setText,
  tableToggle,
} from "../common.js";
import { paletteOf, writeTitle } from "../multiples.js";
import {
  headAfterKey,
  headLabel,
  headsLayout,
  headsTables,
  largestShare,
  shareBar,
} from "./heads_text.js";

// Places in the colour table whose colours stand out on light and dark alike.
const LOWERS = 51;
const RAISES = 204;

/**
 * A half-life without its unit.
 * @param {string} life
 */
const numberOf = (life) => life.split(" ")[0];

/** The elements of one head. */
class HeadCell {
  /**
   * @param {HeadPlace} place
   * @param {string} color
   */
  constructor(place, color) {
    this.place = place;
    this.box = element("div", "rv-head-cell");
    this.box.style.setProperty("--rv-head", color);
    this.thumb = buttonElement("rv-head-thumb");
    this.canvas = element("canvas");
    this.thumb.append(this.canvas);
    this.name = element("span", "rv-head-name", `head ${place[1]}`);
    this.life = element("span", "rv-head-life");
    this.bar = element("span", "rv-head-bar");
    this.bar.setAttribute("aria-hidden", "true");
    this.filled = element("span");
    this.bar.append(this.filled);
    this.share = element("span", "rv-head-share");
    this.check = element("input");
    this.check.type = "checkbox";
    this.check.setAttribute("aria-label", `silence layer ${place[0]}, head ${place[1]}`);
    const silence = element("label", "rv-head-silence");
    silence.append(this.check, element("span", "", "silence"));
    this.box.append(this.name, this.thumb, this.life, this.bar, this.share, silence);
  }

  /** @param {boolean} on whether the Tab key comes here */
  set tabbable(on) {
    this.thumb.tabIndex = this.check.tabIndex = on ? 0 : -1;
  }

  /**
   * @param {Uint8Array} places
   * @param {number} side
   * @param {Uint32Array} palette
   */
  paint(places, side, palette) {
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const image = new ImageData(side, side);
    const pixels = new Uint32Array(image.data.buffer);
    places.forEach((place, i) => {
      if (place) pixels[i] = palette[place];
    });
    pixelContext(this.canvas).putImageData(image, 0, 0);
  }
}

/** @param {View<HeadsTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-heads");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name"></span><span class="rv-origin"></span></div>
    <div class="rv-heads-scroll"></div>
    <div class="rv-readout"></div>`;
  const stage = child(el, ".rv-heads-scroll", HTMLElement);
  const readout = child(el, ".rv-readout", HTMLElement);
  /** @type {HeadCell[][]} */
  let cells = [];
  /** @type {HeadPlace | null} */
  let focus = null; // the head that has the keyboard's focus
  const toggle = tableToggle(el, () =>
    headsTables(model.get("meta"), model.get("shares"), isSilent),
  );

  /** @param {HeadPlace} place */
  function isSilent([layer, head]) {
    return model.get("silent").some((each) => each[0] === layer && each[1] === head);
  }

  /** @param {HeadsMeta} meta */
  function build({ layers, heads, headColors }) {
    cells = Array.from({ length: layers }, (_, layer) =>
      Array.from({ length: heads }, (_, head) => new HeadCell([layer, head], headColors[head])),
    );
    stage.replaceChildren(
      ...cells.map((row, layer) => {
        const group = element("div", "rv-heads-layer");
        group.setAttribute("role", "group");
        group.setAttribute("aria-label", `layer ${layer}`);
        const line = element("div", "rv-heads-row");
        line.append(...row.map((cell) => cell.box));
        group.append(element("div", "rv-heads-name", `layer ${layer}`), line);
        return group;
      }),
    );
    for (const cell of cells.flat()) listen(cell);
  }

  /** @param {HeadCell} cell */
  function listen(cell) {
    cell.thumb.addEventListener("click", () => {
      model.set("clicked", [...cell.place]);
      model.save_changes();
    });
    cell.check.addEventListener("change", () => {
      model.set("toggled", [...cell.place]);
      model.save_changes();
    });
    cell.box.addEventListener("focusin", () => {
      focus = cell.place;
      moveTabStop();
    });
    cell.thumb.addEventListener("keydown", (event) => {
      const { layers, heads } = model.get("meta");
      const to = headAfterKey(event.key, cell.place, layers, heads);
      if (!to) return;
      cells[to[0]][to[1]].thumb.focus();
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** Let the Tab key come to one head only: the one that was focused last, else the selected. */
  function moveTabStop() {
    const [layer, head] = focus ?? model.get("selected");
    for (const cell of cells.flat()) {
      cell.tabbable = cell.place[0] === layer && cell.place[1] === head;
    }
  }

  function paintAll() {
    const { layers, heads, side } = model.get("meta");
    const pictures = bytesOf(model.get("pictures"));
    const size = side * side;
    if (!size || pictures.length !== layers * heads * size) return;
    const palette = paletteOf(bytesOf(model.get("colors")));
    cells.flat().forEach((cell, i) => {
      cell.paint(pictures.subarray(i * size, (i + 1) * size), side, palette);
    });
  }

  function drawMeta() {
    const meta = model.get("meta");
    if (cells.length !== meta.layers || cells[0]?.length !== meta.heads) build(meta);
    writeTitle(el, meta);
    for (const { place, life, thumb } of cells.flat()) {
      const [layer, head] = place;
      setText(life, meta.halfLives ? `half-life ${numberOf(meta.halfLives[layer][head])}` : "");
      life.title = meta.halfLives ? `half-life ${meta.halfLives[layer][head]}` : "";
      thumb.title = meta.gammas
        ? `γ ${meta.gammas[layer][head]}; largest |weight| ${meta.largest?.[layer][head]}`
        : "";
    }
    paintAll();
  }

  function drawShares() {
    const shares = model.get("shares");
    const missing = !model.get("meta").side ? "" : shares.state === "none" ? "–" : "…";
    const largest = largestShare(shares);
    const colors = bytesOf(model.get("colors"));
    /** @param {number} at */
    const color = (at) => `rgb(${colors.subarray(3 * at, 3 * at + 3).join(" ")})`;
    for (const { place, bar, filled, share } of cells.flat()) {
      const value = shares.values?.[place[0]][place[1]] ?? 0;
      const { start, length } = shareBar(value, largest);
      filled.style.left = `${start}%`;
      filled.style.width = `${length}%`;
      filled.style.background = color(value < 0 ? LOWERS : RAISES);
      bar.classList.toggle("rv-pending", shares.state !== "ready");
      setText(share, shares.texts?.[place[0]][place[1]] ?? missing);
      share.title = shares.token ? `share in the logit of ${shares.token}` : "";
    }
    setText(readout, shares.sentence ?? "");
    readout.title = shares.sentence ?? "";
  }

  function drawMarks() {
    const meta = model.get("meta");
    const shares = model.get("shares");
    const [layer, head] = model.get("selected");
    const waiting = model.get("toggled"); // its switch stands as the user left it until then
    for (const cell of cells.flat()) {
      const silent = isSilent(cell.place);
      const selected = cell.place[0] === layer && cell.place[1] === head;
      cell.box.classList.toggle("rv-silent", silent);
      cell.thumb.setAttribute("aria-pressed", String(selected));
      cell.thumb.setAttribute("aria-label", headLabel(cell.place, meta, shares, silent));
      cell.thumb.disabled = cell.check.disabled = !meta.side;
      if (String(waiting) !== String(cell.place)) cell.check.checked = silent;
    }
    moveTabStop();
  }

  function arrangeCells() {
    const { heads, halfLives = [] } = model.get("meta");
    const { paddingLeft, paddingRight } = getComputedStyle(stage);
    const width = stage.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    if (width <= 0) return;
    const digits = Math.max(0, ...halfLives.flat().map((life) => numberOf(life).length));
    const layout = headsLayout(heads, width, fontScale(el), digits);
    stage.style.setProperty("--rv-cell", `${layout.cell}px`);
    stage.classList.toggle("rv-beside", layout.isBeside);
    stage.classList.toggle("rv-named-above", layout.isNamedAbove);
  }

  let isNew = true; // the thumbnails must be painted again

  const schedule = perFrame(() => {
    if (isNew) drawMeta();
    isNew = false;
    el.classList.toggle("rv-old-heads", model.get("stale"));
    drawShares();
    drawMarks();
    arrangeCells();
    countDrawing(el);
  });

  model.on("change:pictures change:meta change:colors", () => {
    isNew = true;
    schedule();
  });
  // "toggled" too: a switch that the kernel did not follow goes back.
  model.on("change:shares change:selected change:silent change:stale change:toggled", schedule);
  model.on("change:meta change:shares change:silent", toggle.refresh);
  const resizeObserver = new ResizeObserver(schedule);
  resizeObserver.observe(stage);
  schedule.now();
  return () => resizeObserver.disconnect();
}

export default { render };
