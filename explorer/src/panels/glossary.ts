/** Words of the page, each in a sentence, and what the colours and marks mean. */

import { make } from "./elements";
import type { Panel } from "./frame";

const TERMS: readonly (readonly [string, string])[] = [
  [
    "transposed convolution",
    "Every input paints the kernel, times its own value, on the output; paints that meet are added. Other " +
      "names: deconvolution (it is none), fractionally strided convolution.",
  ],
  [
    "INPUT",
    "What the layer is given, x: the smaller side, if the stride is above 1. The ordinary convolution " +
      "that belongs to it goes the other way and returns this side: that is why drawings of both confuse.",
  ],
  ["OUTPUT", "What the layer returns, y."],
  ["kernel, tap", "The weights w; a tap is one of them."],
  ["stride", "Steps on the output from one input's paint to the next. 2 doubles the size, about."],
  ["dilation", "Steps on the output from one tap to the next, inside one paint."],
  ["full result", "All that is painted, before anything is cut away."],
  [
    "crop",
    "What is cut from the two ends of the full result. “Padding” of a transposed convolution is this: it " +
      "makes the output smaller.",
  ],
  [
    "output_padding",
    "Cut less behind than in front: the output gets larger at its end, to reach a size that the stride alone skips.",
  ],
  [
    "phase",
    "A place modulo the stride. Outputs of one phase use the same taps: stride × stride small ordinary " +
      "convolutions, interleaved.",
  ],
  [
    "overlap",
    "How many paints meet in a place. If phases have different overlap, even a flat input comes out as a checkerboard.",
  ],
  [
    "zero insertion",
    "The same result in another picture: put stride − 1 zeros between the inputs, then slide the flipped kernel over it.",
  ],
  ["gather", "The same sum seen from an output: which inputs does it collect?"],
  [
    "K",
    "The matrix of the ordinary convolution that goes from OUTPUT to INPUT; a row for every input, a " +
      "column for every output. Its transpose Kᵀ is this operator: y = Kᵀx. Transposed, not inverted.",
  ],
];

export const glossary: Panel = {
  name: "glossary",
  title: "Words",
  place: "below",
  open: false,
  make: () => ({
    element: make(
      "dl",
      { class: "glossary" },
      ...TERMS.map(([term, text]) => make("div", {}, make("dt", {}, term), make("dd", {}, text))),
    ),
    draw: () => undefined,
  }),
};
