/** Haiku: hk.ConvNDTranspose. Without output_shape it is jax.lax.conv_transpose; with it, the padding is tf.nn's. */

import { refuse } from "../arithmetic/refusal";
import { compact, dilations, entriesOf, intOf, intsOf, kernelOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { laxCropped, laxReasons, paddingOfCrop } from "./lax";
import { cropBetween, NAMED } from "./tensorflow_padding";
import { shown, source, type Value } from "./value";
import * as words from "./words";

/** One integer per axis of a value in which one, or a sequence of one, means all axes. */
function replicated(value: Value, name: string, ndim: number, example?: string): number[] {
  const limits = { least: 1, ...(example ? { example } : {}) };
  const entries = entriesOf(value) ?? [];
  return intsOf(entries.length === 1 ? intOf(entries[0]!, name, limits) : value, name, ndim, limits);
}

export const haiku: Rules = {
  name: "haiku",
  framework: "Haiku",
  ranks: [1, Infinity],
  dataPattern: "N*C",
  weight: () => ({ pattern: "*OI", grouped: "I", flip: true }),
  names: ["stride", "output_shape", "padding", "data_format"],
  words: () => [
    words.stride("stride"),
    words.text("output_shape", "", "Sizes of the output; SAME and VALID then mean what they mean in TensorFlow."),
    words.text("padding", "SAME", "SAME, VALID, or one pair per axis: the padding of the dilated input."),
  ],
  geometry({ kernel, input, words: { stride = 1, output_shape = null, padding = "SAME" } }) {
    const ndim = kernel.length;
    const plain = plainGeometry(kernel, replicated(stride, "stride", ndim));
    if (output_shape === null) return laxCropped(plain, padding);
    if (typeof padding !== "string" || !Object.hasOwn(NAMED, padding)) {
      refuse(
        "padding",
        `padding is ${shown(padding)} together with output_shape; "SAME" or "VALID" is needed then. Use one of them, ` +
          "or leave output_shape out",
      );
    }
    const usual = plain.axes.map((axis, a) => axis.stride * input[a]!);
    const large = replicated(output_shape, "output_shape", ndim, `output_shape=${source(usual)}`);
    return cropBetween(
      plain,
      kernel.map(() => NAMED[padding]!),
      padding,
      input,
      large,
    );
  },
  reasonsAgainst: (geometry, input) => [
    ...laxReasons(geometry, input),
    ...(Math.max(...dilations(geometry)) > 1 ? ["a dilation, which it does not have"] : []),
  ],
  nativeArguments: (geometry) => ({ stride: compact(strides(geometry)), padding: paddingOfCrop(geometry) }),
  callCode(given, geometry) {
    const options = keywords(given, { stride: 1, padding: "SAME" });
    const layer =
      `hk.ConvNDTranspose(${geometry.axes.length}, weight.shape[-2], ${source(kernelOf(geometry))}${options}, ` +
      'with_bias=False, name="up")';
    return `hk.transform(lambda x: ${layer}(x)).apply({"up": {"w": weight}}, None, x)`;
  },
};
