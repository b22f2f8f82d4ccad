// What Node lacks of a browser, as far as the panels compute with it.

globalThis.ImageData ??= class ImageData {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.data = new Uint8ClampedArray(4 * width * height);
  }
};
