/** All dialects by their names in tconv. A new one is one file and one line. */

import { dialectOf } from "./code";
import type { Dialect } from "./dialect";
import { jax } from "./jax";
import { keras } from "./keras";
import { onnx, onnxruntime } from "./onnx";
import { tensorflow } from "./tensorflow";
import { torch } from "./torch";

const members = [torch, tensorflow, keras, jax, onnx, onnxruntime];

export const dialects: Readonly<Record<string, Dialect>> = Object.fromEntries(
  members.map((rules) => [rules.name, dialectOf(rules)]),
);
