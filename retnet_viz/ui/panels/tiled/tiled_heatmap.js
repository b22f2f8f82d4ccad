// Small multiples of the plane of a long text on one canvas, all of one window of it. The page
// keeps the window and requests its picture from the kernel, one at a time. Until that comes, the
// last picture is drawn at its place in the new window, over the overview of the whole triangle.

/** @import { Cell, Picture, Request, Point, TiledAnswers, TiledTraits, View, Window } from "../../types.js" */
/** @import { SquareContent } from "./squares.js" */
/** @import { Inset } from "./window.js" */

import {
  bytesOf,
  child,
  clamp,
  countDrawing,
  fontScale,
  formatInteger,
  perFrame,
  prepareCanvas,
  tableToggle,
  themeColors,
} from "../common.js";
import { arrange, drawLabel, drawLegend, LABEL, writeTitle } from "../multiples.js";
import { cellReader, errorMessage, newestOnly, requester } from "../request.js";
import { drawColumns, drawRows, margins, namesOf } from "./axes.js";
import { bindControls } from "./controls.js";
import { bindPointers } from "./pointing.js";
import { drawInset, drawSquare } from "./squares.js";
import { statusBar } from "./status.js";
import { pictureOf } from "./tile_pictures.js";
import {
  cornersOf,
  formatRange,
  insetBox,
  isInInset,
  middleCell,
  planeCellAt,
  tokenRange,
  windowAt,
  windowOnToken,
} from "./window.js";

/** @param {View<TiledTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-heatmap", "rv-tiled");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name"></span><span class="rv-origin"></span></div>
    <div class="rv-tiled-tools" role="toolbar" aria-label="Window">
      <button type="button" class="rv-button rv-tool" data-act="in" aria-label="zoom in" title="zoom in (+)">+</button>
      <button type="button" class="rv-button rv-tool" data-act="out" aria-label="zoom out" title="zoom out (−)">−</button>
      <button type="button" class="rv-button rv-tool" data-act="whole" title="the whole triangle (Home or 0, or a double click)">whole</button>
      <button type="button" class="rv-button rv-tool" data-act="token" title="to the selected token (Enter)">to the selected token</button>
      <span class="rv-tiled-window"></span>
    </div>
    <div class="rv-canvas-box">
      <canvas tabindex="0" role="application"></canvas>
      <div class="rv-tiled-status" hidden><span role="status"></span><progress max="1"></progress><button type="button" class="rv-button rv-tool"></button></div>
    </div>
    <div class="rv-legend"><canvas height="10" aria-hidden="true"></canvas><div class="rv-ticks"></div></div>
    <div class="rv-tiled-note"></div>
    <div class="rv-readout" role="status"></div>`;
  const stage = child(el, ".rv-canvas-box", HTMLElement);
  const canvas = child(stage, "canvas", HTMLCanvasElement);
  const tools = child(el, ".rv-tiled-tools", HTMLElement);
  const windowText = child(el, ".rv-tiled-window", HTMLElement);
  const noteLine = child(el, ".rv-tiled-note", HTMLElement);
  const readout = child(el, ".rv-readout", HTMLElement);
  const status = child(el, ".rv-tiled-status", HTMLElement);
  /** @type {Window} */
  let view = { n: 0, m: 0, span: 0 };
  let isWhole = true;
  let length = 0;
  let side = 0; // of a square, pixels
  /** @type {Point[]} */
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
  const request = requester(model);
  const toggle = tableToggle(el, async () => (await request("tables")).tables);

  const heads = () => model.get("meta").heads;
  /** @param {Picture | null} image */
  const ifCurrent = (image) => (image?.version === model.get("meta").version ? image : null);

  // -- the window ---------------------------------------------------------------------------

  /** @param {Window} newView */
  function setView(newView) {
    const hasMoved = newView.n !== view.n || newView.m !== view.m || newView.span !== view.span;
    view = newView;
    isWhole = view.span >= length;
    if (hasMoved) {
      requestPictures();
      schedule();
    }
    return hasMoved;
  }

  const showWhole = () => setView(windowAt(0, 0, length, length));

  function showToken() {
    const selected = model.get("selected");
    if (selected < 0 || selected >= length) return;
    setView(windowOnToken(view, length, selected, model.get("cell"), side));
  }

  // One request at a time. Where the window has moved meanwhile, the next one is for its new place.
  const requestPictures = newestOnly(async () => {
    if (!side || !model.get("ready").length) return;
    const currentOverview = ifCurrent(overview);
    try {
      receivePictures(
        await request("pictures", {
          rows: tokenRange(view.n, view.span, length),
          cols: tokenRange(view.m, view.span, length),
          side: Math.round(side * (window.devicePixelRatio || 1)) + 2,
          overview: !currentOverview || currentOverview.heads.length < model.get("ready").length,
        }),
      );
      failure = "";
    } catch (error) {
      failure = errorMessage(error);
    }
    showTexts();
    schedule();
  });

  /** @param {Awaited<ReturnType<typeof request<"pictures">>>} answer */
  function receivePictures(answer) {
    const { signed, version } = model.get("meta");
    if (answer.version !== version) {
      requestPictures();
    } else if (answer.pictures.length) {
      const colors = bytesOf(model.get("colors"));
      const [newPicture, newOverview] = answer.pictures.map((message, i) =>
        pictureOf(message, answer.buffers[i], colors, signed, version),
      );
      picture = newPicture;
      overview = newOverview ?? overview;
      if (focus) requestReadout();
      toggle.refresh();
    }
  }

  // -- drawing ------------------------------------------------------------------------------

  function draw() {
    const { clientWidth: width, clientHeight: height } = stage;
    if (!width || !height) return;
    const margin = margins(height);
    const label = LABEL * fontScale(el);
    const count = heads().length;
    const layout = arrange(Math.max(1, count), width - margin.left, height - margin.bottom, label);
    const sizeChanged = layout.side !== side;
    side = layout.side;
    if (sizeChanged) requestPictures();
    const context = prepareCanvas(canvas, width, height);
    squares = [];
    inset = null;
    if (length && side > 8) {
      context.imageSmoothingEnabled = false;
      squares = cornersOf(count, layout.columns, side, width, margin.left, label);
      const content = squareContent();
      squares.forEach(({ x, y }, i) => {
        drawHead(context, content, i, x, y);
        if (i % layout.columns === 0) {
          drawRows(context, content, namesOf(ifCurrent(picture), 0), x, y, margin.left);
        }
        if (i + layout.columns >= count) {
          drawColumns(context, content, namesOf(ifCurrent(picture), 1), x, y + side, margin.bottom);
        }
      });
      const triangle = ifCurrent(overview);
      if (!isWhole && triangle) {
        inset = insetBox(squares, side, width, label);
        drawInset(context, content, triangle, inset);
      }
    }
    // For tests of the page: the window, and the squares on the canvas.
    el.dataset.view = JSON.stringify([view.n, view.m, view.span]);
    el.dataset.squares = JSON.stringify(squares.map(({ x, y }) => [x, y, side]));
    countDrawing(el);
    // For tests of the page: whether this drawing has the picture of this window.
    if (!requestPictures.isRunning() && ifCurrent(picture)) el.dataset.sharp = el.dataset.drawn;
  }

  /** @returns {SquareContent} */
  function squareContent() {
    const { version, computed = "", block } = model.get("meta");
    return {
      view,
      length,
      side,
      theme: themeColors(el),
      pictures: [overview, picture].filter((image) => image !== null),
      version,
      dimStale: !status.hidden, // only where preparing takes long
      computed,
      block,
      selected: model.get("selected"),
      pinned: model.get("cell"),
    };
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {SquareContent} content
   * @param {number} i
   * @param {number} x
   * @param {number} y
   */
  function drawHead(context, content, i, x, y) {
    const head = heads()[i];
    const bound = picture?.bounds.includes(head.index) ? " (upper bounds)" : "";
    const missingText = model.get("status").state === "preparing" ? "not ready yet" : "not drawn";
    const isMissing = !model.get("ready").includes(head.index) && !status.hidden;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    drawLabel(context, el, { ...head, label: head.label + bound }, x, y, side);
    const cell = focus?.[0] === i ? focus : null;
    drawSquare(context, content, head.index, x, y, cell, isMissing ? missingText : "");
  }

  const schedule = perFrame(draw);
  const bar = statusBar(status, model, schedule);

  // -- words --------------------------------------------------------------------------------

  function showTitle() {
    const meta = model.get("meta");
    writeTitle(el, meta);
    drawLegend(el, bytesOf(model.get("colors")), meta.signed, meta.ticks);
  }

  // The texts that depend on the window and on the picture.
  function showTexts() {
    const { title = "", noun } = model.get("meta");
    const tokens = `${formatInteger(length)} tokens`;
    windowText.textContent = length
      ? `n ${formatRange(view.n, view.span)}, m ${formatRange(view.m, view.span)} of ${tokens}`
      : "";
    const note = failure || (ifCurrent(picture)?.note ?? "");
    noteLine.textContent = noteLine.title = note;
    const names = heads().map((head) => head.label);
    const summary = length
      ? `the ${noun}s of ${tokens}, ${names.join(", ")}; ${windowText.textContent}. `
      : "";
    canvas.setAttribute("aria-label", `${title}: ${summary}${note}`);
    toolbar.enable();
  }

  function showReadout() {
    if (focus) return;
    readout.textContent = readout.title = model.get("readout");
  }

  // -- pointing -----------------------------------------------------------------------------

  /**
   * A cell with the number of its head in the model, from one with the number of its square.
   * @param {Cell} cell
   * @returns {Cell}
   */
  const modelCell = ([square, n, m]) => [heads()[square].index, n, m];

  const requestReadout = cellReader(
    request,
    () => focus && modelCell(focus),
    (text) => {
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

  // The keys read the cell in the middle of the window.
  function focusMiddle(change = 0) {
    const square = clamp((focus?.[0] ?? 0) + change, 0, heads().length - 1);
    setFocus(middleCell(square, view, length));
  }

  /** @param {Cell | null} cell */
  function pin(cell) {
    if (cell) model.send({ pin: modelCell(cell) });
  }

  bindPointers(canvas, {
    state: () => ({ view, isWhole, length, side, squares, inset }),
    cellAt: (point) =>
      isInInset(point, inset) ? null : planeCellAt(point, squares, side, view, length),
    focus: () => focus,
    selection: () => ({ cell: model.get("cell"), selected: model.get("selected") }),
    restore: (selection) => model.send({ restore: selection }),
    setFocus,
    pin,
    setView,
    showWhole,
  });

  const toolbar = bindControls(canvas, tools, {
    state: () => ({ view, isWhole, length, focus, selected: model.get("selected") }),
    isPinned: () => model.get("cell").length > 0,
    unpin: () => {
      model.set("cell", []);
      model.save_changes();
    },
    setFocus,
    focusMiddle,
    pin,
    setView,
    showWhole,
    showToken,
  });

  // -- what the kernel says -----------------------------------------------------------------

  function update() {
    length = model.get("meta").length;
    if (!length) picture = overview = null;
    if (focus && (focus[0] >= heads().length || Math.max(focus[1], focus[2]) >= length))
      focus = null;
    if (isWhole) showWhole();
    else setView(windowAt(view.n, view.m, view.span, length));
    showTitle();
    showTexts();
    requestPictures();
    schedule();
  }

  model.on("change:meta change:colors", update);
  model.on("change:ready", requestPictures);
  model.on("change:status", bar.show);
  model.on("change:selected change:cell", () => {
    showTexts();
    schedule();
  });
  model.on("change:readout", showReadout);
  const resizeObserver = new ResizeObserver(schedule);
  resizeObserver.observe(stage);
  window.addEventListener("retnet-viz-theme", schedule);
  update();
  showReadout();
  bar.show();
  return () => {
    bar.close();
    resizeObserver.disconnect();
    window.removeEventListener("retnet-viz-theme", schedule);
  };
}

export default { render };
