/**
 * Positions of a transposed convolution, as `tconv.Geometry` has them.
 *
 * Per axis, with input index i, tap t, stride s, dilation d and k taps:
 *
 *     full[s*i + d*t] += x[i] * w[t]         len(full) = s*(n - 1) + d*(k - 1) + 1
 *     y = full[lo : len(full) - hi]          (lo, hi) is the crop; below 0 it extends with zeros
 */

export type Index = readonly number[];

/** One axis of a geometry. */
export interface Axis {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Elements cut from both ends of the full result; negative ones extend it. */
  readonly crop: readonly [number, number];
}

export interface Geometry {
  readonly axes: readonly Axis[];
  readonly groups: number;
}

/** Length before the crop. */
export function fullSize(axis: Axis, input: number): number {
  return axis.stride * (input - 1) + axis.dilation * (axis.kernel - 1) + 1;
}

/** Length of the output; 0 or less says that nothing is left. */
export function outputSize(axis: Axis, input: number): number {
  return fullSize(axis, input) - axis.crop[0] - axis.crop[1];
}

/** Pairs of input and tap of one axis that meet in an output, in the order of the inputs. */
export function meeting(axis: Axis, input: number, output: number): { input: number; tap: number }[] {
  const place = output + axis.crop[0];
  const found: { input: number; tap: number }[] = [];
  for (let i = 0; i < input; i++) {
    const reach = place - axis.stride * i;
    const tap = reach / axis.dilation;
    if (reach >= 0 && Number.isInteger(tap) && tap < axis.kernel) found.push({ input: i, tap });
  }
  return found;
}
