/**
 * Least squares: the x of smallest |K^T x - y|, the inverse that the name "deconvolution" promises and K is not.
 *
 * Householder reflections with column pivoting (Golub and Van Loan, Matrix Computations, 5.4) find x and the rank of K.
 */

import type { Matrix } from "./matrix";

/** Most inputs times outputs: beyond them the page would stand still. */
const MOST = 100_000;

export interface LeastSquares {
  /** Input of least |x| among the best ones. */
  readonly x: Float64Array;
  /** Number of inputs that y determines; below `rows` of K, other x give the same y. */
  readonly rank: number;
  readonly fullRank: boolean;
}

/** Solve K^T x = y by least squares; null if K is too large to solve while one waits. */
export function leastSquares(matrix: Matrix, y: ArrayLike<number>): LeastSquares | null {
  const { rows: unknowns, columns: equations } = matrix;
  if (unknowns * equations > MOST) return null;
  // a column of K^T for each input
  const columns = Array.from({ length: unknowns }, (_, r) => {
    const column = new Float64Array(equations);
    for (const entry of matrix.row(r)) column[entry.column]! += entry.value;
    return column;
  });
  const right = Float64Array.from(y);
  // of numbers around 1, whose squares neither overflow nor vanish
  const taps = scaled(columns);
  const sums = scaled([right]);
  const { order, rank } = reduce(columns, [right]);
  // R z = c with more unknowns than equations where the rank is not full: the z of least length
  const z = fewestOf(
    columns.map((column) => column.slice(0, rank)),
    right.slice(0, rank),
  );
  const x = new Float64Array(unknowns);
  order.forEach((r, at) => (x[r] = (z[at]! / taps) * sums));
  return { x, rank, fullRank: rank === unknowns };
}

/** Divide arrays by their largest number, and return it; 1 if there is none but 0. */
function scaled(arrays: readonly Float64Array[]): number {
  const largest =
    arrays.reduce((most, array) => array.reduce((one, value) => Math.max(one, Math.abs(value)), most), 0) || 1;
  for (const array of arrays) array.forEach((value, at) => (array[at] = value / largest));
  return largest;
}

const dot = (a: Float64Array, b: Float64Array, from: number): number => {
  let sum = 0;
  for (let at = from; at < a.length; at++) sum += a[at]! * b[at]!;
  return sum;
};

/** Reduce columns to upper triangular form in place, the largest first, and apply the same to others. */
function reduce(columns: Float64Array[], others: Float64Array[], pivoting = true): { order: number[]; rank: number } {
  const height = columns[0]!.length;
  const order = columns.map((_, at) => at);
  const most = Math.min(height, columns.length);
  // squared length of each column from the step on, and that of its last exact computation
  const powers = columns.map((column) => dot(column, column, 0));
  const exact = [...powers];
  let largest = 0;
  for (let step = 0; step < most; step++) {
    if (pivoting) {
      let best = step;
      for (let at = step; at < columns.length; at++) {
        // the difference of two close numbers says nothing any more
        if (powers[at]! <= exact[at]! * 1e-6) powers[at] = exact[at] = dot(columns[at]!, columns[at]!, step);
        if (powers[at]! > powers[best]!) best = at;
      }
      for (const list of [columns, order, powers, exact] as unknown[][]) {
        [list[step], list[best]] = [list[best], list[step]];
      }
    }
    const column = columns[step]!;
    const length = Math.sqrt(dot(column, column, step));
    largest ||= length;
    if (length <= largest * Math.max(height, columns.length) * 2 ** -50) return { order, rank: step };
    const pivot = column[step]! > 0 ? -length : length;
    const mirror = column.slice();
    mirror.fill(0, 0, step);
    mirror[step]! -= pivot;
    const scale = 2 / dot(mirror, mirror, step);
    for (const other of [...columns.slice(step), ...others]) {
      const times = dot(mirror, other, step) * scale;
      for (let at = step; at < height; at++) other[at]! -= times * mirror[at]!;
    }
    for (let at = step + 1; at < columns.length; at++) powers[at]! -= columns[at]![step]! ** 2;
  }
  return { order, rank: most };
}

/** Solution of least length of R z = c, where R [c, unknowns] has full row rank and begins with a triangle. */
function fewestOf(columns: Float64Array[], right: Float64Array): Float64Array {
  const rank = right.length;
  const z = new Float64Array(columns.length);
  if (!rank) return z;
  if (rank === columns.length) {
    for (let at = rank - 1; at >= 0; at--) {
      let sum = right[at]!;
      for (let next = at + 1; next < rank; next++) sum -= columns[next]![at]! * z[next]!;
      z[at] = sum / columns[at]![at]!;
    }
    return z;
  }
  // R^T = Q T, so z = Q (T^T)^-1 c
  const rows = Array.from({ length: rank }, (_, r) => Float64Array.from(columns, (column) => column[r]!));
  const identity = columns.map((_, at) => Float64Array.from(columns, (_, n) => (n === at ? 1 : 0)));
  reduce(rows, identity, false);
  const short = new Float64Array(columns.length);
  for (let at = 0; at < rank; at++) {
    let sum = right[at]!;
    for (let before = 0; before < at; before++) sum -= rows[at]![before]! * short[before]!;
    short[at] = sum / rows[at]![at]!;
  }
  return Float64Array.from(identity, (column) => dot(column, short, 0));
}
