// A host for plotly figures. plotly.js is asked of the kernel once per page, by the first figure.

function library(model) {
  globalThis.retnetVizPlotly ??= new Promise((resolve, reject) => {
    const receive = (message, buffers) => {
      if (!message["plotly.js"]) return;
      model.off("msg:custom", receive);
      const source = new TextDecoder().decode(buffers[0]);
      // The bundle looks for a module system to hand itself to; give it one of its own.
      const wrapped = `const module = { exports: {} }; const exports = module.exports; const define = undefined;\n${source}\nexport default module.exports;`;
      const url = URL.createObjectURL(new Blob([wrapped], { type: "text/javascript" }));
      import(url).then((loaded) => resolve(loaded.default), reject).finally(() => URL.revokeObjectURL(url));
    };
    model.on("msg:custom", receive);
    model.send({ wants: "plotly.js" });
  });
  return globalThis.retnetVizPlotly;
}

const CONFIG = {
  displaylogo: false,
  responsive: false,
  doubleClick: "reset",
  modeBarButtons: [["toImage"]], // not the button that sends a figure to a cloud service
  toImageButtonOptions: { format: "png", scale: 3 },
};

async function render({ model, el }) {
  el.classList.add("rv-panel", "rv-plot");
  const box = document.createElement("div");
  el.append(box);
  let frame = 0;
  let gone = false;
  const Plotly = await library(model);
  if (gone) return;

  async function draw() {
    frame = 0;
    const { data, layout } = model.get("figure");
    if (!data || !el.clientWidth || !el.clientHeight) return;
    const size = { width: el.clientWidth, height: el.clientHeight, autosize: false };
    // plotly writes into what it is given, and the model's value must stay as the kernel sent it.
    const copy = structuredClone({ data, layout });
    await Plotly.react(box, copy.data, { ...copy.layout, ...size }, CONFIG);
    if (!el.dataset.drawn) {
      box.on("plotly_click", (event) => {
        const x = event.points[0]?.x;
        if (!Number.isInteger(x)) return;
        model.set("clicked", x);
        model.save_changes();
      });
    }
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
  }

  function schedule() {
    if (!frame) frame = requestAnimationFrame(draw);
  }

  function mark() {
    el.classList.toggle("rv-stale", model.get("stale"));
    el.setAttribute("aria-busy", String(model.get("stale")));
  }

  model.on("change:figure", schedule);
  model.on("change:stale", mark);
  mark();
  const resized = new ResizeObserver(schedule);
  resized.observe(el);
  schedule();
  return () => {
    gone = true;
    resized.disconnect();
    Plotly.purge(box);
  };
}

export default { render };
