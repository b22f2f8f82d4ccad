// A button that takes a text file, and the page as a place to drop one on. Only as much of a file is
// read as the kernel asks for: one of 10 GB is told by its size alone.

import { element } from "./common.js";

function render({ model, el }) {
  el.classList.add("rv-file");
  const button = element("button", "rv-file-button", model.get("label"));
  button.type = "button";
  const input = element("input");
  input.type = "file";
  input.hidden = true;
  input.tabIndex = -1;
  input.accept = ".txt,.md,.csv,.json,.py,.tex,.html,text/*";
  input.setAttribute("aria-label", model.get("label"));
  el.append(button, input);
  const page = el.closest(".rv-explorer") ?? el;

  async function take(file) {
    const fits = file.size <= model.get("max_bytes");
    const part = fits ? file.slice(0, model.get("read_bytes")) : file.slice(0, 0);
    let content = new ArrayBuffer(0);
    let error = "";
    button.disabled = true;
    try {
      content = await part.arrayBuffer();
    } catch (reason) {
      error = String(reason?.message ?? reason); // a folder, or a file that went away
    } finally {
      button.disabled = false;
    }
    model.send({ file: { name: file.name, size: file.size, error } }, undefined, [content]);
  }

  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  function over(event) {
    if (!holdsFile(event)) return;
    event.preventDefault();
    page.classList.add("rv-dropping");
  }

  function leave(event) {
    if (!page.contains(event.relatedTarget)) page.classList.remove("rv-dropping");
  }

  function drop(event) {
    if (!holdsFile(event)) return;
    event.preventDefault();
    page.classList.remove("rv-dropping");
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  }

  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
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
