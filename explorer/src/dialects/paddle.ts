/**
 * PaddlePaddle: paddle.nn.functional.conv1d_transpose, conv2d_transpose and conv3d_transpose.
 *
 * Padding (a, b) crops (a, b - output_padding), or (a, F - L - a) with an output_size. "SAME" is the padding of a
 * convolution over an input of n, and sets the dilation to 1: the output has s*n elements only by chance.
 */

import { cropped, fullSize, type Pair } from "../arithmetic/geometry";
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
import type { Rules } from "./dialect";
import { list, shown, source, type Value } from "./value";
import * as words from "./words";

const FORMATS = [[], ["NCL", "NLC"], ["NCHW", "NHWC"], ["NCDHW", "NDHWC"]];

function samePads(n: number, k: number, s: number): Pair {
  const total = Math.max((Math.ceil(n / s) - 1) * s + k - n, 0);
  return [Math.floor(total / 2), Math.ceil(total / 2)];
}

/** One (before, after) pair per spatial axis, for every form of padding but "SAME". */
function pairsOfPadding(padding: Value, ndim: number, last: boolean): Pair[] {
  if (typeof padding === "string") {
    if (padding.toUpperCase() !== "VALID") {
      refuse("padding", `padding is ${shown(padding)}; Paddle takes "SAME" or "VALID". Use one of them`);
    }
    return pairsOf(0, "padding", ndim);
  }
  const entries = entriesOf(padding) ?? intsOf(intOf(padding, "padding"), "padding", ndim);
  let pairs: Pair[];
  if (entries.length === ndim + 2 && entriesOf(entries[0])) {
    const ends: Pair[] = [[0, 0]];
    const sides = Array.from({ length: ndim }, (): Pair => [1, 1]);
    const usual = list(last ? [...ends, ...sides, ...ends] : [...ends, ...ends, ...sides]);
    const whole = pairsOf(entries, "padding", ndim + 2, "array", `padding=${source(usual)}`);
    pairs = last ? whole.slice(1, -1) : whole.slice(2);
    if (whole.some((pair) => !pairs.includes(pair) && (pair[0] || pair[1]))) {
      refuse(
        "padding",
        `padding is ${shown(padding)}; the pairs of batch and channels must be (0, 0). Write (0, 0) there`,
      );
    }
  } else if (entries.length === 2 * ndim) {
    const sides = intsOf(entries, "padding", 2 * ndim);
    pairs = Array.from({ length: ndim }, (_, a): Pair => [sides[2 * a]!, sides[2 * a + 1]!]);
  } else {
    pairs = intsOf(entries, "padding", ndim).map((size): Pair => [size, size]);
  }
  if (Math.min(...pairs.flat()) < 0) {
    refuse(
      "padding",
      `padding is ${source(pairs)}; Paddle needs it to be at least 0. Write dialect="torch" with crop=, which has no ` +
        "limit",
    );
  }
  return pairs;
}

export const paddle: Rules = {
  name: "paddle",
  framework: "Paddle",
  ranks: [1, 3],
  dataPattern: "NC*",
  weight: () => ({ pattern: "IO*", grouped: "I", flip: false }),
  names: ["stride", "padding", "output_padding", "dilation", "groups", "output_size", "data_format"],
  words: () => [
    words.stride("stride"),
    words.text("padding", "0", "A number, one per axis, (before, after) of all axes in a row, SAME or VALID."),
    words.outputPadding(),
    words.dilation("dilation"),
    words.groups(),
    words.text("output_size", "", "Sizes of the output, instead of output_padding."),
  ],
  geometry({ kernel, input, words: given }) {
    const { stride = 1, padding = 0, output_padding = 0, dilation = 1, groups = 1 } = given;
    const { output_size = null, data_format = null } = given;
    const ndim = kernel.length;
    const same = typeof padding === "string" && padding.toUpperCase() === "SAME";
    let plain = plainGeometry(kernel, stride, dilation, groups);
    const formats = FORMATS[ndim] ?? FORMATS[2]!;
    if (data_format !== null && !formats.includes(data_format as string)) {
      refuse(
        "data_format",
        `data_format is ${shown(data_format)}; with ${ndim} spatial axes it must be "${formats[0]}" or ` +
          `"${formats[1]}". Use one of them`,
      );
    }
    if (output_size !== null && (entriesOf(output_padding) || intOf(output_padding, "output_padding") !== 0)) {
      refuse(
        "output_size",
        "output_size was given together with output_padding; Paddle takes only one of them. Use one of them",
      );
    }
    const extra = intsOf(output_padding, "output_padding", ndim, { least: 0 });
    plain.axes.forEach(({ stride: s, dilation: d }, a) => {
      if (extra[a]! >= Math.max(s, d) || (ndim === 1 && extra[a]! > s)) {
        refuse(
          "output_padding",
          `output_padding is ${extra[a]} on spatial axis ${a}; Paddle needs it smaller than the stride (${s}) or the ` +
            `dilation (${d})${ndim === 1 ? ", in 1-D no larger than the stride" : ""}. ` +
            'Write dialect="torch" with crop=((lo, hi), ...), which has no such limit',
        );
      }
    });
    if (same) plain = { ...plain, axes: plain.axes.map((axis) => ({ ...axis, dilation: 1 })) };
    const { axes } = plain;
    let pairs = same ? [] : pairsOfPadding(padding, ndim, data_format === formats[1]);
    let large: number[] = [];
    if (output_size !== null) {
      const usual = axes.map((axis, a) => {
        const [before, after] = pairs[a] ?? [0, 0];
        return Math.max(fullSize(axis, input[a]!) - before - after, 1);
      });
      large = intsOf(output_size, "output_size", ndim, { example: `output_size=${source(list(usual))}` });
    }
    if (same) pairs = axes.map((axis, a) => samePads(input[a]!, axis.kernel, axis.stride));
    return cropped(
      plain,
      axes.map((axis, a): Pair => {
        const [before, after] = pairs[a]!;
        if (output_size === null) return [before, after - extra[a]!];
        const least = fullSize(axis, input[a]!) - before - after;
        const most = least + axis.stride - 1;
        if (large[a]! < least || large[a]! > most) {
          refuse(
            "output_size",
            `output_size is ${large[a]} on spatial axis ${a}; for an input of ${input[a]} Paddle can return ${least} ` +
              `to ${most}. Use one of these sizes`,
          );
        }
        return [before, after + least - large[a]!];
      }),
    );
  },
  // an output_padding from the stride up to the dilation passes the checks of Paddle, but not its CPU kernels
  reasonsAgainst: (geometry) =>
    geometry.axes.length > 3
      ? [`${geometry.axes.length} spatial axes, only 1 to 3`]
      : geometry.axes.flatMap(({ crop: [lo, hi], stride: s }, a) =>
          lo < 0 || -hi >= s
            ? [
                `the crop (${lo}, ${hi}) on spatial axis ${a}: padding is at least 0, and output_padding, which ` +
                  `extends the end, stays below the stride ${s}`,
              ]
            : [],
        ),
  nativeArguments(geometry) {
    const pads = crops(geometry).map(([lo, hi]): Pair => [lo, Math.max(0, hi)]);
    const even = pads.every(([lo, hi]) => lo === hi);
    return {
      stride: compact(strides(geometry)),
      padding: even ? compact(pads.map(([lo]) => lo)) : list(pads.flat()),
      output_padding: compact(crops(geometry).map(([, hi]) => Math.max(0, -hi))),
      dilation: compact(dilations(geometry)),
      groups: geometry.groups,
    };
  },
  callCode: (given, geometry) =>
    `paddle.nn.functional.conv${geometry.axes.length}d_transpose(x, weight` +
    `${keywords(given, { stride: 1, padding: 0, output_padding: 0, groups: 1, dilation: 1 })})`,
  padCode: (pairs) => `paddle.nn.functional.pad(y, ${source(list(pairs.flat()))})`,
};
