// "Copy link": to the clipboard, or into a field where there is none; or a file where it is too long.

export const SHOWN = 4000; // ms that a word of success stays
export const PATIENT = 500; // ms that a link may take before the page says that it is being made

// The query of this page's address with `query` in place of what it says of the state.
export function inAddress(...queries) {
  const others = new URLSearchParams(location.search);
  for (const name of ["s", "hide", "present"]) others.delete(name);
  return [others.toString(), ...queries].filter(Boolean).join("&");
}

// What the button `.rv-copy` of the page `root()` does.
export function sharing(model, root) {
  let box = null;
  let fades = 0;
  let waits = 0;
  let questions = 0; // that are still to be answered before there is a link

  function clear() {
    clearTimeout(fades);
    box?.remove();
    box = null;
  }

  function close() {
    clearTimeout(waits);
    questions = 0;
    clear();
  }

  // A box below the first line, with a sentence and whatever is to be pressed.
  function tell(said, ...parts) {
    clear();
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

  // A control tells the kernel of a change when it has worked off the one before. So the answer to a
  // first question comes when all changes are on their way, and the answer to a second knows them.
  function copy() {
    if (questions) return; // it is being made
    questions = 2;
    model.send({ do: "link" });
    clearTimeout(waits);
    waits = setTimeout(() => tell("Making the link …", button("Close", close)), PATIENT);
  }

  function answered({ link, whyNot }) {
    if (!questions) return; // closed meanwhile, or asked by another view of the page
    questions -= 1;
    if (questions) return model.send({ do: "link" });
    clearTimeout(waits);
    if (link) return give(link);
    const save = button("Save as a file", () => model.send({ do: "save" }));
    tell(whyNot, save, button("Close", close));
    save.focus();
  }

  async function give(link) {
    const inVoila = Boolean(document.body.dataset.voila);
    const text = inVoila ? `${location.origin}${location.pathname}?${inAddress(link)}` : `?${link}`;
    const use = inVoila
      ? ""
      : " It belongs behind the address of the dashboard, or into open_link().";
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
  return { copy, answered, save, close, isOpen: () => (box?.childElementCount ?? 0) > 1 };
}
