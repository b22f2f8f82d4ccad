// What a page tells of its kernel: busy is not dead.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import {
  ANSWER_TIMEOUT,
  kernelState,
  kernelWatch,
  PING_INTERVAL,
} from "../../retnet_viz/ui/core/kernel_line.js";
import { modelWithoutPage } from "./fake_kernel.js";
import { asElement, openPage } from "./fake_page.js";

const ANSWERING = {
  sinceAnswer: 0,
  sinceBusy: Infinity,
  connection: "connected",
  isReplaced: false,
};
const SILENT = { ...ANSWERING, sinceAnswer: ANSWER_TIMEOUT + 1 };

test("a kernel that answers is not spoken of, whatever it does", () => {
  for (const status of ["idle", "busy", "unknown", "starting", undefined])
    assert.equal(kernelState({ ...ANSWERING, status }), "answers");
});

test("silence is read by what the kernel is said to be doing", () => {
  assert.equal(kernelState({ ...SILENT, status: "busy", sinceBusy: 0 }), "busy");
  assert.equal(kernelState({ ...SILENT, status: "idle" }), "closed");
  assert.equal(kernelState({ ...SILENT, status: "unknown" }), "silent");
  assert.equal(kernelState({ ...SILENT, status: undefined, connection: undefined }), "silent");
});

test("a kernel that has just become idle has a moment to answer", () => {
  assert.equal(kernelState({ ...SILENT, status: "idle", sinceBusy: 1 }), "answers");
  assert.equal(kernelState({ ...SILENT, status: "idle", sinceBusy: ANSWER_TIMEOUT + 1 }), "closed");
});

test("a lost connection is no busy kernel, and heals for a while unseen", () => {
  for (const connection of ["connecting", "disconnected"]) {
    assert.equal(kernelState({ ...ANSWERING, connection, status: "busy" }), "answers");
    assert.equal(kernelState({ ...SILENT, connection, status: "busy", sinceBusy: 0 }), "lost");
  }
});

test("a dead or restarted kernel is told at once", () => {
  for (const status of ["dead", "terminating"])
    assert.equal(kernelState({ ...ANSWERING, status, isReplaced: true }), "lost");
  for (const status of ["idle", "busy", "restarting"])
    assert.equal(kernelState({ ...ANSWERING, status, isReplaced: true }), "closed");
});

/** @param {(things: ReturnType<typeof openWatched>) => void} body */
function inTime(body) {
  mock.timers.enable({ apis: ["setInterval", "Date"] });
  try {
    body(openWatched());
  } finally {
    mock.timers.reset();
  }
}

function openWatched() {
  const page = openPage();
  /** @type {((sender: unknown, status: string) => void)[]} */
  const slots = [];
  const kernel = {
    id: "first",
    status: "idle",
    connectionStatus: "connected",
    statusChanged: {
      connect: (/** @type {(sender: unknown, status: string) => void} */ slot) => slots.push(slot),
      disconnect: () => slots.pop(),
    },
  };
  const manager = { kernel: asElement(kernel) };
  const model = { ...modelWithoutPage(), get: () => "", widget_manager: manager };
  const watch = kernelWatch(asElement(model), () => asElement(page));
  const line = () => page.children.find((each) => each.className.includes("rv-kernel"));
  return {
    kernel,
    manager,
    model,
    watch,
    slots,
    /** @param {string} status */
    become(status) {
      kernel.status = status;
      for (const slot of slots) slot(kernel, status);
    },
    /** @param {number} milliseconds */
    pass(milliseconds) {
      for (let past = 0; past < milliseconds; past += 1000) mock.timers.tick(1000);
    },
    text: () => line()?.textContent ?? "",
    role: () => line()?.getAttribute("role"),
  };
}

test("while another cell runs the page says so, without advice, and pings no more than needed", () =>
  inTime(({ become, model, pass, role, text, watch }) => {
    become("busy");
    pass(ANSWER_TIMEOUT);
    assert.equal(text(), "");
    pass(PING_INTERVAL);
    assert.equal(text(), "The kernel is busy. What you change here shows when it is free again.");
    assert.equal(role(), "status");
    const count = model.sent.length;
    pass(100 * PING_INTERVAL);
    assert.equal(model.sent.length, count);
    become("idle");
    watch.onAnswer();
    assert.equal(text(), "");
    pass(PING_INTERVAL);
    assert.equal(model.sent.length, count + 1);
  }));

test("a kernel that restarts is told at once, and that the cell is to be run again", () =>
  inTime(({ become, role, text }) => {
    become("busy");
    become("autorestarting");
    become("idle");
    assert.match(text(), /does not answer.* Run the cell again\.$/);
    assert.equal(role(), "alert");
  }));

test("a dead kernel is told at once, and that it is to be restarted", () =>
  inTime(({ become, text }) => {
    become("dead");
    assert.match(text(), /Restart the kernel and run the cell again\.$/);
  }));

test("another kernel, or none, knows nothing of the page", () =>
  inTime(({ kernel, manager, pass, text }) => {
    manager.kernel = { ...kernel, id: "second" };
    pass(PING_INTERVAL);
    assert.match(text(), /Run the cell again\.$/);
    manager.kernel = null;
    pass(PING_INTERVAL);
    assert.match(text(), /Run the cell again\.$/);
  }));

test("where the host shows no kernel, silence may be either", () =>
  inTime(({ manager, model, pass, role, text, watch, slots }) => {
    watch.stop();
    assert.equal(slots.length, 0);
    manager.kernel = undefined;
    const page = openPage();
    kernelWatch(asElement(model), () => asElement(page));
    pass(ANSWER_TIMEOUT + PING_INTERVAL);
    const [line] = page.children;
    assert.match(line.textContent, /it is busy, or it has ended\.$/);
    assert.equal(line.getAttribute("role"), "status");
    assert.deepEqual([text(), role()], ["", undefined]);
  }));
