/** All dialects by their names in tconv. A new one is one file and one line. */

import { dialectOf } from "./code";
import type { Dialect } from "./dialect";
import { equinox } from "./equinox";
import { flax } from "./flax";
import { haiku } from "./haiku";
import { jax } from "./jax";
import { keras } from "./keras";
import { mlx, mlxGeneral } from "./mlx";
import { ncnn } from "./ncnn";
import { onnx, onnxruntime } from "./onnx";
import { openvino } from "./openvino";
import { paddle } from "./paddle";
import { tensorflow } from "./tensorflow";
import { tflite } from "./tflite";
import { tinygrad } from "./tinygrad";
import { torch } from "./torch";

const members = [
  ...[torch, tensorflow, tflite, keras, jax, flax, equinox, haiku, onnx, onnxruntime, openvino, paddle],
  ...[mlx, mlxGeneral, tinygrad, ncnn],
];

export const dialects: Readonly<Record<string, Dialect>> = Object.fromEntries(
  members.map((rules) => [rules.name, dialectOf(rules)]),
);

/** Framework of a dialect, with the dialect's name where the framework has several. */
export function titleOf({ name, framework }: Dialect): string {
  const isOnly = Object.values(dialects).every((other) => other.framework !== framework || other.name === name);
  return isOnly ? framework : `${framework} (${name})`;
}
