// The line at the top of a page whose kernel does not answer: grey where it is busy, red where it is lost.

/** @import { HostBridgeTraits, KernelConnection, KernelReading, KernelState, Model } from "../types.js" */

import { element } from "../panels/common.js";
import { mergeQuery } from "./share.js";

export const PING_INTERVAL = 5000; // ms between two pings of the kernel
export const ANSWER_TIMEOUT = 20000; // ms without an answer before the page says so

const SILENT_LINE = "The kernel behind this page does not answer; what you see no longer updates. ";

/** @type {Record<KernelState, { text: string, advice: string }>} */
const KERNEL_LINES = {
  answers: { text: "", advice: "" },
  busy: {
    text: "The kernel is busy. What you change here shows when it is free again.",
    advice: "",
  },
  silent: {
    text: "The kernel has not answered for a while: it is busy, or it has ended.",
    advice: "",
  },
  closed: { text: SILENT_LINE, advice: "Run the cell again." },
  lost: { text: SILENT_LINE, advice: "Restart the kernel and run the cell again." },
};

/**
 * What a page tells of its kernel. Silence alone tells nothing: a kernel that runs another cell
 * answers when that has ended, and advice to restart it would cost the user that run.
 * @param {KernelReading} reading
 * @returns {KernelState}
 */
export function kernelState({ sinceAnswer, sinceBusy, status, connection, isReplaced }) {
  if (status === "dead" || status === "terminating") return "lost";
  if (isReplaced) return "closed"; // restarted, or another one: it knows nothing of this page
  if (sinceAnswer <= ANSWER_TIMEOUT) return "answers";
  if (connection !== undefined && connection !== "connected") return "lost";
  if (status === "busy") return "busy";
  if (status === undefined || status === "unknown") return "silent";
  // A kernel that has just become idle answers in a moment.
  return sinceBusy > ANSWER_TIMEOUT ? "closed" : "answers";
}

/**
 * The connection to the kernel, in JupyterLab and in Voila; null where the host shows none.
 * @param {Pick<Model<HostBridgeTraits>, "widget_manager">} model
 * @returns {KernelConnection | null}
 */
export function kernelOf(model) {
  return model.widget_manager?.kernel ?? null;
}

/**
 * Watches the kernel of a page by pings, and tells in a line at its top what is wrong.
 * @param {Model<HostBridgeTraits>} model
 * @param {() => HTMLElement | null} root
 */
export function kernelWatch(model, root) {
  let [lastAnswer, lastBusy, lastPing] = [Date.now(), -Infinity, Date.now()];
  /** @type {KernelConnection | null} */
  let kernel = null; // the one that made this page
  let isReplaced = false;
  /** @type {KernelState} */
  let state = "answers";

  /**
   * @param {unknown} _sender
   * @param {string} newStatus
   */
  function onStatus(_sender, newStatus) {
    if (newStatus === "restarting" || newStatus === "autorestarting") isReplaced = true;
    if (isReplaced || newStatus === "dead") update();
  }

  function update() {
    const now = Date.now();
    const current = kernelOf(model);
    if (current && !kernel) {
      kernel = current;
      kernel.statusChanged?.connect(onStatus);
    }
    if (kernel && current?.id !== kernel.id) isReplaced = true;
    if (current?.status === "busy") lastBusy = now;
    show(
      kernelState({
        sinceAnswer: now - lastAnswer,
        sinceBusy: now - lastBusy,
        status: current?.status,
        connection: current?.connectionStatus,
        isReplaced,
      }),
    );
  }

  /** @param {KernelState} newState */
  function show(newState) {
    const box = root();
    const line = /** @type {HTMLElement | null} */ (box?.querySelector(".rv-kernel"));
    state = newState;
    if (line?.dataset.state === state) return;
    line?.remove();
    if (box && state !== "answers") box.prepend(kernelLine());
  }

  function kernelLine() {
    const isLost = state === "lost" || state === "closed";
    const { text, advice } = KERNEL_LINES[state];
    const line = element("div", `rv-kernel ${isLost ? "rv-dead" : "rv-busy"}`);
    line.dataset.state = state;
    line.setAttribute("role", isLost ? "alert" : "status");
    const inDashboard = Boolean(document.body.dataset.voila);
    line.append(element("span", "", inDashboard ? text : text + advice));
    if (isLost && inDashboard) {
      const link = element("a", "", "Open it again as it is now");
      link.href = `?${mergeQuery(model.get("query"), model.get("look"))}`;
      line.append(link);
    }
    return line;
  }

  function ping() {
    const now = Date.now();
    // After a page has slept (a closed lid, a hidden tab), the waiting starts again.
    if (now - lastPing > 2 * PING_INTERVAL) lastAnswer = now;
    lastPing = now;
    update();
    if (state === "busy") return; // it has pings enough to answer
    try {
      model.send({ ping: now });
    } catch {
      // A closed connection is noticed by the answer that does not come.
    }
  }

  const timer = setInterval(ping, PING_INTERVAL);
  update();
  return {
    /** The kernel has answered. */
    onAnswer: () => {
      lastAnswer = Date.now();
      show("answers");
    },
    stop: () => {
      clearInterval(timer);
      kernel?.statusChanged?.disconnect(onStatus);
    },
  };
}
