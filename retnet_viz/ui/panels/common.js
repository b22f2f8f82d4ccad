// What the panels share.

// The bytes of a buffer trait, however the channel wrapped them.
export function bytesOf(model, name) {
  const view = model.get(name);
  return new Uint8Array(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength);
}

// The value of a style sheet's variable, such as "--rv-ink", where `el` stands.
export function cssVariable(el, name) {
  return getComputedStyle(el).getPropertyValue(name).trim();
}

// How much larger than usual letters are where `el` stands: they are for a projector.
export function letterScale(el, of = "--rv-type") {
  return Number(cssVariable(el, of)) || 1;
}

// Black or white, whichever stands out from the shade.
export function inkOn(r, g, b) {
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff";
}

// A function that asks for `draw` before the next repaint: once, however often it is called. Its
// `now` draws at once, and so answers what was asked for. Its `soon` does so too, but once a frame:
// what takes long to draw is begun while the kernel still sends the rest.
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

// The context of a canvas of so many CSS pixels, sharp on this screen. Setting the size of a canvas
// clears and reallocates it, so it is set only where it changes.
export function contextOf(canvas, width, height) {
  const ratio = (window.devicePixelRatio || 1) * (canvas.currentCSSZoom || 1);
  const pixels = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixels[0]) canvas.width = pixels[0];
  if (canvas.height !== pixels[1]) canvas.height = pixels[1];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// Where on a canvas an event is, in the pixels that it is drawn in: it may be shown larger.
export function placeOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.clientWidth / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

// An element with a class and a text, never HTML.
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== "") made.textContent = text;
  return made;
}

// A table as the alternative of a drawing; every entry becomes text.
export function tableElement(caption, header, rows) {
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

// A button "table" on the panel `el` that shows the numbers in place of the drawing. `makeTables()`
// gives tables, each an element or [caption, header, rows], or a promise of them; it runs only while
// the tables are open, and never twice at once: of many calls of `refresh` the newest is drawn.
export function tableToggle(el, makeTables) {
  const button = element("button", "rv-table-toggle", "table");
  button.type = "button";
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
        tables.replaceChildren(
          ...made.map((table) => (table instanceof Node ? table : tableElement(...table))),
        );
        if (!made.length) tables.append(element("p", "rv-empty", why));
        tables.scrollTo(scrollLeft, scrollTop);
      }
    } finally {
      making = false;
    }
  }

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
  return {
    refresh,
    show,
    get open() {
      return open;
    },
  };
}
