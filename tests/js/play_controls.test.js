// Play, pause and step, by buttons and keys.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isPanelKey, playControls } from "../../retnet_viz/ui/panels/play_controls.js";
import { asElement, openPage } from "./fake_page.js";

const PLAIN = { altKey: false, ctrlKey: false, metaKey: false };
const FACE = (/** @type {string} */ label) => ({ label, title: label, html: label });

function player(canPlay = true) {
  const body = openPage();
  /** @type {string[]} */
  const calls = [];
  const controls = playControls(
    asElement(body),
    {
      button: "button",
      playing: "playing",
      faces: {
        first: FACE("first"),
        back: FACE("back"),
        play: FACE("play"),
        forward: FACE("forward"),
        last: FACE("last"),
      },
      pause: FACE("pause"),
      range: "step",
      speed: "speed",
      speeds: [
        [1, "slow"],
        [4, "fast"],
      ],
      initialSpeed: 4,
    },
    {
      first: () => calls.push("first"),
      back: () => calls.push("back"),
      forward: () => calls.push("forward"),
      last: () => calls.push("last"),
      start: () => canPlay,
      onChange: () => {
        calls.push(controls.isPlaying() ? "play" : "pause");
        controls.showState();
      },
    },
    (key) => key === "ArrowUp" && calls.push("own") > 0,
  );
  body.append(...controls.buttons.map(asElement), asElement(controls.range));
  return { body, controls, calls };
}

test("the keys of a panel are its own but where a control or a table needs them", () => {
  for (const key of ["ArrowLeft", "Home", " ", "x"]) {
    assert.ok(isPanelKey({ key, ...PLAIN }, "DIV", false));
    assert.ok(!isPanelKey({ key, ...PLAIN }, "DIV", true));
    assert.ok(!isPanelKey({ key, ...PLAIN }, "SELECT", false));
    for (const modifier of ["altKey", "ctrlKey", "metaKey"]) {
      assert.ok(!isPanelKey({ key, ...PLAIN, [modifier]: true }, "DIV", false));
    }
  }
  assert.ok(isPanelKey({ key: " ", ...PLAIN }, "INPUT", false));
  assert.ok(!isPanelKey({ key: "ArrowLeft", ...PLAIN }, "INPUT", false));
  assert.ok(isPanelKey({ key: "ArrowLeft", ...PLAIN }, "BUTTON", false));
  for (const key of [" ", "Enter"]) assert.ok(!isPanelKey({ key, ...PLAIN }, "BUTTON", false));
});

test("each key and each button does what it says", () => {
  const { body, controls, calls } = player();
  for (const key of ["ArrowLeft", "ArrowRight", "Home", "End", "ArrowUp", "x"]) body.press(key);
  assert.deepEqual(calls, ["back", "forward", "first", "last", "own"]);
  calls.length = 0;
  for (const button of controls.buttons) button.click();
  assert.deepEqual(calls, ["first", "back", "play", "pause", "forward", "last"]);
});

test("it plays and pauses, and a step pauses first", () => {
  const { body, controls, calls } = player();
  body.press(" ");
  assert.ok(controls.isPlaying());
  assert.equal(controls.buttons[2].getAttribute("aria-label"), "pause");
  body.press(" ");
  assert.ok(!controls.isPlaying());
  assert.equal(controls.buttons[2].getAttribute("aria-label"), "play");
  controls.play();
  controls.play(); // it does already
  body.press("ArrowRight");
  controls.pause(); // it does already
  assert.deepEqual(calls, ["play", "pause", "play", "pause", "forward"]);
});

test("where there is nothing to play it does not begin", () => {
  const { body, controls, calls } = player(false);
  body.press(" ");
  assert.ok(!controls.isPlaying());
  assert.deepEqual(calls, []);
});

test("the usual speed is chosen", () => {
  const { controls } = player();
  assert.deepEqual(
    [...controls.speed.children].map((each) => /** @type {any} */ (each).selected),
    [false, true],
  );
});
