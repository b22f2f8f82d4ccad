// A browser lets no page that was opened as a file start a worker; the search needs one. Here a
// hidden frame stands in for it. The search's script looks for the name IFrameWorker in its parent.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = (...urls) =>
        urls.reduce((before, each) => before.then(() => load(each)), Promise.resolve());
      const load = (each) =>
        new Promise((resolve, reject) => {
          const script = inside.document.createElement("script");
          script.onload = resolve;
          script.onerror = () => reject(new Error(`not loaded: ${each}`));
          script.src = each;
          inside.document.body.append(script);
        });
      this.tell = (data) => inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      this.loaded = load(new URL(url, location.href).href);
    }

    postMessage(data) {
      this.loaded.then(() => this.tell(data));
    }
  };
  window.Worker = window.IFrameWorker;
}
