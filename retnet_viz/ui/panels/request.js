// Questions to the kernel: each is answered, refused with a reason, or given up after a while.

/** @import { Cell, Channel, MessageListener, Request } from "../types.js" */

const TIMEOUT = 20000; // ms

/**
 * A function `request(name, about, onProgress)` that asks the kernel of `model`. It gives a promise
 * of the answer, with its `buffers`. The promise fails with an Error where the kernel answers with
 * one, or sends nothing for `timeout` ms. `onProgress` gets each message of a kernel that is still
 * at work.
 * @param {Channel} model
 * @returns {Request<any>}
 */
export function requester(model, timeout = TIMEOUT) {
  const page = Math.random().toString(36).slice(2); // a widget may be shown twice
  /** @type {Map<string, MessageListener>} */
  const pending = new Map();
  let count = 0;
  model.on("msg:custom", (message, buffers) => {
    pending.get(message.answers ?? message.continues)?.(message, buffers);
  });
  return (name, about = null, onProgress = () => {}) =>
    new Promise((resolve, reject) => {
      count += 1;
      const question = `${page}-${count}`;
      const giveUp = () => {
        pending.delete(question);
        reject(new Error("The kernel has not answered."));
      };
      let timer = setTimeout(giveUp, timeout);
      pending.set(question, (message, buffers) => {
        clearTimeout(timer);
        if (message.continues) {
          timer = setTimeout(giveUp, timeout);
          return onProgress(message);
        }
        pending.delete(question);
        if (message.error) reject(new Error(message.error));
        else resolve({ ...message, buffers });
      });
      model.send({ question, ask: name, about });
    });
}

/**
 * The message of whatever a failed request threw.
 * @param {unknown} error
 */
export function errorMessage(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A function that runs `work`. Calls while it runs do not start a second run: one more follows it.
 * @param {() => Promise<void>} work
 */
export function newestOnly(work) {
  let running = false;
  let again = false;
  const run = async () => {
    again = running;
    if (running) return;
    running = true;
    try {
      await work();
    } finally {
      running = false;
      if (again) run();
    }
  };
  /** Whether it is at work. */
  run.isRunning = () => running;
  return run;
}

/**
 * A function that asks the kernel for the sentence of the cell in focus, and shows the answer unless
 * the focus has moved on. `cellInFocus` gives that cell with the number of its head in the model.
 * @param {Request<{ cell: { text: string } }>} request
 * @param {() => Cell | null} cellInFocus
 * @param {(text: string) => void} show
 */
export function cellReader(request, cellInFocus, show) {
  return newestOnly(async () => {
    const cell = cellInFocus();
    if (!cell) return;
    const { text } = await request("cell", cell).catch((error) => ({ text: errorMessage(error) }));
    if (String(cellInFocus()) === String(cell)) show(text);
  });
}
