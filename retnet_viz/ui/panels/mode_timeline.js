// The three modes read the same text side by side, on one clock. Pictures are drawn as geometry,
// block by block and never cell by cell, so that 2,048 tokens cost what 20 do.

import { contextOf, cssVariable, element, tableToggle } from "./common.js";

const LEFT = 18; // pixels beside a picture for the rows whose outputs are given
const TOP = 15; // pixels above it for its axis
const STEPS_A_SECOND = 4; // at speed 1, more where the longest run would take over LONGEST seconds
const LONGEST = 20;
const SECONDS = 10; // that the slowest run takes in measured time at speed 1
const SPEEDS = [0.5, 1, 2, 4, 8];
const CALM = 500; // ms between two pictures where a person wants less motion

const ICONS = {
  start: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M11 3v10L4 8z",
  play: "M4 2.5v11L13.5 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  forward: "M5 3v10l7-5z",
};

const TAGLINES = {
  parallel: () => "every cell at once, the masked half too",
  recurrent: () => "one token at a time: no cells, one state",
  chunkwise: (size) =>
    `${size} ${size === 1 ? "token" : "tokens"} at a time: cells in a chunk, a state between`,
};

// What a run has done in all after each of its steps.
export function totals(values, add) {
  let total = 0;
  return values.map((value) => {
    total = add(total, value);
    return total;
  });
}

export function prepare(run) {
  const plus = (a, b) => a + b;
  return {
    ...run,
    steps: run.flops.length,
    flopsAfter: totals(run.flops, plus),
    timeAfter: run.milliseconds && totals(run.milliseconds, plus),
    peakAfter: totals(run.held_bytes, Math.max),
  };
}

// How many of the ascending `values` are at most `limit`.
export function countUpTo(values, limit) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

// -- the clock: a tick is a step of the run with the most steps ----------------------------------

function longest(runs) {
  return runs.reduce((a, b) => (b.steps > a.steps ? b : a));
}

// The measured time at which a tick is done; after the last one, that of the slowest run.
export function timeOfTick(runs, tick) {
  const run = longest(runs);
  if (tick >= run.steps) return Math.max(...runs.map(({ timeAfter }) => timeAfter.at(-1)));
  return tick > 0 ? run.timeAfter[tick - 1] : 0;
}

// How many ticks are done at a measured time.
export function tickOfTime(runs, time) {
  return countUpTo(longest(runs).timeAfter, time * (1 + 1e-9));
}

// Where a run is: in steps, the step that a tick made is the current one; in measured time, the one
// that is running.
export function momentOf(run, measured, at) {
  const done = measured ? countUpTo(run.timeAfter, at * (1 + 1e-9)) : Math.min(at, run.steps);
  const running = measured ? (at > 0 ? done : -1) : at - 1;
  const current = running < run.steps ? running : -1;
  const last = done - 1;
  return {
    done,
    current,
    finished: done === run.steps,
    tokens: done ? run.stop_token[last] : 0,
    flops: done ? run.flopsAfter[last] : 0,
    held: current >= 0 ? run.held_bytes[current] : done ? run.carried_bytes[last] : 0,
    peak: Math.max(done ? run.peakAfter[last] : 0, current >= 0 ? run.held_bytes[current] : 0),
    time: !run.timeAfter
      ? null
      : measured
        ? Math.min(at, run.timeAfter.at(-1))
        : done
          ? run.timeAfter[last]
          : 0,
  };
}

export function digits(value) {
  if (!value) return "0";
  if (value >= 999.5) return Math.round(value).toLocaleString("en-US");
  return value >= 1e-3 ? value.toPrecision(3) : value.toPrecision(1);
}

// The four quantities that race, each in one unit for all modes.
export function quantitiesOf(runs) {
  const most = (read) => Math.max(0, ...runs.map(read));
  const flops = most((run) => run.flopsAfter.at(-1));
  const bytes = most((run) => run.peakAfter.at(-1));
  const [flop, flopUnit] = flops >= 1e10 ? [1e9, "GFLOP"] : [1e6, "MFLOP"];
  const [byte, byteUnit] = bytes >= 1e7 ? [1e6, "MB"] : [1e3, "kB"];
  return [
    {
      name: "steps",
      unit: "",
      top: most((run) => run.steps),
      now: (moment) => moment.done,
      total: (run) => run.steps,
      write: (value) => value.toLocaleString("en-US"),
      unitOf: (value) => (value === 1 ? "step" : "steps"),
    },
    {
      name: "FLOPs",
      phrase: "computed",
      unit: flopUnit,
      top: flops,
      now: (moment) => moment.flops,
      total: (run) => run.flopsAfter.at(-1),
      write: (value) => digits(value / flop),
    },
    {
      name: "held",
      phrase: "held",
      unit: byteUnit,
      top: bytes,
      now: (moment) => moment.held,
      peak: (moment) => moment.peak,
      total: (run) => run.peakAfter.at(-1),
      write: (value) => digits(value / byte),
    },
    {
      name: "time",
      phrase: "passed",
      unit: "ms",
      top: most((run) => run.timeAfter?.at(-1) ?? 0),
      now: (moment) => moment.time,
      total: (run) => run.timeAfter?.at(-1) ?? null,
      write: digits,
    },
  ];
}

export function withUnit(quantity, value) {
  if (value === null) return "not measured";
  return `${quantity.write(value)} ${quantity.unitOf?.(value) ?? quantity.unit}`;
}

// -- pictures ------------------------------------------------------------------------------------

// The cells with m <= n as a path: a staircase, or its diagonal where steps are too small to see.
function lowerTriangle(x, y, side, length) {
  const path = new Path2D();
  const cell = side / length;
  path.moveTo(x, y);
  if (cell < 3) {
    path.lineTo(x + side, y + side);
  } else {
    for (let n = 0; n < length; n++) {
      path.lineTo(x + (n + 1) * cell, y + n * cell);
      path.lineTo(x + (n + 1) * cell, y + (n + 1) * cell);
    }
  }
  path.lineTo(x, y + side);
  path.closePath();
  return path;
}

function hatching(context, color) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const lines = tile.getContext("2d");
  lines.strokeStyle = color;
  lines.lineWidth = 1;
  lines.beginPath();
  for (const shift of [-6, 0, 6]) {
    lines.moveTo(shift, 6);
    lines.lineTo(shift + 6, 0);
  }
  lines.stroke();
  return context.createPattern(tile, "repeat");
}

function drawPicture(context, run, moment, length, width, height, ink) {
  const side = Math.floor(Math.min(width - LEFT - 2, height - TOP - 2));
  if (side < 20) return;
  const x = Math.max(LEFT, Math.floor((width - side) / 2));
  const y = TOP;
  const cell = side / length;
  const triangle = lowerTriangle(x, y, side, length);
  const { current } = moment;
  const place = (step) => ({
    top: y + run.first_token[step] * cell,
    left: x + run.first_cell[step] * cell,
    height: Math.max(1, (run.stop_token[step] - run.first_token[step]) * cell),
    width: (run.stop_cell[step] - run.first_cell[step]) * cell,
  });

  context.font = "11px system-ui, sans-serif";
  context.fillStyle = ink.muted;
  context.fillText("n ↓", x - LEFT, y - 4);
  context.fillText("m →", x + 10, y - 4);

  // Cells that were computed; over the diagonal they are computed too, and masked to 0.
  const shaded = Math.max(0, current >= 0 ? Math.min(moment.done, current) : moment.done);
  const blocks = (steps, alpha) => {
    context.globalAlpha = alpha;
    context.fillStyle = run.color;
    for (const step of steps) {
      const box = place(step);
      if (box.width) context.fillRect(box.left, box.top, box.width, box.height);
    }
  };
  const before = Array.from({ length: run.stop_cell[0] ? shaded : 0 }, (_, step) => step);
  const lit = current >= 0 && run.stop_cell[current] > run.first_cell[current] ? [current] : [];
  context.save();
  context.clip(triangle);
  blocks(before, 0.45);
  blocks(lit, 1);
  context.restore();
  const hatch = hatching(context, run.color);
  context.save();
  const above = new Path2D();
  above.rect(x, y, side, side);
  above.addPath(triangle);
  context.clip(above, "evenodd");
  context.fillStyle = hatch;
  for (const [steps, alpha] of [
    [before, 0.35],
    [lit, 0.8],
  ]) {
    context.globalAlpha = alpha;
    for (const step of steps) {
      const box = place(step);
      context.fillRect(box.left, box.top, box.width, box.height);
    }
  }
  context.restore();
  context.globalAlpha = 1;

  if (cell >= 6 && (before.length || lit.length)) {
    context.strokeStyle = ink.paper;
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 1; i < length; i++) {
      context.moveTo(x + i * cell, y);
      context.lineTo(x + i * cell, y + side);
      context.moveTo(x, y + i * cell);
      context.lineTo(x + side, y + i * cell);
    }
    context.stroke();
  }

  context.strokeStyle = ink.muted;
  context.globalAlpha = 0.7;
  context.lineWidth = 1;
  context.setLineDash([2, 3]);
  context.stroke(triangle);
  context.setLineDash([]);
  context.globalAlpha = 1;

  // Outputs that are given.
  context.fillStyle = ink.line;
  context.fillRect(x - 5, y, 3, side);
  context.fillStyle = run.color;
  context.fillRect(x - 5, y, 3, moment.tokens * cell);

  if (current >= 0) drawCurrent(context, place(current), { x, y, side, cell }, ink);
  if (run.mode !== "parallel") drawState(context, run, moment, { x, y, side, cell }, ink);
}

function drawCurrent(context, box, { x }, ink) {
  context.lineWidth = 1.5;
  if (box.width) {
    context.strokeStyle = ink.ink;
    context.strokeRect(box.left, box.top, box.width, box.height);
  }
  context.fillStyle = ink.ink;
  const middle = box.top + box.height / 2;
  context.beginPath();
  context.moveTo(x - 2, middle);
  context.lineTo(x - 11, middle - 5);
  context.lineTo(x - 11, middle + 5);
  context.fill();
}

// The state stands above the diagonal, where a causal mode has no cells, and points at the rows that
// read it; the band on their left is what it stands for.
function drawState(context, run, moment, { x, y, side, cell }, ink) {
  const size = Math.round(Math.min(40, Math.max(18, side * 0.13)));
  const left = x + side - size;
  const { current } = moment;
  if (current >= 0) {
    const [first, stop] = [run.first_token[current], run.stop_token[current]];
    const [top, height] = [y + first * cell, Math.max(3, (stop - first) * cell)];
    const cells = run.stop_cell[current] > run.first_cell[current];
    const right = x + stop * cell;
    context.fillStyle = run.color;
    context.globalAlpha = cells ? 0.22 : 0.4;
    context.fillRect(x, top, (cells ? first : stop) * cell, height);
    context.globalAlpha = 1;
    context.strokeStyle = context.fillStyle = ink.ink;
    context.lineWidth = 1.25;
    const [fromX, fromY] = [left + size / 2, y + size];
    const toY = top + height / 2;
    context.beginPath();
    if (toY > fromY + 6) {
      context.moveTo(fromX, fromY);
      context.lineTo(fromX, right < fromX - 8 ? toY : Math.max(fromY, top - 1));
    }
    if (right < fromX - 8) {
      const startX = toY > fromY + 6 ? fromX : left;
      context.moveTo(startX, toY);
      context.lineTo(right + 3, toY);
      context.moveTo(right + 8, toY - 4);
      context.lineTo(right + 3, toY);
      context.lineTo(right + 8, toY + 4);
    }
    context.stroke();
  }
  context.fillStyle = ink.paper;
  context.fillRect(left, y, size, size);
  context.globalAlpha = moment.done || current > 0 ? 0.3 : 0;
  context.fillStyle = run.color;
  context.fillRect(left, y, size, size);
  context.globalAlpha = 1;
  context.strokeStyle = run.color;
  context.lineWidth = 2;
  context.strokeRect(left + 1, y + 1, size - 2, size - 2);
  context.fillStyle = ink.ink;
  context.font = `italic 600 ${Math.round(size * 0.55)}px serif`;
  context.textAlign = "center";
  context.fillText("S", left + size / 2, y + size * 0.69);
  context.textAlign = "start";
}

// -- the widget ----------------------------------------------------------------------------------

function iconButton(name, label, act) {
  const button = element("button", "rv-timeline-button");
  button.type = "button";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  button.addEventListener("click", act);
  return button;
}

// Writing what is there already would still cost a layout.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function makeColumn(run, quantities) {
  const root = element("section", "rv-timeline-column");
  root.dataset.mode = run.mode;
  root.style.setProperty("--rv-mode", run.color);
  root.setAttribute("aria-label", `${run.mode} mode`);
  const head = element("div", "rv-timeline-head");
  const count = element("span", "rv-timeline-count");
  head.append(element("span", "rv-timeline-name", run.mode), count);
  const size = run.stop_token[0] - run.first_token[0];
  const tagline = element("div", "rv-timeline-tagline", TAGLINES[run.mode]?.(size) ?? "");
  tagline.title = tagline.textContent;
  const stage = element("div", "rv-timeline-picture");
  const canvas = element("canvas");
  canvas.setAttribute("aria-hidden", "true");
  stage.append(canvas);
  const bars = element("div", "rv-timeline-bars");
  const lines = quantities.map((quantity) => {
    const line = element("div", "rv-timeline-line");
    line.dataset.quantity = quantity.name;
    const track = element("span", "rv-timeline-track");
    const bar = element("span", "rv-timeline-fill");
    const peak = element("span", "rv-timeline-peak");
    peak.hidden = true;
    peak.title = "most held so far";
    track.append(bar, peak);
    const value = element("span", "rv-timeline-value");
    line.append(
      element("span", "rv-timeline-label", quantity.peak ? `${quantity.name} now` : quantity.name),
      track,
      value,
    );
    bars.append(line);
    return { bar, peak, value };
  });
  const body = element("div", "rv-timeline-body");
  body.append(stage, bars);
  const view = element("div", "rv-timeline-view");
  view.append(body);
  root.append(head, tagline, view);
  return { root, count, stage, canvas, lines, drawn: "" };
}

function render({ model, el }) {
  el.classList.add("rv-panel", "rv-timeline");
  el.tabIndex = 0;
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "The three modes side by side");
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys rest while this has the focus

  const title = element("div", "rv-title");
  const note = element("span", "rv-origin");
  title.append(element("span", "rv-name", "Side by side"), note);
  const columnBox = element("div", "rv-timeline-columns");
  const transport = element("div", "rv-timeline-transport");
  const said = element("p", "rv-sentence");
  const live = element("div", "rv-timeline-live");
  live.setAttribute("aria-live", "polite");
  el.append(title, columnBox, transport, said, live);

  const playButton = iconButton("play", "Play (space)", () => (playing ? pause() : play()));
  const buttons = element("div", "rv-timeline-buttons");
  buttons.append(
    iconButton("start", "To the start (Home)", () => jump(0)),
    iconButton("back", "Step back (←)", () => step(-1)),
    playButton,
    iconButton("forward", "Step forward (→)", () => step(1)),
  );
  const scrub = element("input", "rv-timeline-scrub");
  scrub.type = "range";
  scrub.min = "0";
  scrub.setAttribute("aria-label", "Moment");
  const clockText = element("span", "rv-timeline-clock");
  const speed = element("select", "rv-timeline-speed");
  speed.setAttribute("aria-label", "Speed");
  speed.title = "Speed";
  for (const factor of SPEEDS) {
    const option = element("option", "", `${factor}×`);
    option.value = String(factor);
    option.selected = factor === 1;
    speed.append(option);
  }
  const clocks = element("div", "rv-timeline-clocks");
  clocks.setAttribute("role", "group");
  clocks.setAttribute("aria-label", "Clock");
  const clockButtons = ["steps", "measured time"].map((name) => {
    const button = element("button", "rv-timeline-choice", name);
    button.type = "button";
    button.addEventListener("click", () => {
      model.set("clock", name);
      model.save_changes();
    });
    clocks.append(button);
    return [name, button];
  });
  const pace = element("span", "rv-timeline-pace");
  transport.append(buttons, scrub, clockText, speed, clocks, pace);

  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let runs = [];
  let quantities = [];
  let columns = [];
  let length = 0;
  let events = []; // the times at which any mode ends a step
  let measured = false; // the clock that is shown
  let at = 0; // ticks done, or milliseconds where `measured`
  let end = 0;
  let playing = false;
  let before = 0; // when the last picture was made, while playing
  let fraction = 0; // of a tick
  let writing = false;
  let dirty = true; // the pictures must be drawn whatever they show
  const toggle = tableToggle(el, tables);

  // -- time --------------------------------------------------------------------------------------

  function tick() {
    if (!runs.length) return 0;
    return measured ? tickOfTime(runs, at) : at;
  }

  // Steps a second, or milliseconds a second.
  function rate() {
    const factor = Number(speed.value);
    return factor * (measured ? end / SECONDS : Math.max(STEPS_A_SECOND, end / LONGEST));
  }

  // Read the clock that is chosen, as far as it can be had, and where the kernel says we are.
  function setClock() {
    const was = measured;
    const canMeasure = runs.length > 0 && runs.every((run) => run.timeAfter);
    const now = tick();
    measured = canMeasure && model.get("clock") === "measured time";
    end = !runs.length ? 0 : measured ? timeOfTick(runs, Infinity) : longest(runs).steps;
    if (runs.length && was !== measured) at = measured ? timeOfTick(runs, now) : now;
    for (const [name, button] of clockButtons) {
      button.setAttribute("aria-pressed", String((name === "measured time") === measured));
      button.disabled = name === "measured time" && !canMeasure;
      button.title = button.disabled ? "The steps are being measured" : "";
    }
    scrub.max = String(measured ? 1000 : end);
    scrub.disabled = !end;
    fraction = 0;
  }

  function moveTo(moment) {
    at = Math.min(Math.max(moment, 0), end);
    fraction = 0;
  }

  function store() {
    writing = true;
    model.set("position", tick());
    if (runs.every((run) => run.timeAfter)) {
      model.set("elapsed", measured ? at : runs.length ? timeOfTick(runs, at) : 0);
    }
    model.save_changes();
    writing = false;
    live.textContent = summary();
  }

  function jump(moment) {
    moveTo(moment);
    if (playing) pause();
    else store();
    schedule();
  }

  function step(direction) {
    if (!measured) return jump(at + direction);
    const passed = countUpTo(events, at * (1 + 1e-9));
    const here = passed > 0 && events[passed - 1] >= at * (1 - 1e-9);
    const next = direction > 0 ? passed : passed - (here ? 2 : 1);
    jump(next < 0 ? 0 : events[Math.min(next, events.length - 1)]);
  }

  function play() {
    if (!end) return;
    if (at >= end) moveTo(0);
    playing = true;
    before = 0;
    live.textContent = "";
    schedule();
  }

  function pause() {
    playing = false;
    store();
    schedule();
  }

  function advance(now) {
    if (!before) before = now;
    const passed = now - before;
    if (calm.matches && passed < CALM) return;
    before = now;
    // A page that was hidden has not been playing.
    const amount = (Math.min(passed, calm.matches ? 2 * CALM : 250) / 1000) * rate();
    if (measured) {
      at = Math.min(end, at + amount);
    } else {
      const whole = Math.floor(fraction + amount);
      fraction += amount - whole;
      at = Math.min(end, at + whole);
    }
    if (at >= end) pause();
  }

  // -- drawing -----------------------------------------------------------------------------------

  function frame(now) {
    asked = 0;
    if (gone) return;
    const was = at;
    const played = playing;
    if (playing) advance(now);
    // Between two ticks there is nothing new to draw.
    if (wanted || at !== was || playing !== played) draw();
    if (playing) asked ||= requestAnimationFrame(frame);
  }

  let asked = 0;
  let wanted = false;
  let gone = false;
  function schedule() {
    wanted = true;
    asked ||= requestAnimationFrame(frame);
  }

  function inks() {
    const names = ["paper", "ink", "muted", "line"];
    return Object.fromEntries(names.map((name) => [name, cssVariable(el, `--rv-${name}`)]));
  }

  function statusOf(run, moment) {
    if (!moment.finished) {
      const now = measured && moment.current >= 0 ? moment.current + 1 : moment.done;
      return `step ${now.toLocaleString("en-US")} of ${run.steps.toLocaleString("en-US")}`;
    }
    if (measured) return `done: ${digits(moment.time)} ms`;
    return `done: ${run.steps.toLocaleString("en-US")} step${run.steps === 1 ? "" : "s"}`;
  }

  function momentText() {
    if (measured) return `${digits(at)} of ${digits(end)} ms`;
    return `step ${at.toLocaleString("en-US")} of ${end.toLocaleString("en-US")}`;
  }

  function draw() {
    wanted = false;
    let ink = null;
    runs.forEach((run, i) => {
      const column = columns[i];
      const moment = momentOf(run, measured, at);
      write(column.count, statusOf(run, moment));
      column.root.classList.toggle("rv-timeline-done", moment.finished);
      quantities.forEach((quantity, j) => {
        const { bar, peak, value } = column.lines[j];
        const now = quantity.now(moment);
        const share = (amount) => (quantity.top ? amount / quantity.top : 0);
        bar.style.transform = `scaleX(${share(now ?? 0)})`;
        if (quantity.peak) {
          const most = quantity.peak(moment);
          peak.hidden = !most;
          peak.style.left = `${100 * share(most)}%`;
        }
        write(value, withUnit(quantity, now));
      });
      const [width, height] = [column.stage.clientWidth, column.stage.clientHeight];
      const picture = [moment.done, moment.current, width, height].join();
      if ((dirty || picture !== column.drawn) && width && height) {
        ink ??= inks();
        column.drawn = picture;
        const context = contextOf(column.canvas, width, height);
        drawPicture(context, run, moment, length, width, height, ink);
      }
    });
    dirty = false;
    playButton.classList.toggle("rv-timeline-playing", playing);
    const label = playing ? "Pause (space)" : "Play (space)";
    if (playButton.title !== label) {
      playButton.title = label;
      playButton.setAttribute("aria-label", label);
      playButton.querySelector("path").setAttribute("d", ICONS[playing ? "pause" : "play"]);
    }
    if (!scrubbing) scrub.value = String(measured ? (end ? (1000 * at) / end : 0) : at);
    scrub.style.setProperty("--rv-share", `${end ? (100 * at) / end : 0}%`);
    scrub.setAttribute("aria-valuetext", momentText());
    write(clockText, momentText());
    write(
      pace,
      !end
        ? ""
        : measured
          ? `1 s here = ${digits(rate())} ms measured`
          : `1 s here = ${Number(digits(rate()))} steps of each`,
    );
    const drawnTick = String(tick());
    if (el.dataset.tick !== drawnTick || !playing) toggle.refresh();
    el.dataset.tick = drawnTick;
    el.dataset.playing = String(playing);
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
  }

  // -- words -------------------------------------------------------------------------------------

  function tables() {
    if (!runs.length) return [];
    const moments = runs.map((run) => momentOf(run, measured, at));
    const shown = (quantity, value) => (value === null ? "not measured" : quantity.write(value));
    const rows = quantities.flatMap((quantity) => {
      const unit = quantity.unit && `, ${quantity.unit}`;
      const now = moments.map((moment) => shown(quantity, quantity.now(moment)));
      const peak = quantity.peak && moments.map((m) => shown(quantity, quantity.peak(m)));
      const total = runs.map((run) => shown(quantity, quantity.total(run)));
      return [
        [`${quantity.name}${quantity.peak ? " now" : " so far"}${unit}`, ...now],
        ...(peak ? [[`most ${quantity.name} so far${unit}`, ...peak]] : []),
        [`${quantity.peak ? `most ${quantity.name}` : quantity.name} in all${unit}`, ...total],
      ];
    });
    rows.unshift(["outputs given", ...moments.map((moment) => `${moment.tokens} of ${length}`)]);
    return [[momentText(), ["", ...runs.map((run) => run.mode)], rows]];
  }

  function summary() {
    const parts = runs.map((run) => {
      const moment = momentOf(run, measured, at);
      const numbers = quantities
        .slice(1)
        .filter((quantity) => quantity.now(moment) !== null)
        .map((quantity) => `${withUnit(quantity, quantity.now(moment))} ${quantity.phrase}`);
      return `${run.mode} ${statusOf(run, moment)}, ${numbers.join(", ")}`;
    });
    return `${momentText()}. ${parts.join("; ")}.`;
  }

  // -- events ------------------------------------------------------------------------------------

  function load() {
    const race = model.get("race");
    const given = race.runs ?? [];
    length = race.length ?? 0;
    const share = end ? at / end : 0;
    runs = given.map(prepare);
    quantities = quantitiesOf(runs);
    note.textContent = note.title = race.note ?? "";
    said.textContent = said.title = race.sentence ?? "";
    events = runs.every((run) => run.timeAfter)
      ? [...new Set(runs.flatMap((run) => run.timeAfter))].sort((a, b) => a - b)
      : [];
    columns = runs.map((run) => makeColumn(run, quantities));
    columnBox.replaceChildren(...columns.map(({ root }) => root));
    if (!runs.length) {
      playing = false;
      columnBox.append(element("p", "rv-empty", "No text yet: there is nothing to play."));
    }
    transport.inert = !runs.length;
    // The kernel says where this race stands, but one that is playing goes on from where it is.
    measured = false;
    at = Math.min(model.get("position"), runs.length ? longest(runs).steps : 0);
    setClock();
    if (playing) moveTo(measured ? share * end : Math.round(share * end));
    else if (measured) moveTo(model.get("elapsed") || at);
    dirty = true;
    observeStages();
    schedule();
  }

  model.on("change:race", load);
  model.on("change:clock", () => {
    setClock();
    if (!playing) store();
    schedule();
  });
  model.on("change:position", () => {
    if (writing || !runs.length) return;
    const wanted = model.get("position");
    if (wanted !== tick()) moveTo(measured ? timeOfTick(runs, wanted) : wanted);
    schedule();
  });
  model.on("change:elapsed", () => {
    if (writing || !measured) return;
    moveTo(model.get("elapsed"));
    schedule();
  });

  let scrubbing = false;
  let resumes = false;
  scrub.addEventListener("input", () => {
    if (!scrubbing) resumes = playing;
    scrubbing = true;
    playing = false;
    const value = Number(scrub.value);
    moveTo(measured ? (value / 1000) * end : value);
    schedule();
  });
  scrub.addEventListener("change", () => {
    scrubbing = false;
    if (resumes && at < end) play();
    else store();
    resumes = false;
    schedule();
  });
  speed.addEventListener("change", schedule);
  el.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    // What has the focus keeps the keys that it uses itself.
    if (event.target.closest("select, textarea, .rv-tables")) return;
    const moves = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      Home: () => jump(0),
      End: () => jump(end),
    };
    const plays = { " ": () => (playing ? pause() : play()) };
    const onButton = event.target.closest("button");
    const acts = { ...(event.target === scrub ? {} : moves), ...(onButton ? {} : plays) };
    if (!(event.key in acts)) return;
    acts[event.key]();
    event.preventDefault();
    event.stopPropagation();
  });

  const repaint = () => {
    dirty = true;
    schedule();
  };
  const resized = new ResizeObserver(schedule);
  function observeStages() {
    resized.disconnect();
    resized.observe(el);
    for (const { stage } of columns) resized.observe(stage);
  }
  window.addEventListener("retnet-viz-theme", repaint);
  load();
  return () => {
    gone = true;
    playing = false;
    cancelAnimationFrame(asked);
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", repaint);
  };
}

export default { render };
