// The page around the panels: theme, keys, links, and a watchdog for a kernel that has died.

/** @import { HostBridgeTraits, View } from "../types.js" */

import { targetOf } from "../panels/common.js";
import { choosing } from "./fold_panels.js";
import { inAddress, sharing } from "./share.js";

const EVERY = 5000; // ms between questions to the kernel
const PATIENCE = 20000; // ms without an answer before the page says so

// Light or dark, as the host has it: JupyterLab and Voila mark the body, else look at its colour.
function hostTheme() {
  const marked = document.body.dataset.jpThemeLight;
  if (marked) return marked === "true" ? "light" : "dark";
  const rgb =
    getComputedStyle(document.body)
      .backgroundColor.match(/[\d.]+/g)
      ?.map(Number) ?? [];
  if (rgb.length < 3 || rgb[3] === 0) return "light";
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 128 ? "light" : "dark";
}

/**
 * Whether a key pressed here edits text, so that the browser's own undo is wanted.
 * @param {HTMLElement} el
 */
function isEdited(el) {
  if (el.isContentEditable || el.tagName === "TEXTAREA") return true;
  return (
    el instanceof HTMLInputElement &&
    !["range", "checkbox", "radio", "button", "file"].includes(el.type)
  );
}

/**
 * Elements, each with the text that it is given.
 * @param {Iterable<Element>} elements
 * @param {(el: Element) => string} textOf
 * @returns {[Element, string][]}
 */
function withText(elements, textOf) {
  return [...elements].map((el) => [el, textOf(el)]);
}

/** @param {View<HostBridgeTraits>} view */
function render({ model, el }) {
  el.style.display = "none";
  let answered = Date.now();
  let asked = Date.now();

  /** @returns {HTMLElement | null} */
  function root() {
    return el.closest(".rv-explorer");
  }

  function applyTheme() {
    const box = root();
    if (!box) return requestAnimationFrame(applyTheme); // not yet in the page
    const chosen = model.get("theme");
    const shown = chosen === "auto" ? hostTheme() : chosen;
    box.dataset.theme = shown;
    // In a dashboard the explorer is the page: what surrounds it follows.
    if (document.body.dataset.voila) {
      document.documentElement.style.setProperty("--page", getComputedStyle(box).backgroundColor);
    }
    if (model.get("shown") !== shown) {
      model.set("shown", shown);
      model.save_changes();
    }
    window.dispatchEvent(new Event("retnet-viz-theme"));
  }

  const share = sharing(model, root);
  const panels = choosing(model, root);

  /** @param {Event} event */
  function pressed(event) {
    if (targetOf(event).closest(".rv-copy")) share.copy();
    if (targetOf(event).closest(".rv-choose")) panels.toggle();
  }

  /** @param {KeyboardEvent} event */
  function keyed(event) {
    const box = root();
    if (!box || event.defaultPrevented) return;
    const key = event.key.toLowerCase();
    if (key === "escape") {
      if (share.isOpen()) share.close();
      else if (panels.isOpen()) {
        panels.close();
        /** @type {HTMLElement | null} */ (box.querySelector(".rv-choose"))?.focus();
      } else if (box.classList.contains("rv-present")) model.send({ do: "leave" });
      else return;
    } else if ((event.ctrlKey || event.metaKey) && !event.altKey && (key === "z" || key === "y")) {
      if (isEdited(targetOf(event))) return;
      model.send({ do: key === "y" || event.shiftKey ? "redo" : "undo" });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // The other apps of the server open with the same text, mode and selection.
  function linkApps(tries = 600) {
    /** @type {Iterable<HTMLAnchorElement> & { length: number }} */
    const links = root()?.querySelectorAll(".rv-apps a") ?? [];
    if (!links.length && tries > 0) return requestAnimationFrame(() => linkApps(tries - 1));
    const base = document.body.dataset.baseUrl;
    const query = inAddress(model.get("query"));
    for (const link of links)
      link.href = `${base}render/${link.dataset.app}${query && "?"}${query}`;
  }

  // ipywidgets gives its controls no accessible names where the label is a picture or a place.
  function label(tries = 600) {
    const box = root();
    /** @param {string} selector */
    const found = (selector) => [...(box?.querySelectorAll(selector) ?? [])];
    /** @type {[Element, string][]} */
    const named = [
      ...withText(found(".rv-area-text textarea"), () => "Text for the model to read"),
      ...withText(found(".rv-area-head .widget-dropdown select"), (el) =>
        /^theme/.test(el.querySelector("option")?.text ?? "") ? "Theme" : "Presets",
      ),
      ...found(".widget-slider").flatMap((slider) =>
        withText(slider.querySelectorAll(".noUi-handle, .widget-readout"), () =>
          String(slider.querySelector(".widget-label")?.textContent),
        ),
      ),
    ];
    for (const [el, text] of named) el.setAttribute("aria-label", text);
    if (named.length < 7 && tries > 0) requestAnimationFrame(() => label(tries - 1));
  }

  // JupyterLab takes arrow keys and Space from whatever has the focus in an output, unless it says
  // that it wants them itself. Where one types, JupyterLab keeps its hands off anyway.
  /** @param {Event} event */
  function keepKeys(event) {
    const target = targetOf(event);
    if (target.tagName !== "TEXTAREA") target.dataset.lmSuppressShortcuts = "true";
  }

  const views = new MutationObserver(() => label()); // the controls of a view come with it
  // What is drawn on a canvas has larger letters in the view for a projector.
  const looks = new MutationObserver(() => window.dispatchEvent(new Event("retnet-viz-theme")));

  // What opens from the first line opens below it, however many lines it takes.
  const heads = new ResizeObserver(([{ target }]) => {
    const box = root();
    if (!box) return;
    const end = target.getBoundingClientRect().bottom - box.getBoundingClientRect().top;
    box.style.setProperty("--rv-below-head", `${end + 4}px`);
  });

  function listen(tries = 600) {
    const box = root();
    if (box) {
      const head = box.querySelector(".rv-area-head");
      if (head) heads.observe(head);
      box.addEventListener("focusin", keepKeys);
      box.addEventListener("click", pressed);
      // A dashboard is the page; in a notebook the keys are the explorer's where it has the focus.
      if (document.body.dataset.voila) document.addEventListener("keydown", keyed);
      else box.addEventListener("keydown", keyed);
      looks.observe(box, { attributes: true, attributeFilter: ["class"] });
      const view = box.querySelector(".rv-area-view");
      if (view) views.observe(view, { childList: true });
    } else if (tries > 0) requestAnimationFrame(() => listen(tries - 1));
  }

  /** @param {boolean} dead */
  function banner(dead) {
    const box = root();
    let line = box?.querySelector(".rv-dead");
    if (!dead) return line?.remove();
    if (!box || line) return;
    line = document.createElement("div");
    line.className = "rv-dead";
    line.setAttribute("role", "alert");
    const text = document.createElement("span");
    text.textContent =
      "The kernel behind this page does not answer; what you see no longer updates. ";
    line.append(text);
    const link = document.createElement("a");
    if (document.body.dataset.voila) {
      link.href = `?${inAddress(model.get("query"), model.get("look"))}`;
      link.textContent = "Open it again as it is now";
    } else {
      text.textContent += "Restart the kernel and run the cell again.";
    }
    line.append(link);
    box.prepend(line);
  }

  function watch() {
    const now = Date.now();
    // A page that slept (a closed lid, a hidden tab) has not been waiting.
    if (now - asked > 2 * EVERY) answered = now;
    asked = now;
    banner(now - answered > PATIENCE);
    try {
      model.send({ ping: now });
    } catch {
      // A closed connection is noticed by the answer that does not come.
    }
  }

  model.on("msg:custom", (message) => {
    if (message.pong === undefined) return;
    answered = Date.now();
    banner(false);
  });
  model.on("change:theme", applyTheme);
  model.on("change:query", () => linkApps());
  model.on("change:look", panels.show);
  const host = new MutationObserver(applyTheme);
  host.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  const timer = setInterval(watch, EVERY);
  applyTheme();
  label();
  listen();
  if (document.body.dataset.voila) linkApps();
  // What the kernel said between the states that a page is made from and here has been lost.
  model.send({ do: "opened" });
  return () => {
    clearInterval(timer);
    host.disconnect();
    views.disconnect();
    looks.disconnect();
    heads.disconnect();
    document.removeEventListener("keydown", keyed);
    share.close();
    panels.close();
  };
}

export default { render };
