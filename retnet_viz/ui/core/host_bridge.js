// The page around the panels: theme, keys, links, and a watchdog for a kernel that has died.

/** @import { HostBridgeTraits, View } from "../types.js" */

import { targetOf } from "../panels/common.js";
import { panelChooser } from "./fold_panels.js";
import { kernelWatch } from "./kernel_line.js";
import { linkSharer, mergeQuery } from "./share.js";

// The host's theme, light or dark: JupyterLab and Voila mark the body; elsewhere its colour
// decides.
function hostTheme() {
  const hostAttribute = document.body.dataset.jpThemeLight;
  if (hostAttribute) return hostAttribute === "true" ? "light" : "dark";
  const rgb =
    getComputedStyle(document.body)
      .backgroundColor.match(/[\d.]+/g)
      ?.map(Number) ?? [];
  if (rgb.length < 3 || rgb[3] === 0) return "light";
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 128 ? "light" : "dark";
}

/**
 * Whether keys edit text in this element, so that Ctrl+Z belongs to the browser.
 * @param {HTMLElement} el
 */
function editsText(el) {
  if (el.isContentEditable || el.tagName === "TEXTAREA") return true;
  return (
    el instanceof HTMLInputElement &&
    !["range", "checkbox", "radio", "button", "file"].includes(el.type)
  );
}

/**
 * Pairs of an element and its text.
 * @param {Iterable<Element>} elements
 * @param {(el: Element) => string} textOf
 * @returns {[Element, string][]}
 */
function pairWithText(elements, textOf) {
  return [...elements].map((el) => [el, textOf(el)]);
}

/** @param {View<HostBridgeTraits>} view */
function render({ model, el }) {
  el.style.display = "none";

  /** @returns {HTMLElement | null} */
  function root() {
    return el.closest(".rv-explorer");
  }

  function applyTheme() {
    const box = root();
    if (!box) return requestAnimationFrame(applyTheme); // not yet in the page
    const setting = model.get("theme");
    const theme = setting === "auto" ? hostTheme() : setting;
    box.dataset.theme = theme;
    // In a dashboard the explorer is the page: what surrounds it follows.
    if (document.body.dataset.voila) {
      document.documentElement.style.setProperty("--page", getComputedStyle(box).backgroundColor);
    }
    if (model.get("shown") !== theme) {
      model.set("shown", theme);
      model.save_changes();
    }
    window.dispatchEvent(new Event("retnet-viz-theme"));
  }

  const share = linkSharer(model, root);
  const panels = panelChooser(model, root);

  /** @param {Event} event */
  function onClick(event) {
    if (targetOf(event).closest(".rv-copy")) share.copy();
    if (targetOf(event).closest(".rv-choose")) panels.toggle();
  }

  /** @param {KeyboardEvent} event */
  function onKeydown(event) {
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
      if (editsText(targetOf(event))) return;
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
    const query = mergeQuery(model.get("query"));
    for (const link of links)
      link.href = `${base}render/${link.dataset.app}${query && "?"}${query}`;
  }

  // ipywidgets gives a control no accessible name where it has no text as its label.
  function labelControls(tries = 600) {
    const box = root();
    /** @param {string} selector */
    const findAll = (selector) => [...(box?.querySelectorAll(selector) ?? [])];
    /** @type {[Element, string][]} */
    const labels = [
      ...pairWithText(findAll(".rv-area-text textarea"), () => "Text for the model to read"),
      ...pairWithText(findAll(".rv-area-head .widget-dropdown select"), (el) =>
        /^theme/.test(el.querySelector("option")?.text ?? "") ? "Theme" : "Presets",
      ),
      ...findAll(".widget-slider").flatMap((slider) =>
        pairWithText(slider.querySelectorAll(".noUi-handle, .widget-readout"), () =>
          String(slider.querySelector(".widget-label")?.textContent),
        ),
      ),
    ];
    for (const [el, text] of labels) el.setAttribute("aria-label", text);
    if (labels.length < 7 && tries > 0) requestAnimationFrame(() => labelControls(tries - 1));
  }

  // JupyterLab takes arrow keys and Space from the focused element of an output, unless that is
  // marked. It never takes them from a text field.
  /** @param {Event} event */
  function suppressShortcuts(event) {
    const target = targetOf(event);
    if (target.tagName !== "TEXTAREA") target.dataset.lmSuppressShortcuts = "true";
  }

  const viewObserver = new MutationObserver(() => labelControls()); // of a view's controls
  // What is drawn on a canvas has larger letters in the view for a projector.
  const classObserver = new MutationObserver(() =>
    window.dispatchEvent(new Event("retnet-viz-theme")),
  );

  // What opens from the first line opens below it, however many lines it takes.
  const headObserver = new ResizeObserver(([{ target }]) => {
    const box = root();
    if (!box) return;
    const end = target.getBoundingClientRect().bottom - box.getBoundingClientRect().top;
    box.style.setProperty("--rv-below-head", `${end + 4}px`);
  });

  // In a page that scrolls the controls stay below the text, which stays too.
  const textObserver = new ResizeObserver(([{ target }]) => {
    const { height } = target.getBoundingClientRect();
    root()?.style.setProperty("--rv-text-height", `${height && height + 8}px`);
  });

  function listen(tries = 600) {
    const box = root();
    if (box) {
      const head = box.querySelector(".rv-area-head");
      if (head) headObserver.observe(head);
      const text = box.querySelector(".rv-area-text");
      if (text) textObserver.observe(text);
      box.addEventListener("focusin", suppressShortcuts);
      box.addEventListener("click", onClick);
      // A dashboard is the page; in a notebook the keys are the explorer's where it has the focus.
      if (document.body.dataset.voila) document.addEventListener("keydown", onKeydown);
      else box.addEventListener("keydown", onKeydown);
      classObserver.observe(box, { attributes: true, attributeFilter: ["class"] });
      const view = box.querySelector(".rv-area-view");
      if (view) viewObserver.observe(view, { childList: true });
    } else if (tries > 0) requestAnimationFrame(() => listen(tries - 1));
  }

  const watch = kernelWatch(model, root);
  model.on("msg:custom", (message) => {
    if (message.pong !== undefined) watch.onAnswer();
  });
  model.on("change:theme", applyTheme);
  model.on("change:query", () => linkApps());
  model.on("change:look", panels.show);
  const themeObserver = new MutationObserver(applyTheme);
  themeObserver.observe(document.body, {
    attributes: true,
    attributeFilter: ["data-jp-theme-light"],
  });
  applyTheme();
  labelControls();
  listen();
  if (document.body.dataset.voila) linkApps();
  // Messages from before this moment are lost, so the kernel is told that the page is open.
  model.send({ do: "opened" });
  return () => {
    watch.stop();
    themeObserver.disconnect();
    viewObserver.disconnect();
    classObserver.disconnect();
    headObserver.disconnect();
    textObserver.disconnect();
    document.removeEventListener("keydown", onKeydown);
    share.close();
    panels.close();
  };
}

export default { render };
