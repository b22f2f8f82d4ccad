// "Copy link": to the clipboard, or into a field where there is none; or a file where it is too long.

/** @import { HostBridgeAnswers, HostBridgeTraits, Model, Request } from "../types.js" */

import { bytesOf } from "../panels/common.js";
import { errorMessage, requester } from "../panels/request.js";

export const MESSAGE_TIME = 4000; // ms for which a message of success stays
export const PROGRESS_DELAY = 500; // ms before the page says that the link is being made

/**
 * The query of this page's address with `queries` in place of those of the state.
 * @param {string[]} queries
 */
export function mergeQuery(...queries) {
  const others = new URLSearchParams(location.search);
  for (const name of ["s", "hide", "present"]) others.delete(name);
  return [others.toString(), ...queries].filter(Boolean).join("&");
}

/**
 * What the button `.rv-copy` of the page `root()` does.
 * @param {Model<HostBridgeTraits>} model
 * @param {() => Element | null} root
 */
export function linkSharer(model, root) {
  /** @type {HTMLElement | null} */
  let box = null;
  let closeTimer = 0;
  let progressTimer = 0;
  let isRequesting = false;
  let count = 0; // of requests; the answer to an older one is ignored
  /** @type {Request<HostBridgeAnswers>} */
  const request = requester(model);

  function clear() {
    clearTimeout(closeTimer);
    box?.remove();
    box = null;
  }

  function close() {
    clearTimeout(progressTimer);
    isRequesting = false;
    count += 1;
    clear();
  }

  /**
   * Show a box below the first line, with a sentence and controls.
   * @param {string} text
   * @param {HTMLElement[]} parts
   */
  function showMessage(text, ...parts) {
    clear();
    box = document.createElement("div");
    box.className = "rv-share";
    const sentence = document.createElement("p");
    sentence.setAttribute("role", "status");
    box.append(sentence, ...parts);
    root()?.append(box);
    sentence.textContent = text; // after it is on the page, so that it is read aloud
    if (!parts.length) closeTimer = window.setTimeout(close, MESSAGE_TIME);
  }

  /**
   * @param {string} text
   * @param {() => void} onClick
   */
  function makeButton(text, onClick) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "rv-button rv-file-button";
    button.textContent = text;
    button.addEventListener("click", onClick);
    return button;
  }

  // A control sends a change only when the kernel has handled the one before it. After the answer
  // to a first request all changes have been sent, so the answer to a second request includes them.
  async function copy() {
    if (isRequesting) return;
    isRequesting = true;
    count += 1;
    const id = count;
    clearTimeout(closeTimer);
    clearTimeout(progressTimer);
    progressTimer = window.setTimeout(
      () => showMessage("Making the link …", makeButton("Close", close)),
      PROGRESS_DELAY,
    );
    try {
      await request("link");
      if (id !== count) return;
      const { link, whyNot } = await request("link");
      if (id === count) showAnswer(link, whyNot);
    } catch (error) {
      if (id === count) showAnswer("", errorMessage(error));
    }
  }

  /**
   * @param {string} link
   * @param {string} whyNot
   */
  function showAnswer(link, whyNot) {
    clearTimeout(progressTimer);
    isRequesting = false;
    if (link) return copyLink(link);
    const file = makeButton("Save as a file", saveFile);
    showMessage(whyNot, file, makeButton("Close", close));
    file.focus();
  }

  /** @param {string} link */
  async function copyLink(link) {
    const inVoila = Boolean(document.body.dataset.voila);
    const text = inVoila
      ? `${location.origin}${location.pathname}?${mergeQuery(link)}`
      : `?${link}`;
    const hint = inVoila
      ? ""
      : " It belongs behind the address of the dashboard, or into open_link().";
    try {
      await navigator.clipboard.writeText(text);
      showMessage(`Link copied, ${text.length.toLocaleString()} characters.${hint}`);
    } catch {
      showLinkField(text, hint); // browsers allow the clipboard for https and localhost only
    }
  }

  /**
   * @param {string} text
   * @param {string} hint
   */
  function showLinkField(text, hint) {
    const field = document.createElement("input");
    field.readOnly = true;
    field.value = text;
    field.setAttribute("aria-label", "Link");
    field.addEventListener("focus", () => field.select());
    showMessage(`Press Ctrl+C (⌘C) to copy the link.${hint}`, field, makeButton("Close", close));
    field.focus();
  }

  async function saveFile() {
    try {
      const { file, buffers } = await request("save");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(
        new Blob([bytesOf(buffers[0])], { type: "application/json" }),
      );
      link.download = file;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      showMessage(`Saved as ${file}.`);
    } catch (error) {
      showMessage(errorMessage(error), makeButton("Close", close));
    }
  }

  // A message of success closes itself and needs no Escape.
  return { copy, close, isOpen: () => (box?.childElementCount ?? 0) > 1 };
}
