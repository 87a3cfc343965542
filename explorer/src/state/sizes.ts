/** Sizes per axis as people write them: "3" for all axes, "3x2" for rows and columns. */

/** Return the sizes in a text, or null if it holds anything but whole numbers, one or one per axis. */
export function readSizes(text: string, rank: number): number[] | null {
  const parts = text.trim().split(/\s*[x×,]\s*/i);
  if ((parts.length !== 1 && parts.length !== rank) || !parts.every((part) => /^-?\d{1,6}$/.test(part))) return null;
  return parts.map(Number);
}

/** Return the text of sizes, one number where all are equal. */
export function sizesText(sizes: readonly number[]): string {
  return sizes.every((size) => size === sizes[0]) ? String(sizes[0] ?? "") : sizes.join("x");
}

/** Return a size for each axis. */
export function perAxis(sizes: readonly number[], rank: number): number[] {
  return Array.from({ length: rank }, (_, axis) => sizes[axis] ?? sizes.at(-1) ?? 1);
}
