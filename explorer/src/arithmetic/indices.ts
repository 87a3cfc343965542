/** Flat positions and indices of arrays in C order. */

import type { Index } from "./geometry";

export const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

/** Elements between neighbours along each axis. */
export function steps(shape: Index): number[] {
  const found = shape.map(() => 1);
  for (let a = shape.length - 2; a >= 0; a--) found[a] = found[a + 1]! * shape[a + 1]!;
  return found;
}

/** Position of an index in the flat array. */
export const flat = (index: Index, shape: Index): number => index.reduce((at, i, a) => at * shape[a]! + i, 0);

/** Index of a position of the flat array. */
export function indexOf(position: number, shape: Index): number[] {
  const index = shape.map(() => 0);
  for (let a = shape.length - 1; a >= 0; a--) {
    index[a] = position % shape[a]!;
    position = Math.floor(position / shape[a]!);
  }
  return index;
}

/** All choices of one entry per list, in C order. */
export function choices<T>(lists: readonly (readonly T[])[]): T[][] {
  return lists.reduce<T[][]>((all, list) => all.flatMap((some) => list.map((one) => [...some, one])), [[]]);
}
