// Questions to the kernel: each is answered, refused with a reason, or given up after a while.

const GIVE_UP = 20000; // ms

// A function `request(name, about)` that asks the kernel of `model`. It gives a promise of the answer,
// with its `buffers`, which fails with an Error where the kernel says why not or nothing at all.
export function requests(model, patience = GIVE_UP) {
  const page = Math.random().toString(36).slice(2); // a widget may be shown twice
  const open = new Map();
  let count = 0;
  model.on("msg:custom", (message, buffers) => {
    open.get(message.answers)?.(message, buffers);
  });
  return (name, about = null) =>
    new Promise((resolve, reject) => {
      count += 1;
      const question = `${page}-${count}`;
      const late = setTimeout(() => {
        open.delete(question);
        reject(new Error("The kernel has not answered."));
      }, patience);
      open.set(question, (message, buffers) => {
        clearTimeout(late);
        open.delete(question);
        if (message.error) reject(new Error(message.error));
        else resolve({ ...message, buffers });
      });
      model.send({ question, ask: name, about });
    });
}

// A function that runs `work`, one at a time: called meanwhile, it runs once more when that is done.
export function newestOnly(work) {
  let running = false;
  let again = false;
  async function run() {
    again = running;
    if (running) return;
    running = true;
    try {
      await work();
    } finally {
      running = false;
      if (again) run();
    }
  }
  Object.defineProperty(run, "running", { get: () => running });
  return run;
}
