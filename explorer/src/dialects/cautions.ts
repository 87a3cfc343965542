/** Calls that a dialect can say, and that a framework's own code refuses or computes otherwise. */

import type { Geometry } from "../arithmetic/geometry";
import type { Part } from "./dialect";

export interface Caution {
  readonly dialect: string;
  /** Part of the geometry at whose field it is said. */
  readonly part: Part;
  applies(geometry: Geometry): boolean;
  readonly text: string;
}

const cautions: readonly Caution[] = [
  {
    dialect: "onnx",
    part: "groups",
    applies: ({ groups }) => groups > 1,
    text:
      "ReferenceEvaluator of onnx 1.23.2 refuses most nodes with groups; ONNX Runtime runs them: " +
      'write this in the words of "onnxruntime".',
  },
  {
    dialect: "keras",
    part: "dilation",
    applies: ({ axes }) => axes.some(({ stride }) => stride > 1) && axes.some(({ dilation }) => dilation > 1),
    text:
      "The layers of Keras refuse strides above 1 together with a dilation_rate above 1; " +
      "keras.ops.conv_transpose takes both.",
  },
];

/** Cautions on this operator in the words of a dialect; none for most. */
export function cautionsOf(dialect: string, geometry: Geometry): Caution[] {
  return cautions.filter((each) => each.dialect === dialect && each.applies(geometry));
}
