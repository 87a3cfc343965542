/** Fields that several dialects have under different names. Choices, texts and flags are all of the crop. */

import type { Word } from "./dialect";

export const stride = (name: string, fallback = "1"): Word => ({
  name,
  part: "stride",
  kind: "sizes",
  fallback,
  least: 1,
  most: 4,
  hint: "Outputs from one input to the next.",
});

export const dilation = (name: string): Word => ({
  name,
  part: "dilation",
  kind: "sizes",
  fallback: "1",
  least: 1,
  most: 3,
  hint: "Outputs from one tap to the next.",
});

export const groups = (name = "groups", hint = "Parts of the channels, each with a kernel of its own."): Word => ({
  name,
  part: "groups",
  kind: "count",
  fallback: "1",
  least: 1,
  most: 4,
  hint,
});

export const padding = (name = "padding", hint = "Elements cut from both ends of the output."): Word => ({
  name,
  part: "crop",
  kind: "sizes",
  fallback: "0",
  least: 0,
  most: 4,
  hint,
});

export const outputPadding = (name = "output_padding"): Word => ({
  name,
  part: "crop",
  kind: "sizes",
  fallback: "0",
  least: 0,
  most: 3,
  hint: "So much less is cut off at the end: painted cells come back.",
});

export const choice = (name: string, choices: readonly string[], fallback: string, hint: string): Word => ({
  name,
  part: "crop",
  kind: "choice",
  fallback,
  choices,
  hint,
});

export const text = (name: string, fallback: string, hint: string): Word => ({
  name,
  part: "crop",
  kind: "text",
  fallback,
  hint,
});

export const flag = (name: string, hint: string): Word => ({
  name,
  part: "crop",
  kind: "flag",
  fallback: "false",
  hint,
});
