/** What a board shows: a grid of cells, and marks above it. */

/** Row and column on a board; a board of one axis has one row. */
export type Spot = readonly [number, number];

export interface Look {
  readonly fill: string;
  readonly text?: string;
  /** Cut off by the crop. */
  readonly hatched?: boolean;
  /** Less important: its number is drawn muted. */
  readonly faint?: boolean;
}

export interface Face {
  readonly rows: number;
  readonly columns: number;
  look(row: number, column: number): Look | null;
  /** Cells that have a look, of a board that is mostly empty; all cells where it is missing. */
  readonly filled?: readonly Spot[];
  /** Part that answers the pointer and the keyboard; the whole board where it is missing. */
  readonly inside?: Frame;
  readonly frames?: readonly Frame[];
  /** Characters of the longest number, which decide the size of all. */
  readonly longest: number;
}

export interface Frame {
  readonly row: number;
  readonly column: number;
  readonly rows: number;
  readonly columns: number;
  readonly colour: string;
  readonly width?: number;
  readonly dashed?: boolean;
}

/** A cell that is lit. */
export interface Mark {
  readonly row: number;
  readonly column: number;
  /** Colour of the outline; none without it. */
  readonly colour?: string;
  /** Number that pairs the cell with its partner on another board. */
  readonly badge?: string;
  /** Look that the cell has while it is lit. */
  readonly look?: Look;
  readonly dashed?: boolean;
}

export interface Marks {
  readonly cells: readonly Mark[];
  readonly frames: readonly Frame[];
}

export const NO_MARKS: Marks = { cells: [], frames: [] };

/** Return the spot of an index of one or two axes. */
export function spotOf(index: readonly number[]): Spot {
  return index.length === 1 ? [0, index[0]!] : [index[0]!, index[1]!];
}

/** Return the index at a spot, in `rank` axes. */
export function indexAt([row, column]: Spot, rank: number): number[] {
  return rank === 1 ? [column] : [row, column];
}

/** Return rows and columns of a shape. */
export function gridOf(shape: readonly number[]): Spot {
  return shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!];
}
