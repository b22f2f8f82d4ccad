// The controls with which the text goes on, and the rows that can be chosen.

import assert from "node:assert/strict";
import { test } from "node:test";
import goOn from "../../retnet_viz/ui/panels/go_on.js";
import { choiceRows } from "../../retnet_viz/ui/panels/plots/choices.js";
import { turn } from "./fake_kernel.js";
import { asElement, openPage } from "./fake_page.js";

/** @import { Choice, GoOnTraits } from "../../retnet_viz/ui/types.js" */

/** @param {Partial<GoOnTraits>} given */
function openControls(given = {}) {
  const body = openPage();
  Object.assign(globalThis, {
    requestAnimationFrame: (/** @type {() => void} */ draw) => setTimeout(draw),
  });
  /** @type {GoOnTraits} */
  const traits = {
    ready: true,
    running: false,
    number: 0,
    settings: { temperature: "0" },
    problems: {},
    status: "",
    ...given,
  };
  /** @type {Map<string, () => void>} */
  const listeners = new Map();
  /** @type {object[]} */
  const sent = [];
  const model = {
    get: (/** @type {keyof GoOnTraits} */ name) => traits[name],
    set: (/** @type {string} */ name, /** @type {unknown} */ value) =>
      Object.assign(traits, { [name]: value }),
    save_changes: () => {},
    on: (/** @type {string} */ event, /** @type {() => void} */ listener) =>
      listeners.set(event, listener),
    send: (/** @type {object} */ content) => sent.push(content),
  };
  goOn.render({ model: asElement(model), el: asElement(body) });
  /** @param {Partial<GoOnTraits>} values */
  const change = (values) => {
    Object.assign(traits, values);
    for (const name of Object.keys(values)) listeners.get(`change:${name}`)?.();
  };
  return { body, traits, sent, change };
}

test("a token is said to be painted once, after the frame", async () => {
  const { sent, change } = openControls({ running: true, number: 3 });
  await turn();
  await turn();
  assert.deepEqual(sent, [{ do: "painted", number: 3 }]); // a view that came in the middle of a run
  change({ number: 4 });
  assert.equal(sent.length, 1);
  await turn();
  await turn();
  assert.deepEqual(sent.slice(1), [{ do: "painted", number: 4 }]);
});

test("the button goes on and stops, and after that no token is asked for", async () => {
  const { body, sent, change } = openControls();
  body.button("go on").click();
  assert.deepEqual(sent, [{ do: "go on" }]);
  change({ running: true, number: 1 });
  body.button("stop").click();
  await turn();
  await turn();
  assert.deepEqual(sent.slice(1), [{ do: "stop" }]);
  change({ running: false });
  body.button("go on").click();
  change({ running: true, number: 2 });
  await turn();
  await turn();
  assert.deepEqual(sent.slice(2), [{ do: "go on" }, { do: "painted", number: 2 }]);
});

test("without a text neither button does anything, and while it goes on not one token", () => {
  const { body, change } = openControls({ ready: false });
  assert.ok(body.button("one token").disabled && body.button("go on").disabled);
  change({ ready: true });
  assert.ok(!body.button("one token").disabled && !body.button("go on").disabled);
  change({ running: true });
  assert.ok(body.button("one token").disabled && !body.button("stop").disabled);
});

test("what is typed goes to the kernel as text, and its problem stands there", () => {
  const { body, traits, change } = openControls();
  const inputs = body.all.filter((each) => each.tagName === "INPUT");
  inputs[1].value = "many";
  inputs[1].dispatchEvent(new Event("input"));
  assert.deepEqual(traits.settings, { temperature: "0", top_k: "many", top_p: "", seed: "" });
  change({ problems: { top_k: "No." } });
  assert.equal(inputs[1].getAttribute("aria-invalid"), "true");
  assert.match(body.textContent, /No\./);
  change({ problems: {} });
  assert.equal(inputs[1].getAttribute("aria-invalid"), "false");
});

test("a row reports its own entry, also where the rows have changed, and arrows move along", () => {
  openPage();
  /** @type {number[]} */
  const chosen = [];
  const rows = choiceRows((id) => chosen.push(id));
  const el = asElement(rows.el);
  const place = () => ({ top: 30, height: 12 });
  /** @type {Choice[]} */
  const choices = [
    [7, "·the", "31.0 %"],
    [9, "·a", "4.0 %"],
  ];
  rows.show(choices, place);
  assert.deepEqual(
    el.children.map((/** @type {any} */ each) => [each.title, each.tabIndex]),
    [
      ["Append “·the” (31.0 %)", 0],
      ["Append “·a” (4.0 %)", -1],
    ],
  );
  el.children[1].click();
  rows.show([...choices].reverse(), place);
  assert.equal(el.children[1].tabIndex, 0); // it keeps its place
  el.children[1].click();
  el.press("ArrowUp");
  assert.equal(el.children[0].tabIndex, 0);
  el.press("ArrowUp");
  assert.equal(el.children[0].tabIndex, 0);
  assert.deepEqual(chosen, [9, 7]);
  rows.show(undefined, place);
  assert.ok(el.hidden);
});
