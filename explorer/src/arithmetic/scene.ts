/**
 * One transposed convolution with its numbers: all that boards and panels show.
 *
 * Arrays are flat, in C order: x [C_in, *input], weight [C_in, C_out/groups, *kernel], full and output [C_out, *size].
 */

import { fullSize, meeting, outputShape, type Geometry, type Index } from "./geometry";
import { choices, flat, indexOf, product, steps } from "./indices";

/** A product that reaches a place. */
export interface Product {
  /** Channel and place of the input element. */
  readonly inputChannel: number;
  readonly input: Index;
  readonly tap: Index;
  /** Channel and place in the full result; `output` is null where the crop removes it. */
  readonly outputChannel: number;
  readonly full: Index;
  readonly output: Index | null;
  readonly x: number;
  readonly w: number;
  readonly product: number;
}

export interface Channels {
  readonly input: number;
  readonly output: number;
}

export interface Scene {
  readonly geometry: Geometry;
  readonly channels: Channels;
  readonly inputShape: Index;
  readonly fullShape: Index;
  readonly outputShape: Index;
  readonly x: Float64Array;
  readonly weight: Float64Array;
  readonly full: Float64Array;
  readonly output: Float64Array;
  /** Products that are summed in an output element, in the order of the scatter: the gather view of it. */
  gathered(channel: number, output: Index): Product[];
  /** Products that an input element paints into the output channels of its group. */
  painted(channel: number, input: Index): Product[];
}

/** Scene of these numbers. Refuses a geometry without an output, at the field `blamed`. */
export function makeScene(
  geometry: Geometry,
  channels: Channels,
  inputShape: Index,
  x: Float64Array,
  weight: Float64Array,
  blamed?: string,
): Scene {
  const shape = outputShape(geometry, inputShape, blamed);
  const fullShape = geometry.axes.map((axis, a) => fullSize(axis, inputShape[a]!));
  const kernel = geometry.axes.map((axis) => axis.kernel);
  const inner = channels.input / geometry.groups;
  const outer = channels.output / geometry.groups;
  const inputs = product(inputShape);
  const taps = product(kernel);
  const fulls = product(fullShape);
  const fullSteps = steps(fullShape);
  // positions in the full result of every input at tap 0, and from there of every tap
  const starts = placesOf(
    inputShape,
    fullSteps,
    geometry.axes.map((axis) => axis.stride),
  );
  const reaches = placesOf(
    kernel,
    fullSteps,
    geometry.axes.map((axis) => axis.dilation),
  );

  /** Add what the input elements paint, in C order with channels first. */
  function paint(full: Float64Array): void {
    for (let element = 0; element < x.length; element++) {
      const channel = Math.floor(element / inputs);
      const first = Math.floor(channel / inner) * outer * fulls + starts[element % inputs]!;
      const number = x[element]!;
      for (let o = 0; o < outer; o++) {
        const row = (channel * outer + o) * taps;
        const at = first + o * fulls;
        for (let t = 0; t < taps; t++) full[at + reaches[t]!]! += number * weight[row + t]!;
      }
    }
  }

  function crop(full: Float64Array): Float64Array {
    const output = new Float64Array(channels.output * product(shape));
    const rows = output.length / shape.at(-1)!;
    const axis = geometry.axes.at(-1)!;
    const width = fullShape.at(-1)!;
    const first = Math.max(0, -axis.crop[0]);
    const length = Math.min(width, axis.crop[0] + shape.at(-1)!) - Math.max(0, axis.crop[0]);
    for (let row = 0; row < rows; row++) {
      const [channel, ...upper] = indexOf(row, [channels.output, ...shape.slice(0, -1)]);
      const above = upper.map((o, a) => o + geometry.axes[a]!.crop[0]);
      if (length <= 0 || above.some((place, a) => place < 0 || place >= fullShape[a]!)) continue;
      const from = flat([channel!, ...above, Math.max(0, axis.crop[0])], [channels.output, ...fullShape]);
      output.set(full.subarray(from, from + length), row * shape.at(-1)! + first);
    }
    return output;
  }

  function productOf(inputChannel: number, input: Index, tap: Index, outputChannel: number): Product {
    const full = geometry.axes.map((axis, a) => axis.stride * input[a]! + axis.dilation * tap[a]!);
    const output = full.map((place, a) => place - geometry.axes[a]!.crop[0]);
    const inside = output.every((place, a) => place >= 0 && place < shape[a]!);
    const number = x[inputChannel * inputs + flat(input, inputShape)]!;
    const w = weight[(inputChannel * outer + (outputChannel % outer)) * taps + flat(tap, kernel)]!;
    return {
      inputChannel,
      input,
      tap,
      outputChannel,
      full,
      output: inside ? output : null,
      x: number,
      w,
      // no -0
      product: number * w + 0,
    };
  }

  const full = new Float64Array(channels.output * fulls);
  paint(full);

  return {
    geometry,
    channels,
    inputShape,
    fullShape,
    outputShape: shape,
    x,
    weight,
    full,
    output: crop(full),
    gathered(channel, output) {
      const pairs = choices(geometry.axes.map((axis, a) => meeting(axis, inputShape[a]!, output[a]!)));
      const first = Math.floor(channel / outer) * inner;
      return range(inner).flatMap((c) =>
        pairs.map((pair) =>
          productOf(
            first + c,
            pair.map((one) => one.input),
            pair.map((one) => one.tap),
            channel,
          ),
        ),
      );
    },
    painted(channel, input) {
      const first = Math.floor(channel / inner) * outer;
      return range(outer).flatMap((o) =>
        choices(kernel.map(range)).map((tap) => productOf(channel, input, tap, first + o)),
      );
    },
  };
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Flat position of every index of `shape`, in C order, where an index is that many `strides` from place 0. */
function placesOf(shape: Index, elements: readonly number[], strides: readonly number[]): Int32Array {
  const places = new Int32Array(product(shape));
  for (let position = 0; position < places.length; position++) {
    places[position] = indexOf(position, shape).reduce((at, i, a) => at + i * strides[a]! * elements[a]!, 0);
  }
  return places;
}
