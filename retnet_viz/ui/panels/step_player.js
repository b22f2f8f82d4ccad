// The stage plays a schedule. What it draws comes from the kernel as scenes, one per token; scenes
// are asked for while the stage can be seen, and ahead while it plays.

/** @import { Request, StepAnswers, StepTraits, View } from "../types.js" */
/** @import { Looks } from "./play_controls.js" */

import {
  buttonElement,
  bytesOf,
  child,
  clamp,
  element,
  grouped,
  perFrame,
  put,
  tableToggle,
} from "./common.js";
import { playControls } from "./play_controls.js";
import { requests, whyOf } from "./request.js";
import { sceneStore } from "./steps/scenes.js";
import { lastOf, nextDue, periodOf, stepCount, stepOf, tokensAfter } from "./steps/schedule.js";
import { STAGE, stageOn } from "./steps/stage.js";

const AHEAD = 4; // scenes asked for before they are due
const TELL = 120; // ms between two notes to the kernel of where playing has come to
const PLAY = "Play or pause (Space)";

/** @type {Looks} */
const LOOKS = {
  button: "",
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
  usual: 2,
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
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  let token = model.get("token");
  let due = 0;
  let told = 0;
  let visible = false;
  /** @type {Request<StepAnswers>} */
  const request = requests(model);
  const tables = tableToggle(el, async () => {
    if (!meta().length) return [];
    return (await request("tables", { version: model.get("version"), token })).tables;
  });

  const meta = () => ({ length: 0, stride: 1, ...model.get("meta") });

  const stage = stageOn(el, {
    meta,
    colors: () => bytesOf(model.get("colors")),
    headColor: () => model.get("heads")[model.get("head")],
    async numbersAt(of, at) {
      const version = model.get("version");
      const { text } = await request("probe", { version, token: of, at }).catch((error) => ({
        text: whyOf(error),
      }));
      return version === model.get("version") ? text : null;
    },
    select: (n) => goTo(n),
  });

  // -- scenes ---------------------------------------------------------------------------------

  const scenes = sceneStore(request, (arrived, error) => {
    if (!error) {
      if (arrived === token) schedule();
      return;
    }
    controls.pause();
    if (arrived === token) stage.fail(whyOf(error));
  });

  /** @param {number} n */
  function ask(n) {
    if (visible && n >= 0 && n < meta().length) scenes.ask(n, model.get("version"));
  }

  function askAhead() {
    ask(token);
    if (controls.isPlaying()) tokensAfter(meta(), token, AHEAD).forEach(ask);
  }

  function forget() {
    scenes.forget();
    rest(model.get("token"));
    controls.range.max = String(Math.max(0, stepCount(meta()) - 1));
    tables.refresh();
    schedule();
  }

  // -- moving ---------------------------------------------------------------------------------

  /** @param {number} now */
  function tell(now) {
    if (model.get("token") === token) return;
    told = now;
    model.set({ token, told: model.get("version") });
    model.save_changes();
  }

  /** @param {number} n */
  function goTo(n, mine = true) {
    if (!meta().length) return;
    token = clamp(n, 0, meta().length - 1);
    askAhead(); // before the kernel draws what else the selection changes
    const now = performance.now();
    if (mine && (!controls.isPlaying() || now - told > TELL)) tell(now);
    schedule();
  }

  /** @param {number} step */
  const toStep = (step) => goTo(lastOf(meta(), step));
  const stepNow = () => stepOf(meta(), token);
  const period = () => periodOf(controls.rate(), calm.matches);

  /** @param {number} now */
  function tick(now) {
    if (!controls.isPlaying()) return;
    requestAnimationFrame(tick);
    if (now < due || stage.token() !== token) return;
    const [next] = tokensAfter(meta(), token, 1);
    if (next === undefined) return controls.pause();
    if (!scenes.get(next)) return askAhead(); // the kernel is behind: wait for it
    due = nextDue(due, now, period());
    goTo(next);
    schedule.now(); // in this frame, so that no step is skipped
  }

  const controls = playControls(
    el,
    LOOKS,
    {
      first: () => toStep(0),
      back: () => toStep(stepNow() - 1),
      forward: () => toStep(stepNow() + 1),
      last: () => toStep(stepCount(meta()) - 1),
      begin: () => meta().length > 0,
      changed() {
        if (controls.isPlaying()) {
          if (stepNow() >= stepCount(meta()) - 1) toStep(0);
          due = performance.now() + period();
          askAhead();
          requestAnimationFrame(tick);
        } else {
          tell(performance.now());
        }
        showPlaying();
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
   * Stop where the kernel says, not where playing has come to.
   * @param {number} n
   */
  function rest(n) {
    token = n;
    controls.pause();
  }

  function showPlaying() {
    const playing = controls.isPlaying();
    controls.show();
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
    put(origin, length ? `${mode}, layer ${layer}, head ${model.get("head")}` : "");
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
    put(count, `step ${grouped(stepNow() + 1)} of ${grouped(steps)}`);
    const found = scenes.get(token);
    if (!found) return ask(token); // the scene before stays until this one comes
    if (stage.show(found, controls.isPlaying())) tables.refresh();
  }

  // -- the page -------------------------------------------------------------------------------

  const count = element("output", "rv-step");
  const speed = element("label", "", "speed ");
  speed.append(controls.speed);
  transport.append(...controls.buttons, controls.range, count, speed);
  heads.append(element("span", "", "head"));
  model.get("heads").forEach((color, head) => {
    const button = buttonElement("rv-head-choice", String(head));
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
    rest(n); // chosen elsewhere: it stops there
    goTo(n, false);
  });
  const seen = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (!visible) return;
    askAhead();
    schedule();
  });
  seen.observe(el);
  const restyle = () => {
    stage.restyle();
    schedule();
  };
  const resized = new ResizeObserver(restyle);
  resized.observe(el);
  window.addEventListener("retnet-viz-theme", restyle);
  showPlaying();
  return () => {
    controls.pause();
    seen.disconnect();
    resized.disconnect();
    window.removeEventListener("retnet-viz-theme", restyle);
  };
}

export default { render };
