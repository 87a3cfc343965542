/** Cell sizes with which boards fit beside each other, or below each other where they would be too small. */

export interface Extent {
  readonly rows: number;
  readonly columns: number;
}

export interface Room {
  readonly width: number;
  /** Most pixels of a board's height. */
  readonly height: number;
  /** Most pixels of a cell. */
  readonly largest: number;
  /** Pixels between boards. */
  readonly gap: number;
}

export interface Fit {
  /** Pixels of a cell for each board. */
  readonly cells: readonly number[];
  /** "stacked" below each other, in one row, or "wrapped" where the last board goes below the others. */
  readonly layout: "row" | "stacked" | "wrapped";
}

const READABLE = 24;
const SMALL = 90; // pixels: a board below grows its cells, or it would be a stamp beside the large ones
export const CAPTION = 112; // pixels that the words above a board need

export function fit(boards: readonly Extent[], room: Room): Fit {
  const rows = Math.max(...boards.map((board) => board.rows));
  const alone = (board: Extent) => Math.min(room.width / board.columns, room.height / board.rows, room.largest);
  const grown = (board: Extent, shared: number) =>
    whole(Math.max(shared, Math.min(alone(board), READABLE, SMALL / Math.max(board.rows, board.columns))));
  const widthOf = (cells: readonly number[]) =>
    boards.reduce(
      (sum, board, at) => sum + Math.max(CAPTION, board.columns * cells[at]!),
      room.gap * (boards.length - 1),
    );
  const sharing = (shared: number) => boards.map((board) => grown(board, shared));
  let beside = whole(Math.min(room.height / rows, room.largest));
  while (beside > 1 && widthOf(sharing(beside)) > room.width) beside = whole(beside * 0.97 - 0.01);
  if (rows === 1 && beside < READABLE) {
    // rows of one size below each other: places of one axis can be compared
    const cell = whole(Math.min(...boards.map(alone)));
    return { cells: boards.map(() => cell), layout: "stacked" };
  }
  if (room.width >= 560 || beside >= READABLE) return { cells: sharing(beside), layout: "row" };
  // the largest board goes below the others: both rows are seen together where their numbers stay readable
  const [first = 0, second = 0] = boards.map((board) => board.rows).sort((a, b) => b - a);
  const most = Math.max(READABLE, room.height / (first + second));
  const cells = boards.map((board) => grown(board, Math.min(alone(board), most)));
  return { cells, layout: widthOf(cells) > room.width ? "wrapped" : "row" };
}

/** Return whole pixels where a cell has some, so that lines are sharp. */
function whole(cell: number): number {
  return cell >= 3 ? Math.floor(cell) : Math.max(cell, 0.05);
}
