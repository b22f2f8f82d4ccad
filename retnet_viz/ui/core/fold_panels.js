// "Panels": a box with a switch for each panel that can be hidden.

export function choosing(model, root) {
  let box = null;

  const hidden = () => new URLSearchParams(model.get("look")).get("hide")?.split(",") ?? [];

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
    for (const [name, called] of Object.entries(model.get("panels"))) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "checkbox";
      input.name = name;
      input.addEventListener("change", switched);
      label.append(input, called);
      box.append(label);
    }
    show();
    root()?.append(box);
    box.querySelector("input")?.focus();
  }

  function switched() {
    const off = [...box.querySelectorAll("input:not(:checked)")];
    model.send({ do: "hide", names: off.map((input) => input.name) });
  }

  function show() {
    for (const input of box?.querySelectorAll("input") ?? [])
      input.checked = !hidden().includes(input.name);
  }

  return { toggle: () => (box ? close() : open()), show, close, isOpen: () => Boolean(box) };
}
