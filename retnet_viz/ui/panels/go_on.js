// The controls with which the text goes on. The kernel writes a token once the last one is painted.

/** @import { GoOnSettings, GoOnTraits, View } from "../types.js" */

import { buttonElement, clamp, element, setText, targetOf } from "./common.js";

const EDGE = 8; // pixels between the menu and the edge of the window
const HIDDEN_PAUSE = 250; // ms: a page that is not in sight paints nothing, and goes on all the same

/** @type {{ name: keyof GoOnSettings, label: string, hint: string, title: string }[]} */
const FIELDS = [
  {
    name: "top_k",
    label: "top-k",
    hint: "all",
    title: "Draw among this many of the likeliest tokens; empty for all.",
  },
  {
    name: "top_p",
    label: "top-p",
    hint: "all",
    title:
      "Draw among the fewest likeliest tokens whose probabilities reach this sum; empty for all.",
  },
  {
    name: "seed",
    label: "seed",
    hint: "a new one",
    title: "The same seed, text and model give the same continuation; empty for a new one.",
  },
];

/** @param {View<GoOnTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-go-on");
  const one = buttonElement("rv-button", "one token");
  const run = buttonElement("rv-button rv-go-on-run", "go on");
  const open = buttonElement("rv-button", "sampling");
  open.title = "How the next token is drawn from the model's probabilities.";
  open.setAttribute("aria-haspopup", "dialog");
  open.setAttribute("aria-expanded", "false");
  const box = element("div", "rv-sampling");
  box.setAttribute("role", "dialog");
  box.setAttribute("aria-label", "Sampling");
  box.hidden = true;
  const status = element("span", "rv-unseen");
  status.setAttribute("role", "status");
  el.append(one, run, open, box, status);

  /** @type {Map<string, HTMLInputElement>} */
  const inputs = new Map();
  /** @type {Map<string, HTMLElement>} */
  const problems = new Map();

  /**
   * @param {keyof GoOnSettings} name
   * @param {string} label
   * @param {string} title
   */
  function addLine(name, label, title) {
    const line = element("label", "", label);
    line.title = title;
    const input = element("input");
    const problem = element("p");
    problem.setAttribute("role", "alert");
    line.append(input);
    box.append(line, problem);
    inputs.set(name, input);
    problems.set(name, problem);
    return { line, input };
  }

  const heat = addLine(
    "temperature",
    "temperature",
    "0 takes the likeliest token; 1 draws by the model's probabilities; above, unlikely ones come more often.",
  );
  Object.assign(heat.input, { type: "range", min: "0", max: "2", step: "0.1" });
  const reading = element("output");
  heat.line.append(reading);
  for (const { name, label, hint, title } of FIELDS) {
    const { input } = addLine(name, label, title);
    Object.assign(input, { type: "text", inputMode: "decimal", placeholder: hint });
  }

  function showReading() {
    const { value } = heat.input;
    setText(reading, Number(value) === 0 ? "0: the likeliest" : Number(value).toFixed(1));
  }

  function saveSettings() {
    showReading();
    model.set(
      "settings",
      Object.fromEntries([...inputs].map(([name, { value }]) => [name, value])),
    );
    model.save_changes();
  }

  function showSettings() {
    const settings = /** @type {Record<string, string>} */ (model.get("settings"));
    for (const [name, input] of inputs) {
      if (input.value !== (settings[name] ?? "")) input.value = settings[name] ?? "";
    }
    showReading();
  }

  function showProblems() {
    const sentences = /** @type {Record<string, string>} */ (model.get("problems"));
    for (const [name, problem] of problems) {
      setText(problem, sentences[name] ?? "");
      inputs.get(name)?.setAttribute("aria-invalid", String(name in sentences));
    }
  }

  function showRunning() {
    const [running, ready] = [model.get("running"), model.get("ready")];
    setText(run, running ? "stop" : "go on");
    run.title = running
      ? "The model writes no more."
      : "The model goes on with the text, token by token, until it is stopped.";
    one.title = "The model writes its next token at the end of the text.";
    one.disabled = !ready || running;
    run.disabled = !ready;
    el.classList.toggle("rv-running", running);
  }

  let stopped = false; // by this button: no further token is asked for

  /** Have the kernel know that the newest token is painted. */
  function tellPainted() {
    const number = model.get("number");
    let told = false;
    const tell = () => {
      if (told || stopped) return;
      told = true;
      model.send({ do: "painted", number });
    };
    // A frame begins before it is painted; what follows it comes after.
    requestAnimationFrame(() => setTimeout(tell));
    if (document.hidden) setTimeout(tell, HIDDEN_PAUSE);
  }

  /** @param {boolean} on */
  function setOpen(on) {
    box.hidden = !on;
    open.setAttribute("aria-expanded", String(on));
    if (!on) return;
    // Like the other menus it is placed on the window: the lines around it cut what is too long.
    const button = open.getBoundingClientRect();
    const room = document.documentElement.clientWidth - box.getBoundingClientRect().width - EDGE;
    const zoom = box.currentCSSZoom || 1; // of the view for a projector
    box.style.top = `${(button.bottom + 4) / zoom}px`;
    box.style.left = `${clamp(button.left, EDGE, room) / zoom}px`;
    heat.input.focus();
  }

  /** @param {Event} event */
  const closeOutside = (event) => {
    if (!box.hidden && !el.contains(targetOf(event))) setOpen(false);
  };
  one.addEventListener("click", () => model.send({ do: "one" }));
  run.addEventListener("click", () => {
    stopped = model.get("running");
    model.send({ do: stopped ? "stop" : "go on" });
  });
  open.addEventListener("click", () => setOpen(box.hidden));
  heat.input.addEventListener("input", saveSettings);
  for (const { name } of FIELDS) inputs.get(name)?.addEventListener("input", saveSettings);
  el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || box.hidden) return;
    setOpen(false);
    open.focus();
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", closeOutside);
  model.on("change:settings", showSettings);
  model.on("change:problems", showProblems);
  model.on("change:running", showRunning);
  model.on("change:ready", showRunning);
  model.on("change:number", tellPainted);
  model.on("change:status", () => setText(status, model.get("status")));
  showSettings();
  showProblems();
  showRunning();
  if (model.get("running")) tellPainted(); // this view came while the text goes on
  return () => document.removeEventListener("pointerdown", closeOutside);
}

export default { render };
