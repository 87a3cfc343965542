/** TensorFlow: tf.nn.conv1d_transpose, conv2d_transpose and conv3d_transpose, which are given the output's size. */

import { extent, outputShape, type Geometry, type Index, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import {
  compact,
  crops,
  dilations,
  entriesOf,
  intOf,
  intsOf,
  keywords,
  pairsOf,
  plainGeometry,
  strides,
} from "./arguments";
import type { Rules, Word } from "./dialect";
import { cropBetween, legalSizes, NAMED, paddingName, spatialShape } from "./tensorflow_padding";
import { list, shown, source, type Value } from "./value";
import * as words from "./words";

const LETTERS = ["", "W", "HW", "DHW"];

/** True for channels last. */
function channelsLast(ndim: number, format: Value | undefined): boolean {
  const letters = LETTERS[ndim] ?? "HW";
  const last = `N${letters}C`;
  const first = `NC${letters}`;
  if (format === undefined || format === null) return true;
  if (format === first || format === last) return format === last;
  const meant = new Map([
    ["channels_last", last],
    ["channels_first", first],
  ]).get(String(format).toLowerCase());
  return refuse(
    "data_format",
    `data_format is ${shown(format)}; with ${ndim} spatial axes it must be "${last}" or "${first}". ` +
      (meant ? `Write data_format="${meant}"` : "Use one of them"),
  );
}

/** Strides or dilations per spatial axis, from one number, one per spatial axis or one per array axis. */
function perAxis(value: Value | undefined, name: string, ndim: number, last: boolean): number[] {
  if (value === undefined || value === null) return Array.from({ length: ndim }, () => 1);
  const entries = entriesOf(value) ?? [];
  if (entries.length === 1) return intsOf(intOf(entries[0]!, name, { least: 1 }), name, ndim);
  if (entries.length !== ndim + 2) return intsOf(value, name, ndim, { least: 1 });
  const twos = Array.from({ length: ndim }, () => 2);
  const usual = last ? [1, ...twos, 1] : [1, 1, ...twos];
  const whole = intsOf(entries, name, ndim + 2, { least: 1, example: `${name}=${source(list(usual))}` });
  const [inner, outer] = split(whole, last);
  if (outer.some((size) => size !== 1)) {
    refuse(name, `${name} is ${source(whole)}; batch and channel entries must be 1. Write ${name}=${source(inner)}`);
  }
  return inner;
}

/** Spatial entries of one per array axis, and those of batch and channels. */
function split<T>(whole: readonly T[], last: boolean): [T[], T[]] {
  return last ? [whole.slice(1, -1), [whole[0]!, whole.at(-1)!]] : [whole.slice(2), whole.slice(0, 2)];
}

/** Padding per axis: null for SAME, (0, 0) for VALID. */
function pairsOfPadding(padding: Value, ndim: number, last: boolean): (Pair | null)[] {
  if (typeof padding === "string" && Object.hasOwn(NAMED, padding))
    return Array.from({ length: ndim }, () => NAMED[padding]!);
  if (!entriesOf(padding)) {
    refuse(
      "padding",
      `padding is ${shown(padding)}; TensorFlow takes "SAME", "VALID" or [[before, after], ...], with a pair per ` +
        "array axis. Use one of them",
    );
  }
  if (ndim !== 2) {
    refuse(
      "padding",
      `padding is ${shown(padding)}; TensorFlow takes explicit pairs in 2-D only, and there are ${ndim} spatial ` +
        'axes. Write padding="SAME" or "VALID", or dialect="torch" with crop=',
    );
  }
  const [none, one] = ["(0, 0)", "(1, 1)"];
  const usual = (last ? [none, one, one, none] : [none, none, one, one]).join(", ");
  const pairs = pairsOf(padding, "padding", ndim + 2, "array", `padding=[${usual}]`);
  const [inner, outer] = split(pairs, last);
  if (pairs.flat().some((side) => side < 0) || outer.flat().some((side) => side)) {
    refuse(
      "padding",
      `padding is ${source(pairs)}; TensorFlow needs pairs of at least 0, and (0, 0) for batch and channels. Write ` +
        'dialect="torch" with crop=, which has no such limit',
    );
  }
  return inner;
}

/** Plainest padding argument whose rule gives this crop; null if there is none. */
function paddingOf(geometry: Geometry, input: Index): Value {
  const name = paddingName(geometry, input);
  // pairs have no CPU kernel with dilation or groups
  const paired = geometry.axes.length === 2 && geometry.groups === 1 && Math.max(...dilations(geometry)) === 1;
  if (name || !paired || Math.min(...crops(geometry).flat()) < 0) return name;
  return list([list([0, 0]), ...crops(geometry).map(list), list([0, 0])]);
}

export const outputShapeWord: Word = {
  ...words.text(
    "output_shape",
    "",
    "Sizes of the output, which the call must name; empty for the usual ones: input times stride with SAME.",
  ),
  natural: true,
};

export const tensorflow: Rules = {
  name: "tensorflow",
  framework: "TensorFlow",
  ranks: [1, 3],
  dataPattern: "N*C",
  weight: () => ({ pattern: "*OI", grouped: "I", flip: false }),
  names: ["output_shape", "strides", "padding", "data_format", "dilations", "groups"],
  words: () => [
    outputShapeWord,
    words.stride("strides"),
    words.text("padding", "SAME", "SAME, VALID, or in 2-D [[0, 0], [top, bottom], [left, right], [0, 0]]."),
    words.dilation("dilations"),
    words.groups("groups", "A word of tconv's own: TensorFlow counts the groups from the shapes of x and weight."),
  ],
  geometry({ kernel, input, words: given }) {
    const ndim = kernel.length;
    const { padding = "SAME", groups = 1 } = given;
    plainGeometry(kernel, 1, 1, groups);
    const last = channelsLast(ndim, given.data_format);
    const stride = perAxis(given.strides, "strides", ndim, last);
    const plain = plainGeometry(kernel, stride, perAxis(given.dilations, "dilations", ndim, last), groups);
    const pairs = pairsOfPadding(padding, ndim, last);
    const large = spatialShape(given.output_shape, plain, input, "tf.nn", last ? -1 : 1);
    return cropBetween(plain, pairs, padding, input, large, (pair, n, axis) => {
      const [first, end] = legalSizes(pair, n, axis);
      // oneDNN rounds (L - extent)/stride to zero, so that a few more sizes are legal for n = 1
      const rounds = typeof padding === "string" && pair && n === 1;
      return [rounds ? Math.max(1, extent(axis) - axis.stride + 1) : first, end];
    });
  },
  reasonsAgainst(geometry, input) {
    const ndim = geometry.axes.length;
    if (ndim > 3) return [`${ndim} spatial axes, only 1 to 3`];
    const reasons = geometry.groups > 1 && ndim === 3 ? ["groups on 3 spatial axes"] : [];
    if (paddingOf(geometry, input) === null) {
      reasons.push(
        `the crop ${source(crops(geometry))} at input ${source(input)}, which is neither SAME nor VALID, nor pairs ` +
          "of at least 0 in 2-D without dilation and groups",
      );
    }
    return reasons;
  },
  nativeArguments: (geometry, input) => ({
    output_shape: outputShape(geometry, input),
    strides: compact(strides(geometry)),
    padding: paddingOf(geometry, input),
    dilations: compact(dilations(geometry)),
    ...(geometry.groups === 1 ? {} : { groups: geometry.groups }),
  }),
  callCode({ output_shape, groups: _, ...rest }, geometry) {
    const ndim = geometry.axes.length;
    const channels = `weight.shape[${ndim}]` + (geometry.groups > 1 ? ` * ${geometry.groups}` : "");
    const sizes = (output_shape as readonly number[]).join(", ");
    return (
      `tf.nn.conv${ndim}d_transpose(x, weight, [x.shape[0], ${sizes}, ${channels}]` +
      `${keywords(rest, { dilations: 1 })})`
    );
  },
};
