/** JAX: jax.lax.conv_transpose, with both conventions of padding; strides and padding are sequences. */

import { dilations, flagOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { laxCropped, laxReasons, paddingOfCrop, perAxis } from "./lax";
import * as words from "./words";

const spec = (pattern: string, ndim: number): string =>
  pattern.replace("*", ["", "W", "HW", "DHW"][ndim] ?? "0123456789".slice(0, ndim));

export const jax: Rules = {
  name: "jax",
  framework: "JAX",
  ranks: [1, Infinity],
  dataPattern: "N*C",
  weight: () => ({ pattern: "*IO", grouped: "I", flip: true }),
  names: ["strides", "padding", "rhs_dilation", "dimension_numbers", "transpose_kernel", "use_consistent_padding"],
  words: () => [
    { ...words.stride("strides"), required: true, each: true },
    {
      ...words.text("padding", "SAME", "SAME, VALID, or one pair per axis: the padding of the dilated input."),
      required: true,
    },
    { ...words.dilation("rhs_dilation"), each: true },
    words.flag("use_consistent_padding", "Pairs of padding then crop the output, as in PyTorch."),
  ],
  geometry({ kernel, words: given }) {
    const ndim = kernel.length;
    const { padding = null, rhs_dilation = null, use_consistent_padding = false } = given;
    const dilation = rhs_dilation === null ? 1 : perAxis(rhs_dilation, "rhs_dilation", 1, ndim);
    const stride = perAxis(given.strides ?? null, "strides", 2, ndim);
    const consistent = flagOf(use_consistent_padding, "use_consistent_padding");
    return laxCropped(plainGeometry(kernel, stride, dilation), padding, consistent);
  },
  reasonsAgainst: laxReasons,
  nativeArguments(geometry) {
    const ndim = geometry.axes.length;
    return {
      strides: strides(geometry),
      padding: paddingOfCrop(geometry),
      ...(Math.max(...dilations(geometry)) > 1 ? { rhs_dilation: dilations(geometry) } : {}),
      ...(ndim > 3 ? { dimension_numbers: ["N*C", "*IO", "N*C"].map((pattern) => spec(pattern, ndim)) } : {}),
    };
  },
  callCode: (given) => `jax.lax.conv_transpose(x, weight${keywords(given, {})})`,
};
