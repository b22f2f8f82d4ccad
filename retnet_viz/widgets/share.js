// "Copy link": to the clipboard, or into a field where there is none; or a file where it is too long.

const SHOWN = 4000; // ms that a word of success stays

// The query of this page's address with `query` in place of what it says of the state.
function inAddress(...queries) {
  const others = new URLSearchParams(location.search);
  for (const name of ["s", "hide", "present"]) others.delete(name);
  return [others.toString(), ...queries].filter(Boolean).join("&");
}

// What the button `.rv-copy` of the page `root()` does.
function sharing(model, root) {
  let box = null;
  let fades = 0;

  function close() {
    clearTimeout(fades);
    box?.remove();
    box = null;
  }

  // A box below the first line, with a sentence and whatever is to be pressed.
  function tell(said, ...parts) {
    close();
    box = document.createElement("div");
    box.className = "rv-share";
    const sentence = document.createElement("p");
    sentence.setAttribute("role", "status");
    box.append(sentence, ...parts);
    root()?.append(box);
    sentence.textContent = said; // after it is on the page, so that it is read aloud
    if (!parts.length) fades = setTimeout(close, SHOWN);
  }

  function button(text, pressed) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "rv-file-button";
    made.textContent = text;
    made.addEventListener("click", pressed);
    return made;
  }

  async function copy() {
    const link = model.get("link");
    if (!link) {
      const save = button("Save as a file", () => model.send({ do: "save" }));
      tell(model.get("why_not"), save, button("Close", close));
      save.focus();
      return;
    }
    const inVoila = Boolean(document.body.dataset.voila);
    const text = inVoila ? `${location.origin}${location.pathname}?${inAddress(link)}` : `?${link}`;
    const use = inVoila ? "" : " It belongs behind the address of the dashboard, or into open_link().";
    try {
      await navigator.clipboard.writeText(text);
      tell(`Link copied, ${text.length.toLocaleString()} characters.${use}`);
    } catch {
      offer(text, use); // no clipboard: it is there for https and this machine only, and may be refused
    }
  }

  function offer(text, use) {
    const field = document.createElement("input");
    field.readOnly = true;
    field.value = text;
    field.setAttribute("aria-label", "Link");
    field.addEventListener("focus", () => field.select());
    tell(`Press Ctrl+C (⌘C) to copy the link.${use}`, field, button("Close", close));
    field.focus();
  }

  function save(name, bytes) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    tell(`Saved as ${name}.`);
  }

  // A word of success goes by itself, and leaves Escape to others.
  return { copy, save, close, isOpen: () => (box?.childElementCount ?? 0) > 1 };
}
