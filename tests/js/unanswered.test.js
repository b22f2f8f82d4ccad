// What a page says where the kernel does not answer.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { linkSharer } from "../../retnet_viz/ui/core/share.js";
import exportMenu from "../../retnet_viz/ui/export/export_menu.js";
import { libraryAddress, loadPlotly } from "../../retnet_viz/ui/panels/plots/library.js";
import { requester } from "../../retnet_viz/ui/panels/request.js";
import { modelWithoutPage, turn } from "./fake_kernel.js";
import { asElement, openPage } from "./fake_page.js";

const LONG = 20_000; // ms that a question is waited for
const turns = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/**
 * Run a test whose time goes by as it says.
 * @param {(pass: (milliseconds: number) => Promise<void>) => Promise<void>} body
 */
async function inTime(body) {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    await body(async (milliseconds) => {
      mock.timers.tick(milliseconds);
      await turns();
    });
  } finally {
    mock.timers.reset();
  }
}

test("work that is still going on is waited for, and heard of", () =>
  inTime(async (pass) => {
    const model = modelWithoutPage();
    /** @type {number[]} */
    const steps = [];
    const answer = requester(model)("file", {}, ({ done }) => steps.push(done));
    for (let i = 1; i <= 3; i++) {
      await pass(LONG - 1);
      model.reply({ continues: model.sent[0].question, done: i });
    }
    model.reply({ answers: model.sent[0].question, file: "page.html" });
    assert.equal((await answer).file, "page.html");
    assert.deepEqual(steps, [1, 2, 3]);
    const other = requester(model)("file");
    model.reply({ continues: model.sent[1].question });
    const failed = assert.rejects(other, /has not answered/);
    await pass(LONG);
    await failed;
  }));

test("plotly.js that does not come is asked for anew by the next figure", () =>
  inTime(async (pass) => {
    globalThis.retnetVizPlotly = undefined;
    const model = modelWithoutPage();
    const request = requester(model);
    const first = loadPlotly(request);
    assert.equal(loadPlotly(request), first); // once for all figures
    assert.equal(model.sent.length, 1);
    const failed = assert.rejects(first, /has not answered/);
    await pass(LONG);
    await failed;
    const second = assert.rejects(loadPlotly(request), /has not answered/);
    assert.equal(model.sent.length, 2);
    await pass(LONG);
    await second;
  }));

test("plotly.js comes from the server where that has it, and else from the kernel", async () => {
  globalThis.retnetVizPlotly = undefined;
  const model = modelWithoutPage();
  const request = requester(model);
  const plotly = await loadPlotly(request, "data:text/javascript,export default 'of the server'");
  assert.equal(plotly, "of the server");
  assert.equal(model.sent.length, 0);
  globalThis.retnetVizPlotly = undefined;
  const loading = loadPlotly(request, "data:text/javascript,there is no such file");
  while (!model.sent.length) await turn();
  model.reply({ answers: model.sent[0].question, error: "asked" });
  await assert.rejects(loading, /asked/);
});

test("the address of plotly.js is below that of the kernel's server", () => {
  openPage();
  const from = (/** @type {string | undefined} */ library, /** @type {unknown} */ kernel) =>
    libraryAddress(asElement({ get: () => library, widget_manager: { kernel } }));
  const kernel = { serverSettings: { baseUrl: "http://a.host/user/me/" } };
  assert.equal(from("x/plotly.js", kernel), "http://a.host/user/me/x/plotly.js");
  assert.equal(from("", kernel), "");
  assert.equal(from(undefined, kernel), "");
  assert.equal(from("x/plotly.js", null), "");
  assert.equal(libraryAddress(asElement({ get: () => "x/plotly.js" })), "");
});

function openSharer() {
  const body = openPage();
  const model = modelWithoutPage();
  const share = linkSharer(asElement(model), () => asElement(body));
  return { body, model, share };
}

test("a link that does not come is told", () =>
  inTime(async (pass) => {
    const { body, model, share } = openSharer();
    share.copy();
    await pass(500);
    assert.match(body.textContent, /Making the link/);
    await pass(LONG);
    assert.match(body.textContent, /has not answered/);
    body.button("Close").click();
    assert.equal(body.textContent, "");
    share.copy(); // asks anew
    assert.equal(model.sent.length, 2);
  }));

test("a link is asked for twice, and is given by what knows all changes", () =>
  inTime(async () => {
    const { body, model, share } = openSharer();
    share.copy();
    share.copy(); // it is being made
    assert.equal(model.sent.length, 1);
    model.reply({ answers: model.sent[0].question, link: "s=old", whyNot: "" });
    await turns();
    assert.equal(model.sent.length, 2);
    model.reply({ answers: model.sent[1].question, link: "", whyNot: "The text is too long." });
    await turns();
    assert.match(body.textContent, /The text is too long/);
    body.button("Save as a file").click();
    assert.equal(model.sent[2].ask, "save");
    model.reply({ answers: model.sent[2].question, error: "The disk is full." });
    await turns();
    assert.match(body.textContent, /The disk is full/);
  }));

test("a link that was closed is not shown any more", () =>
  inTime(async () => {
    const { body, model, share } = openSharer();
    share.copy();
    share.close();
    model.reply({ answers: model.sent[0].question, link: "s=old", whyNot: "" });
    await turns();
    assert.equal(model.sent.length, 1);
    assert.equal(body.textContent, "");
  }));

function openMenu() {
  const body = openPage();
  const model = modelWithoutPage();
  const traits = { things: [["page", "this page", ["html", "png"]]], ready: true };
  const get = (/** @type {"things" | "ready"} */ name) => traits[name];
  exportMenu.render({ model: asElement({ ...model, get }), el: asElement(body) });
  const status = body.all.find((each) => each.getAttribute("role") === "status");
  return { body, model, message: () => status?.textContent };
}

test("a file that does not come is told, and can be asked for again", () =>
  inTime(async (pass) => {
    const { body, model, message } = openMenu();
    body.button("Save").click();
    assert.deepEqual(
      model.sent.map(({ ask, about }) => [ask, about]),
      [["file", { what: "page", as: "html" }]],
    );
    assert.equal(message(), "Making the file …");
    await pass(LONG);
    assert.equal(message(), "The kernel has not answered.");
    body.button("Save").click();
    assert.equal(model.sent.length, 2);
  }));

test("a file that is cancelled is not waited for", () =>
  inTime(async (pass) => {
    const { body, model, message } = openMenu();
    body.button("Save").click();
    body.button("Cancel").click();
    assert.equal(model.sent[1].ask, "cancel");
    model.reply({ answers: model.sent[1].question });
    model.reply({ answers: model.sent[0].question, error: "It could not be saved." });
    await pass(LONG);
    assert.equal(message(), "Cancelled.");
  }));

test("a file that cannot be made is told with the kernel's reason", () =>
  inTime(async () => {
    const { body, model, message } = openMenu();
    body.button("Save").click();
    model.reply({ answers: model.sent[0].question, error: "This text has 300 tokens." });
    await turns();
    assert.equal(message(), "This text has 300 tokens.");
  }));
