// The three modes read the same text side by side, on one clock.

/** @import { ThemeColors, Quantity, Run, TimelineTraits, View } from "../../types.js" */
/** @import { ControlStyle } from "../play_controls.js" */
/** @import { MeasuredRun } from "./clock.js" */
/** @import { Column } from "./columns.js" */

import {
  clamp,
  countDrawing,
  element,
  prepareCanvas,
  setText,
  tableToggle,
  themeColors,
} from "../common.js";
import { playControls } from "../play_controls.js";
import {
  adjacentEvent,
  advanceClock,
  eventsOf,
  longestRun,
  measuredRuns,
  momentOf,
  prepare,
  rateOf,
  tickOfTime,
  timeOfTick,
} from "./clock.js";
import { clockChoice } from "./clock_choice.js";
import { makeColumn, showNumbers } from "./columns.js";
import { drawPicture } from "./picture.js";
import { momentTable, momentText, paceText, quantitiesOf, summaryOf } from "./quantities.js";

const SLIDER_STEPS = 1000; // positions of the slider in measured time
const CALM_INTERVAL = 500; // ms between two frames where the user prefers less motion
const MAX_INTERVAL = 250; // ms of a frame that count at most: a hidden page does not go on playing

/** @param {string} path */
const icon = (path) => `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${path}"/></svg>`;

/**
 * @param {string} label
 * @param {string} path
 */
const face = (label, path) => ({ label, title: label, html: icon(path) });

/** @type {ControlStyle} */
const CONTROLS = {
  button: "rv-button rv-tool rv-timeline-button",
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
  initialSpeed: 1,
};

/** @param {View<TimelineTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-timeline");
  el.tabIndex = 0;
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "The three modes side by side");
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys rest while this has the focus

  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  /** @type {Run[]} */
  let runs = [];
  /** @type {MeasuredRun[] | null} */
  let timedRuns = null; // the runs, where all are measured
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
  let lastFrame = 0; // its time, while playing
  let remainder = 0; // of a tick
  let isSaving = false;
  let mustRepaint = true; // draw the pictures even where they show the same
  let frameRequest = 0; // of requestAnimationFrame; 0 for none
  let mustDraw = false; // also where the moment is the same
  let disposed = false;
  let scrubbing = false;
  let playAfterScrub = false; // playing goes on after the slider

  // -- time --------------------------------------------------------------------------------------

  function tick() {
    if (!runs.length) return 0;
    return measured && timedRuns ? tickOfTime(timedRuns, at) : at;
  }

  const rate = () => rateOf(controls.rate(), measured, end);

  // Switch to the selected clock if its times are measured; the moment stays the same.
  function setClock() {
    const previous = measured;
    const now = tick();
    measured = timedRuns !== null && model.get("clock") === "measured time";
    end = 0;
    if (runs.length)
      end = measured && timedRuns ? timeOfTick(timedRuns, Infinity) : longestRun(runs).steps;
    if (timedRuns && previous !== measured) at = measured ? timeOfTick(timedRuns, now) : now;
    clocks.show(measured, timedRuns !== null);
    controls.range.max = String(measured ? SLIDER_STEPS : end);
    controls.range.disabled = !end;
    remainder = 0;
  }

  /** @param {number} moment */
  function moveTo(moment) {
    at = clamp(moment, 0, end);
    remainder = 0;
  }

  function save() {
    isSaving = true;
    model.set("position", tick());
    if (timedRuns) model.set("elapsed", measured ? at : timeOfTick(timedRuns, at));
    else if (!runs.length) model.set("elapsed", 0);
    model.save_changes();
    isSaving = false;
    const moments = momentsNow();
    liveRegion.textContent = summaryOf(clockLabel(), runs, moments, quantities, measured);
  }

  /** @param {number} moment */
  function jump(moment) {
    moveTo(moment);
    save();
    schedule();
  }

  /** @param {1 | -1} direction */
  function step(direction) {
    jump(measured ? adjacentEvent(events, at, direction) : at + direction);
  }

  const controls = playControls(el, CONTROLS, {
    first: () => jump(0),
    back: () => step(-1),
    forward: () => step(1),
    last: () => jump(end),
    start() {
      if (end && at >= end) moveTo(0);
      return end > 0;
    },
    onChange() {
      lastFrame = 0;
      if (controls.isPlaying()) liveRegion.textContent = "";
      else if (!scrubbing && runs.length) save();
      schedule();
    },
  });

  /** @param {number} now */
  function advance(now) {
    lastFrame ||= now;
    const elapsed = now - lastFrame;
    if (reducedMotion.matches && elapsed < CALM_INTERVAL) return;
    lastFrame = now;
    const seconds =
      Math.min(elapsed, reducedMotion.matches ? 2 * CALM_INTERVAL : MAX_INTERVAL) / 1000;
    ({ at, remainder } = advanceClock({ at, remainder }, seconds * rate(), measured, end));
    if (at >= end) controls.pause();
  }

  // -- drawing -----------------------------------------------------------------------------------

  /** @param {number} now */
  function frame(now) {
    frameRequest = 0;
    if (disposed) return;
    const previous = at;
    if (controls.isPlaying()) advance(now);
    // Between two ticks there is nothing new to draw.
    if (mustDraw || at !== previous) draw();
    if (controls.isPlaying()) frameRequest ||= requestAnimationFrame(frame);
  }

  function schedule() {
    mustDraw = true;
    frameRequest ||= requestAnimationFrame(frame);
  }

  const clockLabel = () => momentText(at, end, measured);
  const momentsNow = () => runs.map((run) => momentOf(run, measured, at));

  function draw() {
    mustDraw = false;
    /** @type {ThemeColors | null} */
    let theme = null;
    runs.forEach((run, i) => {
      const column = columns[i];
      const moment = momentOf(run, measured, at);
      showNumbers(column, run, moment, quantities, measured);
      const { clientWidth: width, clientHeight: height } = column.stage;
      const picture = [moment.done, moment.current, width, height].join();
      if ((mustRepaint || picture !== column.pictureKey) && width && height) {
        theme ??= themeColors(el);
        column.pictureKey = picture;
        const context = prepareCanvas(column.canvas, width, height);
        drawPicture(context, run, moment, length, width, height, theme);
      }
    });
    mustRepaint = false;
    controls.showState();
    const { range } = controls;
    const share = end ? at / end : 0;
    if (!scrubbing) range.value = String(measured ? SLIDER_STEPS * share : at);
    range.style.setProperty("--rv-share", `${100 * share}%`);
    range.setAttribute("aria-valuetext", clockLabel());
    setText(clockText, clockLabel());
    setText(pace, end ? paceText(rate(), measured) : "");
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
  controls.speed.className = "rv-select rv-timeline-speed";
  controls.speed.title = "Speed";
  transport.append(buttons, controls.range, clockText, controls.speed, clocks.box, pace);
  const sentence = element("p", "rv-sentence");
  const liveRegion = element("div", "rv-timeline-live");
  liveRegion.setAttribute("aria-live", "polite");
  el.append(title, columnBox, transport, sentence, liveRegion);
  const toggle = tableToggle(el, () =>
    runs.length ? [momentTable(clockLabel(), runs, momentsNow(), quantities, length)] : [],
  );

  // -- events ------------------------------------------------------------------------------------

  function load() {
    const race = model.get("race");
    const share = end ? at / end : 0;
    length = race.length ?? 0;
    runs = (race.runs ?? []).map(prepare);
    timedRuns = measuredRuns(runs);
    quantities = quantitiesOf(runs);
    note.textContent = note.title = race.note ?? "";
    sentence.textContent = sentence.title = race.sentence ?? "";
    events = eventsOf(timedRuns ?? []);
    columns = runs.map((run) => makeColumn(run, quantities));
    columnBox.replaceChildren(...columns.map(({ root }) => root));
    if (!runs.length) {
      columnBox.append(element("p", "rv-empty", "No text yet: there is nothing to play."));
    }
    transport.inert = !runs.length;
    // The kernel says where this race stands, but one that is playing goes on from where it is.
    measured = false;
    at = Math.min(model.get("position"), runs.length ? longestRun(runs).steps : 0);
    setClock();
    if (!runs.length) controls.pause();
    if (controls.isPlaying()) moveTo(measured ? share * end : Math.round(share * end));
    else if (measured) moveTo(model.get("elapsed") || at);
    mustRepaint = true;
    observeStages();
    schedule();
  }

  model.on("change:race", load);
  model.on("change:clock", () => {
    setClock();
    if (!controls.isPlaying()) save();
    schedule();
  });
  model.on("change:position", () => {
    if (isSaving || !runs.length) return;
    const position = model.get("position");
    if (position !== tick())
      moveTo(measured && timedRuns ? timeOfTick(timedRuns, position) : position);
    schedule();
  });
  model.on("change:elapsed", () => {
    if (isSaving || !measured) return;
    moveTo(model.get("elapsed"));
    schedule();
  });
  controls.range.addEventListener("input", () => {
    if (!scrubbing) playAfterScrub = controls.isPlaying();
    scrubbing = true;
    const value = Number(controls.range.value);
    controls.pause();
    moveTo(measured ? (value / SLIDER_STEPS) * end : value);
    schedule();
  });
  controls.range.addEventListener("change", () => {
    scrubbing = false;
    if (playAfterScrub && at < end) controls.play();
    else save();
    playAfterScrub = false;
    schedule();
  });
  controls.speed.addEventListener("change", schedule);
  const repaint = () => {
    mustRepaint = true;
    schedule();
  };
  const resizeObserver = new ResizeObserver(schedule);
  function observeStages() {
    resizeObserver.disconnect();
    resizeObserver.observe(el);
    for (const { stage } of columns) resizeObserver.observe(stage);
  }
  window.addEventListener("retnet-viz-theme", repaint);
  load();
  return () => {
    disposed = true;
    cancelAnimationFrame(frameRequest);
    resizeObserver.disconnect();
    window.removeEventListener("retnet-viz-theme", repaint);
  };
}

export default { render };
