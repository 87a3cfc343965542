/** Fields that several dialects have under different names. */

import type { Word } from "./dialect";

export const stride = (name: string, fallback = "1"): Word => ({
  name,
  kind: "sizes",
  fallback,
  least: 1,
  most: 4,
  hint: "Outputs from one input to the next.",
});

export const dilation = (name: string): Word => ({
  name,
  kind: "sizes",
  fallback: "1",
  least: 1,
  most: 3,
  hint: "Outputs from one tap to the next.",
});

export const groups = (name = "groups"): Word => ({
  name,
  kind: "count",
  fallback: "1",
  least: 1,
  most: 4,
  hint: "Parts of the channels, each with a kernel of its own.",
});

export const padding = (name = "padding", hint = "Elements cut from both ends of the output."): Word => ({
  name,
  kind: "sizes",
  fallback: "0",
  least: 0,
  most: 4,
  hint,
});

export const outputPadding = (name = "output_padding"): Word => ({
  name,
  kind: "sizes",
  fallback: "0",
  least: 0,
  most: 3,
  hint: "Elements by which the end of the output grows.",
});

export const choice = (name: string, choices: readonly string[], fallback: string, hint: string): Word => ({
  name,
  kind: "choice",
  fallback,
  choices,
  hint,
});

export const text = (name: string, fallback: string, hint: string): Word => ({ name, kind: "text", fallback, hint });

export const flag = (name: string, hint: string): Word => ({ name, kind: "flag", fallback: "false", hint });
