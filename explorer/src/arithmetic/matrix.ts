/**
 * The matrix K of the convolution whose transpose this is: rows are inputs, columns are outputs, both in C order with
 * channels first, and K[i, s*i + d*t - lo] = w[t]. So y = K^T x.
 */

import { flat, indexOf, product } from "./indices";
import type { Product, Scene } from "./scene";

export interface Entry {
  readonly row: number;
  readonly column: number;
  readonly value: number;
}

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** Entries that a tap lies on, in the order of the columns. */
  row(row: number): Entry[];
  /** K^T x, the transposed convolution. */
  transposedTimes(x: ArrayLike<number>): Float64Array;
  /** K y, the convolution. */
  times(y: ArrayLike<number>): Float64Array;
}

export function matrixOf(scene: Scene): Matrix {
  const { channels, inputShape, outputShape } = scene;
  const inputs = product(inputShape);
  const outputs = product(outputShape);
  const [rows, columns] = [channels.input * inputs, channels.output * outputs];

  const entry = ({ inputChannel, input, outputChannel, output, w }: Product): Entry => ({
    row: inputChannel * inputs + flat(input, inputShape),
    column: outputChannel * outputs + flat(output!, outputShape),
    value: w,
  });
  const row = (at: number): Entry[] =>
    scene
      .painted(Math.floor(at / inputs), indexOf(at % inputs, inputShape))
      .filter((one) => one.output)
      .map(entry);

  return {
    rows,
    columns,
    row,
    transposedTimes(x) {
      const y = new Float64Array(columns);
      for (let r = 0; r < rows; r++) for (const { column, value } of row(r)) y[column]! += value * x[r]!;
      return y;
    },
    times(y) {
      return Float64Array.from({ length: rows }, (_, r) =>
        row(r).reduce((sum, { column, value }) => sum + value * y[column]!, 0),
      );
    },
  };
}
