/** Weights in the layout of a framework, read in the canonical order [C_in, C_out/groups, *kernel]. */

import type { Index } from "../arithmetic/geometry";
import { steps } from "../arithmetic/indices";
import type { WeightLayout } from "./dialect";

export interface WeightPlaces {
  /** [C_in, C_out/groups, *kernel]; with fractions where the groups do not divide the channels. */
  readonly shape: readonly number[];
  /** Flat place in the framework's array of an element of the canonical one. */
  placeOf(input: number, output: number, tap: Index): number;
}

/** Places of a weight with this shape in the framework. `groups` divide the axis that the layout counts them in. */
export function weightPlaces({ pattern, grouped, flip }: WeightLayout, groups: number, shape: Index): WeightPlaces {
  const spatial = Array.from({ length: shape.length - pattern.length + 1 }, (_, axis) => axis);
  const axes = [...pattern].flatMap<string | number>((letter) => (letter === "*" ? spatial : [letter]));
  const sizeOf = (axis: string | number): number => shape[axes.indexOf(axis)]!;
  const step = steps(shape);
  // most layouts have no axis of the groups
  const stepOf = (axis: string | number): number => step[axes.indexOf(axis)] ?? 0;
  const inner = sizeOf("I") / (grouped === "I" ? groups : 1);
  const outer = sizeOf("O") / (grouped === "O" ? groups : 1);
  const kernel = spatial.map(sizeOf);
  return {
    shape: [groups * inner, outer, ...kernel],
    placeOf(input, output, tap) {
      const group = Math.floor(input / inner);
      const i = grouped === "I" ? input : input % inner;
      const o = grouped === "O" ? group * outer + output : output;
      const taps = tap.reduce((sum, t, axis) => sum + (flip ? kernel[axis]! - 1 - t : t) * stepOf(axis), 0);
      return group * stepOf("G") + i * stepOf("I") + o * stepOf("O") + taps;
    },
  };
}
