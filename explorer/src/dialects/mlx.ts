/**
 * MLX: mlx.core.conv_transpose1d, 2d and 3d, and mlx.core.conv_general with an input_dilation.
 *
 * conv_transpose crops (padding, padding - output_padding). conv_general pads the dilated input by (a, b), which crops
 * (extent - 1 - a, extent - 1 - b), and reads the taps in reverse.
 */

import { cropped, extent, inputPadding, type Axis, type Geometry, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { compact, crops, dilations, entriesOf, intsOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { list, shown, source } from "./value";
import * as words from "./words";

function checkedGroups(plain: Geometry): Geometry {
  if (plain.groups > 1 && plain.axes.length === 3) {
    refuse(
      "groups",
      `groups is ${plain.groups} with 3 spatial axes; MLX has groups in 1-D and 2-D only. Write dialect="torch", with ` +
        "the weight converted",
    );
  }
  return plain;
}

/** Common part: layouts and limits. `fits` says that the arguments can express a crop, and `limit` describes it. */
const common = (flip: boolean, limit: string, fits: (axis: Axis) => boolean) =>
  ({
    framework: "MLX",
    ranks: [1, 3],
    dataPattern: "N*C",
    weight: () => ({ pattern: "O*I", grouped: "O", flip }),
    reasonsAgainst({ axes, groups }) {
      if (axes.length > 3) return [`${axes.length} spatial axes, only 1 to 3`];
      const reasons = axes.length === 3 && groups > 1 ? ["groups with 3 spatial axes"] : [];
      axes.forEach((axis, a) => {
        if (fits(axis)) return;
        reasons.push(`the crop ${source(axis.crop)} on spatial axis ${a}: ${limit} ${extent(axis) - 1}`);
      });
      return reasons;
    },
    padCode: (pairs) => `mlx.core.pad(y, ${source(list(pairs))})`,
  }) satisfies Partial<Rules>;

export const mlx: Rules = {
  ...common(
    false,
    "padding is at least 0 and crops both sides by the same amount, output_padding extends the end, and a side is " +
      "cropped by at most",
    (axis) => axis.crop[0] >= 0 && axis.crop[0] < extent(axis) && axis.crop[1] <= axis.crop[0],
  ),
  name: "mlx",
  names: ["stride", "padding", "dilation", "output_padding", "groups"],
  words: () => [
    words.stride("stride"),
    words.padding(),
    words.dilation("dilation"),
    words.outputPadding(),
    words.groups(),
  ],
  geometry({ kernel, words: { stride = 1, padding = 0, dilation = 1, output_padding = 0, groups = 1 } }) {
    const plain = checkedGroups(plainGeometry(kernel, stride, dilation, groups));
    const pads = intsOf(padding, "padding", kernel.length);
    const extra = intsOf(output_padding, "output_padding", kernel.length);
    return cropped(
      plain,
      pads.map((pad, a): Pair => [pad, pad - extra[a]!]),
    );
  },
  nativeArguments: (geometry) => ({
    stride: compact(strides(geometry)),
    padding: compact(crops(geometry).map(([lo]) => lo)),
    dilation: compact(dilations(geometry)),
    output_padding: compact(crops(geometry).map(([lo, hi]) => lo - hi)),
    groups: geometry.groups,
  }),
  callCode: (given, geometry) =>
    `mlx.core.conv_transpose${geometry.axes.length}d(x, weight` +
    `${keywords(given, { stride: 1, padding: 0, dilation: 1, output_padding: 0, groups: 1 })})`,
};

export const mlxGeneral: Rules = {
  ...common(true, "a side is cropped by at most", (axis) => Math.max(...axis.crop) < extent(axis)),
  name: "mlx_general",
  names: ["stride", "padding", "kernel_dilation", "input_dilation", "groups", "flip"],
  words: () => [
    words.text("padding", "0", "Padding of the dilated input: a number, or ([before, ...], [after, ...])."),
    words.dilation("kernel_dilation"),
    { ...words.stride("input_dilation"), hint: "The stride: outputs from one input to the next." },
    words.groups(),
  ],
  geometry({ kernel, words: { stride = 1, padding = 0, kernel_dilation = 1, input_dilation = 1, groups = 1 } }) {
    const ndim = kernel.length;
    const names = "input_dilation kernel_dilation groups";
    const plain = checkedGroups(plainGeometry(kernel, input_dilation, kernel_dilation, groups, names));
    if (intsOf(stride, "stride", ndim).some((size) => size !== 1)) {
      refuse(
        "stride",
        `stride is ${source(stride)}; conv_general is a transposed convolution only with stride=1. Write ` +
          "input_dilation=",
      );
    }
    const entries = entriesOf(padding);
    const sides = entries?.length && entriesOf(entries[0]) ? entries : [padding, padding];
    if (sides.length !== 2) {
      refuse(
        "padding",
        `padding is ${shown(padding)}; an int, one int per axis, or two lists are needed. Write ` +
          "padding=([before, ...], [after, ...])",
      );
    }
    const [before, after] = sides.map((side) => intsOf(side, "padding", ndim)) as [number[], number[]];
    return cropped(
      plain,
      plain.axes.map((axis, a) => inputPadding({ ...axis, crop: [before[a]!, after[a]!] })),
    );
  },
  nativeArguments(geometry) {
    const side = (which: 0 | 1): number[] => geometry.axes.map((axis) => inputPadding(axis)[which]);
    const even = String(side(0)) === String(side(1));
    return {
      padding: even ? compact(side(0)) : [list(side(0)), list(side(1))],
      kernel_dilation: compact(dilations(geometry)),
      input_dilation: compact(strides(geometry)),
      groups: geometry.groups,
    };
  },
  callCode: (given) =>
    "mlx.core.conv_general(x, weight" +
    `${keywords(given, { padding: 0, kernel_dilation: 1, input_dilation: 1, groups: 1 })})`,
};
