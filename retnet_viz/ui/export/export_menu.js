// The menu that saves: the kernel makes files and figures, the browser makes pictures of figures.

import { element } from "../panels/common.js";

const SIZE = { width: 1000, height: 420 }; // pixels of a picture whose figure names none

function render({ model, el }) {
  el.classList.add("rv-saver");
  const button = element("button", "rv-save-button", "save");
  button.type = "button";
  button.title = "Save this page, a panel, the numbers";
  button.setAttribute("aria-haspopup", "dialog");
  const menu = element("div", "rv-save-menu");
  menu.setAttribute("role", "dialog");
  menu.setAttribute("aria-label", "Save");
  menu.hidden = true;
  const [what, kind] = ["What", "As"].map((label) => {
    const line = element("label", "", label);
    const select = element("select");
    line.append(select);
    menu.append(line);
    return select;
  });
  const go = element("button", "rv-save-go", "Save");
  go.type = "button";
  const bar = element("progress");
  bar.hidden = true;
  bar.setAttribute("aria-label", "Progress");
  const said = element("p");
  said.setAttribute("role", "status");
  menu.append(go, bar, said);
  el.append(button, menu);
  let number = 0; // of the request that is being answered; 0 for none

  const thing = () => model.get("things").find(([name]) => name === what.value);

  function fill() {
    what.replaceChildren(
      ...model
        .get("things")
        .map(([name, label]) => Object.assign(element("option", "", label), { value: name })),
    );
    fillKinds();
  }

  function fillKinds() {
    const before = kind.value;
    kind.replaceChildren(
      ...thing()[2].map((name) =>
        Object.assign(element("option", "", name.toUpperCase()), { value: name }),
      ),
    );
    if (thing()[2].includes(before)) kind.value = before;
  }

  function busy(on, sentence) {
    go.textContent = on ? "Cancel" : "Save";
    bar.hidden = !on;
    bar.removeAttribute("value");
    what.disabled = kind.disabled = on;
    said.textContent = sentence;
    if (!on) number = 0;
  }

  function download(name, blob) {
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    const size =
      blob.size < 1e6 ? `${Math.ceil(blob.size / 1e3)} kB` : `${(blob.size / 1e6).toFixed(1)} MB`;
    busy(false, `Saved as ${name} (${size}).`);
  }

  // Figures below each other in one picture.
  async function picture(name, as, figures) {
    const asked = number;
    const Plotly = await globalThis.retnetVizPlotly;
    let height = 0;
    let drawings = "";
    for (const [i, figure] of figures.entries()) {
      const { data, layout } = JSON.parse(figure);
      const size = { width: SIZE.width, height: layout.height ?? SIZE.height };
      const url = await Plotly.toImage(
        { data, layout },
        { ...size, format: "svg", imageDataOnly: true },
      );
      drawings += url.slice(url.indexOf("<svg")).replace("<svg", `<svg y="${height}"`);
      height += size.height;
      bar.max = figures.length;
      bar.value = i + 1;
    }
    const size = `width="${SIZE.width}" height="${height}" viewBox="0 0 ${SIZE.width} ${height}"`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${drawings}</svg>`;
    let blob = new Blob([svg], { type: "image/svg+xml" });
    if (as === "png") blob = await pixels(blob, SIZE.width, height);
    if (number === asked) download(`${name}.${as}`, blob); // else it was cancelled meanwhile
  }

  // A picture of an SVG at twice its size, as slides want it.
  async function pixels(svg, width, height) {
    const url = URL.createObjectURL(svg);
    try {
      const image = new Image(2 * width, 2 * height);
      image.src = url;
      await image.decode();
      const canvas = element("canvas");
      [canvas.width, canvas.height] = [2 * width, 2 * height];
      canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
      return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  function start() {
    number = Math.floor(Math.random() * 2 ** 31);
    busy(true, "Making the file …");
    model.send({ save: what.value, as: kind.value, number });
  }

  function stop() {
    model.send({ cancel: true });
    busy(false, "Cancelled.");
  }

  model.on("msg:custom", (message, buffers) => {
    if (message.number !== number || !number) return;
    if (message.failed) busy(false, message.failed);
    else if (message.draw) {
      picture(message.name.replaceAll("_", "-"), message.as, message.draw).catch((error) =>
        busy(false, `The picture could not be made: ${error.message ?? error}`),
      );
    } else if (message.file) download(message.file, new Blob([buffers[0]]));
    else if (message.total) {
      bar.max = message.total;
      bar.value = message.done;
    }
  });

  function open(on) {
    menu.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
    if (on) {
      // Where the first line hides what stands out of it, a menu inside would be cut: it stands on the window.
      const box = button.getBoundingClientRect();
      menu.style.top = `${box.bottom + 4}px`;
      menu.style.right = `${Math.max(8, document.documentElement.clientWidth - box.right)}px`;
      what.focus();
    }
  }

  const outside = (event) => {
    if (!menu.hidden && !el.contains(event.target)) open(false);
  };
  button.addEventListener("click", () => open(menu.hidden));
  what.addEventListener("change", fillKinds);
  go.addEventListener("click", () => (number ? stop() : start()));
  el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || menu.hidden) return;
    open(false);
    button.focus();
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", outside);
  const enable = () => {
    button.disabled = !model.get("ready");
    if (button.disabled) open(false);
  };
  model.on("change:things", fill);
  model.on("change:ready", enable);
  fill();
  enable();
  return () => document.removeEventListener("pointerdown", outside);
}

export default { render };
