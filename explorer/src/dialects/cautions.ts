/** Calls that a dialect can say, and that a framework's own code refuses or computes otherwise. */

import type { Geometry, Index } from "../arithmetic/geometry";
import type { Part } from "./dialect";
import { xlaEndsProcess, xlaReadsOutside } from "./fault_conditions";

export interface Caution {
  readonly dialects: readonly string[];
  /** Part of the geometry at whose field it is said. */
  readonly part: Part;
  applies(geometry: Geometry, input: Index): boolean;
  readonly text: string;
}

const cautions: readonly Caution[] = [
  {
    dialects: ["onnx"],
    part: "groups",
    applies: ({ groups }) => groups > 1,
    text:
      "ReferenceEvaluator of onnx 1.23.2 refuses most nodes with groups; ONNX Runtime runs them: " +
      'write this in the words of "onnxruntime".',
  },
  {
    dialects: ["keras"],
    part: "dilation",
    applies: ({ axes }) => axes.some(({ stride }) => stride > 1) && axes.some(({ dilation }) => dilation > 1),
    text:
      "The layers of Keras refuse strides above 1 together with a dilation_rate above 1; " +
      "keras.ops.conv_transpose takes both.",
  },
  {
    dialects: ["jax", "flax", "equinox", "haiku", "keras"],
    part: "crop",
    applies: xlaEndsProcess,
    text:
      "XLA of jaxlib 0.10.2 ends the process at this call: 2 taps at stride 2 cropped by 1 on both sides, with a kernel " +
      "larger than x on the other axes. Use a larger input, or another framework.",
  },
  {
    dialects: ["jax", "flax", "equinox", "haiku"],
    part: "crop",
    applies: xlaReadsOutside,
    text:
      "XLA of jaxlib 0.10.2 on the CPU reads outside x at this call: with stride 1 it crops more than the kernel spans " +
      "in front, and less behind. Cut the output with a slice instead.",
  },
];

/** Cautions on this operator in the words of a dialect; none for most. */
export function cautionsOf(dialect: string, geometry: Geometry, input: Index): Caution[] {
  return cautions.filter((each) => each.dialects.includes(dialect) && each.applies(geometry, input));
}
