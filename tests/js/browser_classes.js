// What Node lacks of a browser, as far as the panels compute with it.

globalThis.ImageData ??= class ImageData {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.data = new Uint8ClampedArray(4 * width * height);
  }
};

// The text of HTML that has no more than tags and these entities.
const ENTITIES = { lt: "<", gt: ">", amp: "&" };
globalThis.DOMParser ??= class DOMParser {
  parseFromString(html) {
    const text = html.replace(/<[^>]*>/g, "").replace(/&(\w+);/g, (_, name) => ENTITIES[name]);
    return { body: { textContent: text } };
  }
};
