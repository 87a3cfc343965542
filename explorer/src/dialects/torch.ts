/** PyTorch: padding p crops both ends by p, and output_padding extends the end: crop = (p, p - output_padding). */

import { cropped } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { compact, crops, dilations, intsOf, keywords, pairsOf, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { list, shown, source } from "./value";
import * as words from "./words";

export const torch: Rules = {
  name: "torch",
  framework: "PyTorch",
  ranks: [1, Infinity],
  dataPattern: "NC*",
  weight: () => ({ pattern: "IO*", grouped: "I", flip: false }),
  names: ["stride", "padding", "output_padding", "groups", "dilation", "crop"],
  words: () => [
    words.stride("stride"),
    words.padding(),
    words.outputPadding(),
    words.groups(),
    words.dilation("dilation"),
    words.text("crop", "", "Instead of both paddings, and not PyTorch's own: (lo, hi) per axis, as in tconv."),
  ],
  geometry({ kernel, input, words: { stride = 1, padding, output_padding, groups = 1, dilation = 1, crop } }) {
    const ndim = kernel.length;
    if (crop !== undefined && crop !== null) {
      if ((padding ?? output_padding ?? null) !== null) {
        refuse(
          "crop",
          "crop= was given together with padding= or output_padding=; both describe the crop. " +
            "Write crop=((lo, hi), ...) alone, where lo = padding and hi = padding - output_padding",
        );
      }
      const plain = plainGeometry(kernel, stride, dilation, 1);
      // the constructor of Geometry reads the groups last
      const pairs = pairsOf(crop, "crop", ndim);
      return { ...cropped(plain, pairs), groups: plainGeometry(kernel, 1, 1, groups).groups };
    }
    if (typeof padding === "string") {
      const rule = padding.toLowerCase();
      refuse(
        "padding",
        `padding is ${source(padding)}; PyTorch's transposed convolution takes integers only. Write padding=1` +
          (rule === "same" || rule === "valid"
            ? `, or, for Keras' rule, crop=tconv.dialect('keras').geometry(kernel=${shown(kernel)}, ` +
              `input=${shown(input)}, strides=${shown(stride)}, padding=${source(rule)}).crop`
            : ""),
      );
    }
    const plain = plainGeometry(kernel, stride, dilation, groups);
    const pads = intsOf(padding ?? 0, "padding", ndim, { least: 0 });
    const extra = intsOf(output_padding ?? 0, "output_padding", ndim, { least: 0 });
    plain.axes.forEach(({ stride: s, dilation: d }, a) => {
      if (extra[a]! >= s && extra[a]! >= d) {
        refuse(
          "output_padding",
          `output_padding is ${extra[a]} on spatial axis ${a}; PyTorch needs it smaller than the stride (${s}) or ` +
            `the dilation (${d}). Write crop=((lo, hi), ...) with hi = padding - output_padding, which has no such limit`,
        );
      }
    });
    return cropped(
      plain,
      pads.map((p, a) => [p, p - extra[a]!]),
    );
  },
  reasonsAgainst: (geometry) => [
    ...(geometry.axes.length > 3 ? [`${geometry.axes.length} spatial axes, only 1 to 3`] : []),
    ...geometry.axes.flatMap(({ crop: [lo, hi], stride: s, dilation: d }, a) =>
      lo < 0 || hi > lo || lo - hi >= Math.max(s, d)
        ? [
            `the crop (${lo}, ${hi}) on spatial axis ${a}: padding is at least 0 and crops both sides by the same ` +
              `amount, and output_padding, which extends the end, stays below the stride ${s} or the dilation ${d}`,
          ]
        : [],
    ),
  ],
  nativeArguments: (geometry) => ({
    stride: compact(strides(geometry)),
    padding: compact(crops(geometry).map(([lo]) => lo)),
    output_padding: compact(crops(geometry).map(([lo, hi]) => lo - hi)),
    groups: geometry.groups,
    dilation: compact(dilations(geometry)),
  }),
  callCode: (given, geometry) =>
    `torch.nn.functional.conv_transpose${geometry.axes.length}d(x, weight` +
    `${keywords(given, { stride: 1, padding: 0, output_padding: 0, groups: 1, dilation: 1 })})`,
  padCode: (pairs) => `torch.nn.functional.pad(y, ${source(list(pairs.slice(2).reverse().flat()))})`,
};
