// Questions to the kernel: each one ends, and only one of a kind is on its way.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cellReader,
  errorMessage,
  newestOnly,
  requester,
} from "../../retnet_viz/ui/panels/request.js";
import { modelWithoutPage, turn } from "./fake_kernel.js";

test("an answer reaches the question that it answers, in any order, with its buffers", async () => {
  const model = modelWithoutPage();
  const request = requester(model);
  const bytes = new ArrayBuffer(3);
  const answers = [request("cell", [0, 1, 2]), request("tables")];
  const [cell, tables] = model.sent;
  assert.deepEqual([cell.ask, cell.about], ["cell", [0, 1, 2]]);
  assert.deepEqual([tables.ask, tables.about], ["tables", null]);
  model.reply({ answers: tables.question, tables: [] }, [bytes]);
  model.reply({ answers: cell.question, text: "0.5" });
  model.reply({ answers: cell.question, text: "again" }); // no harm
  assert.equal((await answers[0]).text, "0.5");
  assert.deepEqual((await answers[1]).buffers, [bytes]);
});

test("two views of one widget hear their own answers alone", async () => {
  const model = modelWithoutPage();
  const [first, second] = [requester(model), requester(model)];
  const answers = [first("cell"), second("cell")];
  assert.notEqual(model.sent[0].question, model.sent[1].question);
  model.reply({ answers: model.sent[1].question, text: "second" });
  model.reply({ answers: model.sent[0].question, text: "first" });
  assert.deepEqual(
    (await Promise.all(answers)).map(({ text }) => text),
    ["first", "second"],
  );
});

test("an error of the kernel is the question's, with its sentence", async () => {
  const model = modelWithoutPage();
  const answer = requester(model)("cell", [9, 0, 0]);
  model.reply({ answers: model.sent[0].question, error: "This cell is not shown any more." });
  await assert.rejects(answer, /not shown any more/);
});

test("a question that is never answered ends after a while", async () => {
  const model = modelWithoutPage();
  const answer = requester(model, 5)("cell");
  await assert.rejects(answer, /has not answered/);
  model.reply({ answers: model.sent[0].question, text: "late" }); // no harm
});

test("what is called meanwhile runs once more, with what holds then", async () => {
  /** @type {number[]} */
  const values = [];
  /** @type {((done?: unknown) => void)[]} */
  const gates = [];
  let now = 0;
  const run = newestOnly(async () => {
    values.push(now);
    await new Promise((resolve) => gates.push(resolve));
  });
  for (now = 1; now <= 4; now++) run();
  now = 4;
  assert.deepEqual(values, [1]);
  assert.ok(run.isRunning());
  gates.shift()?.();
  await turn();
  assert.deepEqual(values, [1, 4]);
  gates.shift()?.();
  await turn();
  assert.deepEqual(values, [1, 4]);
  assert.ok(!run.isRunning());
});

test("work that fails does not end all work: hovering goes on", async () => {
  let failing = true;
  let done = 0;
  const run = newestOnly(async () => {
    if (failing) throw new Error("gone");
    done += 1;
  });
  await assert.rejects(run(), /gone/);
  failing = false;
  await run();
  assert.equal(done, 1);
});

test("what a failure says is its message, whatever was thrown", () => {
  assert.equal(errorMessage(new Error("gone")), "gone");
  assert.equal(errorMessage("gone"), "gone");
});

test("what the kernel says of a cell is shown unless the focus has moved on", async () => {
  /** @type {[number, number, number] | null} */
  let focus = [1, 2, 0];
  /** @type {string[]} */
  const shown = [];
  /** @type {((text: string) => void)[]} */
  const answers = [];
  const request = () =>
    new Promise((resolve) => {
      answers.push((text) => resolve({ text }));
    });
  const read = cellReader(
    request,
    () => focus,
    (text) => shown.push(text),
  );
  read();
  focus = [1, 2, 1];
  read();
  answers[0]("of the first cell");
  await turn();
  assert.deepEqual([shown, answers.length], [[], 2]);
  answers[1]("of the second cell");
  await turn();
  assert.deepEqual(shown, ["of the second cell"]);
  focus = null;
  read();
  await turn();
  assert.equal(answers.length, 2);
});

test("a cell that the kernel cannot describe is answered with the reason", async () => {
  /** @type {string[]} */
  const shown = [];
  const read = cellReader(
    async () => {
      throw new Error("the text is shorter now");
    },
    () => [0, 1, 1],
    (text) => shown.push(text),
  );
  await read();
  assert.deepEqual(shown, ["the text is shorter now"]);
});
