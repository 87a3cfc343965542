/**
 * OpenVINO: ConvolutionBackpropData and GroupConvolutionBackpropData, with the arguments of openvino.opset15.
 *
 * Explicit pads crop (begin, end - output_padding). With an output_shape, same_upper crops the larger half in front and
 * same_lower the smaller, the reverse of ONNX. Without one, same_* and valid ignore the pads.
 */

import { cropped, fullSize, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { crops, dilations, intsOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { list, shown, source } from "./value";
import * as words from "./words";

const RULES = ["explicit", "same_upper", "same_lower", "valid"];

export const openvino: Rules = {
  name: "openvino",
  framework: "OpenVINO",
  ranks: [1, 3],
  dataPattern: "NC*",
  // with groups it is another operation
  weight: (groups) =>
    groups > 1 ? { pattern: "GIO*", grouped: "G", flip: false } : { pattern: "IO*", grouped: "I", flip: false },
  names: ["strides", "output_shape", "pads_begin", "pads_end", "dilations", "auto_pad", "output_padding"],
  words: () => [
    { ...words.stride("strides"), required: true },
    words.text("output_shape", "", "Sizes of the output, from which the pads follow."),
    words.padding("pads_begin", "Elements cut from the beginning of the output."),
    words.padding("pads_end", "Elements cut from the end of the output."),
    words.dilation("dilations"),
    words.choice("auto_pad", RULES, "explicit", "same_* has an effect with an output_shape only."),
    words.outputPadding(),
    { ...words.groups(), hint: "An axis of the weight in OpenVINO, and another operation." },
  ],
  geometry({ kernel, input, words: given }) {
    const { strides: stride = null, dilations: dilation, groups = 1, auto_pad = null, output_shape = null } = given;
    if (stride === null) {
      refuse("strides", "strides is missing; OpenVINO has no default for it. Write strides=[2, 2]");
    }
    const ndim = kernel.length;
    const plain = plainGeometry(kernel, stride, dilation ?? 1, groups, "strides dilations groups");
    const rule = auto_pad === null ? "explicit" : String(auto_pad).toLowerCase();
    if (!RULES.includes(rule)) {
      refuse("auto_pad", `auto_pad is ${shown(auto_pad)}; OpenVINO has ${RULES.join(", ")}. Use one of them`);
    }
    const read = (name: string): number[] => intsOf(given[name] ?? 0, name, ndim);
    let [begin, end] = [read("pads_begin"), read("pads_end")];
    const extra = read("output_padding");
    if (rule !== "explicit") begin = end = kernel.map(() => 0);
    if (Math.min(...begin) < 0) {
      refuse(
        "pads_begin",
        `pads_begin is ${source(begin)}; OpenVINO needs at least 0. Write dialect="torch" with crop=((lo, hi), ...), ` +
          "which has no such limit",
      );
    }
    if (output_shape === null) {
      return cropped(
        plain,
        plain.axes.map((_, a): Pair => [begin[a]!, end[a]! - extra[a]!]),
      );
    }
    const usual = list(plain.axes.map((axis, a) => axis.stride * input[a]!));
    const large = intsOf(output_shape, "output_shape", ndim, { least: 1, example: `output_shape=${source(usual)}` });
    return cropped(
      plain,
      plain.axes.map((axis, a): Pair => {
        const rest = fullSize(axis, input[a]!) - large[a]!;
        const total = Math.max(rest + extra[a]!, 0);
        const smaller = Math.floor(total / 2);
        const lo = rule === "same_upper" ? total - smaller : rule === "same_lower" ? smaller : begin[a]!;
        return [lo, rest - lo];
      }),
    );
  },
  reasonsAgainst: (geometry) =>
    geometry.axes.length > 3
      ? [`${geometry.axes.length} spatial axes, only 1 to 3`]
      : crops(geometry).flatMap((pair, a) =>
          pair[0] < 0 ? [`the crop ${source(pair)} on spatial axis ${a}: pads_begin is at least 0`] : [],
        ),
  nativeArguments: (geometry) => ({
    strides: list(strides(geometry)),
    pads_begin: list(crops(geometry).map(([lo]) => lo)),
    pads_end: list(crops(geometry).map(([, hi]) => Math.max(0, hi))),
    dilations: list(dilations(geometry)),
    output_padding: list(crops(geometry).map(([, hi]) => Math.max(0, -hi))),
  }),
  callCode(given, geometry) {
    const zeros = list(geometry.axes.map(() => 0));
    const ones = list(geometry.axes.map(() => 1));
    const defaults = { pads_begin: zeros, pads_end: zeros, dilations: ones, output_padding: zeros };
    const operation = geometry.groups > 1 ? "group_convolution_backprop_data" : "convolution_backprop_data";
    const node = `openvino.opset15.${operation}(x, weight${keywords(given, defaults)})`;
    return `openvino.compile_model(openvino.Model([${node}], []), "CPU")([])[0]`;
  },
};
