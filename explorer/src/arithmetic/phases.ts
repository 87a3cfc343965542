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

/** Numbers [channels, *stride], flat. */
export interface PhaseNumbers {
  readonly channels: number;
  readonly period: Index;
  readonly numbers: Float64Array;
}

/** Score below which `tconv.checkerboard` calls a layer even. */
export const VISIBLE = 0.02;

/** Share of the output that is a pattern of phases, as `tconv.checkerboard` measures it. */
export interface Checkerboard {
  /** Root mean square of the differences between phases over that of the output, for a constant input; 0 to 1. */
  readonly score: number;
  readonly byChannel: readonly number[];
  /** Gain per phase and output channel, root mean square over input channels. */
  readonly gains: PhaseNumbers;
  /** Distance of each gain from the mean over phases. */
  readonly spreads: PhaseNumbers;
}

/** Sum of the taps of each phase, [C_in, C_out, *stride]: the output for a constant 1, far from any border. */
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
  return { channels: channels.input * channels.output, period, numbers };
}

export function checkerboardOf(scene: Scene): Checkerboard {
  const { input, output } = scene.channels;
  const { numbers, period } = responseOf(scene);
  const phases = product(period);
  const largest = numbers.reduce((most, number) => Math.max(most, Math.abs(number)), 0) || 1;
  const pattern = new Float64Array(output);
  const whole = new Float64Array(output);
  const gains = new Float64Array(output * phases);
  const spreads = new Float64Array(output * phases);
  for (let pair = 0; pair < input * output; pair++) {
    const channel = pair % output;
    const row = numbers.subarray(pair * phases, (pair + 1) * phases);
    // equal gains differ by exactly 0 from the first one, in spite of the rounding of the mean
    const mean = row.reduce((sum, gain) => sum + (gain - row[0]!), 0) / phases;
    row.forEach((gain, r) => {
      const distance = gain - row[0]! - mean;
      pattern[channel]! += (distance / largest) ** 2;
      whole[channel]! += (gain / largest) ** 2;
      gains[channel * phases + r]! += gain ** 2 / input;
      spreads[channel * phases + r]! += distance ** 2 / input;
    });
  }
  const share = (part: number, all: number): number => (all > 0 ? Math.sqrt(part / all) : 0);
  const sum = (parts: Float64Array): number => parts.reduce((all, part) => all + part, 0);
  return {
    score: share(sum(pattern), sum(whole)),
    byChannel: Array.from(pattern, (part, channel) => share(part, whole[channel]!)),
    gains: { channels: output, period, numbers: gains.map(Math.sqrt) },
    spreads: { channels: output, period, numbers: spreads.map(Math.sqrt) },
  };
}
