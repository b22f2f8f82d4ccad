// The stage: a scene's sentence, formula and pictures, and the highlight of what is pointed at.

/** @import { SceneData, ThemeColors, StagePlace, StepMeta } from "../../types.js" */
/** @import { PictureView } from "./step_pictures.js" */

import {
  child,
  countDrawing,
  element,
  pointerPosition,
  prepareCanvas,
  setText,
  targetOf,
  themeColors,
} from "../common.js";
import { barAt, barText, drawBars } from "./bars.js";
import { cellOfPlane, drawPlane, highlightOfCell, planeCaption } from "./plane.js";
import {
  buildLines,
  entryAt,
  markToken,
  shapeOf,
  showPictures,
  tokenOfEntry,
} from "./step_pictures.js";

const MIN_READ_TIME = 100; // ms for which a sentence and a formula stay at least while playing

export const STAGE = `
  <div class="rv-saying"></div>
  <div class="rv-formula"></div>
  <div class="rv-scene">
    <figure class="rv-plane"><canvas role="img"></canvas><figcaption></figcaption></figure>
    <div class="rv-lines"></div>
  </div>
  <div class="rv-readout" role="status"></div>`;

/**
 * What the panel gives the stage.
 * @typedef {object} Source
 * @property {() => Partial<StepMeta> & { length: number }} meta
 * @property {() => Uint8Array} colors of signed values, then of magnitudes
 * @property {() => string} headColor
 * @property {(token: number, at: StagePlace) => Promise<string | null>} numbersAt what stands at a
 *   place of a token's scene; null where that is of another text by now
 * @property {(token: number) => void} select
 */

/**
 * The stage of the panel `el`, whose HTML contains STAGE.
 * @param {HTMLElement} el
 * @param {Source} source
 */
export function stageView(el, source) {
  const [sentence, formula, lines, planeText, readout] = [
    ".rv-saying",
    ".rv-formula",
    ".rv-lines",
    ".rv-plane figcaption",
    ".rv-readout",
  ].map((selector) => child(el, selector, HTMLElement));
  const planeCanvas = child(el, ".rv-plane canvas", HTMLCanvasElement);
  const barsBox = element("figure", "rv-picture rv-bars");
  const barsText = element("figcaption");
  const barsCanvas = element("canvas");
  barsCanvas.setAttribute("role", "img");
  barsBox.append(barsText, barsCanvas);
  /** @type {SceneData | null} */
  let current = null;
  /** @type {SceneData | null} */
  let textData = null; // the scene that the sentence and the formula are of
  let textTime = 0;
  /** @type {{ term: string | null, m: number | null }} */
  let highlight = { term: null, m: null }; // what is pointed at: a term, or a token that is read
  let isHighlighted = false; // whether anything is highlighted
  /** @type {PictureView[]} */
  let views = [];
  let shape = ""; // of the pictures: rebuilt only where it changes
  /** @type {StagePlace | null} */
  let probePlace = null; // the place whose numbers are requested
  // Sizes and colours are looked up once and not at every step: each would lay the page out anew.
  /** @type {Map<Element, [width: number, height: number]>} */
  let sizes = new Map();
  /** @type {ThemeColors | null} */
  let theme = null;
  const scratch = element("canvas");

  /**
   * @param {HTMLCanvasElement} canvas
   * @returns {[width: number, height: number]}
   */
  function sizeOf(canvas) {
    const size = sizes.get(canvas) ?? [canvas.clientWidth, canvas.clientHeight];
    sizes.set(canvas, size);
    return size;
  }

  function currentTheme() {
    theme ??= themeColors(el);
    return theme;
  }

  /**
   * Show that there is nothing, and why.
   * @param {string} whyNot
   */
  function clear(whyNot) {
    sentence.textContent = whyNot;
    formula.replaceChildren();
    lines.replaceChildren();
    shape = "";
    current = textData = null;
    planeCanvas.width = planeCanvas.height = 1;
    planeText.textContent = readout.textContent = "";
  }

  /**
   * Show a scene. Fast playing skips sentences, which nobody could read; a pause shows the step's
   * own.
   * @param {SceneData} data
   * @param {boolean} isPlaying
   */
  function show(data, isPlaying) {
    const isNew = current !== data;
    current = data;
    if (isNew) drawScene(data);
    const now = performance.now();
    if (textData !== data && (!isPlaying || now - textTime >= MIN_READ_TIME)) {
      textData = data;
      textTime = now;
      setText(sentence, data.scene.sentence);
      sentence.title = data.scene.sentence;
      formula.innerHTML = data.scene.formula; // MathML of numbers and escaped text
      isHighlighted = true; // a new formula, in which nothing is highlighted yet
    }
    drawPlaneAndBars(data);
    drawHighlight();
    el.dataset.step = String(data.scene.step);
    el.dataset.token = String(data.token);
    countDrawing(el);
    return isNew;
  }

  /** @param {SceneData} data */
  function drawScene({ scene, bytes }) {
    if (shape !== shapeOf(scene)) {
      shape = shapeOf(scene);
      const content = buildLines(scene, pointAtEntry);
      views = content.views;
      lines.replaceChildren(...content.rows);
      if (scene.bars) {
        barsBox.dataset.term = scene.bars.term;
        lines.append(barsBox);
      }
      sizes = new Map();
      isHighlighted = true; // new pictures, their marks not yet hidden
    }
    showPictures(lines, views, scene, bytes, source.colors());
    if (probePlace) requestProbe();
    else setText(readout, idleText());
  }

  function idleText() {
    if (!current) return "";
    const { cost, limits } = current.scene;
    const ends = Object.entries(limits).map(([name, limit]) =>
      name === "decay" ? `decay ${limit}` : `${name} ±${limit}`,
    );
    return `${cost}. Colours, ${source.meta().scale}: blue below 0, red above, to ${ends.join(", ")}.`;
  }

  /**
   * Draw the plane and the bars, which show the highlighted token.
   * @param {SceneData} data
   */
  function drawPlaneAndBars(data) {
    const { bars } = data.scene;
    const [width, height] = sizeOf(planeCanvas);
    if (Math.min(width, height) >= 8) {
      const context = prepareCanvas(planeCanvas, width, height);
      const colors = source.colors();
      drawPlane(context, width, height, data, scratch, colors, currentTheme(), highlight.m);
      setText(planeText, planeCaption(data.scene, source.meta().length));
      planeCanvas.setAttribute("aria-label", `The plane of cells: ${planeText.textContent}`);
    }
    if (!bars) return;
    const [barsWidth, barsHeight] = sizeOf(barsCanvas);
    if (!barsWidth) return;
    const color = source.headColor();
    const context = prepareCanvas(barsCanvas, barsWidth, barsHeight);
    setText(barsText, bars.title);
    drawBars(context, barsWidth, barsHeight, bars, color, currentTheme(), highlight.m, data.token);
    barsCanvas.setAttribute("aria-label", `${bars.title}, ${bars.unit}`);
  }

  // -- pointing: a term highlights its pictures, an entry its term -----------------------------

  function drawHighlight() {
    const hasHighlight = highlight.term !== null || highlight.m !== null;
    if (!hasHighlight && !isHighlighted) return;
    isHighlighted = hasHighlight;
    for (const node of /** @type {NodeListOf<HTMLElement>} */ (
      el.querySelectorAll("[data-term]")
    )) {
      const key = node.dataset.term;
      const isTarget =
        key === highlight.term || (highlight.m !== null && key === `m:${highlight.m}`);
      node.classList.toggle("rv-lit", isTarget);
    }
    for (const view of views) markToken(view, highlight.m);
  }

  /**
   * @param {string | null} term
   * @param {number | null} m
   */
  function setHighlight(term, m = null) {
    if (highlight.term === term && highlight.m === m) return;
    highlight = { term, m };
    if (!current) return;
    drawHighlight();
    drawPlaneAndBars(current);
  }

  async function requestProbe() {
    if (!current || !probePlace) return;
    const [at, { token }] = [probePlace, current];
    const text = await source.numbersAt(token, at);
    if (text === null || String(at) !== String(probePlace) || token !== current?.token) return;
    readout.textContent = text || idleText();
  }

  /** @param {StagePlace | null} at */
  function probe(at) {
    if (String(at) === String(probePlace)) return;
    probePlace = at;
    if (at) requestProbe();
    else readout.textContent = idleText();
  }

  /**
   * @param {PictureView} view
   * @param {PointerEvent} event
   */
  function pointAtEntry({ picture, canvas }, event) {
    const box = canvas.getBoundingClientRect();
    const [row, column] = entryAt(
      picture,
      (event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height,
    );
    setHighlight(picture.term, tokenOfEntry(picture, row, column));
    probe([picture.term, row, column]);
  }

  barsCanvas.addEventListener("pointermove", (event) => {
    const bars = current?.scene.bars;
    if (!bars) return;
    const [width, height] = sizeOf(barsCanvas);
    const i = barAt(bars, width, height, pointerPosition(barsCanvas, event)[0]);
    if (i < 0) return;
    setHighlight(bars.term, bars.first + i);
    probePlace = null;
    readout.textContent = barText(bars, i);
  });
  planeCanvas.addEventListener("pointermove", (event) => {
    if (!current) return;
    const { plane } = current.scene;
    const cell = cellOfPlane(plane, ...sizeOf(planeCanvas), ...pointerPosition(planeCanvas, event));
    if (!cell) return;
    const { term, m } = highlightOfCell(plane, ...cell);
    setHighlight(term, m);
    probe(["plane", ...cell]);
  });
  planeCanvas.addEventListener("click", () => {
    if (probePlace?.[0] === "plane") source.select(probePlace[1]);
  });
  formula.addEventListener("pointermove", (event) => {
    const at = /** @type {HTMLElement | null} */ (targetOf(event).closest("[data-term]"));
    const key = at?.dataset.term ?? null;
    if (key?.startsWith("m:")) setHighlight(null, Number(key.slice(2)));
    else setHighlight(key);
  });
  for (const part of [planeCanvas, formula, lines]) {
    part.addEventListener("pointerleave", () => {
      setHighlight(null);
      probe(null);
    });
  }

  return {
    show,
    clear,
    /** The token of the scene that is shown; -1 for none. */
    token: () => current?.token ?? -1,
    /** @param {boolean} on whether each new sentence is read aloud */
    readAloud: (on) => sentence.setAttribute("aria-live", on ? "polite" : "off"),
    /** @param {string} message the scene that is asked for cannot be had */
    fail(message) {
      sentence.textContent = message;
      textData = null;
    },
    restyle() {
      sizes = new Map();
      theme = null;
    },
  };
}
