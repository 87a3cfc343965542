/** Settings as a call of their dialect: the texts of the fields become arguments, and a wrong one is refused. */

import type { Geometry, Index } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import type { Dialect } from "./dialect";
import { dialects } from "./registry";
import { NATURAL } from "./tensorflow_padding";
import { parsed, shown, type Value } from "./value";

/** Names of the same argument in different frameworks, for the advice after an unknown one. */
const FAMILIES = [
  ["stride", "strides", "window_strides", "subsample", "stride_w"],
  ["dilation", "dilations", "dilation_rate", "kernel_dilation", "rhs_dilation", "dilation_w"],
  ["groups", "group", "num_groups", "num_group", "feature_group_count"],
  ["padding", "pad", "pads", "pads_begin", "pad_left"],
  ["output_padding", "output_pad", "adj", "output_pad_right"],
  ["data_format", "dimension_numbers", "data_layout"],
];

/** Dialect of this name. */
export function dialectNamed(name: string): Dialect {
  if (!Object.hasOwn(dialects, name)) {
    refuse(
      "dialect",
      `dialect is ${shown(name)}; there are ${Object.keys(dialects).join(", ")}. Write dialect="torch"`,
    );
  }
  return dialects[name]!;
}

/** Refuse an argument that the dialect does not have. */
export function checkNames(dialect: Dialect, given: Iterable<string>): void {
  const known = dialect.names;
  for (const name of given) {
    if (known.includes(name) || dialect.words(2).some((word) => word.name === name)) continue;
    const family = FAMILIES.find((names) => names.includes(name)) ?? [];
    const close = known.find((each) => family.includes(each));
    refuse(
      name,
      `${name}= is not an argument of the ${dialect.name} dialect, which has ${known.join(", ")}. ` +
        (close ? `Write ${close}=` : `Write the call without ${name}=`),
    );
  }
}

/** Geometry that the texts of the fields mean. */
export function geometryOf(
  dialect: Dialect,
  kernel: readonly number[],
  input: Index,
  texts: Readonly<Record<string, string>>,
): Geometry {
  checkNames(dialect, Object.keys(texts));
  const rank = kernel.length;
  if (rank < dialect.ranks[0] || rank > dialect.ranks[1]) {
    const { ranks, framework } = dialect;
    refuse(
      "dialect",
      `there are ${rank} spatial axes; ${framework} needs ${ranks[0]} to ${ranks[1]}. Use another dialect, or another ` +
        "number of axes",
    );
  }
  const given: Record<string, Value> = {};
  for (const [name, text] of Object.entries(texts)) if (text.trim()) given[name] = parsed(text);
  for (const word of dialect.words(rank)) {
    if (word.required) given[word.name] ??= parsed(word.fallback);
    const value = given[word.name];
    if (word.each && typeof value === "number") given[word.name] = kernel.map(() => value);
    // the page fills in the sizes that these frameworks ask for
    if (word.natural) given[word.name] ??= NATURAL;
  }
  return dialect.geometry({ kernel, input, words: given });
}
