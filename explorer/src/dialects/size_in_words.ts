/**
 * Size of the output as a framework's own documents compute it, in its words and then in numbers.
 *
 * A rule answers for the arguments that it knows. An answer is shown only if it gives the size that the geometry gives.
 */

import { type Axis, extent } from "../arithmetic/geometry";
import type { Dialect, Part } from "./dialect";
import { parsed, type Value } from "./value";

/** One axis of a call, with the arguments as they are written. */
interface Place {
  readonly dialect: Dialect;
  readonly words: Readonly<Record<string, string>>;
  readonly axis: Axis;
  readonly input: number;
  readonly output: number;
}

/** The formula in words, the same in numbers, and what it gives. */
interface Answer {
  readonly words: string;
  readonly numbers: string;
  readonly size: number;
}

type Rule = (place: Place) => Answer | null;

/** Return both lines of the formula, or null where the framework has none for these arguments. */
export function sizeInWords(place: Place): { words: string; numbers: string } | null {
  for (const rule of RULES) {
    const answer = rule(place);
    if (answer) return answer.size === place.output ? answer : null;
  }
  return null;
}

const RULES: readonly Rule[] = [named, fitted, same, valid, begunAndEnded, padded, dilatedInput];

/** Name that a dialect has for a part of the geometry. */
const nameOf = ({ dialect }: Place, part: Part): string | null =>
  dialect.words(2).find((word) => word.part === part)?.name ?? null;

const has = ({ dialect }: Place, name: string): boolean => dialect.words(2).some((word) => word.name === name);
const strideName = (place: Place): string => nameOf(place, "stride") ?? "stride";

function valueOf({ dialect, words }: Place, name: string): Value | null {
  const word = dialect.words(2).find((each) => each.name === name);
  const text = words[name] ?? word?.fallback ?? "";
  return text === "" ? null : parsed(text);
}

/** Rule of the padding by name, in small letters: "same", "valid"; "" for numbers. */
function paddingRule(place: Place): string {
  for (const name of ["auto_pad", "padding"]) {
    const value = valueOf(place, name);
    if (typeof value === "string" && !/^(notset|explicit)$/i.test(value)) return value.toLowerCase().replace(/_.*/, "");
  }
  return "";
}

/** Extent of the kernel, in words and in numbers. */
function spanOf(place: Place): { words: string; numbers: string; size: number } {
  const dilation = nameOf(place, "dilation");
  const { kernel, dilation: d } = place.axis;
  if (!dilation) return { words: "kernel", numbers: String(kernel), size: kernel };
  return { words: `(${dilation}·(kernel − 1) + 1)`, numbers: `(${d}·(${kernel} − 1) + 1)`, size: extent(place.axis) };
}

/** Extra rows at the end, where the dialect has an argument for them that is given. */
function extraOf(place: Place, size: number): { words: string; numbers: string } {
  return has(place, "output_padding")
    ? { words: " + output_padding", numbers: ` + ${size}` }
    : { words: "", numbers: "" };
}

/** Sizes that are asked for by name, and a crop that follows from them. */
function named(place: Place): Answer | null {
  const name = ["output_shape", "output_size"].find((each) => valueOf(place, each) !== null);
  if (!name || FITTED.has(place.dialect.name)) return null;
  const { axis, output } = place;
  const crop = axis.crop[0] + axis.crop[1];
  return {
    words: `${name}, and the crop is what that leaves over`,
    numbers: `${output}, and ${crop} of ${output + crop} are cut away`,
    size: output,
  };
}

const FITTED = new Set(["tensorflow", "tflite"]);

/** TensorFlow: the size is given, and must be one that the convolution shrinks to the input's. */
function fitted(place: Place): Answer | null {
  if (!FITTED.has(place.dialect.name)) return null;
  const { axis, input, output } = place;
  const span = spanOf(place);
  const rule = paddingRule(place);
  const [lo, hi] = axis.crop;
  const fit =
    rule === "same"
      ? {
          words: "⌈output_shape / strides⌉",
          numbers: `⌈${output} / ${axis.stride}⌉`,
          size: Math.ceil(output / axis.stride),
        }
      : rule === "valid"
        ? {
            words: `⌊(output_shape − ${span.words}) / strides⌋ + 1`,
            numbers: `⌊(${output} − ${span.numbers}) / ${axis.stride}⌋ + 1`,
            size: Math.floor((output - span.size) / axis.stride) + 1,
          }
        : {
            words: `⌊(output_shape + padding − ${span.words}) / strides⌋ + 1`,
            numbers: `⌊(${output} + ${lo + hi} − ${span.numbers}) / ${axis.stride}⌋ + 1`,
            size: Math.floor((output + lo + hi - span.size) / axis.stride) + 1,
          };
  if (fit.size !== input) return null;
  return {
    words: `output_shape, which must fit: ${fit.words} is the input's size`,
    numbers: `${output}: ${fit.numbers} = ${input}`,
    size: output,
  };
}

/** "same": as many outputs as strides fit, or Keras' rule with an output_padding. */
function same(place: Place): Answer | null {
  if (paddingRule(place) !== "same") return null;
  const { axis, input, output } = place;
  const stride = strideName(place);
  if (place.dialect.name === "keras" && valueOf(place, "output_padding") !== null) {
    const e = extent(axis);
    const extra = output - (axis.stride * (input - 1) + (e % 2));
    const span = spanOf(place);
    return {
      words: `(input − 1)·${stride} + e − 2·⌊e / 2⌋ + output_padding, with e = ${span.words.replace(/^\((.*)\)$/, "$1")}`,
      numbers: `(${input} − 1)·${axis.stride} + ${e} − 2·${Math.floor(e / 2)} + ${extra}`,
      size: axis.stride * (input - 1) + (e % 2) + extra,
    };
  }
  return { words: `input·${stride}`, numbers: `${input}·${axis.stride}`, size: input * axis.stride };
}

/** "valid": nothing is cut away; Keras and JAX fill up to a whole stride. */
function valid(place: Place): Answer | null {
  if (paddingRule(place) !== "valid") return null;
  const { axis, input, output } = place;
  const stride = strideName(place);
  const span = spanOf(place);
  const fills =
    ["keras", "jax", "flax", "haiku"].includes(place.dialect.name) &&
    (place.dialect.name !== "keras" || valueOf(place, "output_padding") === null);
  if (fills) {
    return {
      words: `input·${stride} + max(${span.words.replace(/^\((.*)\)$/, "$1")} − ${stride}, 0)`,
      numbers: `${input}·${axis.stride} + max(${span.size} − ${axis.stride}, 0)`,
      size: input * axis.stride + Math.max(span.size - axis.stride, 0),
    };
  }
  const full = axis.stride * (input - 1) + span.size;
  const extra = extraOf(place, output - full);
  return {
    words: `(input − 1)·${stride} + ${span.words}${extra.words}`,
    numbers: `(${input} − 1)·${axis.stride} + ${span.numbers}${extra.numbers}`,
    size: full + (extra.words ? output - full : 0),
  };
}

/** Pads of both ends, as ONNX and OpenVINO have them. */
function begunAndEnded(place: Place): Answer | null {
  const names = has(place, "pads") ? "pads in front and behind" : has(place, "pads_begin") && "pads_begin − pads_end";
  if (!names) return null;
  const { axis, input } = place;
  const span = spanOf(place);
  const extra = extraNumber(place);
  const [lo, hi] = [axis.crop[0], axis.crop[1] + extra];
  const stride = strideName(place);
  return {
    words: `${stride}·(input − 1) + output_padding + ${span.words} − ${names}`,
    numbers: `${axis.stride}·(${input} − 1) + ${extra} + ${span.numbers} − ${lo} − ${hi}`,
    size: axis.stride * (input - 1) + extra + span.size - lo - hi,
  };
}

/** The same padding at both ends, as PyTorch documents it. */
function padded(place: Place): Answer | null {
  const { dialect, axis, input } = place;
  if (["jax", "flax", "haiku", "mlx_general"].includes(dialect.name) || valueOf(place, "crop") !== null) return null;
  const padding = valueOf(place, "padding");
  const extra = extraNumber(place);
  const [lo, hi] = [axis.crop[0], axis.crop[1] + extra];
  if (padding === null || typeof padding === "string" || lo !== hi) return null;
  const stride = strideName(place);
  const dilation = nameOf(place, "dilation") ?? "dilation";
  const more = extraOf(place, extra);
  return {
    words: `(input − 1)·${stride} − 2·padding + ${dilation}·(kernel − 1)${more.words} + 1`,
    numbers: `(${input} − 1)·${axis.stride} − 2·${lo} + ${axis.dilation}·(${axis.kernel} − 1)${more.numbers} + 1`,
    size: (input - 1) * axis.stride - 2 * lo + axis.dilation * (axis.kernel - 1) + extra + 1,
  };
}

/** JAX: padding of the dilated input, over which the kernel then slides. */
function dilatedInput(place: Place): Answer | null {
  const { dialect, axis, input } = place;
  if (!["jax", "flax", "haiku", "mlx_general"].includes(dialect.name)) return null;
  const span = spanOf(place);
  const [a, b] = axis.crop.map((side) => span.size - 1 - side) as [number, number];
  const stride = strideName(place);
  const consistent = valueOf(place, "use_consistent_padding") === true;
  if (consistent) return null;
  return {
    words: `(input − 1)·${stride} + 1 + padding in front and behind − ${span.words} + 1`,
    numbers: `(${input} − 1)·${axis.stride} + 1 + ${a} + ${b} − ${span.numbers} + 1`,
    size: axis.stride * (input - 1) + 1 + a + b - span.size + 1,
  };
}

/** output_padding of the axis. */
function extraNumber(place: Place): number {
  const value = valueOf(place, "output_padding");
  if (typeof value === "number") return value;
  const { axis } = place;
  // one per axis: what the crop behind has less than the crop in front, where padding is the same at both ends
  return Array.isArray(value) ? Math.max(0, axis.crop[0] - axis.crop[1]) : 0;
}
