// Play, pause, step, speed: the controls of all panels that play. A panel places them on its page
// and defines what a step is.

import { buttonElement, element } from "./common.js";

/** @typedef {"first" | "back" | "play" | "forward" | "last"} Action */

/** @type {Record<string, Action>} */
const KEYS = {
  ArrowLeft: "back",
  ArrowRight: "forward",
  Home: "first",
  End: "last",
  " ": "play",
};

/**
 * A button's accessible name, tooltip, and content as HTML.
 * @typedef {{ label: string, title: string, html: string }} ButtonFace
 */

/**
 * How the controls look.
 * @typedef {object} ControlStyle
 * @property {string} button the classes of every button
 * @property {string} playing a class of the play button while it plays
 * @property {Partial<Record<Action, ButtonFace>>} faces of the buttons, in their order
 * @property {ButtonFace} pause the play button's while it plays
 * @property {string} range the name of the slider
 * @property {string} speed the name of the choice of speeds
 * @property {[speed: number, text: string][]} speeds
 * @property {number} initialSpeed the speed at first
 */

/**
 * The functions of the panel that the controls call.
 * @typedef {object} Player
 * @property {() => void} first
 * @property {() => void} back
 * @property {() => void} forward
 * @property {() => void} last
 * @property {() => boolean} start prepares playing; false where there is nothing to play
 * @property {() => void} onChange after playing has started or stopped
 */

/**
 * Whether the panel takes a key that is pressed on an element in it; else that element needs the
 * key.
 * @param {{ key: string, altKey: boolean, ctrlKey: boolean, metaKey: boolean }} event
 * @param {string} tag
 * @param {boolean} isInTable
 */
export function isPanelKey({ key, altKey, ctrlKey, metaKey }, tag, isInTable) {
  if (altKey || ctrlKey || metaKey || isInTable || tag === "SELECT") return false;
  if (tag === "INPUT") return key === " "; // the others move the slider
  if (tag === "BUTTON") return key !== " " && key !== "Enter"; // they press the button
  return true;
}

/**
 * The controls of the panel `el`, whose elements the panel places itself.
 * @param {HTMLElement} el
 * @param {ControlStyle} style
 * @param {Player} player
 * @param {(key: string) => boolean} onKey handles any other key; false where it does nothing
 */
export function playControls(el, style, player, onKey = () => false) {
  let playing = false;
  const faces = /** @type {[Action, ButtonFace][]} */ (Object.entries(style.faces));
  const buttons = faces.map(([action, { label, title, html }]) => {
    const button = buttonElement(style.button);
    button.dataset.do = action;
    button.title = title;
    button.setAttribute("aria-label", label);
    button.innerHTML = html;
    button.addEventListener("click", () => press(action));
    return button;
  });
  const range = element("input");
  range.type = "range";
  range.min = range.value = "0";
  range.setAttribute("aria-label", style.range);
  const speed = element("select");
  speed.setAttribute("aria-label", style.speed);
  for (const [value, text] of style.speeds) {
    const option = element("option", "", text);
    option.value = String(value);
    option.selected = value === style.initialSpeed;
    speed.append(option);
  }

  function play() {
    if (playing || !player.start()) return;
    playing = true;
    player.onChange();
  }

  function pause() {
    if (!playing) return;
    playing = false;
    player.onChange();
  }

  /** @param {Action} action */
  function press(action) {
    if (action === "play") return playing ? pause() : play();
    pause();
    player[action]();
  }

  // Show on the play button whether it plays.
  function showState() {
    const button = buttons[faces.findIndex(([action]) => action === "play")];
    const face = playing ? style.pause : style.faces.play;
    if (!face || button.getAttribute("aria-label") === face.label) return;
    button.classList.toggle(style.playing, playing);
    button.title = face.title;
    button.setAttribute("aria-label", face.label);
    button.innerHTML = face.html;
  }

  el.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (!isPanelKey(event, target.tagName, Boolean(target.closest(".rv-tables")))) return;
    if (event.key in KEYS) press(KEYS[event.key]);
    else if (!onKey(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    buttons,
    range,
    speed,
    play,
    pause,
    showState,
    isPlaying: () => playing,
    rate: () => Number(speed.value),
  };
}
