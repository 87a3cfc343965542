/** Cells that light up together in all views: the products of the cell pointed at, or of the pinned one. */

import type { Index } from "../arithmetic/geometry";
import type { Product, Scene } from "../arithmetic/scene";
import { colours } from "../page/theme";
import { type Cell, type Selection, shownCell } from "../state/selection";
import { type Mark, type Spot, spotOf } from "./face";
import { short } from "./number_text";

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

/** Return what lights in a scene; nothing for a cell of a channel that the boards do not show. */
export function litBy(scene: Scene, selection: Selection): Lit {
  const cell = shownCell(selection);
  if (!cell || cell.channel !== selection.shown[cell.board]) return { cell: null, pairs: [] };
  const { lines } = colours();
  const products =
    cell.board === "output" ? scene.gathered(cell.channel, cell.index) : scene.painted(cell.channel, cell.index);
  const { input, output } = selection.shown;
  const pairs = products
    .filter((one) => one.inputChannel === input && one.outputChannel === output)
    .map((one, at) => ({ ...one, colour: lines[at % lines.length]!, badge: String(at + 1) }));
  return { cell, pairs };
}

/** Return marks of the pairs, where `place` puts them; a pair without a place has none. */
export function pairMarks(lit: Lit, place: (pair: Pair) => Spot | null): Mark[] {
  return lit.pairs.flatMap((pair) => {
    const spot = place(pair);
    return spot ? [{ row: spot[0], column: spot[1], colour: pair.colour, badge: pair.badge }] : [];
  });
}

/** Return the marks of a board of input or output cells: its own cell, its partners, and the pin. */
export function cellMarks(
  lit: Lit,
  selection: Selection,
  board: Cell["board"],
  place: (index: Index) => Spot = spotOf,
): Mark[] {
  const { pinned, pointed, shown } = selection;
  const { chosen } = colours();
  const pin =
    pinned?.board === board && pinned.channel === shown[board] && pointed
      ? [chosenMark(place(pinned.index), chosen, true)]
      : [];
  if (!lit.cell) return pin;
  if (lit.cell.board === board) return [...pin, chosenMark(place(lit.cell.index), chosen)];
  const partner = (pair: Pair) => (board === "input" ? pair.input : pair.output);
  return [
    ...pin,
    ...pairMarks(lit, (pair) => {
      const index = partner(pair);
      return index && place(index);
    }),
  ];
}

/** Return the marks of the inputs of an output with the products in the cells: "4 × 5". */
export function withProducts(marks: readonly Mark[], lit: Lit): Mark[] {
  if (lit.cell?.board !== "output") return [...marks];
  const { surface } = colours();
  const texts = new Map(lit.pairs.map((pair) => [pair.badge, `${short(pair.x)}×${short(pair.w)}`]));
  return marks.map((mark) => {
    const text = mark.badge && texts.get(mark.badge);
    return text ? { ...mark, look: { fill: surface, text } } : mark;
  });
}

function chosenMark([row, column]: Spot, colour: string, dashed = false): Mark {
  return { row, column, colour, dashed };
}
