/** Settings that say another geometry in the words of the present dialect, and these words as source. */

import type { Geometry, Index } from "../arithmetic/geometry";
import { dialects } from "../dialects/registry";
import { parsed, source } from "../dialects/value";
import type { Settings, Values } from "../state/settings";

/** Return the change that makes this geometry; own numbers of another size give way to the rule. */
export function applied(settings: Settings, geometry: Geometry, input: Index): Partial<Settings> {
  const kernel = geometry.axes.map((axis) => axis.kernel);
  const fitting = (values: Values, sizes: Index): Values =>
    "rule" in values || String(values.shape.slice(-sizes.length)) === String(sizes) ? values : { rule: "counting" };
  return {
    kernel,
    input,
    words: dialects[settings.dialect]!.wordsOf(geometry, input),
    values: { x: fitting(settings.values.x, input), weight: fitting(settings.values.weight, kernel) },
  };
}

/** Arguments of the dialect that are not at their default, as source: ", stride=2, padding=1". */
export function argumentsText({ dialect, words, rank }: Settings): string {
  const given = dialects[dialect]!.words(rank).filter((word) => (words[word.name] ?? word.fallback) !== word.fallback);
  return given.map((word) => `, ${word.name}=${source(parsed(words[word.name]!))}`).join("");
}
