/** tinygrad: Tensor.conv_transpose2d. Padding (a, b) crops (a, b - output_padding); the last axis is first in a list. */

import { cropped, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { compact, crops, dilations, entriesOf, intOf, intsOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { shown, source } from "./value";
import * as words from "./words";

export const tinygrad: Rules = {
  name: "tinygrad",
  framework: "tinygrad",
  ranks: [1, Infinity],
  dataPattern: "NC*",
  weight: () => ({ pattern: "IO*", grouped: "I", flip: false }),
  names: ["groups", "stride", "dilation", "padding", "output_padding"],
  words: () => [
    words.groups(),
    words.stride("stride"),
    words.dilation("dilation"),
    words.text("padding", "0", "A number, one per axis, or before and after of each axis, the last axis first."),
    words.outputPadding(),
  ],
  geometry({ kernel, words: { groups = 1, stride = 1, dilation = 1, padding = 0, output_padding = 0 } }) {
    const ndim = kernel.length;
    const entries = entriesOf(padding) ?? kernel.map(() => intOf(padding, "padding"));
    let pads: Pair[];
    if (entries.length === 2 * ndim) {
      const sides = intsOf(entries, "padding", 2 * ndim);
      pads = kernel.map((_, a): Pair => [sides.at(-2 * a - 2)!, sides.at(-2 * a - 1)!]);
    } else if (entries.length === ndim) {
      pads = intsOf(entries, "padding", ndim).map((size): Pair => [size, size]);
    } else {
      refuse(
        "padding",
        `padding is ${shown(padding)}, which has ${entries.length} entries; one int, ${ndim} entries or ${2 * ndim} ` +
          `are needed. Write padding=${source(Array.from({ length: 2 * ndim }, () => 1))}: before and after of each ` +
          "axis, the last axis first",
      );
    }
    const extra = intsOf(output_padding, "output_padding", ndim);
    const plain = plainGeometry(kernel, stride, dilation, groups);
    return cropped(
      plain,
      pads.map(([before, after], a): Pair => [before, after - extra[a]!]),
    );
  },
  // a negative padding works, but is undocumented
  reasonsAgainst: (geometry) =>
    crops(geometry).flatMap((pair, a) =>
      pair[0] < 0 ? [`the crop ${source(pair)} on spatial axis ${a}: padding is at least 0`] : [],
    ),
  nativeArguments(geometry) {
    const pads = crops(geometry).map(([lo, hi]): Pair => [lo, Math.max(0, hi)]);
    const even = pads.every(([lo, hi]) => lo === hi);
    return {
      groups: geometry.groups,
      stride: compact(strides(geometry)),
      dilation: compact(dilations(geometry)),
      padding: even ? compact(pads.map(([lo]) => lo)) : pads.reverse().flat(),
      output_padding: compact(crops(geometry).map(([, hi]) => Math.max(0, -hi))),
    };
  },
  callCode: (given) =>
    "x.conv_transpose2d(weight" +
    `${keywords(given, { groups: 1, stride: 1, dilation: 1, padding: 0, output_padding: 0 })})`,
  padCode: (pairs) => `y.pad(${source(pairs)})`,
};
