/** Flax: linen.ConvTranspose and nnx.ConvTranspose, which pass their arguments on to jax.lax.conv_transpose. */

import { refuse } from "../arithmetic/refusal";
import { compact, dilations, entriesOf, kernelOf, keywords, plainGeometry, strides } from "./arguments";
import type { Rules } from "./dialect";
import { laxCropped, laxReasons, paddingOfCrop } from "./lax";
import { list, shown, source, type Value } from "./value";
import * as words from "./words";

const isWhole = (value: Value): boolean => typeof value === "boolean" || Number.isInteger(value);

export const flax: Rules = {
  name: "flax",
  framework: "Flax",
  ranks: [1, 3],
  dataPattern: "N*C",
  weight: () => ({ pattern: "*IO", grouped: "I", flip: true }),
  names: ["strides", "padding", "kernel_dilation", "transpose_kernel"],
  words: () => [
    words.stride("strides"),
    words.text("padding", "SAME", "SAME, VALID, a number, or one pair per axis: the padding of the dilated input."),
    words.dilation("kernel_dilation"),
  ],
  geometry({ kernel, words: { strides: stride, padding = "SAME", kernel_dilation } }) {
    const plain = plainGeometry(kernel, stride ?? 1, kernel_dilation ?? 1, 1, "strides kernel_dilation groups");
    if (padding === "CIRCULAR") {
      refuse(
        "padding",
        'padding is "CIRCULAR", which wraps the full result around and adds it up; only a crop of it can be computed ' +
          'here. Write padding="VALID" and fold the result, or call the layer itself',
      );
    }
    if (typeof padding === "string") return laxCropped(plain, padding);
    const entries = entriesOf(padding) ?? kernel.map(() => padding);
    const pairs = list(entries.map((entry) => (isWhole(entry) ? [entry, entry] : entry)));
    if (!pairs.every(entriesOf)) {
      refuse(
        "padding",
        `padding is ${shown(padding)}; a name, one int, or per spatial axis an int or a pair (lo, hi) is needed. Write ` +
          `padding=${source(kernel.map(() => [1, 1]))}`,
      );
    }
    return laxCropped(plain, pairs);
  },
  reasonsAgainst: laxReasons,
  nativeArguments: (geometry) => ({
    strides: compact(strides(geometry)),
    padding: paddingOfCrop(geometry),
    kernel_dilation: compact(dilations(geometry)),
  }),
  callCode(given, geometry) {
    const options = keywords(given, { strides: 1, padding: "SAME", kernel_dilation: 1 });
    const layer = `flax.linen.ConvTranspose(weight.shape[-1], ${source(kernelOf(geometry))}${options}, use_bias=False)`;
    return `${layer}.apply({"params": {"kernel": weight}}, x)`;
  },
};
