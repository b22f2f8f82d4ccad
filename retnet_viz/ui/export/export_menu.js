// The menu that saves: the kernel makes files and figures, the browser makes pictures of figures.

/** @import { ExportMenuAnswers, ExportMenuTraits, Plotly, Request, View } from "../types.js" */

import { buttonElement, bytesOf, element, pixelContext, targetOf } from "../panels/common.js";
import { requests, whyOf } from "../panels/request.js";

const SIZE = { width: 1000, height: 420 }; // pixels of a picture whose figure names none

/**
 * An SVG of figures, given as JSON, one below the other.
 * @param {Plotly} Plotly
 * @param {string[]} figures
 * @param {(done: number) => void} tell
 */
async function figuresBelow(Plotly, figures, tell) {
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
    tell(i + 1);
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
 * A picture of an SVG at twice its size, as slides want it.
 * @param {Blob} svg
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>}
 */
async function pixels(svg, width, height) {
  const url = URL.createObjectURL(svg);
  try {
    const image = new Image(2 * width, 2 * height);
    image.src = url;
    await image.decode();
    const canvas = element("canvas");
    [canvas.width, canvas.height] = [2 * width, 2 * height];
    pixelContext(canvas).drawImage(image, 0, 0, 2 * width, 2 * height);
    return await new Promise((resolve, reject) =>
      canvas.toBlob((made) => {
        if (made) resolve(made);
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
  const button = buttonElement("rv-save-button", "save");
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
  const go = buttonElement("rv-save-go", "Save");
  const bar = element("progress");
  bar.hidden = true;
  bar.setAttribute("aria-label", "Progress");
  const said = element("p");
  said.setAttribute("role", "status");
  menu.append(go, bar, said);
  el.append(button, menu);
  let working = false;
  let count = 0; // of files that were asked for; one that is cancelled is not waited for any more
  /** @type {Request<ExportMenuAnswers>} */
  const request = requests(model);

  const kinds = () => model.get("things").find(([name]) => name === what.value)?.[2] ?? [];

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
      ...kinds().map((name) =>
        Object.assign(element("option", "", name.toUpperCase()), { value: name }),
      ),
    );
    if (kinds().includes(before)) kind.value = before;
  }

  /**
   * @param {boolean} on
   * @param {string} sentence
   */
  function busy(on, sentence) {
    go.textContent = on ? "Cancel" : "Save";
    bar.hidden = !on;
    bar.removeAttribute("value");
    what.disabled = kind.disabled = on;
    said.textContent = sentence;
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
    busy(false, `Saved as ${name} (${size}).`);
  }

  /**
   * Figures below each other in one picture.
   * @param {string} as
   * @param {string[]} figures
   */
  async function picture(as, figures) {
    try {
      const Plotly = await globalThis.retnetVizPlotly;
      if (!Plotly) throw new Error("no figure of this page is drawn");
      const svg = await figuresBelow(Plotly, figures, (done) => {
        bar.max = figures.length;
        bar.value = done;
      });
      const blob = new Blob([svg.text], { type: "image/svg+xml" });
      return as === "png" ? await pixels(blob, svg.width, svg.height) : blob;
    } catch (error) {
      throw new Error(`The picture could not be made: ${whyOf(error)}`);
    }
  }

  async function start() {
    count += 1;
    const mine = count;
    const [name, as] = [what.value, kind.value];
    busy(true, "Making the file …");
    try {
      const { file, draw, buffers } = await request("file", { what: name, as }, (progress) => {
        if (mine !== count || !progress.total) return;
        bar.max = progress.total;
        bar.value = progress.done;
      });
      const blob = draw ? await picture(as, draw) : new Blob([bytesOf(buffers[0])]);
      if (mine === count) download(file ?? `${name.replaceAll("_", "-")}.${as}`, blob);
    } catch (error) {
      if (mine === count) busy(false, whyOf(error));
    }
  }

  function stop() {
    count += 1;
    busy(false, "Cancelled.");
    request("cancel").catch((error) => {
      said.textContent = whyOf(error);
    });
  }

  /** @param {boolean} on */
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

  /** @param {Event} event */
  const outside = (event) => {
    if (!menu.hidden && !el.contains(targetOf(event))) open(false);
  };
  button.addEventListener("click", () => open(menu.hidden));
  what.addEventListener("change", fillKinds);
  go.addEventListener("click", () => (working ? stop() : start()));
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
