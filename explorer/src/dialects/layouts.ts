/** Weights in the layout of a framework and in the canonical one, [C_in, C_out/groups, *kernel]. */

import { indexOf, product, steps } from "../arithmetic/indices";
import type { WeightLayout } from "./dialect";

export interface NumberArray {
  readonly shape: readonly number[];
  readonly numbers: readonly number[];
}

/** Axes of a pattern: letters, and the numbers of the spatial axes. */
const axesOf = (pattern: string, ndim: number): (string | number)[] =>
  [...pattern].flatMap<string | number>((letter) =>
    letter === "*" ? Array.from({ length: ndim }, (_, axis) => axis) : [letter],
  );

/**
 * Sizes and steps, in the canonical array, of the axes of a layout.
 *
 * Every layout has the same elements [group, input of it, output of it, *taps]; one of G, I and O is in another axis.
 */
function split(layout: WeightLayout, groups: number, inner: number, outer: number, kernel: readonly number[]) {
  const whole = [groups, inner, outer, ...kernel];
  const [group, input, output, ...taps] = steps(whole) as [number, number, number, ...number[]];
  // an axis is one or two of these parts, the first of which is the slower
  const parts = axesOf(layout.pattern, kernel.length).map((axis) => {
    const own =
      typeof axis === "number"
        ? { size: kernel[axis]!, step: layout.flip ? -taps[axis]! : taps[axis]! }
        : { G: { size: groups, step: group }, I: { size: inner, step: input }, O: { size: outer, step: output } }[
            axis
          ]!;
    return axis === layout.grouped && axis !== "G" ? [{ size: groups, step: group }, own] : [own];
  });
  const first = layout.flip ? kernel.reduce((sum, size, axis) => sum + (size - 1) * taps[axis]!, 0) : 0;
  return { first, parts };
}

/** Place in the canonical array of every element of the native one, and the native shape. */
function places(layout: WeightLayout, groups: number, inner: number, outer: number, kernel: readonly number[]) {
  const { first, parts } = split(layout, groups, inner, outer, kernel);
  const flat = parts.flat();
  const sizes = flat.map((part) => part.size);
  return {
    shape: parts.map((part) => product(part.map((one) => one.size))),
    order: Array.from({ length: product(sizes) }, (_, at) =>
      indexOf(at, sizes).reduce((place, index, n) => place + index * flat[n]!.step, first),
    ),
  };
}

/** Canonical weight in the layout of a framework. */
export function nativeWeight(layout: WeightLayout, groups: number, { shape, numbers }: NumberArray): NumberArray {
  const [inputs, outer, ...kernel] = shape as [number, number, ...number[]];
  const native = places(layout, groups, inputs / groups, outer, kernel);
  return { shape: native.shape, numbers: native.order.map((place) => numbers[place]!) };
}

/** Weight of a framework as the canonical one. `groups` divide the axis that the layout counts them in. */
export function canonicalWeight(layout: WeightLayout, groups: number, { shape, numbers }: NumberArray): NumberArray {
  const ndim = shape.length - layout.pattern.length + 1;
  const axes = axesOf(layout.pattern, ndim);
  const size = (axis: string | number): number => shape[axes.indexOf(axis)]!;
  const inGroup = (axis: "I" | "O"): number => (layout.grouped === axis ? size(axis) / groups : size(axis));
  const kernel = Array.from({ length: ndim }, (_, axis) => size(axis));
  const [inner, outer] = [inGroup("I"), inGroup("O")];
  const { order } = places(layout, groups, inner, outer, kernel);
  const found = new Array<number>(numbers.length);
  order.forEach((place, at) => (found[place] = numbers[at]!));
  return { shape: [groups * inner, outer, ...kernel], numbers: found };
}
