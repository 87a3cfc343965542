/**
 * ONNX: the ConvTranspose operator, by the specification and as ONNX Runtime computes it.
 *
 * With explicit pads the crop is (begin, end - output_padding). With auto_pad SAME_* or an output_shape the total is
 * F + output_padding - L; SAME_UPPER crops the smaller half in front, every other rule the larger.
 */

import { cropped, fullSize, type Axis, type Geometry, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { crops, dilations, intsOf, kernelOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { list, shown, source, type Arguments } from "./value";
import * as words from "./words";

const RULES = ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"];

/** Rules in which the specification and ONNX Runtime differ. */
interface Variant {
  readonly name: string;
  readonly framework: string;
  /** Refuse pads that the runtime does not take; they are `unused` beside an output_shape. */
  checkPads(plain: Geometry, pads: readonly number[], extra: readonly number[], unused: boolean): void;
  /** Limit that output_padding must stay below. */
  limit(axis: Axis): number;
  /** Output size of SAME_* without an output_shape. */
  sameSize(axis: Axis, small: number, extra: number): number;
  /** Total of the pads; `rest` is F - L, negative where the output is larger than the full result. */
  total(rest: number, extra: number, stride: number, axis: number): number;
  callCode(attributes: string): string;
}

function attributes(given: Arguments, geometry: Geometry): string {
  const zeros = geometry.axes.map(() => 0);
  return keywords(given, {
    output_padding: list(zeros),
    dilations: list(zeros.map(() => 1)),
    group: 1,
    pads: list([...zeros, ...zeros]),
    kernel_shape: list(kernelOf(geometry)),
  });
}

const rulesOf = (variant: Variant): Rules => ({
  name: variant.name,
  framework: variant.framework,
  ranks: [1, Infinity],
  dataPattern: "NC*",
  weight: () => ({ pattern: "IO*", grouped: "I", flip: false }),
  names: ["strides", "pads", "auto_pad", "output_padding", "output_shape", "dilations", "group", "kernel_shape"],
  words: () => [
    words.stride("strides"),
    words.text("pads", "", "Elements cut from the output: first the beginning of every axis, then every end."),
    words.choice("auto_pad", RULES, "NOTSET", "SAME makes the output stride times as large; UPPER cuts the end more."),
    words.outputPadding(),
    words.text("output_shape", "", "Sizes of the output, from which the pads follow."),
    words.dilation("dilations"),
    words.groups("group"),
  ],
  geometry({ kernel, input, words: given }) {
    const { strides: stride = 1, dilations: dilation = 1, group = 1, auto_pad = "NOTSET", output_padding = 0 } = given;
    const { pads = null, output_shape = null, kernel_shape = null } = given;
    const ndim = kernel.length;
    const plain = plainGeometry(kernel, stride, dilation, group, "strides dilations group");
    if (typeof auto_pad !== "string" || !RULES.includes(auto_pad)) {
      refuse("auto_pad", `auto_pad is ${shown(auto_pad)}; ONNX has ${RULES.join(", ")}. Use one of them`);
    }
    if (pads !== null && auto_pad !== "NOTSET") {
      refuse(
        "pads",
        `pads was given together with auto_pad=${source(auto_pad)}; ONNX takes only one of them. Write pads alone, or ` +
          "auto_pad alone",
      );
    }
    if (kernel_shape !== null && source(intsOf(kernel_shape, "kernel_shape", ndim)) !== source(kernel)) {
      refuse(
        "kernel_shape",
        `kernel_shape is ${source(kernel_shape)}; the weight has ${source(kernel)}. Write ` +
          `kernel_shape=${source(list(kernel))}, or leave it out`,
      );
    }
    const extra = intsOf(output_padding, "output_padding", ndim, { least: 0 });
    plain.axes.forEach((axis, a) => {
      const limit = variant.limit(axis);
      if (extra[a]! >= limit) {
        refuse(
          "output_padding",
          `output_padding is ${extra[a]} on spatial axis ${a}; ${variant.framework} needs it below ${limit} there, ` +
            `with stride ${axis.stride} and dilation ${axis.dilation}. ` +
            'Write dialect="torch" with crop=((lo, hi), ...), which has no such limit',
        );
      }
    });
    const needed = `${2 * ndim} are needed, first all beginnings and then all ends`;
    const ones = list(Array.from({ length: 2 * ndim }, () => 1));
    const both = intsOf(pads ?? 0, "pads", 2 * ndim, { needed, example: `pads=${source(ones)}` });
    variant.checkPads(plain, both, extra, output_shape !== null);
    if (output_shape === null && (auto_pad === "NOTSET" || auto_pad === "VALID")) {
      return cropped(
        plain,
        plain.axes.map((_, a): Pair => [both[a]!, both[a + ndim]! - extra[a]!]),
      );
    }
    let large = plain.axes.map((axis, a) => variant.sameSize(axis, input[a]!, extra[a]!));
    if (output_shape !== null) {
      const example = `output_shape=${source(list(large))}`;
      large = intsOf(output_shape, "output_shape", ndim, { least: 1, example });
    }
    return cropped(
      plain,
      plain.axes.map((axis, a): Pair => {
        const rest = fullSize(axis, input[a]!) - large[a]!;
        const total = variant.total(rest, extra[a]!, axis.stride, a);
        const lo = auto_pad === "SAME_UPPER" ? Math.floor(total / 2) : total - Math.floor(total / 2);
        return [lo, rest - lo];
      }),
    );
  },
  // ONNX allows an output_padding from the stride up to the dilation, but neither of its runtimes takes it
  reasonsAgainst: (geometry) =>
    geometry.axes.flatMap(({ crop: [lo, hi], stride: s }, a) =>
      lo < 0 || -hi >= s
        ? [
            `the crop (${lo}, ${hi}) on spatial axis ${a}: its specification keeps pads at least 0, and ` +
              `output_padding, which extends the end, below the stride ${s}`,
          ]
        : [],
    ),
  nativeArguments: (geometry) => ({
    strides: list(strides(geometry)),
    pads: list([...crops(geometry).map(([lo]) => lo), ...crops(geometry).map(([, hi]) => Math.max(0, hi))]),
    output_padding: list(crops(geometry).map(([, hi]) => Math.max(0, -hi))),
    dilations: list(dilations(geometry)),
    group: geometry.groups,
    kernel_shape: list(kernelOf(geometry)),
  }),
  callCode: (given, geometry) => variant.callCode(attributes(given, geometry)),
});

export const onnx = rulesOf({
  name: "onnx",
  framework: "ONNX",
  checkPads() {},
  limit: (axis) => Math.max(axis.stride, axis.dilation),
  sameSize: (axis, small) => axis.stride * small,
  total: (rest, extra) => rest + extra,
  callCode: (options) =>
    `onnx.reference.ReferenceEvaluator(onnx.helper.make_node("ConvTranspose", ["x", "weight"], ["y"]${options}))` +
    '.run(None, {"x": x, "weight": weight})[0]',
});

/** ONNX Runtime takes 0 for a total of pads below 0, and refuses negative pads. */
export const onnxruntime = rulesOf({
  name: "onnxruntime",
  framework: "ONNX Runtime",
  checkPads({ axes }, pads, extra, unused) {
    if (Math.min(...pads) >= 0) return;
    const ends = axes.map((axis, a) => ({
      begin: pads[a]!,
      end: Math.max(0, pads[a + axes.length]!),
      grown: extra[a]! - Math.min(pads[a + axes.length]!, 0),
      stride: axis.stride,
    }));
    let instead = 'dialect="onnx", which extends the output by them as the specification\'s formula does';
    if (unused) {
      instead = "output_shape alone, beside which pads are ignored";
    } else if (ends.every(({ begin, grown, stride }) => begin >= 0 && grown < stride)) {
      const written = list([...ends.map(({ begin }) => begin), ...ends.map(({ end }) => end)]);
      instead =
        `pads=${source(written)}, output_padding=${source(list(ends.map(({ grown }) => grown)))}, ` +
        "which mean the same";
    }
    refuse(
      "pads",
      `pads is ${source(pads)}; ONNX Runtime refuses negative ones where the kernel's size is known. Write ${instead}`,
    );
  },
  limit: (axis) => axis.stride,
  sameSize: (axis, small, extra) => Math.min(axis.stride * small, fullSize(axis, small) + extra),
  total(rest, extra, stride, axis) {
    if (-rest >= stride) {
      refuse(
        "output_shape",
        `output_shape is ${-rest} elements larger than the full result on spatial axis ${axis}; ONNX Runtime adds ` +
          `fewer than the stride there, ${stride}. Use a smaller output_shape`,
      );
    }
    return Math.max(rest + extra, 0);
  },
  callCode(options) {
    const model =
      '<ir_version: 10, opset_import: ["": 22]> g (float[] x, float[] weight) => (float[] y) ' +
      `{ y = ConvTranspose <${options.replace(/^, /, "").replaceAll("'", '"')}> (x, weight) }`;
    return (
      `onnxruntime.InferenceSession(onnx.parser.parse_model(${source(model)}).SerializeToString())` +
      '.run(None, {"x": x, "weight": weight})[0]'
    );
  },
});
