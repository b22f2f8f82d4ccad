// The tokens as a list box. Spans are kept and changed in place: typing moves nothing but the end.

function render({ model, el }) {
  el.classList.add("rv-panel", "rv-strip");
  el.innerHTML = `
    <div class="rv-title"><span class="rv-name"></span><span class="rv-origin"></span></div>
    <div class="rv-tokens" role="listbox" tabindex="0" aria-label="Tokens"></div>`;
  const name = el.querySelector(".rv-name");
  const note = el.querySelector(".rv-origin");
  const list = el.querySelector(".rv-tokens");
  const prefix = `rv-token-${crypto.randomUUID?.() ?? Math.random()}`; // two explorers on a page

  function draw() {
    const tokens = model.get("tokens");
    const values = model.get("values");
    const shades = bytesOf(model, "shades");
    const colors = bytesOf(model, "colors");
    const selected = model.get("selected");
    name.textContent = model.get("title");
    note.textContent = note.title = model.get("note");
    if (!tokens.length) {
      const sentence = document.createElement("span");
      sentence.className = "rv-empty";
      sentence.textContent = model.get("empty");
      list.replaceChildren(sentence);
    } else {
      if (list.firstChild?.className === "rv-empty") list.replaceChildren();
      while (list.childElementCount > tokens.length) list.lastChild.remove();
      while (list.childElementCount < tokens.length) {
        const option = document.createElement("span");
        option.setAttribute("role", "option");
        option.id = `${prefix}-${list.childElementCount}`;
        option.dataset.n = String(list.childElementCount);
        list.append(option);
      }
      [...list.children].forEach((option, n) => {
        if (option.textContent !== tokens[n]) option.textContent = tokens[n];
        const place = shades[n] || 0;
        const [r, g, b] = place ? colors.subarray(3 * place, 3 * place + 3) : [];
        option.style.background = place ? `rgb(${r},${g},${b})` : "";
        option.style.color = place ? inkOn(r, g, b) : "";
        option.setAttribute("aria-selected", String(n === selected));
        option.title = `n = ${n}: ${values[n] ?? ""}`;
      });
      const chosen = list.children[selected];
      if (chosen) {
        list.setAttribute("aria-activedescendant", chosen.id);
        const top = chosen.offsetTop - list.offsetTop;
        if (top < list.scrollTop || top + chosen.offsetHeight > list.scrollTop + list.clientHeight) {
          list.scrollTop = top - list.clientHeight / 2;
        }
      }
    }
    el.dataset.drawn = String(Number(el.dataset.drawn || 0) + 1);
  }

  const schedule = perFrame(draw);

  function select(n) {
    model.set("selected", n);
    model.save_changes();
  }

  list.addEventListener("click", (event) => {
    const n = event.target.dataset.n;
    if (n !== undefined) select(Number(n));
  });
  list.addEventListener("keydown", (event) => {
    const last = model.get("tokens").length - 1;
    const at = model.get("selected");
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: last }[event.key];
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
