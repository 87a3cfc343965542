/** Cells that light up together in all views: the products of the cell pointed at, or of the pinned one. */

import type { Product, Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import { type Cell, type Selection, shownCell } from "../state/selection";

/** A product that lights, with what pairs its cells: a colour and a number. */
export interface Pair extends Product {
  readonly colour: string;
  readonly badge: string;
}

export interface Lit {
  readonly cell: Cell | null;
  /** Products of the shown channels alone. */
  readonly pairs: readonly Pair[];
}

/** Return what lights in a scene. */
export function litBy(scene: Scene, selection: Selection): Lit {
  const cell = shownCell(selection);
  if (!cell) return { cell, pairs: [] };
  const { lines } = colours();
  const products = cell.board === "output" ? scene.gathered(cell.channel, cell.index) : scene.painted(cell.channel, cell.index);
  const { input, output } = selection.shown;
  const pairs = products
    .filter((one) => one.inputChannel === input && one.outputChannel === output)
    .map((one, at) => ({ ...one, colour: lines[at % lines.length]!, badge: String(at + 1) }));
  return { cell, pairs };
}
