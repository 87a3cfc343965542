/**
 * Keras 3: keras.ops.conv_transpose and its layers.
 *
 * With e the kernel's extent, "valid" crops (0, -output_padding), and None is max(e, s) - e. "same" crops P in all,
 * max(P, 0)//2 of it in front: P = e - s where output_padding is None, else e - e%2 - output_padding.
 */

import { cropped, extent, type Geometry, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { compact, crops, dilations, entriesOf, intsOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { list, shown, source, type Value } from "./value";
import * as words from "./words";

const half = (total: number): number => Math.floor(Math.max(total, 0) / 2);

/** Padding and output_padding that all backends take to this crop; null if there are none. */
function paddingOf(geometry: Geometry): [string, number[] | null] | null {
  const { axes } = geometry;
  const spare = axes.map((axis) => extent(axis) - axis.stride);
  const totals = axes.map(({ crop: [lo, hi] }) => lo + hi);
  if (axes.every(({ crop: [lo, hi] }, a) => lo === 0 && hi === Math.min(spare[a]!, 0))) return ["valid", null];
  if (axes.every(({ crop: [lo] }, a) => totals[a] === spare[a] && lo === half(spare[a]!))) return ["same", null];
  if (axes.every(({ crop: [lo, hi], stride }) => lo === 0 && hi <= 0 && -hi < stride)) {
    return ["valid", axes.map(({ crop: [, hi] }) => (hi ? -hi : 0))];
  }
  const extra = axes.map((axis, a) => extent(axis) - (extent(axis) % 2) - totals[a]!);
  const halved = axes.every(({ crop: [lo] }, a) => lo === half(totals[a]!));
  const taken = axes.every((axis, a) => extra[a]! >= Math.max(0, 1 - (extent(axis) % 2)) && extra[a]! < axis.stride);
  return halved && taken ? ["same", extra] : null;
}

export const keras: Rules = {
  name: "keras",
  framework: "Keras",
  ranks: [1, 3],
  dataPattern: "N*C",
  weight: () => ({ pattern: "*OI", grouped: "I", flip: false }),
  names: ["strides", "padding", "output_padding", "data_format", "dilation_rate", "groups"],
  words: () => [
    words.stride("strides"),
    words.choice("padding", ["valid", "same"], "valid", '"same" makes the output stride times as large as the input.'),
    words.text(
      "output_padding",
      "",
      "Empty, which is None, is another rule than 0: the output then ends where it fits.",
    ),
    words.dilation("dilation_rate"),
    words.groups("groups", "Keras has none: a word of tconv's own, as in the layers of tconv.keras."),
  ],
  geometry({ kernel, words: given }) {
    const { strides: stride = 1, padding = "valid", output_padding = null, dilation_rate = 1, groups = 1 } = given;
    const plain = plainGeometry(kernel, stride, dilation_rate, groups, "strides dilation_rate groups");
    const rule = typeof padding === "string" ? padding.toLowerCase() : "";
    if (rule !== "valid" && rule !== "same") {
      refuse(
        "padding",
        `padding is ${shown(padding)}; Keras takes "valid" or "same". Use one of them, or dialect="torch" with ` +
          "padding=1 or crop=",
      );
    }
    const entries = output_padding === null ? kernel.map(() => null) : entriesOf(output_padding);
    const known: Value = entries ? entries.map((extra) => extra ?? 0) : output_padding;
    const numbers = intsOf(known, "output_padding", kernel.length);
    const result = cropped(
      plain,
      plain.axes.map((axis, a): Pair => {
        const spare = extent(axis) - axis.stride;
        const extra = entries && entries[a] === null ? null : numbers[a]!;
        if (rule === "valid") return [0, extra === null ? Math.min(spare, 0) : 0 - extra];
        const total = extra === null ? spare : extent(axis) - (extent(axis) % 2) - extra;
        return [half(total), total - half(total)];
      }),
    );
    const format = given.data_format ?? "channels_last";
    if (!["channels_last", "channels_first"].includes(String(format).toLowerCase())) {
      refuse(
        "data_format",
        `data_format is ${shown(format)}; Keras takes "channels_last" or "channels_first". Use one of them`,
      );
    }
    return result;
  },
  reasonsAgainst(geometry) {
    const reasons = geometry.groups > 1 ? [`${geometry.groups} groups, which it does not have`] : [];
    if (geometry.axes.length > 3) return [...reasons, `${geometry.axes.length} spatial axes, only 1 to 3`];
    if (!paddingOf(geometry)) {
      reasons.push(
        `the crop ${source(crops(geometry))}, which is neither "valid" nor "same" with an output_padding below the stride`,
      );
    }
    return reasons;
  },
  nativeArguments(geometry) {
    const [padding, extra] = paddingOf(geometry)!;
    return {
      strides: compact(strides(geometry)),
      padding,
      output_padding: extra && compact(extra),
      dilation_rate: compact(dilations(geometry)),
    };
  },
  callCode: (given) =>
    "keras.ops.conv_transpose(x, weight" +
    `${keywords(given, { strides: 1, padding: "valid", output_padding: null, dilation_rate: 1 })})`,
  padCode: (pairs) => `keras.ops.pad(y, ${source(list(pairs))})`,
};
