// "Panels": a box with a checkbox for each panel that can be hidden.

/** @import { HostBridgeTraits, Model } from "../types.js" */

/**
 * The box of the page `root()`.
 * @param {Model<HostBridgeTraits>} model
 * @param {() => Element | null} root
 */
export function panelChooser(model, root) {
  /** @type {HTMLFieldSetElement | null} */
  let box = null;

  const hidden = () => new URLSearchParams(model.get("look")).get("hide")?.split(",") ?? [];
  const inputs = () => [...(box?.querySelectorAll("input") ?? [])];

  function close() {
    box?.remove();
    box = null;
  }

  function open() {
    box = document.createElement("fieldset");
    box.className = "rv-choose-box";
    const legend = document.createElement("legend");
    legend.textContent = "Panels that are shown";
    box.append(legend);
    for (const [name, title] of Object.entries(model.get("panels"))) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "checkbox";
      input.name = name;
      input.addEventListener("change", sendHidden);
      label.append(input, title);
      box.append(label);
    }
    show();
    root()?.append(box);
    box.querySelector("input")?.focus();
  }

  function sendHidden() {
    const unchecked = inputs().filter((input) => !input.checked);
    model.send({ do: "hide", names: unchecked.map((input) => input.name) });
  }

  function show() {
    for (const input of inputs()) input.checked = !hidden().includes(input.name);
  }

  return { toggle: () => (box ? close() : open()), show, close, isOpen: () => Boolean(box) };
}
