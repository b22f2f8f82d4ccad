// What the panels share.

/** @import { Bytes, Inks, Table } from "../types.js" */

/**
 * The bytes of a trait or of a message, however the channel wrapped them.
 * @param {Bytes} view
 */
export function bytesOf(view) {
  if (!ArrayBuffer.isView(view)) return new Uint8Array(view);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/**
 * The element inside `el` that a selector finds, which must be there and of this kind.
 * @template {Element} Kind
 * @param {ParentNode} el
 * @param {string} selector
 * @param {new () => Kind} kind
 */
export function child(el, selector, kind) {
  const found = el.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`There is no ${kind.name} at ${selector}.`);
  return found;
}

/**
 * What an event happened on.
 * @param {Event} event
 */
export function targetOf(event) {
  return /** @type {HTMLElement} */ (event.target);
}

/**
 * The value of a style sheet's variable, such as "--rv-ink", where `el` stands.
 * @param {Element} el
 * @param {string} name
 */
export function cssVariable(el, name) {
  return getComputedStyle(el).getPropertyValue(name).trim();
}

/**
 * The colours that a canvas is drawn with, as they are where `el` stands.
 * @param {Element} el
 * @returns {Inks}
 */
export function inksOf(el) {
  const [paper, ink, muted, line, accent] = ["paper", "ink", "muted", "line", "accent"].map(
    (name) => cssVariable(el, `--rv-${name}`),
  );
  return { paper, ink, muted, line, accent };
}

/**
 * How much larger than usual letters are where `el` stands: they are for a projector.
 * @param {Element} el
 */
export function letterScale(el, of = "--rv-type") {
  return Number(cssVariable(el, of)) || 1;
}

/**
 * Black or white, whichever stands out from the shade.
 * @param {number} r
 * @param {number} g
 * @param {number} b
 */
export function inkOn(r, g, b) {
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff";
}

/**
 * `value`, or the nearer end where it is outside; `low` where the ends have crossed.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), Math.max(low, high));
}

/**
 * A whole number as it is read, with a comma between thousands.
 * @param {number} value
 */
export function grouped(value) {
  return value.toLocaleString("en-US");
}

/**
 * Note on the panel that it was drawn once more, for those who drive the page.
 * @param {HTMLElement} el
 */
export function countDrawing(el) {
  el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
}

/**
 * A function that asks for `draw` before the next repaint: once, however often it is called. Its
 * `now` draws at once, and so answers what was asked for. Its `soon` does so too, but once a frame:
 * what takes long to draw is begun while the kernel still sends the rest.
 * @param {() => void} draw
 */
export function perFrame(draw) {
  let frame = 0;
  let drawn = false; // by `soon`, since the last repaint
  const schedule = () => {
    frame ||= requestAnimationFrame(schedule.now);
  };
  schedule.now = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    draw();
  };
  schedule.soon = () => {
    if (drawn || frame || document.hidden) return schedule();
    drawn = true;
    requestAnimationFrame(() => {
      drawn = false;
    });
    schedule.now();
  };
  return schedule;
}

/**
 * What draws on a canvas, in its own pixels.
 * @param {HTMLCanvasElement} canvas
 */
export function pixelContext(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/**
 * The context of a canvas of so many CSS pixels, sharp on this screen. Setting the size of a canvas
 * clears and reallocates it, so it is set only where it changes.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function contextOf(canvas, width, height) {
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
 * A canvas that shows an image, to draw from.
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
 * Where on a canvas an event is, in the pixels that it is drawn in: it may be shown larger.
 * @param {HTMLCanvasElement} canvas
 * @param {MouseEvent} event
 * @returns {[x: number, y: number]}
 */
export function placeOn(canvas, event) {
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
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== "") made.textContent = text;
  return made;
}

/**
 * Set the text of an element. What is set anew is laid out anew, even where it says the same.
 * @param {Element} node
 * @param {string} text
 */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A button, which never sends a form.
 * @param {string} className
 */
export function buttonElement(className, text = "") {
  const made = element("button", className, text);
  made.type = "button";
  return made;
}

/**
 * A table as the alternative of a drawing; every entry becomes text.
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
 * gives tables, or a promise of them; it runs only while the tables are open, and never twice at
 * once: of many calls of `refresh` the newest is drawn.
 * @param {HTMLElement} el
 * @param {() => Table[] | Promise<Table[]>} makeTables
 */
export function tableToggle(el, makeTables) {
  const button = buttonElement("rv-table-toggle", "table");
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
        let why = "Nothing to show yet.";
        const made = await Promise.resolve(makeTables()).catch((error) => {
          why = error.message;
          return [];
        });
        if (!open) break;
        const { scrollTop, scrollLeft } = tables;
        tables.replaceChildren(...made.map(tableElement));
        if (!made.length) tables.append(element("p", "rv-empty", why));
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
