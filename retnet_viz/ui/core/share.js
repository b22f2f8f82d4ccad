// "Copy link": to the clipboard, or into a field where there is none; or a file where it is too long.

/** @import { HostBridgeAnswers, HostBridgeTraits, Model, Request } from "../types.js" */

import { bytesOf } from "../panels/common.js";
import { requests, whyOf } from "../panels/request.js";

export const SHOWN = 4000; // ms that a word of success stays
export const PATIENT = 500; // ms that a link may take before the page says that it is being made

/**
 * The query of this page's address with `queries` in place of what it says of the state.
 * @param {string[]} queries
 */
export function inAddress(...queries) {
  const others = new URLSearchParams(location.search);
  for (const name of ["s", "hide", "present"]) others.delete(name);
  return [others.toString(), ...queries].filter(Boolean).join("&");
}

/**
 * What the button `.rv-copy` of the page `root()` does.
 * @param {Model<HostBridgeTraits>} model
 * @param {() => Element | null} root
 */
export function sharing(model, root) {
  /** @type {HTMLElement | null} */
  let box = null;
  let fades = 0;
  let waits = 0;
  let isMaking = false;
  let count = 0; // of links that were asked for; one that is closed is not waited for any more
  /** @type {Request<HostBridgeAnswers>} */
  const request = requests(model);

  function clear() {
    clearTimeout(fades);
    box?.remove();
    box = null;
  }

  function close() {
    clearTimeout(waits);
    isMaking = false;
    count += 1;
    clear();
  }

  /**
   * A box below the first line, with a sentence and whatever is to be pressed.
   * @param {string} said
   * @param {HTMLElement[]} parts
   */
  function tell(said, ...parts) {
    clear();
    box = document.createElement("div");
    box.className = "rv-share";
    const sentence = document.createElement("p");
    sentence.setAttribute("role", "status");
    box.append(sentence, ...parts);
    root()?.append(box);
    sentence.textContent = said; // after it is on the page, so that it is read aloud
    if (!parts.length) fades = window.setTimeout(close, SHOWN);
  }

  /**
   * @param {string} text
   * @param {() => void} pressed
   */
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
  async function copy() {
    if (isMaking) return;
    isMaking = true;
    count += 1;
    const mine = count;
    clearTimeout(fades);
    clearTimeout(waits);
    waits = window.setTimeout(() => tell("Making the link …", button("Close", close)), PATIENT);
    try {
      await request("link");
      if (mine !== count) return;
      const { link, whyNot } = await request("link");
      if (mine === count) show(link, whyNot);
    } catch (error) {
      if (mine === count) show("", whyOf(error));
    }
  }

  /**
   * @param {string} link
   * @param {string} whyNot
   */
  function show(link, whyNot) {
    clearTimeout(waits);
    isMaking = false;
    if (link) return give(link);
    const file = button("Save as a file", save);
    tell(whyNot, file, button("Close", close));
    file.focus();
  }

  /** @param {string} link */
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

  /**
   * @param {string} text
   * @param {string} use
   */
  function offer(text, use) {
    const field = document.createElement("input");
    field.readOnly = true;
    field.value = text;
    field.setAttribute("aria-label", "Link");
    field.addEventListener("focus", () => field.select());
    tell(`Press Ctrl+C (⌘C) to copy the link.${use}`, field, button("Close", close));
    field.focus();
  }

  async function save() {
    try {
      const { file, buffers } = await request("save");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(
        new Blob([bytesOf(buffers[0])], { type: "application/json" }),
      );
      link.download = file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      tell(`Saved as ${file}.`);
    } catch (error) {
      tell(whyOf(error), button("Close", close));
    }
  }

  // A word of success goes by itself, and leaves Escape to others.
  return { copy, close, isOpen: () => (box?.childElementCount ?? 0) > 1 };
}
