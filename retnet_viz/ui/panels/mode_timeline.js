// The three modes read the same text side by side, on one clock.

/** @import { Inks, Quantity, Run, TimelineTraits, View } from "../types.js" */
/** @import { Looks } from "./play_controls.js" */
/** @import { MeasuredRun } from "./timeline/clock.js" */
/** @import { Column } from "./timeline/columns.js" */

import { clamp, contextOf, countDrawing, element, inksOf, put, tableToggle } from "./common.js";
import { playControls } from "./play_controls.js";
import {
  advanced,
  eventBeside,
  eventsOf,
  longest,
  measuredRuns,
  momentOf,
  prepare,
  rateOf,
  tickOfTime,
  timeOfTick,
} from "./timeline/clock.js";
import { clockChoice } from "./timeline/clock_choice.js";
import { makeColumn, showNumbers } from "./timeline/columns.js";
import { drawPicture } from "./timeline/picture.js";
import {
  momentTable,
  momentText,
  paceText,
  quantitiesOf,
  summaryOf,
} from "./timeline/quantities.js";

const SCRUB = 1000; // places of the slider in measured time
const CALM = 500; // ms between two pictures where a person wants less motion
const GAP_MOST = 250; // ms between two pictures that count: a page that was hidden has not been playing

/** @param {string} path */
const icon = (path) => `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${path}"/></svg>`;

/**
 * @param {string} label
 * @param {string} path
 */
const face = (label, path) => ({ label, title: label, html: icon(path) });

/** @type {Looks} */
const LOOKS = {
  button: "rv-timeline-button",
  playing: "rv-timeline-playing",
  faces: {
    first: face("To the start (Home)", "M3 3h2v10H3zM13 3v10L6 8z"),
    back: face("Step back (←)", "M11 3v10L4 8z"),
    play: face("Play (space)", "M4 2.5v11L13.5 8z"),
    forward: face("Step forward (→)", "M5 3v10l7-5z"),
  },
  pause: face("Pause (space)", "M4 3h3v10H4zM9 3h3v10H9z"),
  range: "Moment",
  speed: "Speed",
  speeds: [0.5, 1, 2, 4, 8].map((factor) => [factor, `${factor}×`]),
  usual: 1,
};

/** @param {View<TimelineTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-timeline");
  el.tabIndex = 0;
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "The three modes side by side");
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys rest while this has the focus

  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  /** @type {Run[]} */
  let runs = [];
  /** @type {MeasuredRun[] | null} */
  let timed = null; // the runs, where all are measured
  /** @type {Quantity[]} */
  let quantities = [];
  /** @type {Column[]} */
  let columns = [];
  let length = 0;
  /** @type {number[]} */
  let events = []; // the times at which any mode ends a step
  let measured = false; // the clock that is shown
  let at = 0; // ticks done, or milliseconds where `measured`
  let end = 0;
  let before = 0; // when the last picture was made, while playing
  let rest = 0; // of a tick
  let writing = false;
  let dirty = true; // the pictures must be drawn whatever they show
  let asked = 0; // the frame that is asked for
  let wanted = false; // whether it must be drawn
  let gone = false;
  let scrubbing = false;
  let resumes = false; // playing goes on after the slider

  // -- time --------------------------------------------------------------------------------------

  function tick() {
    if (!runs.length) return 0;
    return measured && timed ? tickOfTime(timed, at) : at;
  }

  const rate = () => rateOf(controls.rate(), measured, end);

  // Read the clock that is chosen, as far as it can be had, and where the kernel says we are.
  function setClock() {
    const was = measured;
    const now = tick();
    measured = timed !== null && model.get("clock") === "measured time";
    end = 0;
    if (runs.length) end = measured && timed ? timeOfTick(timed, Infinity) : longest(runs).steps;
    if (timed && was !== measured) at = measured ? timeOfTick(timed, now) : now;
    clocks.show(measured, timed !== null);
    controls.range.max = String(measured ? SCRUB : end);
    controls.range.disabled = !end;
    rest = 0;
  }

  /** @param {number} moment */
  function moveTo(moment) {
    at = clamp(moment, 0, end);
    rest = 0;
  }

  function store() {
    writing = true;
    model.set("position", tick());
    if (timed) model.set("elapsed", measured ? at : timeOfTick(timed, at));
    else if (!runs.length) model.set("elapsed", 0);
    model.save_changes();
    writing = false;
    const moments = momentsNow();
    live.textContent = summaryOf(when(), runs, moments, quantities, measured);
  }

  /** @param {number} moment */
  function jump(moment) {
    moveTo(moment);
    store();
    schedule();
  }

  /** @param {1 | -1} direction */
  function step(direction) {
    jump(measured ? eventBeside(events, at, direction) : at + direction);
  }

  const controls = playControls(el, LOOKS, {
    first: () => jump(0),
    back: () => step(-1),
    forward: () => step(1),
    last: () => jump(end),
    begin() {
      if (end && at >= end) moveTo(0);
      return end > 0;
    },
    changed() {
      before = 0;
      if (controls.isPlaying()) live.textContent = "";
      else if (!scrubbing && runs.length) store();
      schedule();
    },
  });

  /** @param {number} now */
  function advance(now) {
    before ||= now;
    const passed = now - before;
    if (calm.matches && passed < CALM) return;
    before = now;
    const seconds = Math.min(passed, calm.matches ? 2 * CALM : GAP_MOST) / 1000;
    ({ at, rest } = advanced({ at, rest }, seconds * rate(), measured, end));
    if (at >= end) controls.pause();
  }

  // -- drawing -----------------------------------------------------------------------------------

  /** @param {number} now */
  function frame(now) {
    asked = 0;
    if (gone) return;
    const was = at;
    if (controls.isPlaying()) advance(now);
    // Between two ticks there is nothing new to draw.
    if (wanted || at !== was) draw();
    if (controls.isPlaying()) asked ||= requestAnimationFrame(frame);
  }

  function schedule() {
    wanted = true;
    asked ||= requestAnimationFrame(frame);
  }

  const when = () => momentText(at, end, measured);
  const momentsNow = () => runs.map((run) => momentOf(run, measured, at));

  function draw() {
    wanted = false;
    /** @type {Inks | null} */
    let inks = null;
    runs.forEach((run, i) => {
      const column = columns[i];
      const moment = momentOf(run, measured, at);
      showNumbers(column, run, moment, quantities, measured);
      const { clientWidth: width, clientHeight: height } = column.stage;
      const picture = [moment.done, moment.current, width, height].join();
      if ((dirty || picture !== column.drawn) && width && height) {
        inks ??= inksOf(el);
        column.drawn = picture;
        const context = contextOf(column.canvas, width, height);
        drawPicture(context, run, moment, length, width, height, inks);
      }
    });
    dirty = false;
    controls.show();
    const { range } = controls;
    const share = end ? at / end : 0;
    if (!scrubbing) range.value = String(measured ? SCRUB * share : at);
    range.style.setProperty("--rv-share", `${100 * share}%`);
    range.setAttribute("aria-valuetext", when());
    put(clockText, when());
    put(pace, end ? paceText(rate(), measured) : "");
    const drawnTick = String(tick());
    if (el.dataset.tick !== drawnTick || !controls.isPlaying()) toggle.refresh();
    el.dataset.tick = drawnTick;
    el.dataset.playing = String(controls.isPlaying());
    countDrawing(el);
  }

  // -- the page ----------------------------------------------------------------------------------

  const title = element("div", "rv-title");
  const note = element("span", "rv-origin");
  title.append(element("span", "rv-name", "Side by side"), note);
  const columnBox = element("div", "rv-timeline-columns");
  const transport = element("div", "rv-timeline-transport");
  const buttons = element("div", "rv-timeline-buttons");
  buttons.append(...controls.buttons);
  const clockText = element("span", "rv-timeline-clock");
  const clocks = clockChoice(model);
  const pace = element("span", "rv-timeline-pace");
  controls.range.className = "rv-timeline-scrub";
  controls.speed.className = "rv-timeline-speed";
  controls.speed.title = "Speed";
  transport.append(buttons, controls.range, clockText, controls.speed, clocks.box, pace);
  const said = element("p", "rv-sentence");
  const live = element("div", "rv-timeline-live");
  live.setAttribute("aria-live", "polite");
  el.append(title, columnBox, transport, said, live);
  const toggle = tableToggle(el, () =>
    runs.length ? [momentTable(when(), runs, momentsNow(), quantities, length)] : [],
  );

  // -- events ------------------------------------------------------------------------------------

  function load() {
    const race = model.get("race");
    const share = end ? at / end : 0;
    length = race.length ?? 0;
    runs = (race.runs ?? []).map(prepare);
    timed = measuredRuns(runs);
    quantities = quantitiesOf(runs);
    note.textContent = note.title = race.note ?? "";
    said.textContent = said.title = race.sentence ?? "";
    events = eventsOf(timed ?? []);
    columns = runs.map((run) => makeColumn(run, quantities));
    columnBox.replaceChildren(...columns.map(({ root }) => root));
    if (!runs.length) {
      columnBox.append(element("p", "rv-empty", "No text yet: there is nothing to play."));
    }
    transport.inert = !runs.length;
    // The kernel says where this race stands, but one that is playing goes on from where it is.
    measured = false;
    at = Math.min(model.get("position"), runs.length ? longest(runs).steps : 0);
    setClock();
    if (!runs.length) controls.pause();
    if (controls.isPlaying()) moveTo(measured ? share * end : Math.round(share * end));
    else if (measured) moveTo(model.get("elapsed") || at);
    dirty = true;
    observeStages();
    schedule();
  }

  model.on("change:race", load);
  model.on("change:clock", () => {
    setClock();
    if (!controls.isPlaying()) store();
    schedule();
  });
  model.on("change:position", () => {
    if (writing || !runs.length) return;
    const position = model.get("position");
    if (position !== tick()) moveTo(measured && timed ? timeOfTick(timed, position) : position);
    schedule();
  });
  model.on("change:elapsed", () => {
    if (writing || !measured) return;
    moveTo(model.get("elapsed"));
    schedule();
  });
  controls.range.addEventListener("input", () => {
    if (!scrubbing) resumes = controls.isPlaying();
    scrubbing = true;
    const value = Number(controls.range.value);
    controls.pause();
    moveTo(measured ? (value / SCRUB) * end : value);
    schedule();
  });
  controls.range.addEventListener("change", () => {
    scrubbing = false;
    if (resumes && at < end) controls.play();
    else store();
    resumes = false;
    schedule();
  });
  controls.speed.addEventListener("change", schedule);
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
    cancelAnimationFrame(asked);
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", repaint);
  };
}

export default { render };
