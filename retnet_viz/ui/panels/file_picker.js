// A button that takes a text file, and the page as a place to drop one on. Only as much of a file is
// read as the kernel asks for: one of 10 GB is told by its size alone.

/** @import { FilePickerTraits, View } from "../types.js" */

import { buttonElement, element } from "./common.js";
import { whyOf } from "./request.js";

/** @param {View<FilePickerTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-file");
  const button = buttonElement("rv-file-button", model.get("label"));
  const input = element("input");
  input.type = "file";
  input.hidden = true;
  input.tabIndex = -1;
  input.accept = ".txt,.md,.csv,.json,.py,.tex,.html,text/*";
  input.setAttribute("aria-label", model.get("label"));
  el.append(button, input);
  const page = /** @type {HTMLElement} */ (el.closest(".rv-explorer") ?? el);

  /** @param {File} file */
  async function take(file) {
    const fits = file.size <= model.get("max_bytes");
    const part = fits ? file.slice(0, model.get("read_bytes")) : file.slice(0, 0);
    let content = new ArrayBuffer(0);
    let error = "";
    button.disabled = true;
    try {
      content = await part.arrayBuffer();
    } catch (reason) {
      error = whyOf(reason); // a folder, or a file that went away
    } finally {
      button.disabled = false;
    }
    model.send({ file: { name: file.name, size: file.size, error } }, undefined, [content]);
  }

  /** @param {DragEvent} event */
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  /** @param {DragEvent} event */
  function over(event) {
    if (!holdsFile(event)) return;
    event.preventDefault();
    page.classList.add("rv-dropping");
  }

  /** @param {DragEvent} event */
  function leave(event) {
    if (!page.contains(/** @type {Node | null} */ (event.relatedTarget)))
      page.classList.remove("rv-dropping");
  }

  /** @param {DragEvent} event */
  function drop(event) {
    if (!holdsFile(event)) return;
    event.preventDefault();
    page.classList.remove("rv-dropping");
    const [file] = event.dataTransfer?.files ?? [];
    if (file) take(file);
  }

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) take(file);
    input.value = ""; // so that the same file can be taken again
  });
  page.addEventListener("dragover", over);
  page.addEventListener("dragleave", leave);
  page.addEventListener("drop", drop);
  return () => {
    page.removeEventListener("dragover", over);
    page.removeEventListener("dragleave", leave);
    page.removeEventListener("drop", drop);
  };
}

export default { render };
