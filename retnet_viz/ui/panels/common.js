// Helpers that all panels share.

/** @import { Bytes, ThemeColors, Table } from "../types.js" */

/**
 * The bytes of a trait or of a message, however the channel wrapped them.
 * @param {Bytes} view
 */
export function bytesOf(view) {
  if (!ArrayBuffer.isView(view)) return new Uint8Array(view);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/**
 * The element inside `el` that matches `selector`; an error where there is none of this class.
 * @template {Element} Kind
 * @param {ParentNode} el
 * @param {string} selector
 * @param {new () => Kind} kind
 */
export function child(el, selector, kind) {
  const match = el.querySelector(selector);
  if (!(match instanceof kind)) throw new Error(`There is no ${kind.name} at ${selector}.`);
  return match;
}

/**
 * The element on which an event happened.
 * @param {Event} event
 */
export function targetOf(event) {
  return /** @type {HTMLElement} */ (event.target);
}

/**
 * The value that a CSS variable, such as "--rv-ink", has at `el`.
 * @param {Element} el
 * @param {string} name
 */
export function cssVariable(el, name) {
  return getComputedStyle(el).getPropertyValue(name).trim();
}

/**
 * The colours of the page's theme that a canvas inside `el` is drawn with.
 * @param {Element} el
 * @returns {ThemeColors}
 */
export function themeColors(el) {
  const [paper, ink, muted, line, accent] = ["paper", "ink", "muted", "line", "accent"].map(
    (name) => cssVariable(el, `--rv-${name}`),
  );
  return { paper, ink, muted, line, accent };
}

/**
 * The factor by which text in `el` is larger than usual: the view for a projector enlarges it.
 * @param {Element} el
 */
export function fontScale(el, variable = "--rv-type") {
  return Number(cssVariable(el, variable)) || 1;
}

/**
 * Black or white, whichever stands out from the shade.
 * @param {number} r
 * @param {number} g
 * @param {number} b
 */
export function textColorOn(r, g, b) {
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff";
}

/**
 * `value` limited to the range from `low` to `high`; `low` where `high` is below it.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), Math.max(low, high));
}

/**
 * A whole number with a comma between thousands.
 * @param {number} value
 */
export function formatInteger(value) {
  return value.toLocaleString("en-US");
}

/**
 * Count a drawing in the panel's `data-drawn`, on which tests wait.
 * @param {HTMLElement} el
 */
export function countDrawing(el) {
  el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
}

/**
 * A function that runs `draw` before the next repaint, once however often it is called. Its `now`
 * draws at once and cancels that. Its `soon` draws at once too, but only once a frame: a slow
 * drawing starts while the kernel still sends its other messages.
 * @param {() => void} draw
 */
export function perFrame(draw) {
  let frame = 0;
  let drawnThisFrame = false; // by `soon`, since the last repaint
  const schedule = () => {
    frame ||= requestAnimationFrame(schedule.now);
  };
  schedule.now = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    draw();
  };
  schedule.soon = () => {
    if (drawnThisFrame || frame || document.hidden) return schedule();
    drawnThisFrame = true;
    requestAnimationFrame(() => {
      drawnThisFrame = false;
    });
    schedule.now();
  };
  return schedule;
}

/**
 * The 2D context of a canvas, in the canvas's own pixels.
 * @param {HTMLCanvasElement} canvas
 */
export function pixelContext(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/**
 * Clear a canvas and give its context, which counts CSS pixels and is sharp on this screen. Setting
 * the size of a canvas reallocates it, so it is set only where it changes.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function prepareCanvas(canvas, width, height) {
  const ratio = (window.devicePixelRatio || 1) * (canvas.currentCSSZoom || 1);
  const pixels = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixels[0]) canvas.width = pixels[0];
  if (canvas.height !== pixels[1]) canvas.height = pixels[1];
  const context = pixelContext(canvas);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * A canvas with an image on it, as a source for `drawImage`.
 * @param {ImageData} image
 */
export function bitmapOf(image) {
  const bitmap = element("canvas");
  bitmap.width = image.width;
  bitmap.height = image.height;
  pixelContext(bitmap).putImageData(image, 0, 0);
  return bitmap;
}

/**
 * The position of an event on a canvas, in the pixels in which it is drawn: CSS may enlarge it.
 * @param {HTMLCanvasElement} canvas
 * @param {MouseEvent} event
 * @returns {[x: number, y: number]}
 */
export function pointerPosition(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.clientWidth / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

/**
 * An element with a class and a text, never HTML.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 */
export function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== "") node.textContent = text;
  return node;
}

/**
 * Set the text of an element. The browser lays out even an equal text anew, so that is not set.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A button, which never sends a form.
 * @param {string} className
 */
export function buttonElement(className, text = "") {
  const button = element("button", className, text);
  button.type = "button";
  return button;
}

/**
 * A table that stands in for a drawing; every entry becomes text.
 * @param {Table} table
 */
export function tableElement([caption, header, rows]) {
  const table = element("table", "rv-table rv-alternative");
  const title = element("caption");
  title.append(element("span", "", caption)); // stays in sight where the table is wide
  table.append(title);
  const top = table.createTHead().insertRow();
  for (const name of header) {
    const cell = element("th", "", String(name));
    cell.scope = "col";
    top.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((entry, i) => {
      const cell = element(i ? "td" : "th", "", String(entry));
      if (!i) cell.scope = "row";
      line.append(cell);
    });
  }
  return table;
}

/**
 * A button "table" on the panel `el` that shows the numbers in place of the drawing. `makeTables()`
 * gives tables, or a promise of them. It runs only while the tables are open and never twice at
 * once; after many calls of `refresh` the newest tables are drawn.
 * @param {HTMLElement} el
 * @param {() => Table[] | Promise<Table[]>} makeTables
 */
export function tableToggle(el, makeTables) {
  const button = buttonElement("rv-button rv-table-toggle", "table");
  button.title = "Show as a table";
  button.setAttribute("aria-pressed", "false");
  const title = el.querySelector(".rv-title");
  if (!title) button.classList.add("rv-corner");
  (title ?? el).append(button);
  el.classList.add("rv-has-tables");
  const tables = element("div", "rv-tables");
  tables.tabIndex = 0;
  tables.setAttribute("role", "region");
  tables.setAttribute("aria-label", "The numbers of this panel");
  let open = false;
  let making = false;
  let stale = false;

  async function refresh() {
    if (!open) return;
    stale = true;
    if (making) return;
    making = true;
    try {
      while (stale && open) {
        stale = false;
        let message = "Nothing to show yet.";
        const newTables = await Promise.resolve(makeTables()).catch((error) => {
          message = error.message;
          return [];
        });
        if (!open) break;
        const { scrollTop, scrollLeft } = tables;
        tables.replaceChildren(...newTables.map(tableElement));
        if (!newTables.length) tables.append(element("p", "rv-empty", message));
        tables.scrollTo(scrollLeft, scrollTop);
      }
    } finally {
      making = false;
    }
  }

  /** @param {boolean} on */
  function show(on) {
    open = on;
    button.setAttribute("aria-pressed", String(on));
    el.classList.toggle("rv-as-table", on);
    if (on) {
      el.append(tables);
      refresh();
    } else {
      tables.remove();
      tables.replaceChildren();
    }
  }

  button.addEventListener("click", () => show(!open));
  return { refresh };
}
