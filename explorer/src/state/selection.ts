/** What is pointed at, pinned, and painted so far; boards and panels follow it together. */

import type { Index } from "../arithmetic/geometry";

export type Cell = { readonly board: "input" | "output"; readonly channel: number; readonly index: Index };

export interface Selection {
  /** Cell under the pointer or the keyboard; null for none. */
  readonly pointed: Cell | null;
  readonly pinned: Cell | null;
  /** Number of input elements painted so far; Infinity shows the finished output. */
  readonly time: number;
  /** Predict first: numbers of the output are hidden until revealed. */
  readonly hidden: boolean;
}
