/**
 * The textbook's picture of the stride: s - 1 zeros between inputs, zeros around, then a convolution with the flipped
 * kernel, whose window moves by one. It is for reading; no kernel computes so.
 */

import { extent, type Geometry, type Index, type Pair } from "./geometry";
import { choices, flat, indexOf, product } from "./indices";
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

export const aroundOf = (geometry: Geometry): Pair[] =>
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

/** Cells of the window of an output, in C order, each with the tap of the flipped kernel that lies on it. */
export function windowOf(geometry: Geometry, output: Index): { cell: Index; tap: Index }[] {
  const start = windowStart(geometry, output);
  const places = geometry.axes.map((axis) => Array.from({ length: axis.kernel }, (_, j) => j));
  return choices(places).map((place) => ({
    cell: geometry.axes.map((axis, a) => start[a]! + axis.dilation * place[a]!),
    tap: geometry.axes.map((axis, a) => axis.kernel - 1 - place[a]!),
  }));
}

/** Kernel between two channels, flipped along every axis; both are channels of the same group. */
export function flippedKernel({ geometry, channels, weight }: Scene, input: number, output: number): Float64Array {
  const taps = product(geometry.axes.map((axis) => axis.kernel));
  const outer = channels.output / geometry.groups;
  const at = (input * outer + (output % outer)) * taps;
  return weight.slice(at, at + taps).reverse();
}

/** Output as this view computes it. */
export function insertionOutput(scene: Scene): Float64Array {
  const { geometry, channels, outputShape } = scene;
  const spreads = Array.from({ length: channels.input }, (_, channel) => inserted(scene, channel));
  const inner = channels.input / geometry.groups;
  const outer = channels.output / geometry.groups;
  const size = product(outputShape);
  return Float64Array.from({ length: channels.output * size }, (_, at) => {
    const channel = Math.floor(at / size);
    const first = Math.floor(channel / outer) * inner;
    const window = windowOf(geometry, indexOf(at % size, outputShape));
    let sum = 0;
    for (let input = first; input < first + inner; input++) {
      const kernel = flippedKernel(scene, input, channel);
      const { values, shape } = spreads[input]!;
      window.forEach(({ cell }, j) => (sum += values[flat(cell, shape)]! * kernel[j]!));
    }
    return sum;
  });
}
