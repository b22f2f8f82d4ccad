// Of a page what the panels need where nothing is drawn: elements with texts, children and events.

class FakeElement extends EventTarget {
  /** @param {string} tag */
  constructor(tag) {
    super();
    this.tagName = tag.toUpperCase();
    /** @type {Record<string, string>} */
    this.dataset = {};
    /** @type {Map<string, string>} */
    this.attributes = new Map();
    /** @type {Set<string>} */
    this.classes = new Set();
    /** @type {FakeElement[]} */
    this.children = [];
    /** @type {FakeElement | null} */
    this.parent = null;
    /** @type {Record<string, string>} */
    this.style = {};
    this.text = "";
    this.selectedValue = "";
    this.hidden = false;
    this.disabled = false;
  }

  get classList() {
    return {
      add: (/** @type {string[]} */ ...names) => {
        for (const name of names) this.classes.add(name);
      },
      toggle: (/** @type {string} */ name, /** @type {boolean} */ on) => {
        if (on) this.classes.add(name);
        else this.classes.delete(name);
      },
    };
  }

  set className(names) {
    this.classes = new Set(names.split(" "));
  }

  get className() {
    return [...this.classes].join(" ");
  }

  /**
   * What a select takes by itself is its first option.
   * @returns {string}
   */
  get value() {
    return this.selectedValue || (this.tagName === "SELECT" ? this.children[0]?.value : "") || "";
  }

  set value(value) {
    this.selectedValue = value;
  }

  set textContent(text) {
    this.replaceChildren();
    this.text = text;
  }

  /** @returns {string} */
  get textContent() {
    return this.text + this.children.map((each) => each.textContent).join("");
  }

  get childElementCount() {
    return this.children.length;
  }

  /** @param {(FakeElement | string)[]} parts */
  append(...parts) {
    for (const part of parts) {
      if (typeof part === "string") {
        this.text += part;
        continue;
      }
      part.remove();
      part.parent = this;
      this.children.push(part);
    }
  }

  /** @param {FakeElement} part */
  prepend(part) {
    part.remove();
    part.parent = this;
    this.children.unshift(part);
  }

  /**
   * Finds what has one class.
   * @param {string} selector
   */
  querySelector(selector) {
    return this.all.find((each) => each.classes.has(selector.slice(1))) ?? null;
  }

  /** @param {FakeElement[]} parts */
  replaceChildren(...parts) {
    for (const old of [...this.children]) old.remove();
    this.append(...parts);
  }

  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((each) => each !== this);
    this.parent = null;
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  setAttribute(name, value) {
    this.attributes.set(name, value);
  }

  /** @param {string} name */
  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  /** @param {string} name */
  removeAttribute(name) {
    this.attributes.delete(name);
  }

  /** @returns {FakeElement[]} */
  get all() {
    return this.children.flatMap((each) => [each, ...each.all]);
  }

  /** @param {string} text */
  button(text) {
    const button = this.all.find((each) => each.tagName === "BUTTON" && each.textContent === text);
    if (!button) throw new Error(`There is no button ${text}.`);
    return button;
  }

  closest() {
    return null;
  }

  focus() {}

  getBoundingClientRect() {
    return { left: 0, top: 0, right: 0, bottom: 0, width: 0, height: 0 };
  }

  click() {
    this.dispatchEvent(new Event("click"));
  }

  /**
   * Press a key here.
   * @param {string} key
   */
  press(key) {
    this.dispatchEvent(Object.assign(new Event("keydown", { cancelable: true }), { key }));
  }
}

/** A page without anything in it; gives its body. */
export function openPage() {
  const body = new FakeElement("body");
  const document = Object.assign(new EventTarget(), {
    body,
    documentElement: { clientWidth: 0 },
    createElement: (/** @type {string} */ tag) => new FakeElement(tag),
  });
  const location = { origin: "", pathname: "", search: "" };
  Object.assign(globalThis, { document, location, window: globalThis });
  return body;
}

/**
 * An element of the page as the modules know it, or the other way round.
 * @param {unknown} element
 * @returns {any}
 */
export const asElement = (element) => element;
