/**
 * TensorFlow's SAME and VALID: the rule of tf.nn, TensorFlow Lite and Haiku's output_shape, where the size is given.
 *
 * An output size is legal if the convolution with the same arguments gives the size of x for it. SAME crops
 * max(F - L, 0)//2 in front, VALID nothing, an explicit pair its first entry; the rest is cropped behind.
 */

import {
  cropped,
  extent,
  fullSize,
  outputShape,
  type Axis,
  type Geometry,
  type Index,
  type Pair,
} from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { entriesOf, intsOf } from "./arguments";
import { shown, source, type Value } from "./value";

/** Padding per axis of a name: null for SAME, whose padding depends on the sizes. */
export const NAMED: Readonly<Record<string, Pair | null>> = { SAME: null, VALID: [0, 0] };

/** Text of an output_shape that follows from the input: n * stride with SAME, else without a crop beyond the pair. */
export const NATURAL = "natural";

type Ends = readonly [number, number];

const sum = (pair: Pair): number => pair[0] + pair[1];

/** First and last legal output size; a first one beyond the last says that there is none. */
export function legalSizes(pair: Pair | null, n: number, axis: Axis): Ends {
  const last = pair ? axis.stride * n + extent(axis) - 1 - sum(pair) : axis.stride * n;
  return [Math.max(1, last - axis.stride + 1), last];
}

function inputSize(pair: Pair | null, L: number, axis: Axis): number {
  return pair ? Math.floor((L + sum(pair) - extent(axis)) / axis.stride) + 1 : Math.ceil(L / axis.stride);
}

/** Geometry with the crop that makes an output of sizes `large`, or natural ones, from one of sizes `small`. */
export function cropBetween(
  plain: Geometry,
  pairs: readonly (Pair | null)[],
  padding: Value,
  small: Index,
  large: Index | null,
  legal = legalSizes,
): Geometry {
  const found = plain.axes.map((axis, a): Pair => {
    const n = small[a]!;
    const pair = pairs[a]!;
    const L = large ? large[a]! : pair ? fullSize(axis, n) - sum(pair) : axis.stride * n;
    const [first, last] = legal(pair, n, axis);
    if (L < first || L > last) {
      const fit = first > last ? "there is none" : first === last ? `${first}` : `${first} to ${last}`;
      refuse(
        "output_shape",
        `output_shape has ${L} on spatial axis ${a}, which a ${source(padding)} convolution with stride ` +
          `${axis.stride} reduces to ${inputSize(pair, L, axis)}; x has ${n} there. Use a size that it reduces to ` +
          `${n}: ${fit}`,
      );
    }
    const rest = fullSize(axis, n) - L;
    const lo = pair ? pair[0] : Math.floor(Math.max(rest, 0) / 2);
    return [lo, rest - lo];
  });
  return cropped(plain, found);
}

/** Padding whose rule gives this crop, "SAME" or "VALID"; null if neither does. */
export function paddingName(geometry: Geometry, input: Index): string | null {
  const large = outputShape(geometry, input);
  for (const [name, pair] of Object.entries(NAMED)) {
    const fits = geometry.axes.every((axis, a) => {
      const [first, last] = legalSizes(pair, input[a]!, axis);
      const lo = pair ? pair[0] : Math.floor(Math.max(axis.crop[0] + axis.crop[1], 0) / 2);
      return first <= large[a]! && large[a]! <= last && axis.crop[0] === lo;
    });
    if (fits) return name;
  }
  return null;
}

/** Spatial sizes of an output_shape: the whole shape with its channels at axis `channels`, or the sizes alone. */
export function spatialShape(
  given: Value | undefined,
  plain: Geometry,
  small: Index,
  operator: string,
  channels: 1 | -1,
): Index | null {
  if (given === NATURAL) return null;
  const ndim = small.length;
  const sizes = plain.axes.map((axis, a) => axis.stride * small[a]!);
  const text = (channels === 1 ? ["N", "C_out", ...sizes] : ["N", ...sizes, "C_out"]).join(", ");
  const instead = `Write output_shape=[${text}]`;
  if (given === undefined || given === null) {
    refuse("output_shape", `output_shape is missing; ${operator} needs it, with SAME too. ${instead}`);
  }
  let entries = entriesOf(given);
  if (!entries && ndim > 1) {
    refuse("output_shape", `output_shape is ${shown(given)}; a sequence of ${ndim + 2} integers is needed. ${instead}`);
  }
  entries ??= [given];
  if (entries.length === ndim + 2) entries = channels === 1 ? entries.slice(2) : entries.slice(1, -1);
  if (entries.length !== ndim) {
    refuse(
      "output_shape",
      `output_shape is ${shown(given)}, which has ${entries.length} entries; ${ndim + 2} are needed. ${instead}`,
    );
  }
  const example = `output_shape=[${text}]`;
  return intsOf(entries, "the spatial part of output_shape", ndim, { least: 1, example });
}
