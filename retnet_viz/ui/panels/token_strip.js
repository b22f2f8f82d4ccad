// The tokens as a list box. Spans are kept and changed in place: typing moves nothing but the end.

import { bytesOf, inkOn, perFrame } from "./common.js";

function render({ model, el }) {
  el.classList.add("rv-panel", "rv-strip");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name"></span><span class="rv-origin"></span></div>
    <div class="rv-tokens" role="listbox" tabindex="0" aria-label="Tokens"></div>`;
  const name = el.querySelector(".rv-name");
  const note = el.querySelector(".rv-origin");
  const list = el.querySelector(".rv-tokens");
  let numbered = ""; // the number of the first option, and of how many
  let painted = []; // what each option shows: its text, its place in the colours
  const prefix = `rv-token-${crypto.randomUUID?.() ?? Math.random()}`; // two explorers on a page

  function draw() {
    const tokens = model.get("tokens");
    const shades = bytesOf(model, "shades");
    const colors = bytesOf(model, "colors");
    const first = model.get("first");
    const selected = model.get("selected") - first;
    name.textContent = model.get("title");
    note.textContent = note.title = model.get("note");
    if (!tokens.length) {
      const sentence = document.createElement("span");
      sentence.className = "rv-empty";
      sentence.textContent = model.get("empty");
      list.replaceChildren(sentence);
      painted = [];
    } else {
      if (list.firstChild?.className === "rv-empty") list.replaceChildren();
      painted.length = Math.min(painted.length, tokens.length);
      while (list.childElementCount > tokens.length) list.lastChild.remove();
      while (list.childElementCount < tokens.length) {
        const option = document.createElement("span");
        option.setAttribute("role", "option");
        option.id = `${prefix}-${list.childElementCount}`;
        option.setAttribute("aria-selected", "false");
        list.append(option);
        number(option, first);
      }
      const options = list.children;
      const numbers = `${first} of ${model.get("length")}`;
      if (numbers !== numbered) {
        numbered = numbers;
        for (const option of options) number(option, first);
      }
      tokens.forEach((token, n) => {
        const place = shades[n] || 0;
        const before = painted[n];
        if (before?.token === token && before.place === place) return;
        if (before?.token !== token) options[n].textContent = token;
        const [r, g, b] = place ? colors.subarray(3 * place, 3 * place + 3) : [];
        options[n].style.background = place ? `rgb(${r},${g},${b})` : "";
        options[n].style.color = place ? inkOn(r, g, b) : "";
        painted[n] = { token, place };
      });
      const chosen = options[selected];
      for (const old of list.querySelectorAll("[aria-selected=true]")) {
        if (old !== chosen) old.setAttribute("aria-selected", "false");
      }
      if (chosen) {
        chosen.setAttribute("aria-selected", "true");
        explain(chosen);
        list.setAttribute("aria-activedescendant", chosen.id);
        const top = chosen.offsetTop - list.offsetTop;
        if (
          top < list.scrollTop ||
          top + chosen.offsetHeight > list.scrollTop + list.clientHeight
        ) {
          list.scrollTop = top - list.clientHeight / 2;
        }
      }
    }
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
  }

  function number(option, first) {
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

  // The number behind a shade, for whoever points at it or has it read out.
  function explain(option) {
    const n = Number(option.dataset.n);
    const weights = bytesOf(model, "weights");
    const at = 4 * (n - model.get("first"));
    const read = at + 4 <= weights.length;
    const value = read && new DataView(weights.buffer, weights.byteOffset).getFloat32(at, true);
    option.title = `n = ${n}: ${read ? `weight ${Number(value.toPrecision(4))}` : "not read yet"}`;
  }

  const schedule = perFrame(draw);

  function select(n) {
    model.set("selected", n);
    model.save_changes();
  }

  list.addEventListener("pointerover", (event) => {
    if (event.target.dataset.n !== undefined) explain(event.target);
  });
  list.addEventListener("click", (event) => {
    const n = event.target.dataset.n;
    if (n !== undefined) select(Number(n));
  });
  list.addEventListener("keydown", (event) => {
    const last = model.get("length") - 1;
    const at = model.get("selected");
    const to = {
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      Home: 0,
      End: last,
    }[event.key];
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
