/** Settings at the start, and what the fields offer. */

import type { Settings } from "./settings";

export const RULES = { x: ["counting", "random", "ones"], weight: ["counting", "random", "ones", "bilinear"] } as const;

/** Settings of an address that names only the dialect. */
export const DEFAULTS: Settings = {
  dialect: "torch",
  rank: 2,
  kernel: [3],
  input: [3],
  words: {},
  channels: { input: 1, output: 1 },
  values: { x: { rule: "counting" }, weight: { rule: "counting" } },
};

/** Settings of the page without an address: stride 2, so that kernels overlap and leave seams. */
export const FIRST_LOOK: Settings = { ...DEFAULTS, words: { stride: "2" } };
