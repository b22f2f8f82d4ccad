// A button that opens a text file; one can also be dropped on the page. No more of it is read than
// the kernel allows: of a file that is too large only the name and size are sent.

/** @import { FilePickerTraits, View } from "../types.js" */

import { buttonElement, element } from "./common.js";
import { errorMessage } from "./request.js";

/** @param {View<FilePickerTraits>} view */
function render({ model, el }) {
  el.classList.add("rv-file");
  const button = buttonElement("rv-button rv-file-button", model.get("label"));
  const input = element("input");
  input.type = "file";
  input.hidden = true;
  input.tabIndex = -1;
  input.accept = ".txt,.md,.csv,.json,.py,.tex,.html,text/*";
  input.setAttribute("aria-label", model.get("label"));
  el.append(button, input);
  const page = /** @type {HTMLElement} */ (el.closest(".rv-explorer") ?? el);

  /** @param {File} file */
  async function sendFile(file) {
    const fits = file.size <= model.get("max_bytes");
    const part = fits ? file.slice(0, model.get("read_bytes")) : file.slice(0, 0);
    let content = new ArrayBuffer(0);
    let error = "";
    button.disabled = true;
    try {
      content = await part.arrayBuffer();
    } catch (failure) {
      error = errorMessage(failure); // a folder, or a file that went away
    } finally {
      button.disabled = false;
    }
    model.send({ file: { name: file.name, size: file.size, error } }, undefined, [content]);
  }

  /** @param {DragEvent} event */
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  /** @param {DragEvent} event */
  function onDragOver(event) {
    if (!holdsFile(event)) return;
    event.preventDefault();
    page.classList.add("rv-dropping");
  }

  /** @param {DragEvent} event */
  function onDragLeave(event) {
    if (!page.contains(/** @type {Node | null} */ (event.relatedTarget)))
      page.classList.remove("rv-dropping");
  }

  /** @param {DragEvent} event */
  function onDrop(event) {
    if (!holdsFile(event)) return;
    event.preventDefault();
    page.classList.remove("rv-dropping");
    const [file] = event.dataTransfer?.files ?? [];
    if (file) sendFile(file);
  }

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) sendFile(file);
    input.value = ""; // so that the same file can be taken again
  });
  page.addEventListener("dragover", onDragOver);
  page.addEventListener("dragleave", onDragLeave);
  page.addEventListener("drop", onDrop);
  return () => {
    page.removeEventListener("dragover", onDragOver);
    page.removeEventListener("dragleave", onDragLeave);
    page.removeEventListener("drop", onDrop);
  };
}

export default { render };
