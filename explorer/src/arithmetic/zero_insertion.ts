/**
 * The textbook's picture of the stride: s - 1 zeros between inputs, zeros around, then a convolution with the flipped
 * kernel, whose window moves by one. It is for reading; no kernel computes so.
 */

import { extent, type Geometry, type Index, type Pair } from "./geometry";
import { flat, indexOf, product } from "./indices";
import type { Scene } from "./scene";

/** Input with the zeros between and around its elements, of one channel. */
export interface Spread {
  readonly shape: Index;
  readonly values: Float64Array;
  /** Flat position of the input element in its channel for each cell; -1 for an inserted zero. */
  readonly origin: Int32Array;
  /** Zeros before and after the inputs per axis: extent - 1 - crop, and at least 0. */
  readonly around: readonly Pair[];
}

const aroundOf = (geometry: Geometry): Pair[] =>
  geometry.axes.map((axis): Pair => {
    const reach = extent(axis) - 1;
    return [Math.max(0, reach - axis.crop[0]), Math.max(0, reach - axis.crop[1])];
  });

export function inserted({ geometry, inputShape, x }: Scene, channel: number): Spread {
  const around = aroundOf(geometry);
  const shape = geometry.axes.map((axis, a) => {
    const [before, after] = around[a]!;
    return before + axis.stride * (inputShape[a]! - 1) + 1 + after;
  });
  const values = new Float64Array(product(shape));
  const origin = new Int32Array(values.length).fill(-1);
  for (let position = 0; position < product(inputShape); position++) {
    const input = indexOf(position, inputShape);
    const cell = flat(
      geometry.axes.map((axis, a) => around[a]![0] + axis.stride * input[a]!),
      shape,
    );
    values[cell] = x[channel * product(inputShape) + position]!;
    origin[cell] = position;
  }
  return { shape, values, origin, around };
}

/** First cell of the window of an output; its other cells are steps of the dilation away, one per tap. */
export const windowStart = (geometry: Geometry, output: Index): number[] =>
  geometry.axes.map((axis, a) => output[a]! + Math.max(0, axis.crop[0] - extent(axis) + 1));
