// The text on a cell in a page without a kernel: the kernel's sentences with the page's numbers.

/** @import { Cell, CellNumbers, CellSentences, LayerNumbers } from "../../types.js" */

/**
 * A number with so many significant digits, as Python's format `g` writes it.
 * @param {number} value
 * @param {number} digits
 */
export function formatSignificant(value, digits) {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const [mantissa, power] = value
    .toExponential(digits - 1)
    .split("e")
    .map(Number);
  if (power >= -4 && power < digits) return trimZeros(value.toFixed(digits - 1 - power));
  const sign = power < 0 ? "-" : "+";
  return `${mantissa}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
}

/**
 * A decimal number without the zeros at its end.
 * @param {string} number
 */
function trimZeros(number) {
  return number.includes(".") ? number.replace(/\.?0+$/, "") : number;
}

/**
 * A whole number in superscript digits.
 * @param {number} n
 */
export function superscript(n) {
  return String(n).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
}

/**
 * Replace the names in braces in a sentence by their values.
 * @param {string} sentence
 * @param {Record<string, unknown>} values
 */
export function fillTemplate(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * The sentence on a cell of a plane.
 * @param {CellSentences} sentences
 * @param {string} plane decay or retention
 * @param {Cell} cell
 * @param {string[]} tokens
 * @param {CellNumbers} numbers
 */
export function cellText(sentences, plane, [head, n, m], tokens, numbers) {
  const values = { head, n, m, reader: tokens[n], read: tokens[m], power: superscript(n - m) };
  if (m > n) return fillTemplate(sentences.later, values);
  if (plane === "decay") {
    const decay = formatSignificant(numbers.decay(head, n, m), 4);
    return fillTemplate(sentences.decay, { ...values, decay });
  }
  return fillTemplate(sentences.weight, {
    ...values,
    score: formatSignificant(numbers.score(head, n, m), 3),
    decay: formatSignificant(numbers.decay(head, n, m), 3),
    weight: formatSignificant(numbers.weight(head, n, m), 3),
  });
}

/**
 * The index of the cell (n, m) of a head in a list of the cells up to the diagonal, head by head.
 * @param {number} length
 * @param {number} head
 * @param {number} n
 * @param {number} m
 */
export function cellIndex(length, head, n, m) {
  return head * ((length * (length + 1)) / 2) + (n * (n + 1)) / 2 + m;
}

/**
 * The numbers of a layer's cells, by head and cell. Without weights they are scores times decay, to
 * the last bit of 32.
 * @param {number} length
 * @param {LayerNumbers} layer
 * @returns {CellNumbers}
 */
export function cellNumbers(length, { scores, weights, decay }) {
  /** @type {CellNumbers} */
  const numbers = {
    score: (head, n, m) => scores[cellIndex(length, head, n, m)],
    weight: (head, n, m) =>
      weights
        ? weights[cellIndex(length, head, n, m)]
        : Math.fround(numbers.score(head, n, m) * numbers.decay(head, n, m)),
    decay: (head, n, m) => decay[head * length + n - m],
  };
  return numbers;
}
