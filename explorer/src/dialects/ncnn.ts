/**
 * ncnn: the layers Deconvolution and DeconvolutionDepthWise, and their 1D and 3D forms.
 *
 * Pads crop (before, after - output_pad). If no pad is above 0 and output_w (and _h, _d) are given, pads of -233 or
 * -234 split F + output_pad - L instead: -233 crops the smaller half in front, -234 the larger.
 */

import { cropped, fullSize, type Geometry, type Pair } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { flagOf, intOf, kernelOf, plainGeometry } from "./arguments";
import type { Rules, Word } from "./dialect";
import { list, source, type Arguments } from "./value";
import * as words from "./words";

const [SAME_UPPER, SAME_LOWER] = [-233, -234];

/** Parameters of one axis: dilation, stride, pad before and after, output_pad and output size. */
type Parameters = [number, number, number, number, number, number];

const NAMES: Readonly<Record<string, readonly string[]>> = {
  w: ["dilation_w", "stride_w", "pad_left", "pad_right", "output_pad_right", "output_w"],
  h: ["dilation_h", "stride_h", "pad_top", "pad_bottom", "output_pad_bottom", "output_h"],
  d: ["dilation_d", "stride_d", "pad_front", "pad_behind", "output_pad_behind", "output_d"],
};
/** Their numbers in a .param file, after that of the kernel. */
const IDS: Readonly<Record<string, readonly number[]>> = {
  w: [1, 2, 3, 4, 15, 18, 20],
  h: [11, 12, 13, 14, 16, 19, 21],
  d: [21, 22, 23, 24, 17, 20, 27],
};

const lettersOf = (ndim: number): string[] => [..."dhw".slice(-ndim)];

/** Parameters of each spatial axis: one that is not given is that of the w axis, and a pad behind that in front. */
function parametersOf(given: Arguments, ndim: number): Parameters[] {
  let first: Parameters = [1, 1, 0, 0, 0, 0];
  const found: Parameters[] = [];
  for (const letter of lettersOf(ndim).reverse()) {
    const names = NAMES[letter]!;
    const values = names.map((name, at) => given[name] ?? first[at]!) as Parameters;
    values[3] = (given[names[3]!] as number | undefined) ?? values[2];
    if (letter === "w") first = values;
    found.unshift(values);
  }
  return found;
}

function fieldsOf(letter: string): Word[] {
  const [dilation, stride, before, after, extra, size] = NAMES[letter]! as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  // a field of another axis than w is that of w while it is empty
  const other = letter === "w" ? {} : { fallback: "" };
  return [
    { ...words.dilation(dilation), kind: "count", ...other },
    { ...words.stride(stride), kind: "count", ...other },
    {
      ...words.padding(before, "Elements cut here; -233 or -234 splits the crop of an output size."),
      kind: "count",
      ...other,
    },
    { ...words.padding(after, `Elements cut here; as ${before} while it is empty.`), kind: "count", fallback: "" },
    { ...words.outputPadding(extra), kind: "count", ...other },
    words.text(size, "", `Size of the output, with ${before} -233 or -234.`),
  ];
}

function paramOf(geometry: Geometry): string {
  const { groups } = geometry;
  const letters = lettersOf(geometry.axes.length);
  const given = nativeArguments(geometry);
  const kind = (groups > 1 ? "DeconvolutionDepthWise" : "Deconvolution") + ["1D", "", "3D"][letters.length - 1];
  const numbers = ["0={weight.shape[0]}", "6={weight.size}", ...(groups > 1 ? [`7=${groups}`] : [])];
  letters.forEach((letter, a) => {
    numbers.push(`${IDS[letter]![0]}=${kernelOf(geometry)[a]}`);
    NAMES[letter]!.forEach((name, at) => {
      if (name in given) numbers.push(`${IDS[letter]![at + 1]}=${source(given[name]!)}`);
    });
  });
  return `f"7767517\\n2 2\\nInput x 0 1 x\\n${kind} y 1 1 x y ${numbers.join(" ")}\\n"`;
}

function nativeArguments(geometry: Geometry): Arguments {
  const ndim = geometry.axes.length;
  const given: Record<string, number> = {};
  lettersOf(ndim)
    .reverse()
    .forEach((letter, at) => {
      const {
        dilation,
        stride,
        crop: [lo, hi],
      } = geometry.axes[ndim - 1 - at]!;
      const values = [dilation, stride, lo, Math.max(0, hi), Math.max(0, -hi), 0];
      NAMES[letter]!.forEach((name, n) => (given[name] = values[n]!));
    });
  const wanted = String(parametersOf(given, ndim));
  for (const name of Object.keys(given).reverse()) {
    const { [name]: value, ...fewer } = given;
    if (String(parametersOf(fewer, ndim)) === wanted) delete given[name];
  }
  return { ...given, group: geometry.groups };
}

export const ncnn: Rules = {
  name: "ncnn",
  framework: "ncnn",
  ranks: [1, 3],
  dataPattern: "C*",
  weight: () => ({ pattern: "OI*", grouped: "O", flip: false }),
  names: [
    ...["dilation_w", "dilation_h", "dilation_d", "stride_w", "stride_h", "stride_d", "pad_left", "pad_right"],
    ...["pad_top", "pad_bottom", "pad_front", "pad_behind", "output_pad_right", "output_pad_bottom"],
    ...["output_pad_behind", "output_w", "output_h", "output_d", "group", "dynamic_weight"],
  ],
  words: (rank) => [...lettersOf(rank).reverse().flatMap(fieldsOf), words.groups("group")],
  geometry({ kernel, input, words: { group = 1, dynamic_weight = 0, ...parameters } }) {
    const ndim = kernel.length;
    const known = lettersOf(ndim).flatMap((letter) => NAMES[letter]!);
    const given: Record<string, number> = {};
    for (const name of Object.values(NAMES).flat()) {
      const value = parameters[name] ?? null;
      if (value === null) continue;
      if (!known.includes(name)) {
        refuse(name, `${name} was given, but the layer has ${ndim} spatial axes. Write the call without it`);
      }
      given[name] = intOf(value, name, /^(stride|dilation)/.test(name) ? { least: 1 } : {});
    }
    const axes = parametersOf(given, ndim);
    if (flagOf(dynamic_weight, "dynamic_weight") && ndim === 3) {
      refuse(
        "dynamic_weight",
        "dynamic_weight was given with 3 spatial axes; ncnn has it in 1D and 2D only. Write the call without it",
      );
    }
    const extra = axes.map((axis) => axis[4]);
    if (Math.min(...extra) < 0) {
      refuse("output_pad_right", `output_pad is ${source(list(extra))}; it must be at least 0. Use 0 or more`);
    }
    const [dilations, strides] = [axes.map((axis) => axis[0]), axes.map((axis) => axis[1])];
    const plain = plainGeometry(kernel, strides, dilations, group, "stride_w dilation_w group");
    const pads = axes.map((axis): Pair => [axis[2], axis[3]]);
    const sides = pads.flat();
    if (Math.max(...sides) > 0) {
      if (Math.min(...sides) < 0) {
        refuse(
          "pad_left",
          `pads are ${source(list(pads))}, some above and some below 0; ncnn does not mix them. Write pads of at ` +
            `least 0, or ${SAME_UPPER} or ${SAME_LOWER} with output_w`,
        );
      }
      return cropped(
        plain,
        pads.map(([before, after], a): Pair => [before, after - extra[a]!]),
      );
    }
    if (axes.some((axis) => axis[5] <= 0)) {
      return cropped(
        plain,
        extra.map((op): Pair => [0, 0 - op]),
      );
    }
    if (!sides.includes(SAME_UPPER) && !sides.includes(SAME_LOWER)) {
      refuse(
        "output_w",
        `output_w was given with pads of ${source(list(pads))}, which do not tell where to crop. Write ` +
          `pad_left=${SAME_UPPER} (the smaller half in front) or ${SAME_LOWER} (the larger)`,
      );
    }
    return cropped(
      plain,
      plain.axes.map((axis, a): Pair => {
        const rest = fullSize(axis, input[a]!) - axes[a]![5];
        const total = rest + extra[a]!;
        if (total < 0) {
          refuse(
            "output_w",
            `output_w (output_h, output_d) is ${source(axes.map((one) => one[5]))}, more than the ` +
              `${fullSize(axis, input[a]!) + extra[a]!} elements that exist; ncnn returns uninitialised memory then. Use ` +
              "a larger output_pad_right",
          );
        }
        const lo = sides.includes(SAME_UPPER) ? Math.floor(total / 2) : Math.ceil(total / 2);
        return [lo, rest - lo];
      }),
    );
  },
  reasonsAgainst: (geometry) =>
    geometry.axes.length > 3
      ? [`${geometry.axes.length} spatial axes, only 1 to 3`]
      : geometry.axes.flatMap(({ crop }, a) =>
          crop[0] < 0 ? [`the crop ${source(crop)} on spatial axis ${a}: pads are at least 0`] : [],
        ),
  nativeArguments,
  callCode: () => 'np.array(extractor.extract("y")[1])',
  before: (geometry) => [
    "net = ncnn.Net()",
    `net.load_param_mem(${paramOf(geometry)})`,
    'pathlib.Path("y.bin").write_bytes(bytes(4) + weight.tobytes())',
    'net.load_model("y.bin")',
    "extractor = net.create_extractor()",
    'extractor.input("x", ncnn.Mat(x).clone())',
  ],
};
