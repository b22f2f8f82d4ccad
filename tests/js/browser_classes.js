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

Object.assign(globalThis, { ImageData: globalThis.ImageData ?? PlainImageData });
