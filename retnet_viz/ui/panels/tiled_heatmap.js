// Small multiples of the plane of a long text on one canvas, all turned to one window of it. The
// window is kept here; its picture is asked of the kernel, one at a time. Until it comes the last
// one is drawn where it belongs now, over that of the whole triangle.

/** @import { Cell, Picture, Request, Spot, TiledAnswers, TiledTraits, View, Window } from "../types.js" */
/** @import { Shown } from "./tiled/squares.js" */
/** @import { Inset } from "./tiled/window.js" */

import {
  bytesOf,
  child,
  clamp,
  contextOf,
  countDrawing,
  grouped,
  inksOf,
  letterScale,
  perFrame,
  tableToggle,
} from "./common.js";
import { arrange, drawLabel, drawLegend, LABEL, writeTitle } from "./multiples.js";
import { newestOnly, requests, whyOf } from "./request.js";
import { drawColumns, drawRows, margins, namesOf } from "./tiled/axes.js";
import { controls } from "./tiled/controls.js";
import { pictureOf } from "./tiled/pictures.js";
import { pointAt } from "./tiled/pointing.js";
import { drawInset, drawSquare } from "./tiled/squares.js";
import { statusBar } from "./tiled/status.js";
import {
  cornersOf,
  insetPlace,
  isInInset,
  middleCell,
  planeCellAt,
  spanOf,
  tokensAsked,
  windowAt,
  windowOnToken,
} from "./tiled/window.js";

/** @param {View<TiledTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-heatmap", "rv-tiled");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name"></span><span class="rv-origin"></span></div>
    <div class="rv-tiled-tools" role="toolbar" aria-label="Window">
      <button type="button" data-act="in" aria-label="zoom in" title="zoom in (+)">+</button>
      <button type="button" data-act="out" aria-label="zoom out" title="zoom out (−)">−</button>
      <button type="button" data-act="whole" title="the whole triangle (Home or 0, or a double click)">whole</button>
      <button type="button" data-act="token" title="to the selected token (Enter)">to the selected token</button>
      <span class="rv-tiled-window"></span>
    </div>
    <div class="rv-canvas-box">
      <canvas tabindex="0" role="application"></canvas>
      <div class="rv-tiled-status" hidden><span role="status"></span><progress max="1"></progress><button type="button"></button></div>
    </div>
    <div class="rv-legend"><canvas height="10" aria-hidden="true"></canvas><div class="rv-ticks"></div></div>
    <div class="rv-tiled-note"></div>
    <div class="rv-readout" role="status"></div>`;
  const stage = child(el, ".rv-canvas-box", HTMLElement);
  const canvas = child(stage, "canvas", HTMLCanvasElement);
  const tools = child(el, ".rv-tiled-tools", HTMLElement);
  const where = child(el, ".rv-tiled-window", HTMLElement);
  const noted = child(el, ".rv-tiled-note", HTMLElement);
  const readout = child(el, ".rv-readout", HTMLElement);
  const status = child(el, ".rv-tiled-status", HTMLElement);
  /** @type {Window} */
  let view = { n: 0, m: 0, span: 0 };
  let whole = true;
  let length = 0;
  let side = 0; // of a square, pixels
  /** @type {Spot[]} */
  let squares = []; // where each head stands
  /** @type {Inset | null} */
  let inset = null;
  /** @type {Picture | null} */
  let picture = null;
  /** @type {Picture | null} */
  let overview = null;
  let failure = "";
  /** @type {Cell | null} */
  let focus = null; // the cell under the pointer or in the middle
  /** @type {Request<TiledAnswers>} */
  const request = requests(model);
  const toggle = tableToggle(el, async () => (await request("tables")).tables);

  const heads = () => model.get("meta").heads;
  /** @param {Picture | null} drawn */
  const current = (drawn) => (drawn?.version === model.get("meta").version ? drawn : null);

  // -- the window ---------------------------------------------------------------------------

  /** @param {Window} to */
  function turnTo(to) {
    const moved = to.n !== view.n || to.m !== view.m || to.span !== view.span;
    view = to;
    whole = view.span >= length;
    if (moved) {
      ask();
      schedule();
    }
    return moved;
  }

  const showWhole = () => turnTo(windowAt(0, 0, length, length));

  function showToken() {
    const selected = model.get("selected");
    if (selected < 0 || selected >= length) return;
    turnTo(windowOnToken(view, length, selected, model.get("cell"), side));
  }

  // One picture at a time: where the window has moved meanwhile, the next is of where it is then.
  const ask = newestOnly(async () => {
    if (!side || !model.get("ready").length) return;
    const known = current(overview);
    try {
      receive(
        await request("pictures", {
          rows: tokensAsked(view.n, view.span, length),
          cols: tokensAsked(view.m, view.span, length),
          side: Math.round(side * (window.devicePixelRatio || 1)) + 2,
          overview: !known || known.heads.length < model.get("ready").length,
        }),
      );
      failure = "";
    } catch (error) {
      failure = whyOf(error);
    }
    say();
    schedule();
  });

  /** @param {Awaited<ReturnType<typeof request<"pictures">>>} answer */
  function receive(answer) {
    const { signed, version } = model.get("meta");
    if (answer.version !== version) {
      ask();
    } else if (answer.pictures.length) {
      const colors = bytesOf(model.get("colors"));
      const [main, all] = answer.pictures.map((sent, i) =>
        pictureOf(sent, answer.buffers[i], colors, signed, version),
      );
      picture = main;
      overview = all ?? overview;
      if (focus) read();
      toggle.refresh();
    }
  }

  // -- drawing ------------------------------------------------------------------------------

  function draw() {
    const { clientWidth: width, clientHeight: height } = stage;
    if (!width || !height) return;
    const margin = margins(height);
    const label = LABEL * letterScale(el);
    const count = heads().length;
    const layout = arrange(Math.max(1, count), width - margin.left, height - margin.bottom, label);
    const grown = layout.side !== side;
    side = layout.side;
    if (grown) ask();
    const context = contextOf(canvas, width, height);
    squares = [];
    inset = null;
    if (length && side > 8) {
      context.imageSmoothingEnabled = false;
      squares = cornersOf(count, layout.columns, side, width, margin.left, label);
      const shown = shownNow();
      squares.forEach(({ x, y }, i) => {
        drawHead(context, shown, i, x, y);
        if (i % layout.columns === 0) {
          drawRows(context, shown, namesOf(current(picture), 0), x, y, margin.left);
        }
        if (i + layout.columns >= count) {
          drawColumns(context, shown, namesOf(current(picture), 1), x, y + side, margin.bottom);
        }
      });
      const triangle = current(overview);
      if (!whole && triangle) {
        inset = insetPlace(squares, side, width, label);
        drawInset(context, shown, triangle, inset);
      }
    }
    // For those who drive the page: the window, and where the squares stand on the canvas.
    el.dataset.view = JSON.stringify([view.n, view.m, view.span]);
    el.dataset.squares = JSON.stringify(squares.map(({ x, y }) => [x, y, side]));
    countDrawing(el);
    if (!ask.isRunning() && current(picture)) el.dataset.sharp = el.dataset.drawn; // not moved or scaled
  }

  /** @returns {Shown} */
  function shownNow() {
    const { version, computed = "", block } = model.get("meta");
    return {
      view,
      length,
      side,
      inks: inksOf(el),
      pictures: [overview, picture].filter((drawn) => drawn !== null),
      version,
      faded: !status.hidden, // once it is seen for long
      computed,
      block,
      selected: model.get("selected"),
      pinned: model.get("cell"),
    };
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Shown} shown
   * @param {number} i
   * @param {number} x
   * @param {number} y
   */
  function drawHead(context, shown, i, x, y) {
    const head = heads()[i];
    const bound = picture?.bounds.includes(head.index) ? " (upper bounds)" : "";
    const waits = model.get("status").state === "preparing" ? "not ready yet" : "not drawn";
    const isMissing = !model.get("ready").includes(head.index) && !status.hidden;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    drawLabel(context, el, { ...head, label: head.label + bound }, x, y, side);
    const spot = focus?.[0] === i ? focus : null;
    drawSquare(context, shown, head.index, x, y, spot, isMissing ? waits : "");
  }

  const schedule = perFrame(draw);
  const preparing = statusBar(status, model, schedule);

  // -- words --------------------------------------------------------------------------------

  function describe() {
    const meta = model.get("meta");
    writeTitle(el, meta);
    drawLegend(el, bytesOf(model.get("colors")), meta.signed, meta.ticks);
  }

  // What depends on the window and on the picture.
  function say() {
    const { title = "", noun } = model.get("meta");
    const tokens = `${grouped(length)} tokens`;
    where.textContent = length
      ? `n ${spanOf(view.n, view.span)}, m ${spanOf(view.m, view.span)} of ${tokens}`
      : "";
    const note = failure || (current(picture)?.note ?? "");
    noted.textContent = noted.title = note;
    const names = heads().map((head) => head.label);
    const summary = length
      ? `the ${noun}s of ${tokens}, ${names.join(", ")}; ${where.textContent}. `
      : "";
    canvas.setAttribute("aria-label", `${title}: ${summary}${note}`);
    control.enable();
  }

  function showReadout() {
    if (focus) return;
    readout.textContent = readout.title = model.get("readout");
  }

  // -- pointing -----------------------------------------------------------------------------

  /**
   * The cell of the model that a cell of the squares is.
   * @param {Cell} spot
   * @returns {Cell}
   */
  const named = ([square, n, m]) => [heads()[square].index, n, m];

  const read = newestOnly(async () => {
    if (!focus) return;
    const cell = named(focus);
    const { text } = await request("cell", cell).catch((error) => ({ text: whyOf(error) }));
    if (focus && String(named(focus)) === String(cell)) readout.textContent = readout.title = text;
  });

  /** @param {Cell | null} spot */
  function look(spot) {
    if (String(spot) === String(focus)) return;
    focus = spot;
    if (spot) read();
    else showReadout();
    schedule();
  }

  // With the keys one looks at the middle of the window.
  function lookAtMiddle(change = 0) {
    const square = clamp((focus?.[0] ?? 0) + change, 0, heads().length - 1);
    look(middleCell(square, view, length));
  }

  /** @param {Cell | null} spot */
  function pin(spot) {
    if (spot) model.send({ pin: named(spot) });
  }

  pointAt(canvas, {
    place: () => ({ view, whole, length, side, squares, inset }),
    cellAt: (spot) =>
      isInInset(spot, inset) ? null : planeCellAt(spot, squares, side, view, length),
    focus: () => focus,
    marked: () => ({ cell: model.get("cell"), selected: model.get("selected") }),
    restore: (marked) => model.send({ restore: marked }),
    look,
    pin,
    turnTo,
    showWhole,
  });

  const control = controls(canvas, tools, {
    place: () => ({ view, whole, length, focus, selected: model.get("selected") }),
    isPinned: () => model.get("cell").length > 0,
    unpin: () => {
      model.set("cell", []);
      model.save_changes();
    },
    look,
    lookAtMiddle,
    pin,
    turnTo,
    showWhole,
    showToken,
  });

  // -- what the kernel says -----------------------------------------------------------------

  function renew() {
    length = model.get("meta").length;
    if (!length) picture = overview = null;
    if (focus && (focus[0] >= heads().length || Math.max(focus[1], focus[2]) >= length))
      focus = null;
    if (whole) showWhole();
    else turnTo(windowAt(view.n, view.m, view.span, length));
    describe();
    say();
    ask();
    schedule();
  }

  model.on("change:meta change:colors", renew);
  model.on("change:ready", ask);
  model.on("change:status", preparing.show);
  model.on("change:selected change:cell", () => {
    say();
    schedule();
  });
  model.on("change:readout", showReadout);
  const resized = new ResizeObserver(schedule);
  resized.observe(stage);
  window.addEventListener("retnet-viz-theme", schedule);
  renew();
  showReadout();
  preparing.show();
  return () => {
    preparing.close();
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", schedule);
  };
}

export default { render };
