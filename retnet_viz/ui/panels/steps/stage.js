// What stands on the stage: a scene's sentence, formula and pictures, and what is pointed at in them.

/** @import { DrawnScene, Inks, StagePlace, StepMeta } from "../../types.js" */
/** @import { Plot } from "./pictures.js" */

import {
  child,
  contextOf,
  countDrawing,
  element,
  inksOf,
  placeOn,
  put,
  targetOf,
} from "../common.js";
import { barAt, barText, drawBars } from "./bars.js";
import { buildLines, entryAt, markToken, shapeOf, showPictures, tokenOfEntry } from "./pictures.js";
import { cellOfPlane, drawPlane, lightOfCell, planeCaption } from "./plane.js";

const READ = 100; // ms that a sentence and a formula stay at least, while playing

export const STAGE = `
  <div class="rv-saying"></div>
  <div class="rv-formula"></div>
  <div class="rv-scene">
    <figure class="rv-plane"><canvas role="img"></canvas><figcaption></figcaption></figure>
    <div class="rv-lines"></div>
  </div>
  <div class="rv-readout" role="status"></div>`;

/**
 * What the stage asks of the panel.
 * @typedef {object} Source
 * @property {() => Partial<StepMeta> & { length: number }} meta
 * @property {() => Uint8Array} colors of signed values, then of magnitudes
 * @property {() => string} headColor
 * @property {(token: number, at: StagePlace) => Promise<string | null>} numbersAt what stands at a
 *   place of a token's scene; null where that is of another text by now
 * @property {(token: number) => void} select
 */

/**
 * The stage on the panel `el`, whose page has STAGE in it.
 * @param {HTMLElement} el
 * @param {Source} source
 */
export function stageOn(el, source) {
  const [saying, formula, lines, planeText, readout] = [
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
  /** @type {DrawnScene | null} */
  let drawn = null;
  /** @type {DrawnScene | null} */
  let worded = null; // the scene that the sentence and the formula are of
  let wordedAt = 0;
  /** @type {{ term: string | null, m: number | null }} */
  let light = { term: null, m: null }; // what is pointed at: a term, or a token that is read
  let lit = false; // whether anything is lit
  /** @type {Plot[]} */
  let plots = [];
  let shape = ""; // of the pictures: rebuilt only where it changes
  /** @type {StagePlace | null} */
  let probing = null; // the place whose numbers are asked for
  // Sizes and colours are looked up once and not at every step: each would lay the page out anew.
  /** @type {Map<Element, [width: number, height: number]>} */
  let sizes = new Map();
  /** @type {Inks | null} */
  let inks = null;
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

  function inksNow() {
    inks ??= inksOf(el);
    return inks;
  }

  /**
   * Show that there is nothing, and why.
   * @param {string} whyNot
   */
  function clear(whyNot) {
    saying.textContent = whyNot;
    formula.replaceChildren();
    lines.replaceChildren();
    shape = "";
    drawn = worded = null;
    planeCanvas.width = planeCanvas.height = 1;
    planeText.textContent = readout.textContent = "";
  }

  /**
   * Show a scene. Nobody reads 30 sentences a second: once playing rests, they are those of the step.
   * @param {DrawnScene} found
   * @param {boolean} isPlaying
   */
  function show(found, isPlaying) {
    const isNew = drawn !== found;
    drawn = found;
    if (isNew) drawScene(found);
    const now = performance.now();
    if (worded !== found && (!isPlaying || now - wordedAt >= READ)) {
      worded = found;
      wordedAt = now;
      put(saying, found.scene.sentence);
      saying.title = found.scene.sentence;
      formula.innerHTML = found.scene.formula; // MathML that the kernel made of numbers and escaped text
      lit = true; // a new formula, in which nothing is lit yet
    }
    drawMarked(found);
    drawLight();
    el.dataset.step = String(found.scene.step);
    el.dataset.token = String(found.token);
    countDrawing(el);
    return isNew;
  }

  /** @param {DrawnScene} found */
  function drawScene({ scene, bytes }) {
    if (shape !== shapeOf(scene)) {
      shape = shapeOf(scene);
      const built = buildLines(scene, pointAtEntry);
      plots = built.plots;
      lines.replaceChildren(...built.rows);
      if (scene.bars) {
        barsBox.dataset.term = scene.bars.term;
        lines.append(barsBox);
      }
      sizes = new Map();
      lit = true; // new pictures, their marks not yet hidden
    }
    showPictures(lines, plots, scene, bytes, source.colors());
    if (probing) askProbe();
    else put(readout, resting());
  }

  function resting() {
    if (!drawn) return "";
    const { cost, limits } = drawn.scene;
    const ends = Object.entries(limits).map(([name, limit]) =>
      name === "decay" ? `decay ${limit}` : `${name} ±${limit}`,
    );
    return `${cost}. Colours, ${source.meta().scale}: blue below 0, red above, to ${ends.join(", ")}.`;
  }

  /**
   * What shows the token that is lit: the plane and the bars.
   * @param {DrawnScene} found
   */
  function drawMarked(found) {
    const { bars } = found.scene;
    const [width, height] = sizeOf(planeCanvas);
    if (Math.min(width, height) >= 8) {
      const context = contextOf(planeCanvas, width, height);
      const colors = source.colors();
      drawPlane(context, width, height, found, scratch, colors, inksNow(), light.m);
      put(planeText, planeCaption(found.scene, source.meta().length));
      planeCanvas.setAttribute("aria-label", `The plane of cells: ${planeText.textContent}`);
    }
    if (!bars) return;
    const [across, down] = sizeOf(barsCanvas);
    if (!across) return;
    const color = source.headColor();
    const context = contextOf(barsCanvas, across, down);
    put(barsText, bars.title);
    drawBars(context, across, down, bars, color, inksNow(), light.m, found.token);
    barsCanvas.setAttribute("aria-label", `${bars.title}, ${bars.unit}`);
  }

  // -- pointing: a term lights its pictures, an entry its term --------------------------------

  function drawLight() {
    const lights = light.term !== null || light.m !== null;
    if (!lights && !lit) return;
    lit = lights;
    for (const node of /** @type {NodeListOf<HTMLElement>} */ (
      el.querySelectorAll("[data-term]")
    )) {
      const key = node.dataset.term;
      const isLit = key === light.term || (light.m !== null && key === `m:${light.m}`);
      node.classList.toggle("rv-lit", isLit);
    }
    for (const plot of plots) markToken(plot, light.m);
  }

  /**
   * @param {string | null} term
   * @param {number | null} m
   */
  function shine(term, m = null) {
    if (light.term === term && light.m === m) return;
    light = { term, m };
    if (!drawn) return;
    drawLight();
    drawMarked(drawn);
  }

  async function askProbe() {
    if (!drawn || !probing) return;
    const [at, { token }] = [probing, drawn];
    const text = await source.numbersAt(token, at);
    if (text === null || String(at) !== String(probing) || token !== drawn?.token) return;
    readout.textContent = text || resting();
  }

  /** @param {StagePlace | null} at */
  function probe(at) {
    if (String(at) === String(probing)) return;
    probing = at;
    if (at) askProbe();
    else readout.textContent = resting();
  }

  /**
   * @param {Plot} plot
   * @param {PointerEvent} event
   */
  function pointAtEntry({ picture, canvas }, event) {
    const box = canvas.getBoundingClientRect();
    const [row, column] = entryAt(
      picture,
      (event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height,
    );
    shine(picture.term, tokenOfEntry(picture, row, column));
    probe([picture.term, row, column]);
  }

  barsCanvas.addEventListener("pointermove", (event) => {
    const bars = drawn?.scene.bars;
    if (!bars) return;
    const [width, height] = sizeOf(barsCanvas);
    const i = barAt(bars, width, height, placeOn(barsCanvas, event)[0]);
    if (i < 0) return;
    shine(bars.term, bars.first + i);
    probing = null;
    readout.textContent = barText(bars, i);
  });
  planeCanvas.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const { plane } = drawn.scene;
    const cell = cellOfPlane(plane, ...sizeOf(planeCanvas), ...placeOn(planeCanvas, event));
    if (!cell) return;
    const { term, m } = lightOfCell(plane, ...cell);
    shine(term, m);
    probe(["plane", ...cell]);
  });
  planeCanvas.addEventListener("click", () => {
    if (probing?.[0] === "plane") source.select(probing[1]);
  });
  formula.addEventListener("pointermove", (event) => {
    const at = /** @type {HTMLElement | null} */ (targetOf(event).closest("[data-term]"));
    const key = at?.dataset.term ?? null;
    if (key?.startsWith("m:")) shine(null, Number(key.slice(2)));
    else shine(key);
  });
  for (const part of [planeCanvas, formula, lines]) {
    part.addEventListener("pointerleave", () => {
      shine(null);
      probe(null);
    });
  }

  return {
    show,
    clear,
    /** The token of the scene that is shown; -1 for none. */
    token: () => drawn?.token ?? -1,
    /** @param {boolean} on whether each new sentence is read aloud */
    readAloud: (on) => saying.setAttribute("aria-live", on ? "polite" : "off"),
    /** @param {string} why the scene that is asked for cannot be had */
    fail(why) {
      saying.textContent = why;
      worded = null;
    },
    restyle() {
      sizes = new Map();
      inks = null;
    },
  };
}
