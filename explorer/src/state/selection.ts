/** What is pointed at, pinned, and painted so far; boards and panels follow it together. */

import type { Index } from "../arithmetic/geometry";

export type Cell = { readonly board: "input" | "output"; readonly channel: number; readonly index: Index };

export interface Selection {
  /** Cell under the pointer or the keyboard; null for none. */
  readonly pointed: Cell | null;
  readonly pinned: Cell | null;
  /** Channels that the boards show. */
  readonly shown: { readonly input: number; readonly output: number };
  /** Number of input elements painted so far, in C order with channels first; Infinity shows the finished output. */
  readonly time: number;
  /** Predict first: numbers of the output are hidden until revealed. */
  readonly hidden: boolean;
}

export const NOTHING: Selection = {
  pointed: null,
  pinned: null,
  shown: { input: 0, output: 0 },
  time: Infinity,
  hidden: false,
};

/** Return the cell that all views tell of: the one pointed at, else the pinned one. */
export function shownCell(selection: Selection): Cell | null {
  return selection.pointed ?? selection.pinned;
}

/** Return true if both are the same cell, or both none. */
export function sameCell(one: Cell | null, other: Cell | null): boolean {
  if (one === null || other === null) return one === other;
  return (
    one.board === other.board &&
    one.channel === other.channel &&
    one.index.length === other.index.length &&
    one.index.every((place, axis) => place === other.index[axis])
  );
}
