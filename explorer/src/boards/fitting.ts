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
  /** True if the boards stand below each other. */
  readonly stacked: boolean;
}

const READABLE = 24;
const SMALL = 90; // pixels: a board below grows its cells, or it would be a stamp beside the large ones

export function fit(boards: readonly Extent[], room: Room): Fit {
  const columns = boards.reduce((sum, board) => sum + board.columns, 0);
  const rows = Math.max(...boards.map((board) => board.rows));
  const beside = Math.min((room.width - room.gap * (boards.length - 1)) / columns, room.height / rows, room.largest);
  const widest = Math.max(...boards.map((board) => board.columns));
  if (rows === 1 && beside < READABLE) {
    // rows of one size below each other: places of one axis can be compared
    const cell = whole(Math.min(room.width / widest, room.largest));
    return { cells: boards.map(() => cell), stacked: true };
  }
  const narrow = room.width < 560;
  const cells = boards.map((board) => {
    const alone = Math.min(room.width / board.columns, room.height / board.rows, room.largest);
    const shared = narrow && beside < READABLE ? alone : beside;
    const grown = Math.min(alone, READABLE, SMALL / Math.max(board.rows, board.columns));
    return whole(Math.max(shared, grown));
  });
  return { cells, stacked: false };
}

/** Return whole pixels where a cell has some, so that lines are sharp. */
function whole(cell: number): number {
  return cell >= 3 ? Math.floor(cell) : Math.max(cell, 0.05);
}
