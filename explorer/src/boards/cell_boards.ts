/** Boards whose cells are those of the input or the output. */

import { type Cell, sameCell } from "../state/selection";
import type { Store } from "../state/store";
import { Board } from "./board";
import { sentenceOf } from "./describe";
import { indexAt, type Spot } from "./face";

interface CellBoard {
  /** Name in the page: data-board. */
  readonly name: string;
  readonly title: string;
  readonly board: Cell["board"];
  /** Index of the element at a spot; null where the board has none there. Rows and columns where it is missing. */
  readonly indexOf?: (spot: Spot) => readonly number[] | null;
}

/** Make a board that points at, pins and says the cells of the input or the output. */
export function cellBoard({ name, title, board, indexOf }: CellBoard, store: Store): Board {
  const cellAt = (spot: Spot): Cell | null => {
    const { scene, selection } = store.moment;
    const index = scene && (indexOf ? indexOf(spot) : indexAt(spot, scene.inputShape.length));
    return index && { board, channel: selection.shown[board], index };
  };
  return new Board({
    name,
    title,
    onPoint: (spot) => store.select({ pointed: spot && cellAt(spot) }),
    onPin: (spot) => {
      const cell = spot && cellAt(spot);
      const { pinned } = store.moment.selection;
      const kept = sameCell(cell, pinned) ? null : cell;
      store.select({ pinned: kept });
      if (kept) store.announce("Pinned.");
      else if (pinned) store.announce("Released.");
    },
    onSay: (spot) => {
      const cell = cellAt(spot);
      const { scene, selection } = store.moment;
      store.announce(cell && scene ? sentenceOf(scene, cell, selection) : "A zero between the elements.");
    },
  });
}
