/** Texts of numbers in cells. */

/** Return the text of a number: whole ones of up to 6 digits in full, others with some significant digits. */
export function short(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const text =
    Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value === 0 ? 0 : value) : significant(value, digits);
  return text.replace("-", "−").replace("e-", "e−");
}

function significant(value: number, digits: number): string {
  const rounded = Number(value.toPrecision(digits));
  const plain = Math.abs(rounded) >= 1e-3 && Math.abs(rounded) < 1e6;
  return plain ? String(rounded) : rounded.toExponential().replace("+", "");
}
