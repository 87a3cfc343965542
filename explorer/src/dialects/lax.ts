/**
 * Rules of jax.lax.conv_transpose, which JAX, Flax, Haiku and Equinox share.
 *
 * With e the kernel's extent, SAME crops max(e - s, 0)//2 in front and the rest of e - s behind; VALID crops
 * (0, min(e - s, 0)). A pair (a, b) is the padding of the dilated input, and crops (e - 1 - a, e - 1 - b).
 */

import { cropped, extent, inputPadding, type Axis, type Geometry, type Index, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { crops, entriesOf, intsOf, pairsOf } from "./arguments";
import { xlaEndsProcess, xlaReadsOutside } from "./fault_conditions";
import { shown, source, type Value } from "./value";

const NAMES: Readonly<Record<string, (axis: Axis) => Pair>> = {
  SAME(axis) {
    const spare = extent(axis) - axis.stride;
    const lo = Math.floor(Math.max(spare, 0) / 2);
    return [lo, spare - lo];
  },
  VALID: (axis) => [0, Math.min(extent(axis) - axis.stride, 0)],
};

/** Geometry with the crop that lax's padding means; `consistent` is use_consistent_padding=True. */
export function laxCropped(plain: Geometry, padding: Value, consistent = false): Geometry {
  const ndim = plain.axes.length;
  if (typeof padding === "string") return cropped(plain, plain.axes.map(named(padding, plain, consistent)));
  const entries = entriesOf(padding);
  const paired = (entry: Value): boolean => entriesOf(entry) !== null && !(consistent && source(entry).startsWith("["));
  if (!entries?.every(paired)) {
    refuse(
      "padding",
      `padding is ${shown(padding)}; one ${consistent ? "tuple" : "pair"} (lo, hi) per spatial axis is needed. Write ` +
        `padding=${source(plain.axes.map(() => [1, 1]))}`,
    );
  }
  const pairs = pairsOf(padding, "padding", ndim);
  if (consistent) return cropped(plain, pairs);
  return cropped(
    plain,
    plain.axes.map((axis, a) => inputPadding({ ...axis, crop: pairs[a]! })),
  );
}

/** Rule of a named padding per axis. */
function named(padding: string, plain: Geometry, consistent: boolean): (axis: Axis) => Pair {
  if (Object.hasOwn(NAMES, padding)) return NAMES[padding]!;
  const rule = padding.toUpperCase();
  const known = ["SAME", "SAME_LOWER", "VALID"].includes(rule);
  if (consistent || !known || plain.axes.some((axis) => axis.stride > 1)) {
    refuse(
      "padding",
      `padding is ${source(padding)}; "SAME", "VALID" or a (lo, hi) pair per spatial axis is needed (other spellings, ` +
        'and "SAME_LOWER", mean the padding of a convolution, with stride 1 only). Write padding="SAME"',
    );
  }
  // JAX passes any other spelling on to conv_general_dilated, which pads as an ordinary convolution does
  return (axis) => {
    const total = rule === "VALID" ? 0 : extent(axis) - 1;
    const before = Math.floor((total + (rule === "SAME_LOWER" ? 1 : 0)) / 2);
    return inputPadding({ ...axis, crop: [before, total - before] });
  };
}

/** Padding that means this crop, by name where it has one. */
export function paddingOfCrop(geometry: Geometry): Value {
  for (const [name, rule] of Object.entries(NAMES)) {
    if (geometry.axes.every((axis) => source(rule(axis)) === source(axis.crop))) return name;
  }
  return geometry.axes.map(inputPadding);
}

/** Integers of an argument that lax takes as a sequence only. */
export function perAxis(value: Value, name: string, example: number, ndim: number): number[] {
  const text = `${name}=${source(Array.from({ length: ndim }, () => example))}`;
  if (!entriesOf(value)) {
    refuse(
      name,
      `${name} is ${shown(value)}; jax.lax needs a sequence with one integer per spatial axis. Write ${text}`,
    );
  }
  return intsOf(value, name, ndim, { least: 1, example: text });
}

/** Reasons of all dialects on lax: there are no groups, and XLA has two faults that code must not run into. */
export function laxReasons(geometry: Geometry, input: Index): string[] {
  const reasons = geometry.groups > 1 ? [`${geometry.groups} groups, which it does not have`] : [];
  const crop = source(crops(geometry));
  if (xlaReadsOutside(geometry)) reasons.push(`the crop ${crop}, for which XLA reads outside x (openxla/xla#48713)`);
  if (xlaEndsProcess(geometry, input)) {
    reasons.push(`the crop ${crop} at input ${source(input)}, for which XLA ends the process`);
  }
  return reasons;
}
