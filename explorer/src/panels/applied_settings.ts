/** Settings that say another geometry in the words of the present dialect, and the call of tconv with these words. */

import type { Geometry, Index } from "../arithmetic/geometry";
import type { Word } from "../dialects/dialect";
import { dialects } from "../dialects/registry";
import { parsed, source, type Value } from "../dialects/value";
import { ruleOf } from "../state/defaults";
import type { Settings, Values } from "../state/settings";

/** Return the change that makes this geometry; own numbers of another size give way to the rule. */
export function applied(settings: Settings, geometry: Geometry, input: Index): Partial<Settings> {
  const kernel = geometry.axes.map((axis) => axis.kernel);
  const fitting = (values: Values, sizes: Index): Values =>
    "shape" in values && String(values.shape.slice(-sizes.length)) === String(sizes) ? values : ruleOf(values);
  return {
    kernel,
    input,
    words: dialects[settings.dialect]!.wordsOf(geometry, input),
    values: { x: fitting(settings.values.x, input), weight: fitting(settings.values.weight, kernel) },
  };
}

/** Arguments of the dialect that are not at their default, as source: ", stride=2, padding=1". */
export function argumentsText(settings: Settings, geometry: Geometry, input: Index): string {
  const dialect = dialects[settings.dialect]!;
  // a word of tconv's own, as crop= of the torch dialect, says what the framework cannot
  if (dialect.reasonsAgainst(geometry, input).length > 0) {
    return written(Object.entries(settings.words).map(([name, text]) => [name, parsed(text)]));
  }
  const native = dialect.worded(geometry, input, settings.words);
  const differing = dialect.wordsOf(geometry, input);
  // the page fills in what a call has to say: an output_shape, and a padding by its name
  const isNeeded = ({ name, fallback, required }: Word) =>
    required ||
    name in differing ||
    typeof native[name] === "string" ||
    (fallback === "" && (native[name] ?? null) !== null);
  const names = dialect.words(geometry.axes.length).filter((word) => native[word.name] !== undefined && isNeeded(word));
  return written(names.map(({ name }) => [name, native[name]!]));
}

function written(given: readonly (readonly [string, Value])[]): string {
  return given.map(([name, value]) => `, ${name}=${source(value)}`).join("");
}

/** Call of tconv in the words of the dialect. */
export function tconvCode(settings: Settings, geometry: Geometry, input: Index): string {
  const dialect = settings.dialect === "torch" ? "" : `, dialect=${source(settings.dialect)}`;
  return `y = tconv.conv_transpose(x, weight${dialect}${argumentsText(settings, geometry, input)})`;
}
