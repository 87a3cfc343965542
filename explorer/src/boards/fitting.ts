/** Cell sizes with which boards fit beside each other, or below each other on a narrow page. */

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

const READABLE = 24;
const SMALL = 90; // pixels: a board below grows its cells, or it would be a stamp beside the large ones

/** Return the pixels of a cell for each board. */
export function fit(boards: readonly Extent[], room: Room): number[] {
  const columns = boards.reduce((sum, board) => sum + board.columns, 0);
  const rows = Math.max(...boards.map((board) => board.rows));
  const beside = Math.min((room.width - room.gap * (boards.length - 1)) / columns, room.height / rows, room.largest);
  const narrow = room.width < 560;
  return boards.map((board) => {
    const alone = Math.min(room.width / board.columns, room.height / board.rows, room.largest);
    const shared = narrow && beside < READABLE ? alone : beside;
    const grown = Math.min(alone, READABLE, SMALL / Math.max(board.rows, board.columns));
    return whole(Math.max(shared, grown));
  });
}

/** Return whole pixels where a cell has some, so that lines are sharp. */
function whole(cell: number): number {
  return cell >= 3 ? Math.floor(cell) : Math.max(cell, 0.05);
}
