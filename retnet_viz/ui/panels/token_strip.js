// The tokens as a list box. Its spans are reused, so that typing changes only those at the end.

/** @import { TokenStripTraits, View } from "../types.js" */

import {
  bytesOf,
  child,
  countDrawing,
  element,
  perFrame,
  targetOf,
  textColorOn,
} from "./common.js";

/** @param {View<TokenStripTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-panel", "rv-strip");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name"></span><span class="rv-origin"></span></div>
    <div class="rv-tokens" role="listbox" tabindex="0" aria-label="Tokens"></div>
    <div class="rv-written-key" hidden><span class="rv-written">underlined</span>: written by the model</div>`;
  const name = child(el, ".rv-name", HTMLElement);
  const note = child(el, ".rv-origin", HTMLElement);
  const list = child(el, ".rv-tokens", HTMLElement);
  const key = child(el, ".rv-written-key", HTMLElement);
  let numbering = ""; // the number of the first option, and the length of the text
  /** @type {{ token: string, shade: number, written: boolean }[]} */
  let contents = []; // what each option shows: its text, its colour index, whose it is
  const prefix = `rv-token-${crypto.randomUUID?.() ?? Math.random()}`; // two explorers on a page

  function draw() {
    const tokens = model.get("tokens");
    const shades = bytesOf(model.get("shades"));
    const colors = bytesOf(model.get("colors"));
    const first = model.get("first");
    const selected = model.get("selected") - first;
    const isWritten = writtenFrom(first, tokens.length);
    key.hidden = !isWritten.includes(true);
    name.textContent = model.get("title");
    note.textContent = note.title = model.get("note");
    if (!tokens.length) {
      list.replaceChildren(element("span", "rv-empty", model.get("empty")));
      contents = [];
    } else {
      if (list.firstElementChild?.className === "rv-empty") list.replaceChildren();
      contents.length = Math.min(contents.length, tokens.length);
      while (list.childElementCount > tokens.length) list.lastElementChild?.remove();
      while (list.childElementCount < tokens.length) {
        const option = element("span");
        option.setAttribute("role", "option");
        option.id = `${prefix}-${list.childElementCount}`;
        option.setAttribute("aria-selected", "false");
        list.append(option);
        setPosition(option, first);
      }
      const options = /** @type {HTMLCollectionOf<HTMLElement>} */ (list.children);
      const newNumbering = `${first} of ${model.get("length")}`;
      if (newNumbering !== numbering) {
        numbering = newNumbering;
        for (const option of options) setPosition(option, first);
      }
      tokens.forEach((token, n) => {
        const shade = shades[n] || 0;
        const written = isWritten[n];
        const previous = contents[n];
        if (previous?.written !== written) {
          options[n].classList.toggle("rv-written", written);
          if (written || previous) setTooltip(options[n]);
        }
        if (previous?.token === token && previous.shade === shade) {
          previous.written = written;
          return;
        }
        if (previous?.token !== token) options[n].textContent = token;
        const [r, g, b] = colors.subarray(3 * shade, 3 * shade + 3);
        options[n].style.background = shade ? `rgb(${r},${g},${b})` : "";
        options[n].style.color = shade ? textColorOn(r, g, b) : "";
        contents[n] = { token, shade, written };
      });
      const selectedOption = options[selected];
      for (const old of list.querySelectorAll("[aria-selected=true]")) {
        if (old !== selectedOption) old.setAttribute("aria-selected", "false");
      }
      if (selectedOption) {
        selectedOption.setAttribute("aria-selected", "true");
        setTooltip(selectedOption);
        list.setAttribute("aria-activedescendant", selectedOption.id);
        const top = selectedOption.offsetTop; // within the list, which is positioned
        if (
          top < list.scrollTop ||
          top + selectedOption.offsetHeight > list.scrollTop + list.clientHeight
        ) {
          list.scrollTop = top - list.clientHeight / 2;
        }
      }
    }
    countDrawing(el);
  }

  /**
   * @param {HTMLElement} option
   * @param {number} first
   */
  function setPosition(option, first) {
    const i = Number(option.id.slice(prefix.length + 1));
    option.dataset.n = String(first + i);
    if (model.get("tokens").length === model.get("length")) {
      option.removeAttribute("aria-posinset");
      option.removeAttribute("aria-setsize");
      return;
    }
    option.setAttribute("aria-posinset", String(first + i + 1)); // of a text that is shown in part
    option.setAttribute("aria-setsize", String(model.get("length")));
  }

  /**
   * Put the number behind a shade into the option's tooltip, which screen readers read too.
   * @param {HTMLElement} option
   */
  function setTooltip(option) {
    const n = Number(option.dataset.n);
    const weights = bytesOf(model.get("weights"));
    const at = 4 * (n - model.get("first"));
    const value =
      at + 4 <= weights.length
        ? new DataView(weights.buffer, weights.byteOffset).getFloat32(at, true)
        : null;
    const text = value === null ? "not read yet" : `weight ${Number(value.toPrecision(4))}`;
    const writer = option.classList.contains("rv-written") ? "; written by the model" : "";
    option.title = `n = ${n}: ${text}${writer}`;
  }

  /**
   * For each of `count` tokens from number `first` on, whether the model wrote it.
   * @param {number} first
   * @param {number} count
   */
  function writtenFrom(first, count) {
    /** @type {boolean[]} */
    const flags = new Array(count).fill(false);
    for (const [start, stop] of model.get("written") ?? []) {
      flags.fill(true, Math.max(0, start - first), Math.max(0, stop - first));
    }
    return flags;
  }

  const schedule = perFrame(draw);

  /** @param {number} n */
  function select(n) {
    model.set("selected", n);
    model.save_changes();
  }

  list.addEventListener("pointerover", (event) => {
    const option = targetOf(event);
    if (option.dataset.n !== undefined) setTooltip(option);
  });
  list.addEventListener("click", (event) => {
    const { n } = targetOf(event).dataset;
    if (n !== undefined) select(Number(n));
  });
  list.addEventListener("keydown", (event) => {
    const last = model.get("length") - 1;
    const at = model.get("selected");
    /** @type {Record<string, number>} */
    const places = {
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      Home: 0,
      End: last,
    };
    const to = places[event.key];
    if (to === undefined) return;
    if (to >= 0 && to <= last) select(to);
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change", schedule);
  draw();
  return () => model.off("change", schedule);
}

export default { render };
