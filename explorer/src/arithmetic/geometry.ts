/**
 * Positions of a transposed convolution, as `tconv.Geometry` has them.
 *
 * Per axis, with input index i, tap t, stride s, dilation d and k taps:
 *
 *     full[s*i + d*t] += x[i] * w[t]         len(full) = s*(n - 1) + d*(k - 1) + 1
 *     y = full[lo : len(full) - hi]          (lo, hi) is the crop; below 0 it extends with zeros
 */

import { refuse } from "./refusal";

export type Index = readonly number[];
export type Pair = readonly [number, number];

/** One axis of a geometry. */
export interface Axis {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Elements cut from both ends of the full result; negative ones extend it. */
  readonly crop: Pair;
}

export interface Geometry {
  readonly axes: readonly Axis[];
  readonly groups: number;
}

/** Outputs that one input element spans, gaps of the dilation included. */
export const extent = (axis: Axis): number => axis.dilation * (axis.kernel - 1) + 1;

/** Padding of the dilated input that means the crop of an axis; the crop that means such a padding, too. */
export const inputPadding = (axis: Axis): Pair => [extent(axis) - 1 - axis.crop[0], extent(axis) - 1 - axis.crop[1]];

/** Length before the crop. */
export const fullSize = (axis: Axis, input: number): number => axis.stride * (input - 1) + extent(axis);

/** Length of the output; 0 or less says that nothing is left. */
export const outputSize = (axis: Axis, input: number): number => fullSize(axis, input) - axis.crop[0] - axis.crop[1];

/** Length that the convolution with this geometry gives: the transpose's input, if an output has exactly this size. */
export const convSize = (axis: Axis, output: number): number =>
  Math.floor((output + axis.crop[0] + axis.crop[1] - extent(axis)) / axis.stride) + 1;

/** Geometry with other crops. */
export const cropped = (geometry: Geometry, crops: readonly Pair[]): Geometry => ({
  ...geometry,
  axes: geometry.axes.map((axis, a) => ({ ...axis, crop: crops[a]! })),
});

export const uncropped = (geometry: Geometry): Geometry =>
  cropped(
    geometry,
    geometry.axes.map(() => [0, 0]),
  );

/** Sizes as Python prints a tuple. */
export const tuple = (sizes: readonly (number | string)[]): string =>
  `(${sizes.join(", ")}${sizes.length === 1 ? "," : ""})`;

/** Output sizes. Refuses a crop that leaves nothing of an axis, at the field `blamed`. */
export function outputShape(geometry: Geometry, input: Index, blamed = "padding"): number[] {
  const shape = geometry.axes.map((axis, a) => outputSize(axis, input[a]!));
  const empty = shape.findIndex((size) => size < 1);
  if (empty >= 0) {
    const axis = geometry.axes[empty]!;
    refuse(
      blamed,
      `the output would be ${tuple(shape)}: spatial axis ${empty} has ${fullSize(axis, input[empty]!)} elements and ` +
        `the crop ${tuple(axis.crop)} removes all of them; at least one must remain. Use a smaller crop (padding)`,
    );
  }
  return shape;
}

/** Pairs of input and tap of one axis that meet in an output, in the order of the inputs. */
export function meeting(axis: Axis, input: number, output: number): { input: number; tap: number }[] {
  const found: { input: number; tap: number }[] = [];
  // of all taps, because they are fewer than inputs
  for (let tap = axis.kernel - 1; tap >= 0; tap--) {
    const i = (output + axis.crop[0] - axis.dilation * tap) / axis.stride;
    if (Number.isInteger(i) && i >= 0 && i < input) found.push({ input: i, tap });
  }
  return found;
}
