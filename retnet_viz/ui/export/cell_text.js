// What a page without a kernel says of a cell: the kernel's sentences with the numbers of the page.

/** @import { Cell, CellNumbers, CellSentences } from "../types.js" */

/**
 * A number with so many significant digits, as the kernel writes it: Python's `g`.
 * @param {number} value
 * @param {number} digits
 */
export function significant(value, digits) {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const [mantissa, power] = value
    .toExponential(digits - 1)
    .split("e")
    .map(Number);
  if (power >= -4 && power < digits) return plainly(value.toFixed(digits - 1 - power));
  const sign = power < 0 ? "-" : "+";
  return `${mantissa}e${sign}${String(Math.abs(power)).padStart(2, "0")}`;
}

/**
 * A decimal number without the zeros at its end.
 * @param {string} number
 */
function plainly(number) {
  return number.includes(".") ? number.replace(/\.?0+$/, "") : number;
}

/**
 * A whole number as an exponent.
 * @param {number} n
 */
export function raised(n) {
  return String(n).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
}

/**
 * A sentence with values in place of the names in braces.
 * @param {string} sentence
 * @param {Record<string, unknown>} values
 */
export function filled(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * What the cell of a plane says.
 * @param {CellSentences} sentences
 * @param {string} plane decay or retention
 * @param {Cell} cell
 * @param {string[]} tokens
 * @param {CellNumbers} numbers
 */
export function cellText(sentences, plane, [head, n, m], tokens, numbers) {
  const said = { head, n, m, reader: tokens[n], read: tokens[m], power: raised(n - m) };
  if (m > n) return filled(sentences.later, said);
  if (plane === "decay") {
    const decay = significant(numbers.decay(head, n, m), 4);
    return filled(sentences.decay, { ...said, decay });
  }
  return filled(sentences.weight, {
    ...said,
    score: significant(numbers.score(head, n, m), 3),
    decay: significant(numbers.decay(head, n, m), 3),
    weight: significant(numbers.weight(head, n, m), 3),
  });
}

/**
 * Where the cell (n, m) of a head stands among those up to the diagonal, row by row, head by head.
 * @param {number} length
 * @param {number} head
 * @param {number} n
 * @param {number} m
 */
export function cellPlace(length, head, n, m) {
  return head * ((length * (length + 1)) / 2) + (n * (n + 1)) / 2 + m;
}
