// Questions to the kernel: each is answered, refused with a reason, or given up after a while.

/** @import { Channel, Heard, Request } from "../types.js" */

const GIVE_UP = 20000; // ms

/**
 * A function `request(name, about, heard)` that asks the kernel of `model`. It gives a promise of the
 * answer, with its `buffers`, which fails with an Error where the kernel says why not or nothing at
 * all for `patience` ms. A kernel that is still at work says so, and how far it is, to `heard`.
 * @param {Channel} model
 * @returns {Request<any>}
 */
export function requests(model, patience = GIVE_UP) {
  const page = Math.random().toString(36).slice(2); // a widget may be shown twice
  /** @type {Map<string, Heard>} */
  const open = new Map();
  let count = 0;
  model.on("msg:custom", (message, buffers) => {
    open.get(message.answers ?? message.continues)?.(message, buffers);
  });
  return (name, about = null, heard = () => {}) =>
    new Promise((resolve, reject) => {
      count += 1;
      const question = `${page}-${count}`;
      const giveUp = () => {
        open.delete(question);
        reject(new Error("The kernel has not answered."));
      };
      let late = setTimeout(giveUp, patience);
      open.set(question, (message, buffers) => {
        clearTimeout(late);
        if (message.continues) {
          late = setTimeout(giveUp, patience);
          return heard(message);
        }
        open.delete(question);
        if (message.error) reject(new Error(message.error));
        else resolve({ ...message, buffers });
      });
      model.send({ question, ask: name, about });
    });
}

/**
 * What a failed request says, for a reader.
 * @param {unknown} error
 */
export function whyOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * A function that runs `work`, one at a time: called meanwhile, it runs once more when that is done.
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
