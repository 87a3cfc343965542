/** Boards whose cells are those of the input or the output, and the face of the kernel. */

import type { Scene } from "../arithmetic/scene";
import { product } from "../arithmetic/indices";
import { colours } from "../page/theme";
import { type Cell, sameCell, type Selection } from "../state/selection";
import type { Actions } from "../state/view";
import { Board } from "./board";
import { sentenceOf } from "./describe";
import { type Face, gridOf, indexAt, type Spot } from "./face";
import { short } from "./number_text";

interface CellBoard {
  readonly name: string;
  readonly title: string;
  readonly board: Cell["board"];
  /** Spot of the first element. */
  readonly origin?: () => Spot;
}

/** Make a board that points at, pins and says the cells of the input or the output. */
export function cellBoard(
  { name, title, board, origin = () => [0, 0] }: CellBoard,
  actions: Actions,
  current: () => { scene: Scene; selection: Selection } | null,
): Board {
  const cellAt = ([row, column]: Spot): Cell | null => {
    const now = current();
    if (!now) return null;
    const [top, left] = origin();
    return { board, channel: now.selection.shown[board], index: indexAt([row - top, column - left], now.scene.inputShape.length) };
  };
  return new Board({
    name,
    title,
    onPoint: (spot) => actions.select({ pointed: spot && cellAt(spot) }),
    onPin: (spot) => {
      const cell = spot && cellAt(spot);
      const pinned = current()?.selection.pinned ?? null;
      const kept = sameCell(cell, pinned) ? null : cell;
      actions.select({ pinned: kept });
      if (kept) actions.announce("Pinned.");
      else if (pinned) actions.announce("Released.");
    },
    onSay: (spot) => {
      const cell = cellAt(spot);
      const now = current();
      if (cell && now) actions.announce(sentenceOf(now.scene, cell, now.selection));
    },
  });
}

/** Numbers of the kernel between the shown channels; zeros where the groups part them. */
export function kernelValues(scene: Scene, selection: Selection): Float64Array {
  const { input, output } = selection.shown;
  const taps = product(scene.geometry.axes.map((axis) => axis.kernel));
  const outer = scene.channels.output / scene.geometry.groups;
  const inner = scene.channels.input / scene.geometry.groups;
  if (Math.floor(input / inner) !== Math.floor(output / outer)) return new Float64Array(taps);
  const row = input * outer + (output % outer);
  return scene.weight.subarray(row * taps, (row + 1) * taps);
}

/** Return the face of the kernel, with a fill per tap if wanted. */
export function kernelFace(scene: Scene, selection: Selection, fill: (row: number, column: number) => string = () => colours().surface): Face {
  const [rows, columns] = gridOf(scene.geometry.axes.map((axis) => axis.kernel));
  const values = kernelValues(scene, selection);
  return {
    rows,
    columns,
    longest: longestOf(values),
    look: (row, column) => ({ fill: fill(row, column), text: short(values[row * columns + column]!) }),
  };
}

/** Return the length of the longest text of these numbers. */
export function longestOf(values: Float64Array): number {
  let longest = 1;
  for (const value of values) longest = Math.max(longest, short(value).length);
  return longest;
}
