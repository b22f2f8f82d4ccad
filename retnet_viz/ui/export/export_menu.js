// The menu that saves: the kernel makes files and figures, the browser makes pictures of figures.

/** @import { ExportMenuAnswers, ExportMenuTraits, Plotly, Request, View } from "../types.js" */

import { buttonElement, bytesOf, element, pixelContext, targetOf } from "../panels/common.js";
import { errorMessage, requester } from "../panels/request.js";

const SIZE = { width: 1000, height: 420 }; // pixels of a picture whose figure has no size

/**
 * One SVG of all figures, which are given as JSON, one below the other.
 * @param {Plotly} Plotly
 * @param {string[]} figures
 * @param {(done: number) => void} onProgress
 */
async function stackFigures(Plotly, figures, onProgress) {
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
    onProgress(i + 1);
  }
  const { width } = SIZE;
  const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  return {
    text: `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${drawings}</svg>`,
    width,
    height,
  };
}

/**
 * A PNG of an SVG at twice its size, sharp enough for slides.
 * @param {Blob} svg
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>}
 */
async function renderPng(svg, width, height) {
  const url = URL.createObjectURL(svg);
  try {
    const image = new Image(2 * width, 2 * height);
    image.src = url;
    await image.decode();
    const canvas = element("canvas");
    [canvas.width, canvas.height] = [2 * width, 2 * height];
    pixelContext(canvas).drawImage(image, 0, 0, 2 * width, 2 * height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((png) => {
        if (png) resolve(png);
        else reject(new Error("it is too large"));
      }, "image/png"),
    );
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** @param {View<ExportMenuTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-saver");
  const button = buttonElement("rv-button rv-save-button", "save");
  button.title = "Save this page, a panel, the numbers";
  button.setAttribute("aria-haspopup", "dialog");
  const menu = element("div", "rv-save-menu");
  menu.setAttribute("role", "dialog");
  menu.setAttribute("aria-label", "Save");
  menu.hidden = true;
  const [thingSelect, formatSelect] = ["What", "As"].map((label) => {
    const line = element("label", "", label);
    const select = element("select", "rv-select");
    line.append(select);
    menu.append(line);
    return select;
  });
  const startButton = buttonElement("rv-button rv-save-go", "Save");
  const bar = element("progress");
  bar.hidden = true;
  bar.setAttribute("aria-label", "Progress");
  const status = element("p");
  status.setAttribute("role", "status");
  menu.append(startButton, bar, status);
  el.append(button, menu);
  let working = false;
  let count = 0; // of requests; the answer to an older one is ignored
  /** @type {Request<ExportMenuAnswers>} */
  const request = requester(model);

  const kinds = () => model.get("things").find(([name]) => name === thingSelect.value)?.[2] ?? [];

  function fill() {
    thingSelect.replaceChildren(
      ...model
        .get("things")
        .map(([name, label]) => Object.assign(element("option", "", label), { value: name })),
    );
    fillKinds();
  }

  function fillKinds() {
    const previous = formatSelect.value;
    formatSelect.replaceChildren(
      ...kinds().map((name) =>
        Object.assign(element("option", "", name.toUpperCase()), { value: name }),
      ),
    );
    if (kinds().includes(previous)) formatSelect.value = previous;
  }

  /**
   * @param {boolean} on
   * @param {string} sentence
   */
  function setBusy(on, sentence) {
    startButton.textContent = on ? "Cancel" : "Save";
    bar.hidden = !on;
    bar.removeAttribute("value");
    thingSelect.disabled = formatSelect.disabled = on;
    status.textContent = sentence;
    working = on;
  }

  /**
   * @param {string} name
   * @param {Blob} blob
   */
  function download(name, blob) {
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    const size =
      blob.size < 1e6 ? `${Math.ceil(blob.size / 1e3)} kB` : `${(blob.size / 1e6).toFixed(1)} MB`;
    setBusy(false, `Saved as ${name} (${size}).`);
  }

  /**
   * Figures below each other in one picture.
   * @param {string} format
   * @param {string[]} figures
   */
  async function makePicture(format, figures) {
    try {
      const Plotly = await globalThis.retnetVizPlotly;
      if (!Plotly) throw new Error("no figure of this page is drawn");
      const svg = await stackFigures(Plotly, figures, (done) => {
        bar.max = figures.length;
        bar.value = done;
      });
      const blob = new Blob([svg.text], { type: "image/svg+xml" });
      return format === "png" ? await renderPng(blob, svg.width, svg.height) : blob;
    } catch (error) {
      throw new Error(`The picture could not be made: ${errorMessage(error)}`);
    }
  }

  async function start() {
    count += 1;
    const id = count;
    const [name, format] = [thingSelect.value, formatSelect.value];
    setBusy(true, "Making the file …");
    try {
      const { file, draw, buffers } = await request(
        "file",
        { what: name, as: format },
        (progress) => {
          if (id !== count || !progress.total) return;
          bar.max = progress.total;
          bar.value = progress.done;
        },
      );
      const blob = draw ? await makePicture(format, draw) : new Blob([bytesOf(buffers[0])]);
      if (id === count) download(file ?? `${name.replaceAll("_", "-")}.${format}`, blob);
    } catch (error) {
      if (id === count) setBusy(false, errorMessage(error));
    }
  }

  function stop() {
    count += 1;
    setBusy(false, "Cancelled.");
    request("cancel").catch((error) => {
      status.textContent = errorMessage(error);
    });
  }

  /** @param {boolean} on */
  function setOpen(on) {
    menu.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
    if (on) {
      // The first line may hide its overflow and cut a menu inside it, so the menu is placed on the
      // window.
      const box = button.getBoundingClientRect();
      menu.style.top = `${box.bottom + 4}px`;
      menu.style.right = `${Math.max(8, document.documentElement.clientWidth - box.right)}px`;
      thingSelect.focus();
    }
  }

  /** @param {Event} event */
  const closeOutside = (event) => {
    if (!menu.hidden && !el.contains(targetOf(event))) setOpen(false);
  };
  button.addEventListener("click", () => setOpen(menu.hidden));
  thingSelect.addEventListener("change", fillKinds);
  startButton.addEventListener("click", () => (working ? stop() : start()));
  el.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || menu.hidden) return;
    setOpen(false);
    button.focus();
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", closeOutside);
  const enable = () => {
    button.disabled = !model.get("ready");
    if (button.disabled) setOpen(false);
  };
  model.on("change:things", fill);
  model.on("change:ready", enable);
  fill();
  enable();
  return () => document.removeEventListener("pointerdown", closeOutside);
}

export default { render };
