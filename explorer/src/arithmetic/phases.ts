/**
 * Phases of a transposed convolution: prod(stride) interleaved correlations with stride 1, each with its own taps.
 *
 *     full[s*j + r] = sum over taps t with (d*t) mod s == r of  x[j - (d*t) div s] * w[t]
 */

import type { Geometry, Index } from "./geometry";
import { indexOf, product } from "./indices";
import type { Scene } from "./scene";

/** Phase that an output element belongs to. */
export const phaseOf = (geometry: Geometry, output: Index): number[] =>
  geometry.axes.map((axis, a) => {
    const place = (output[a]! + axis.crop[0]) % axis.stride;
    return place < 0 ? place + axis.stride : place;
  });

/** Taps per phase and axis: uneven counts cause checkerboards. */
export const overlapOf = (geometry: Geometry): number[][] =>
  geometry.axes.map(({ kernel, stride, dilation }) => {
    const counts = Array.from({ length: stride }, () => 0);
    for (let t = 0; t < kernel; t++) counts[(dilation * t) % stride]!++;
    return counts;
  });

export const isEven = (geometry: Geometry): boolean =>
  overlapOf(geometry).every((counts) => counts.every((count) => count === counts[0]));

/** Numbers [C_in, C_out, *stride], flat. */
export interface PhaseNumbers {
  readonly period: Index;
  readonly numbers: Float64Array;
}

/** Score below which `tconv.checkerboard` calls a layer even. */
export const VISIBLE = 0.02;

/** Sum of the taps of each phase: the output for a constant 1, far from any border. */
export function responseOf({ geometry, channels, weight }: Scene): PhaseNumbers {
  const { axes, groups } = geometry;
  const period = axes.map((axis) => axis.stride);
  const phases = product(period);
  const kernel = axes.map((axis) => axis.kernel);
  const taps = product(kernel);
  const outer = channels.output / groups;
  const inner = channels.input / groups;
  const phase = Array.from({ length: taps }, (_, t) =>
    indexOf(t, kernel).reduce((at, tap, a) => at * axes[a]!.stride + ((axes[a]!.dilation * tap) % axes[a]!.stride), 0),
  );
  const numbers = new Float64Array(channels.input * channels.output * phases);
  weight.forEach((number, at) => {
    const pair = Math.floor(at / taps);
    const input = Math.floor(pair / outer);
    const output = Math.floor(input / inner) * outer + (pair % outer);
    numbers[(input * channels.output + output) * phases + phase[at % taps]!]! += number;
  });
  return { period, numbers };
}

/**
 * Share of the output that is a pattern of phases, as `tconv.checkerboard` scores it: root mean square of the
 * differences between phases over that of the output, for a constant input; 0 to 1.
 */
export function checkerboardOf(scene: Scene): number {
  const { numbers, period } = responseOf(scene);
  const phases = product(period);
  const largest = numbers.reduce((most, number) => Math.max(most, Math.abs(number)), 0) || 1;
  let [pattern, whole] = [0, 0];
  for (let first = 0; first < numbers.length; first += phases) {
    const row = numbers.subarray(first, first + phases);
    // equal gains differ by exactly 0 from the first one, in spite of the rounding of the mean
    const mean = row.reduce((sum, gain) => sum + (gain - row[0]!), 0) / phases;
    for (const gain of row) {
      pattern += ((gain - row[0]! - mean) / largest) ** 2;
      whole += (gain / largest) ** 2;
    }
  }
  return whole > 0 ? Math.sqrt(pattern / whole) : 0;
}
