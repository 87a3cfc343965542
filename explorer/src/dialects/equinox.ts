/**
 * Equinox: eqx.nn.ConvTranspose. A pair (a, b) crops (a, b - output_padding), and "VALID" is (0, 0).
 *
 * "SAME" and "SAME_LOWER" crop e - s + output_padding in all; an odd element is cropped behind, or in front with LOWER.
 */

import { cropped, extent, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import {
  compact,
  crops,
  dilations,
  entriesOf,
  intsOf,
  kernelOf,
  keywords,
  pairsOf,
  plainGeometry,
  strides,
} from "./arguments";
import type { Rules } from "./dialect";
import { laxReasons } from "./lax";
import { shown, source, type Value } from "./value";
import * as words from "./words";

const RULES = ["SAME", "SAME_LOWER", "VALID"];

function pairsOfPadding(padding: Value, ndim: number): Pair[] {
  const paired = (entriesOf(padding) ?? []).map((entry) => entriesOf(entry) !== null);
  if (paired.includes(true) && paired.includes(false)) {
    refuse(
      "padding",
      `padding is ${shown(padding)}; one integer per spatial axis, or one pair (lo, hi) per axis, is needed. Write ` +
        `padding=${source(Array.from({ length: ndim }, () => [1, 1]))}`,
    );
  }
  return pairsOf(padding, "padding", ndim);
}

export const equinox: Rules = {
  name: "equinox",
  framework: "Equinox",
  ranks: [1, Infinity],
  dataPattern: "C*",
  weight: () => ({ pattern: "OI*", grouped: "O", flip: true }),
  names: ["stride", "padding", "output_padding", "dilation", "groups", "padding_mode"],
  words: () => [
    words.stride("stride"),
    words.text("padding", "0", "A number, one pair per axis, SAME, SAME_LOWER or VALID."),
    words.outputPadding(),
    words.dilation("dilation"),
    words.groups(),
  ],
  geometry({ kernel, words: given }) {
    const { stride = 1, padding = 0, output_padding = 0, dilation = 1, groups = 1, padding_mode = "ZEROS" } = given;
    const ndim = kernel.length;
    const plain = plainGeometry(kernel, stride, dilation, groups);
    if (typeof padding_mode !== "string" || padding_mode.toUpperCase() !== "ZEROS") {
      refuse(
        "padding_mode",
        `padding_mode is ${shown(padding_mode)}; "ZEROS" is needed. Write padding_mode="ZEROS"; for another, pad x ` +
          "and cut the result",
      );
    }
    const extra = intsOf(output_padding, "output_padding", ndim);
    plain.axes.forEach((axis, a) => {
      if (extra[a]! >= axis.stride) {
        refuse(
          "output_padding",
          `output_padding is ${extra[a]} on spatial axis ${a}; Equinox needs it smaller than the stride ` +
            `(${axis.stride}). Write padding=((lo, hi), ...) with a smaller or negative hi`,
        );
      }
    });
    const rule = typeof padding === "string" ? padding.toUpperCase() : "VALID";
    if (!RULES.includes(rule)) {
      refuse("padding", `padding is ${source(padding)}; Equinox has ${RULES.join(", ")}. Use one of them`);
    }
    if (rule !== "VALID") {
      return cropped(
        plain,
        plain.axes.map((axis, a): Pair => {
          const total = extent(axis) - axis.stride + extra[a]!;
          const front = Math.floor((Math.max(total, 0) + (rule === "SAME_LOWER" ? 1 : 0)) / 2);
          return [front, total - front];
        }),
      );
    }
    const pairs = pairsOfPadding(typeof padding === "string" ? 0 : padding, ndim);
    return cropped(
      plain,
      pairs.map(([lo, hi], a): Pair => [lo, hi - extra[a]!]),
    );
  },
  // unlike the others on lax, it has groups
  reasonsAgainst: (geometry, input) => laxReasons({ ...geometry, groups: 1 }, input),
  nativeArguments(geometry) {
    const pairs = crops(geometry);
    return {
      stride: compact(strides(geometry)),
      padding: pairs.every(([lo, hi]) => lo === hi) ? compact(pairs.map(([lo]) => lo)) : pairs,
      dilation: compact(dilations(geometry)),
      groups: geometry.groups,
    };
  },
  callCode(given, geometry) {
    const options = keywords(given, { stride: 1, padding: 0, dilation: 1, groups: 1 });
    const inputs = "weight.shape[1]" + (geometry.groups > 1 ? ` * ${geometry.groups}` : "");
    const layer =
      `eqx.nn.ConvTranspose(${geometry.axes.length}, ${inputs}, weight.shape[0], ` +
      `${source(kernelOf(geometry))}${options}, use_bias=False, key=jax.random.key(0))`;
    return `eqx.tree_at(lambda layer: layer.weight, ${layer}, weight)(x)`;
  },
};
