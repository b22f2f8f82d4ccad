// Small multiples of the plane of a long text on one canvas, all turned to one window of it. The
// window is kept here; its picture is asked of the kernel, one at a time. Until it comes the last
// one is drawn where it belongs now, over that of the whole triangle.

import { bytesOf, contextOf, cssVariable, letterScale, perFrame, tableToggle } from "./common.js";
import { arrange, drawLabel, drawLegend, GAP, LABEL, paletteOf, writeTitle } from "./multiples.js";
import { newestOnly, requests } from "./request.js";

const TITLE = 15; // height of an axis title
const ROOM = [54, 44]; // pixels for the numbers or tokens along n and along m
const FINEST = 4; // tokens along a square at the closest
const NEAR = 40; // tokens at most that "to the selected token" shows from afar
const READABLE = 13; // pixels that a token's text needs
const STEP = 1.5; // zoom of a button or a key
const CLICK = 4; // pixels by which a click may slip
const PATIENCE = 1000; // ms before a progress bar is worth the unrest

const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
const count = (value) => value.toLocaleString("en-US");
const span = ([first, stop]) =>
  stop - first > 1 ? `${count(first)}–${count(stop - 1)}` : count(first);

// Pixels for places: of values, and of upper bounds, which have no sign and are drawn in greys.
export function palettes(colors, signed) {
  const greys = new Uint8Array(3 * 256);
  for (let place = 1; place < 256; place++) {
    const share = signed ? Math.abs(place - 128) / 127 : (place - 1) / 254;
    greys.fill(Math.round(250 - 190 * share), 3 * place, 3 * place + 3);
  }
  const [values, bounds] = [colors, greys].map(paletteOf);
  values[0] = bounds[0] = 0; // nothing here
  return { values, bounds };
}

// The picture of a window with one bitmap per head, from what the kernel sent.
function pictureOf(sent, buffer, colors, signed) {
  const places = new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);
  const { values, bounds } = palettes(colors, signed);
  const bitmaps = new Map();
  const size = sent.height * sent.width;
  sent.heads.forEach((head, i) => {
    const palette = sent.bounds.includes(head) ? bounds : values;
    const image = new ImageData(sent.width, sent.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let j = 0; j < size; j++) pixels[j] = palette[places[i * size + j]];
    const bitmap = document.createElement("canvas");
    bitmap.width = sent.width;
    bitmap.height = sent.height;
    bitmap.getContext("2d").putImageData(image, 0, 0);
    bitmaps.set(head, bitmap);
  });
  return { ...sent, bitmaps };
}

// The marks along an axis: round numbers, at least `room` pixels apart.
export function marks(start, length, cell, room) {
  const least = Math.max(1, room / cell);
  const decade = 10 ** Math.floor(Math.log10(least));
  const step = Math.ceil([1, 2, 5, 10].find((x) => x * decade >= least) * decade);
  const found = [];
  for (let token = Math.ceil(start / step) * step; token < start + length; token += step) {
    found.push(token);
  }
  return found;
}

// `text` cut to so many pixels.
export function fit(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  const letters = [...text];
  while (letters.length && context.measureText(`${letters.join("")}…`).width > width) letters.pop();
  return `${letters.join("")}…`;
}

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
  const stage = el.querySelector(".rv-canvas-box");
  const canvas = stage.querySelector("canvas");
  const tools = el.querySelector(".rv-tiled-tools");
  const where = el.querySelector(".rv-tiled-window");
  const noted = el.querySelector(".rv-tiled-note");
  const readout = el.querySelector(".rv-readout");
  const status = el.querySelector(".rv-tiled-status");
  let view = { n: 0, m: 0, span: 0 }; // the window: rows from n, columns from m, tokens along each
  let whole = true;
  let length = 0;
  let side = 0; // of a square, pixels
  let squares = []; // where each head stands
  let inset = null; // where the overview stands
  let picture = null;
  let overview = null;
  let failure = "";
  let focus = null; // the cell under the pointer or in the middle: [head index, n, m]
  const pointers = new Map();
  let grip = null; // where a drag or pinch began
  let slipped = false;
  let before = null; // what a first click may have to give back
  let patience = 0;
  const request = requests(model);
  const toggle = tableToggle(el, async () => (await request("tables")).tables);

  const heads = () => model.get("meta").heads;
  const current = (drawn) => drawn?.version === model.get("meta").version;

  // -- the window ---------------------------------------------------------------------------

  function turnTo(n, m, tokens) {
    const size = clamp(tokens, Math.min(FINEST, length), length);
    const top = clamp(n, 0, length - size);
    // A corner of the triangle stays in sight.
    const left = clamp(m, 0, Math.min(length - size, top + 0.8 * size));
    const moved = top !== view.n || left !== view.m || size !== view.span;
    view = { n: top, m: left, span: size };
    whole = size >= length;
    if (moved) {
      ask();
      schedule();
    }
    return moved;
  }

  const showWhole = () => turnTo(0, 0, length);
  const pan = (rows, columns) => turnTo(view.n + rows, view.m + columns, view.span);

  // By a factor around a point of the square, in shares of its side.
  function zoom(factor, x = 0.5, y = 0.5) {
    const size = clamp(view.span / factor, Math.min(FINEST, length), length);
    return turnTo(view.n + y * (view.span - size), view.m + x * (view.span - size), size);
  }

  function showToken() {
    const selected = model.get("selected");
    if (selected < 0 || selected >= length) return;
    const size = whole ? clamp(side / READABLE, FINEST, NEAR) : view.span;
    const pinned = model.get("cell");
    const m = pinned.length && pinned[1] === selected ? pinned[2] : selected - 0.3 * size;
    turnTo(selected + 0.5 - size / 2, m + 0.5 - size / 2, size);
  }

  // One picture at a time: where the window has moved meanwhile, the next is of where it is then.
  const ask = newestOnly(async () => {
    if (!side || !model.get("ready").length) return;
    // As many tokens wherever the window stands, so that the tokens per pixel stay as they are.
    const tokens = Math.min(length, Math.ceil(view.span) + 1);
    const window_ = (start) => {
      const first = Math.min(Math.floor(start), length - tokens);
      return [first, first + tokens];
    };
    try {
      receive(
        await request("pictures", {
          rows: window_(view.n),
          cols: window_(view.m),
          side: Math.round(side * (window.devicePixelRatio || 1)) + 2,
          overview: !current(overview) || overview.heads.length < model.get("ready").length,
        }),
      );
      failure = "";
    } catch (error) {
      failure = error.message;
    }
    say();
    schedule();
  });

  function receive(answer) {
    const { signed, version } = model.get("meta");
    if (answer.version === version && answer.pictures.length) {
      const colors = bytesOf(model, "colors");
      const [main, all] = answer.pictures.map((sent, i) => ({
        ...pictureOf(sent, answer.buffers[i], colors, signed),
        version,
      }));
      picture = main;
      overview = all ?? overview;
      if (focus) read();
      toggle.refresh();
    }
    if (answer.version !== version) ask();
  }

  // -- drawing ------------------------------------------------------------------------------

  const margins = (height) => ({
    left: TITLE + ROOM[0],
    bottom: TITLE + (height < 260 ? 18 : ROOM[1]),
  });

  function draw() {
    const width = stage.clientWidth;
    const height = stage.clientHeight;
    if (!width || !height) return;
    const margin = margins(height);
    const label = LABEL * letterScale(el);
    const layout = arrange(
      Math.max(1, heads().length),
      width - margin.left,
      height - margin.bottom,
      label,
    );
    const grown = layout.side !== side;
    side = layout.side;
    if (grown) ask();
    const context = contextOf(canvas, width, height);
    squares = [];
    inset = null;
    if (length && side > 8) {
      context.imageSmoothingEnabled = false;
      const used = layout.columns * (side + GAP) - GAP + margin.left;
      const left = Math.max(0, (width - used) / 2) + margin.left;
      heads().forEach((head, i) => {
        const column = i % layout.columns;
        const x = Math.round(left + column * (side + GAP));
        const y = Math.round(Math.floor(i / layout.columns) * (side + label + GAP) + label);
        squares.push({ x, y });
        drawHead(context, head, i, x, y);
        if (column === 0) drawRows(context, x, y, margin.left);
        if (i + layout.columns >= heads().length) drawColumns(context, x, y + side, margin.bottom);
      });
      if (!whole && current(overview)) drawInset(context, left + used - margin.left, width);
    }
    // For those who drive the page: the window, and where the squares stand on the canvas.
    el.dataset.view = JSON.stringify([view.n, view.m, view.span]);
    el.dataset.squares = JSON.stringify(squares.map(({ x, y }) => [x, y, side]));
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
    if (!ask.running && current(picture)) el.dataset.sharp = el.dataset.drawn; // not moved or scaled
  }

  function drawHead(context, head, i, x, y) {
    const cell = side / view.span;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    const bound = picture?.bounds.includes(head.index) ? " (upper bounds)" : "";
    drawLabel(context, el, head.label + bound, head.color, x, y, side);
    context.save();
    context.beginPath();
    context.rect(x, y, side, side);
    context.clip();
    // What is of another text or layer is faint once it is seen for long.
    for (const drawn of [overview, picture]) {
      const bitmap = drawn?.bitmaps.get(head.index);
      if (!bitmap) continue;
      const place = [x + (drawn.cols[0] - view.m) * cell, y + (drawn.rows[0] - view.n) * cell];
      const size = [drawn.width * drawn.pixel * cell, drawn.height * drawn.pixel * cell];
      context.clearRect(...place, ...size);
      context.globalAlpha = current(drawn) || status.hidden ? 1 : 0.25;
      context.drawImage(bitmap, ...place, ...size);
      context.globalAlpha = 1;
    }
    if (cell >= READABLE) drawGrid(context, x, y, cell);
    drawBlocks(context, x, y, cell);
    drawMarks(context, head, i, x, y, cell);
    context.restore();
    if (!model.get("ready").includes(head.index) && !status.hidden) {
      context.fillStyle = cssVariable(el, "--rv-muted");
      context.textAlign = "center";
      context.font = "12px system-ui, sans-serif";
      const waits = model.get("status").state === "preparing";
      context.fillText(waits ? "not ready yet" : "not drawn", x + side / 2, y + side / 2, side);
    }
    context.strokeStyle = cssVariable(el, "--rv-line");
    context.lineWidth = 1;
    context.setLineDash(model.get("meta").computed === "none" ? [3, 3] : []);
    context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
    context.setLineDash([]);
  }

  function drawGrid(context, x, y, cell) {
    context.strokeStyle = cssVariable(el, "--rv-line");
    context.lineWidth = 0.5;
    context.beginPath();
    for (let n = Math.ceil(view.n); n < view.n + view.span; n++) {
      // Beyond the diagonal there are no cells.
      const to = Math.min(side, (n + 1 - view.m) * cell);
      context.moveTo(x, y + (n - view.n) * cell);
      context.lineTo(x + Math.max(0, to), y + (n - view.n) * cell);
    }
    for (let m = Math.ceil(view.m); m < view.m + view.span; m++) {
      const from = Math.max(0, (m - 1 - view.n) * cell);
      context.moveTo(x + (m - view.m) * cell, y + Math.min(side, from));
      context.lineTo(x + (m - view.m) * cell, y + side);
    }
    context.stroke();
  }

  // The chunks, which chunkwise mode computes.
  function drawBlocks(context, x, y, cell) {
    const { computed, block } = model.get("meta");
    if (computed !== "blocks" || block * cell < 4) return;
    context.strokeStyle = cssVariable(el, "--rv-ink");
    context.lineWidth = 1;
    context.beginPath();
    const start = Math.max(view.n, view.m);
    const stop = Math.min(view.n, view.m) + view.span;
    for (let first = Math.floor(start / block) * block; first < stop; first += block) {
      const size = Math.min(block, length - first) * cell;
      const corner = [x + (first - view.m) * cell, y + (first - view.n) * cell];
      context.rect(corner[0] + 0.5, corner[1] + 0.5, size - 1, size - 1);
    }
    context.stroke();
  }

  // The selected row, or an arrow to where it is; the pinned cell and the one pointed at.
  function drawMarks(context, head, i, x, y, cell) {
    const selected = model.get("selected");
    const accent = cssVariable(el, "--rv-accent");
    if (selected >= 0 && selected < length) {
      const middle = (selected + 0.5 - view.n) * cell;
      context.strokeStyle = context.fillStyle = accent;
      context.lineWidth = 2;
      if (middle < 0 || middle > side) {
        const [edge, tip] = middle < 0 ? [8, 1] : [side - 8, side - 1];
        context.beginPath();
        context.moveTo(x + 3, y + edge);
        context.lineTo(x + 15, y + edge);
        context.lineTo(x + 9, y + tip);
        context.fill();
      } else {
        const thickness = Math.max(cell, 3);
        const from = Math.max(-4, -view.m * cell);
        const to = clamp((selected + 1 - view.m) * cell, from + 3, side + 4);
        context.strokeRect(x + from, y + middle - thickness / 2, to - from, thickness);
      }
    }
    const pinned = model.get("cell");
    if (pinned.length && pinned[0] === head.index)
      mark(context, x, y, pinned[1], pinned[2], 1, accent);
    if (focus?.[0] === i) {
      const p = picture?.pixel ?? 1;
      const [n, m] = [focus[1], focus[2]].map((token) => token - (token % p));
      mark(context, x, y, n, m, p, cssVariable(el, "--rv-ink"));
    }
  }

  function mark(context, x, y, n, m, tokens, color) {
    const cell = side / view.span;
    const size = Math.max(tokens * cell, 5);
    const left = x + (m + tokens / 2 - view.m) * cell - size / 2;
    const top = y + (n + tokens / 2 - view.n) * cell - size / 2;
    // On paper of the other brightness, since the colours are the same in light and dark.
    for (const [stroke, width] of [
      [cssVariable(el, "--rv-paper"), 4],
      [color, 2],
    ]) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.strokeRect(left, top, size, size);
    }
  }

  // The text of a token, where the picture brought it and it fits; else nothing.
  function nameOf(axis, token) {
    const first = current(picture) ? picture[axis ? "cols" : "rows"][0] : 0;
    return current(picture) ? picture.names[axis][token - first] : undefined;
  }

  // Every visible token with its text where that fits, else round numbers: [token, text].
  function labels(axis, start, room) {
    const cell = side / view.span;
    const first = Math.floor(start);
    if (cell < READABLE || nameOf(axis, first + 1) === undefined) {
      return marks(start, view.span, cell, room).map((token) => [token, count(token)]);
    }
    const tokens = Array.from({ length: Math.ceil(view.span) + 1 }, (_, i) => first + i);
    return tokens
      .filter((token) => token < length && token + 0.5 >= start && token + 0.5 <= start + view.span)
      .map((token) => [token, nameOf(axis, token) ?? count(token)]);
  }

  function axisStyle(context) {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = cssVariable(el, "--rv-muted");
    context.strokeStyle = cssVariable(el, "--rv-muted");
    context.lineWidth = 1;
  }

  function drawRows(context, x, y, margin) {
    const cell = side / view.span;
    axisStyle(context);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const [token, text] of labels(0, view.n, 24)) {
      const at = y + (token + 0.5 - view.n) * cell;
      if (at > y + side) continue;
      context.fillRect(x - 4, at - 0.5, 4, 1);
      context.fillText(fit(context, text, margin - TITLE - 8), x - 6, at);
    }
    context.save();
    context.translate(x - margin + TITLE - 4, y + side / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    context.fillText("token n (reading)", 0, 0, side);
    context.restore();
  }

  function drawColumns(context, x, y, margin) {
    const cell = side / view.span;
    axisStyle(context);
    const found = labels(1, view.m, 62);
    const upright = found.length > 1 && cell >= READABLE && nameOf(1, found[1][0]) !== undefined;
    for (const [token, text] of found) {
      const at = x + (token + 0.5 - view.m) * cell;
      if (at > x + side) continue;
      context.fillRect(at - 0.5, y, 1, 4);
      context.save();
      context.translate(at, y + 6);
      if (upright) context.rotate(-Math.PI / 2);
      context.textAlign = upright ? "right" : "center";
      context.textBaseline = upright ? "middle" : "top";
      const half = context.measureText(text).width / 2;
      // The last number ends with the square, so that it does not run into the next one.
      const shift = upright ? 0 : Math.min(0, x + side - at - half) + Math.max(0, x + half - at);
      context.fillText(upright ? fit(context, text, margin - TITLE - 6) : text, shift, 0);
      context.restore();
    }
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    context.fillText("token m (read)", x + side / 2, y + (upright ? margin : 18 + TITLE) - 3, side);
  }

  // The whole triangle with the window in it: beside the squares where there is room.
  function drawInset(context, right, width) {
    const beside = width - right >= 92;
    const size = beside ? Math.min(120, width - right - 12) : Math.round(clamp(side / 4, 34, 110));
    const corner = beside
      ? [right + 10, LABEL * letterScale(el)]
      : [squares[0].x + side - size - 4, squares[0].y + 4];
    inset = { x: Math.round(corner[0]), y: Math.round(corner[1]), size };
    const { x, y } = inset;
    context.fillStyle = cssVariable(el, "--rv-paper");
    context.fillRect(x - 1, y - 1, size + 2, size + 2);
    const scale = size / length;
    const bitmap = overview.bitmaps.values().next().value;
    context.save();
    context.beginPath();
    context.rect(x, y, size, size);
    context.clip();
    context.drawImage(
      bitmap,
      x,
      y,
      overview.width * overview.pixel * scale,
      overview.height * overview.pixel * scale,
    );
    context.restore();
    context.strokeStyle = cssVariable(el, "--rv-muted");
    context.lineWidth = 1;
    context.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
    context.strokeStyle = cssVariable(el, "--rv-accent");
    context.lineWidth = 2;
    const shown = Math.max(5, view.span * scale);
    const at = (start) => clamp((start + view.span / 2) * scale - shown / 2, 0, size - shown);
    context.strokeRect(x + at(view.m), y + at(view.n), shown, shown);
  }

  const schedule = perFrame(draw);

  // -- words --------------------------------------------------------------------------------

  function describe() {
    const meta = model.get("meta");
    writeTitle(el, meta);
    drawLegend(el, bytesOf(model, "colors"), meta.signed, meta.ticks);
  }

  // What depends on the window and on the picture.
  function say() {
    const { title = "", noun } = model.get("meta");
    const rows = [Math.floor(view.n), Math.ceil(view.n + view.span)];
    const cols = [Math.floor(view.m), Math.ceil(view.m + view.span)];
    where.textContent = length ? `n ${span(rows)}, m ${span(cols)} of ${count(length)} tokens` : "";
    const note = failure || (current(picture) ? picture.note : "");
    noted.textContent = noted.title = note;
    const named = heads()
      .map((head) => head.label)
      .join(", ");
    const summary = length
      ? `the ${noun}s of ${count(length)} tokens, ${named}; ${where.textContent}. `
      : "";
    canvas.setAttribute("aria-label", `${title}: ${summary}${note}`);
    canvas.setAttribute(
      "aria-description",
      "Arrow keys pan, with Shift by a whole window; plus and minus zoom; Home shows the whole " +
        "triangle, Enter the selected token; Page Up and Page Down choose the head, Space pins " +
        "the cell in the middle.",
    );
    canvas.style.touchAction = whole ? "pan-y" : "none";
    const selected = model.get("selected");
    const off = {
      in: view.span <= Math.min(FINEST, length),
      out: whole,
      whole,
      token: selected < 0 || selected >= length,
    };
    for (const button of tools.querySelectorAll("button")) {
      button.disabled = off[button.dataset.act];
    }
  }

  function showReadout() {
    if (focus) return;
    readout.textContent = readout.title = model.get("readout");
  }

  // A bar for what takes long, at once where it was stopped or failed.
  function showStatus() {
    const { state, text = "", done = 0 } = model.get("status");
    const [says, bar, button] = status.children;
    if (state !== "preparing") {
      clearTimeout(patience);
      patience = 0;
      status.hidden = state === "idle";
    } else if (status.hidden) {
      patience ||= setTimeout(() => {
        patience = 0;
        status.hidden = false;
        schedule();
      }, PATIENCE);
    }
    says.textContent = text;
    bar.hidden = state !== "preparing";
    bar.value = done;
    bar.setAttribute("aria-label", "preparing");
    button.hidden = state === "failed";
    button.textContent = state === "stopped" ? "continue" : "cancel";
    schedule();
  }

  // -- pointing -----------------------------------------------------------------------------

  const spotOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return { px: event.clientX - box.left, py: event.clientY - box.top };
  };

  const inInset = ({ px, py }) =>
    inset &&
    px >= inset.x &&
    py >= inset.y &&
    px < inset.x + inset.size &&
    py < inset.y + inset.size;

  // The square at a point, or next to it: [its index, share of its side along m, along n].
  function squareAt({ px, py }) {
    for (let i = 0; i < squares.length; i++) {
      const [x, y] = [(px - squares[i].x) / side, (py - squares[i].y) / side];
      if (x >= 0 && y >= 0 && x < 1 && y < 1) return [i, x, y];
    }
    return null;
  }

  function cellAt(spot) {
    const found = inInset(spot) ? null : squareAt(spot);
    if (!found) return null;
    const cell = [view.n + found[2] * view.span, view.m + found[1] * view.span].map(Math.floor);
    return Math.max(...cell) < length ? [found[0], ...cell] : null;
  }

  const named = (spot) => [heads()[spot[0]].index, spot[1], spot[2]];

  const read = newestOnly(async () => {
    if (!focus) return;
    const cell = named(focus);
    const { text } = await request("cell", cell).catch(({ message }) => ({ text: message }));
    if (focus && String(named(focus)) === String(cell)) readout.textContent = readout.title = text;
  });

  function look(spot) {
    if (String(spot) === String(focus)) return;
    focus = spot;
    if (spot) read();
    else showReadout();
    schedule();
  }

  // With the keys one looks at the middle of the window.
  function lookAtMiddle(change = 0) {
    const head = clamp((focus?.[0] ?? 0) + change, 0, heads().length - 1);
    const [n, m] = [view.n, view.m].map((start) => Math.floor(start + view.span / 2));
    look([head, clamp(n, 0, length - 1), clamp(m, 0, n)]);
  }

  function goToInset({ px, py }) {
    const at = (p, corner) => ((p - corner) / inset.size) * length - view.span / 2;
    turnTo(at(py, inset.y), at(px, inset.x), view.span);
  }

  // Where the pointers are: the middle of them, and how far apart.
  function gripOf() {
    const all = [...pointers.values()];
    const px = all.reduce((sum, p) => sum + p.px, 0) / all.length;
    const py = all.reduce((sum, p) => sum + p.py, 0) / all.length;
    const apart = all.length > 1 ? Math.hypot(all[0].px - all[1].px, all[0].py - all[1].py) : 0;
    return { px, py, apart };
  }

  function hold() {
    const square = pointers.size ? squareAt(gripOf()) : null;
    grip = pointers.size ? { ...gripOf(), view, square } : null;
  }

  function drag() {
    const now = gripOf();
    const [dx, dy] = [now.px - grip.px, now.py - grip.py];
    if (!slipped && !now.apart && Math.hypot(dx, dy) < CLICK) return;
    slipped = true;
    look(null);
    const size =
      now.apart && grip.apart ? (grip.view.span * grip.apart) / now.apart : grip.view.span;
    const tokens = clamp(size, Math.min(FINEST, length), length);
    const [, x, y] = grip.square ?? [0, 0.5, 0.5];
    // What was under the fingers stays there.
    turnTo(
      grip.view.n + y * (grip.view.span - tokens) - (dy / side) * tokens,
      grip.view.m + x * (grip.view.span - tokens) - (dx / side) * tokens,
      tokens,
    );
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
    if (!pointers.has(event.pointerId)) return look(cellAt(spot));
    pointers.set(event.pointerId, spot);
    drag();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      hold();
    });
  }
  canvas.addEventListener("pointerleave", () => look(null));
  canvas.addEventListener("blur", () => look(null));
  canvas.addEventListener("click", (event) => {
    if (slipped || event.detail > 1) return;
    before = { cell: model.get("cell"), selected: model.get("selected") };
    const spot = spotOf(event);
    if (inInset(spot)) return goToInset(spot);
    const cell = focus ?? cellAt(spot); // a click's own coordinates are rounded to whole pixels
    if (cell) model.send({ pin: named(cell) });
  });
  canvas.addEventListener("dblclick", (event) => {
    if (slipped || inInset(spotOf(event))) return;
    if (before) model.send({ restore: before });
    showWhole();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      const found = squareAt(spotOf(event));
      if (!found || !length) return;
      const lines = event.deltaMode === 1 ? 16 : 1;
      const moved = zoom(
        Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)),
        found[1],
        found[2],
      );
      if (!moved && whole) return; // the page scrolls where there is nothing left to zoom
      event.preventDefault();
      look(cellAt(spotOf(event)));
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => {
    if (!length || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = view.span * (event.shiftKey ? 1 : 0.1);
    const actions = {
      ArrowUp: () => pan(-by, 0),
      ArrowDown: () => pan(by, 0),
      ArrowLeft: () => pan(0, -by),
      ArrowRight: () => pan(0, by),
      "+": () => zoom(STEP),
      "=": () => zoom(STEP),
      "-": () => zoom(1 / STEP),
      Home: showWhole,
      0: showWhole,
      Enter: showToken,
      PageUp: () => lookAtMiddle(-1),
      PageDown: () => lookAtMiddle(1),
      " ": () => focus && model.send({ pin: named(focus) }),
      Escape: () => {
        model.set("cell", []);
        model.save_changes();
      },
    };
    if (!(event.key in actions)) return;
    if (event.key === "Escape" && !focus && !model.get("cell").length) return; // the page's
    actions[event.key]();
    if (event.key === "Escape") look(null);
    else if (!event.key.startsWith("Page")) lookAtMiddle();
    event.preventDefault();
    event.stopPropagation();
  });
  tools.addEventListener("click", (event) => {
    const act = event.target.dataset?.act;
    ({ in: () => zoom(STEP), out: () => zoom(1 / STEP), whole: showWhole, token: showToken })[
      act
    ]?.();
  });
  status.querySelector("button").addEventListener("click", () => {
    model.send(model.get("status").state === "stopped" ? { resume: true } : { cancel: true });
  });

  // -- what the kernel says -----------------------------------------------------------------

  function renew() {
    length = model.get("meta").length;
    if (!length) picture = overview = null;
    if (focus && (focus[0] >= heads().length || Math.max(focus[1], focus[2]) >= length))
      focus = null;
    if (whole) showWhole();
    else turnTo(view.n, view.m, view.span);
    describe();
    say();
    ask();
    schedule();
  }

  model.on("change:meta change:colors", renew);
  model.on("change:ready", ask);
  model.on("change:status", showStatus);
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
  showStatus();
  return () => {
    clearTimeout(patience);
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", schedule);
  };
}

export default { render };
