// What Node lacks of a browser, as far as the panels compute with it.

class PlainImageData {
  /**
   * @param {number} width
   * @param {number} height
   */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.data = new Uint8ClampedArray(4 * width * height);
  }
}

/** @type {Record<string, string>} */
const ENTITIES = { lt: "<", gt: ">", amp: "&" };

// Reads HTML that has no more than tags and these entities.
class PlainDOMParser {
  /** @param {string} html */
  parseFromString(html) {
    const text = html.replace(/<[^>]*>/g, "").replace(/&(\w+);/g, (_, name) => ENTITIES[name]);
    return { body: { textContent: text } };
  }
}

Object.assign(globalThis, {
  ImageData: globalThis.ImageData ?? PlainImageData,
  DOMParser: globalThis.DOMParser ?? PlainDOMParser,
});
