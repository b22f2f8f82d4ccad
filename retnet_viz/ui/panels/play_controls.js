// Play, pause, step, speed: what the panels that play have in common. A panel places the parts on its
// page and says what a step is.

import { buttonElement, element } from "./common.js";

/** @typedef {"first" | "back" | "play" | "forward" | "last"} Act */

/** @type {Record<string, Act>} */
const KEYS = {
  ArrowLeft: "back",
  ArrowRight: "forward",
  Home: "first",
  End: "last",
  " ": "play",
};

/**
 * How a button looks: its name, what it says when pointed at, its content as HTML.
 * @typedef {{ label: string, title: string, html: string }} Face
 */

/**
 * How the controls look.
 * @typedef {object} Looks
 * @property {string} button a class of every button
 * @property {string} playing a class of the play button while it plays
 * @property {Partial<Record<Act, Face>>} faces of the buttons, in their order
 * @property {Face} pause the play button's while it plays
 * @property {string} range the name of the slider
 * @property {string} speed the name of the choice of speeds
 * @property {[speed: number, text: string][]} speeds
 * @property {number} usual the speed at first
 */

/**
 * What the controls move.
 * @typedef {object} Player
 * @property {() => void} first
 * @property {() => void} back
 * @property {() => void} forward
 * @property {() => void} last
 * @property {() => boolean} begin makes ready to play; false where there is nothing to play
 * @property {() => void} changed begins or ends to play
 */

/**
 * Whether a key that is pressed on an element of a panel is the panel's: else it is that element's own.
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
 * The controls of the panel `el`: their parts, to be placed, and whether they play.
 * @param {HTMLElement} el
 * @param {Looks} looks
 * @param {Player} player
 * @param {(key: string) => boolean} ownKey does what another key asks of the panel; false for nothing
 */
export function playControls(el, looks, player, ownKey = () => false) {
  let playing = false;
  const faces = /** @type {[Act, Face][]} */ (Object.entries(looks.faces));
  const buttons = faces.map(([act, { label, title, html }]) => {
    const button = buttonElement(looks.button);
    button.dataset.do = act;
    button.title = title;
    button.setAttribute("aria-label", label);
    button.innerHTML = html;
    button.addEventListener("click", () => press(act));
    return button;
  });
  const range = element("input");
  range.type = "range";
  range.min = range.value = "0";
  range.setAttribute("aria-label", looks.range);
  const speed = element("select");
  speed.setAttribute("aria-label", looks.speed);
  for (const [value, text] of looks.speeds) {
    const option = element("option", "", text);
    option.value = String(value);
    option.selected = value === looks.usual;
    speed.append(option);
  }

  function play() {
    if (playing || !player.begin()) return;
    playing = true;
    player.changed();
  }

  function pause() {
    if (!playing) return;
    playing = false;
    player.changed();
  }

  /** @param {Act} act */
  function press(act) {
    if (act === "play") return playing ? pause() : play();
    pause();
    player[act]();
  }

  // The play button, as it is now.
  function show() {
    const button = buttons[faces.findIndex(([act]) => act === "play")];
    const face = playing ? looks.pause : looks.faces.play;
    if (!face || button.getAttribute("aria-label") === face.label) return;
    button.classList.toggle(looks.playing, playing);
    button.title = face.title;
    button.setAttribute("aria-label", face.label);
    button.innerHTML = face.html;
  }

  el.addEventListener("keydown", (event) => {
    const on = /** @type {Element} */ (event.target);
    if (!isPanelKey(event, on.tagName, Boolean(on.closest(".rv-tables")))) return;
    if (event.key in KEYS) press(KEYS[event.key]);
    else if (!ownKey(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    buttons,
    range,
    speed,
    play,
    pause,
    show,
    isPlaying: () => playing,
    rate: () => Number(speed.value),
  };
}
