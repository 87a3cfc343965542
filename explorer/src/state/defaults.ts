/** Settings at the start, and what the fields offer. */

import type { Settings, Values } from "./settings";

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

/** Return the rule of these numbers; own ones, which fit one shape alone, give way to the first rule. */
export function ruleOf(values: Values): Values {
  return "rule" in values ? values : DEFAULTS.values.x;
}

/** Settings of the page without an address: stride 2, so that kernels overlap and leave seams. */
export const FIRST_LOOK: Settings = { ...DEFAULTS, words: { stride: "2" } };
