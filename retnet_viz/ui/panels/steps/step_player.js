// The stage plays the steps of a mode. The kernel sends what it draws as scenes, one per token.
// They are requested while the stage is visible, and ahead of time while it plays.

/** @import { Request, StepAnswers, StepTraits, View } from "../../types.js" */
/** @import { ControlStyle } from "../play_controls.js" */

import {
  buttonElement,
  bytesOf,
  child,
  clamp,
  element,
  formatInteger,
  perFrame,
  setText,
  tableToggle,
} from "../common.js";
import { playControls } from "../play_controls.js";
import { errorMessage, requester } from "../request.js";
import { sceneStore } from "./scenes.js";
import { lastToken, nextDue, periodOf, stepCount, stepOf, tokensAfter } from "./schedule.js";
import { STAGE, stageView } from "./stage.js";

const SCENES_AHEAD = 4; // scenes to request before they are due
const SAVE_INTERVAL = 120; // ms between two messages to the kernel on the token while playing
const PLAY = "Play or pause (Space)";

/** @type {ControlStyle} */
const CONTROLS = {
  button: "rv-button rv-tool",
  playing: "rv-playing",
  faces: {
    first: { label: "To the first step", title: "To the first step (Home)", html: "|◀" },
    back: { label: "Step back", title: "Step back (←)", html: "◀" },
    play: { label: "Play", title: PLAY, html: "▶ Play" },
    forward: { label: "Step forward", title: "Step forward (→)", html: "▶" },
    last: { label: "To the last step", title: "To the last step (End)", html: "▶|" },
  },
  pause: { label: "Pause", title: PLAY, html: "❚❚ Pause" },
  range: "Step",
  speed: "Speed, steps per second",
  speeds: [1, 2, 4, 8, 30].map((speed) => [speed, `${speed} per s`]),
  initialSpeed: 2,
};

/** @param {View<StepTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-step-player");
  el.tabIndex = 0;
  el.setAttribute("role", "group");
  el.setAttribute("aria-label", "The mode at work. Space plays, arrow keys step.");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name">The mode at work</span><span class="rv-origin"></span>
      <span class="rv-group rv-step-heads" role="radiogroup" aria-label="Head"></span></div>
    <div class="rv-transport"></div>
    ${STAGE}`;
  const [origin, heads, transport] = [".rv-origin", ".rv-step-heads", ".rv-transport"].map(
    (selector) => child(el, selector, HTMLElement),
  );
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

  let token = model.get("token");
  let due = 0;
  let lastSaved = 0;
  let visible = false;
  /** @type {Request<StepAnswers>} */
  const request = requester(model);
  const tables = tableToggle(el, async () => {
    if (!meta().length) return [];
    return (await request("tables", { version: model.get("version"), token })).tables;
  });

  const meta = () => ({ length: 0, stride: 1, ...model.get("meta") });

  const stage = stageView(el, {
    meta,
    colors: () => bytesOf(model.get("colors")),
    headColor: () => model.get("heads")[model.get("head")],
    async numbersAt(sceneToken, place) {
      const version = model.get("version");
      const { text } = await request("probe", { version, token: sceneToken, at: place }).catch(
        (error) => ({
          text: errorMessage(error),
        }),
      );
      return version === model.get("version") ? text : null;
    },
    select: (n) => goTo(n),
  });

  // -- scenes ---------------------------------------------------------------------------------

  const scenes = sceneStore(request, (n, error) => {
    if (!error) {
      if (n === token) schedule();
      return;
    }
    controls.pause();
    if (n === token) stage.fail(errorMessage(error));
  });

  /** @param {number} n */
  function requestScene(n) {
    if (visible && n >= 0 && n < meta().length) scenes.ask(n, model.get("version"));
  }

  function requestNextScenes() {
    requestScene(token);
    if (controls.isPlaying()) tokensAfter(meta(), token, SCENES_AHEAD).forEach(requestScene);
  }

  function forget() {
    scenes.forget();
    stopAt(model.get("token"));
    controls.range.max = String(Math.max(0, stepCount(meta()) - 1));
    tables.refresh();
    schedule();
  }

  // -- moving ---------------------------------------------------------------------------------

  /** @param {number} now */
  function saveToken(now) {
    if (model.get("token") === token) return;
    lastSaved = now;
    model.set({ token, told: model.get("version") });
    model.save_changes();
  }

  /** @param {number} n */
  function goTo(n, notify = true) {
    if (!meta().length) return;
    token = clamp(n, 0, meta().length - 1);
    requestNextScenes(); // before the kernel draws what else the selection changes
    const now = performance.now();
    if (notify && (!controls.isPlaying() || now - lastSaved > SAVE_INTERVAL)) saveToken(now);
    schedule();
  }

  /** @param {number} step */
  const toStep = (step) => goTo(lastToken(meta(), step));
  const stepNow = () => stepOf(meta(), token);
  const period = () => periodOf(controls.rate(), reducedMotion.matches);

  /** @param {number} now */
  function tick(now) {
    if (!controls.isPlaying()) return;
    requestAnimationFrame(tick);
    if (now < due || stage.token() !== token) return;
    const [next] = tokensAfter(meta(), token, 1);
    if (next === undefined) return controls.pause();
    if (!scenes.get(next)) return requestNextScenes(); // the kernel is behind: wait for it
    due = nextDue(due, now, period());
    goTo(next);
    schedule.now(); // in this frame, so that no step is skipped
  }

  const controls = playControls(
    el,
    CONTROLS,
    {
      first: () => toStep(0),
      back: () => toStep(stepNow() - 1),
      forward: () => toStep(stepNow() + 1),
      last: () => toStep(stepCount(meta()) - 1),
      start: () => meta().length > 0,
      onChange() {
        if (controls.isPlaying()) {
          if (stepNow() >= stepCount(meta()) - 1) toStep(0);
          due = performance.now() + period();
          requestNextScenes();
          requestAnimationFrame(tick);
        } else {
          saveToken(performance.now());
        }
        updatePlaying();
      },
    },
    (key) => {
      if (key !== "ArrowUp" && key !== "ArrowDown") return false;
      controls.pause();
      goTo(token + (key === "ArrowDown" ? 1 : -1));
      return true;
    },
  );
  controls.buttons[2].classList.add("rv-play");

  /**
   * Stop at the token that the kernel names, not at the one that playing has reached.
   * @param {number} n
   */
  function stopAt(n) {
    token = n;
    controls.pause();
  }

  function updatePlaying() {
    const playing = controls.isPlaying();
    controls.showState();
    el.dataset.playing = String(playing);
    stage.readAloud(!playing);
    model.set("playing", playing);
    model.save_changes();
    if (playing) return;
    tables.refresh();
    schedule(); // the words of the step where it rests
  }

  // -- drawing --------------------------------------------------------------------------------

  function draw() {
    const { length, mode = "", layer = 0 } = meta();
    setText(origin, length ? `${mode}, layer ${layer}, head ${model.get("head")}` : "");
    heads.hidden = !length;
    for (const [head, button] of heads.querySelectorAll("button").entries()) {
      button.setAttribute("aria-checked", String(head === model.get("head")));
    }
    for (const part of [controls.range, ...controls.buttons]) part.disabled = !length;
    if (!length) {
      count.textContent = "";
      return stage.clear(meta().whyNot ?? "");
    }
    const steps = stepCount(meta());
    controls.range.value = String(stepNow());
    controls.range.setAttribute("aria-valuetext", `step ${stepNow() + 1} of ${steps}`);
    setText(count, `step ${formatInteger(stepNow() + 1)} of ${formatInteger(steps)}`);
    const data = scenes.get(token);
    if (!data) return requestScene(token); // the previous scene stays until this one comes
    if (stage.show(data, controls.isPlaying())) tables.refresh();
  }

  // -- the page -------------------------------------------------------------------------------

  const count = element("output", "rv-step");
  const speed = element("label", "", "speed ");
  controls.speed.className = "rv-select";
  speed.append(controls.speed);
  transport.append(...controls.buttons, controls.range, count, speed);
  heads.append(element("span", "", "head"));
  model.get("heads").forEach((color, head) => {
    const button = buttonElement("rv-button rv-head-choice", String(head));
    button.style.setProperty("--rv-head", color);
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", `Head ${head}`);
    button.title = `Step through head ${head}`;
    button.addEventListener("click", () => {
      model.set("head", head);
      model.save_changes();
    });
    heads.append(button);
  });
  controls.range.addEventListener("input", () => {
    const step = Number(controls.range.value);
    controls.pause();
    toStep(step);
  });
  controls.range.max = String(Math.max(0, stepCount(meta()) - 1));

  const schedule = perFrame(draw);
  model.on("change:version", forget);
  model.on("change:head", schedule);
  model.on("change:token", () => {
    const n = model.get("token");
    if (n === token) return;
    stopAt(n); // chosen elsewhere: it stops there
    goTo(n, false);
  });
  const visibilityObserver = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (!visible) return;
    requestNextScenes();
    schedule();
  });
  visibilityObserver.observe(el);
  const restyle = () => {
    stage.restyle();
    schedule();
  };
  const resizeObserver = new ResizeObserver(restyle);
  resizeObserver.observe(el);
  window.addEventListener("retnet-viz-theme", restyle);
  updatePlaying();
  return () => {
    controls.pause();
    visibilityObserver.disconnect();
    resizeObserver.disconnect();
    window.removeEventListener("retnet-viz-theme", restyle);
  };
}

export default { render };
