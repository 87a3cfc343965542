/** Code of a call in one framework: the call alone, or the full result and then a pad and a slice. */

import { fullSize, uncropped, type Geometry, type Index } from "../arithmetic/geometry";
import { refuse } from "../arithmetic/refusal";
import { crops } from "./arguments";
import type { Dialect, Rules } from "./dialect";
import { NATURAL } from "./tensorflow_padding";
import { list, source, type Arguments, type Value } from "./value";

/** Number of the spatial axis for each axis of the data; null for batch and channels. */
function dataAxes(pattern: string, ndim: number): (number | null)[] {
  return [...pattern].flatMap((letter) => (letter === "*" ? Array.from({ length: ndim }, (_, a) => a) : [null]));
}

function codeOf(rules: Rules, geometry: Geometry, input: Index, own: Readonly<Record<string, string>> = {}): string {
  const call = (g: Geometry): string =>
    `y = ${rules.callCode(g === geometry ? worded(rules, g, input, own) : rules.nativeArguments(g, input), g)}`;
  const before = (g: Geometry): string[] => rules.before?.(g) ?? [];
  if (!rules.reasonsAgainst(geometry, input).length) return [...before(geometry), call(geometry)].join("\n");
  const full = uncropped(geometry);
  const reasons = rules.reasonsAgainst(full, input);
  if (reasons.length) {
    refuse(
      "dialect",
      `${rules.framework} cannot express ${reasons.join("; nor ")}. Write tconv.conv_transpose(..., ` +
        'geometry=geometry), or dialect="torch"',
    );
  }
  const lines = [...before(full), call(full)];
  const axes = dataAxes(rules.dataPattern, geometry.axes.length);
  const all = axes.map((axis) => (axis === null ? ([0, 0] as const) : crops(geometry)[axis]!));
  if (all.some((pair) => Math.min(...pair) < 0)) {
    const pairs = all.map(([lo, hi]) => [Math.max(0, -lo), Math.max(0, -hi)] as const);
    lines.push(`y = ${rules.padCode ? rules.padCode(pairs) : `np.pad(y, ${source(list(pairs))})`}`);
  }
  if (all.some((pair) => Math.max(...pair) > 0)) {
    const slices = axes.map((axis, at) => {
      if (axis === null) return ":";
      const [lo, hi] = all[at]!;
      return `${Math.max(0, lo)}:${Math.max(0, -lo) + fullSize(full.axes[axis]!, input[axis]!) - hi}`;
    });
    lines.push(`y = y[${slices.join(", ")}]`);
  }
  return lines.join("\n");
}

/**
 * Native arguments of a geometry with the padding by the name that the user gave it: "same", where "valid" means the same.
 * All others are as they are, if they mean the same beside it.
 */
function worded(rules: Rules, geometry: Geometry, input: Index, own: Readonly<Record<string, string>>): Arguments {
  const native = rules.nativeArguments(geometry, input);
  const crop = rules.words(geometry.axes.length).filter(({ part, kind }) => part === "crop" && kind !== "flag");
  const isName = (name: string) => /^[a-z_]+$/i.test(own[name] ?? "") && own[name] !== "None";
  const named = crop.filter(({ name }) => isName(name)).map(({ name }) => [name, own[name]!] as const);
  if (!named.length) return native;
  // what the name decides is not written beside it: pads beside auto_pad
  const decided = crop.filter(({ natural }) => !natural).map(({ name }) => name);
  const kept = Object.entries(native).filter(([name]) => !decided.includes(name) || typeof native[name] === "string");
  const given: Arguments = Object.fromEntries([...kept, ...named]);
  try {
    const call = { kernel: geometry.axes.map((axis) => axis.kernel), input, words: given };
    return JSON.stringify(rules.geometry(call)) === JSON.stringify(geometry) ? given : native;
  } catch {
    return native;
  }
}

/** Dialect of these rules, with the functions that are common to all. */
export function dialectOf(rules: Rules): Dialect {
  return {
    ...rules,
    code: (geometry, input, own) => codeOf(rules, geometry, input, own),
    worded: (geometry, input, own) => worded(rules, geometry, input, own),
    wordsOf(geometry, input) {
      // the group is a field also where it is no argument
      const given: Record<string, Value> = { groups: geometry.groups, ...rules.nativeArguments(geometry, input) };
      const fields = rules.words(geometry.axes.length);
      for (const { name, natural } of fields) {
        if (natural && isNatural(rules, name, given, geometry, input)) delete given[name];
      }
      const texts = fields.flatMap(({ name, kind, fallback }): [string, string][] => {
        const value = given[name];
        if (value === undefined || isNothing(value)) return [];
        const text = textOf(value, kind === "sizes");
        return text === fallback ? [] : [[name, text]];
      });
      return Object.fromEntries(texts);
    },
  };
}

/** True if the geometry is the same with the size that the page writes. */
function isNatural(rules: Rules, name: string, given: Arguments, geometry: Geometry, input: Index): boolean {
  try {
    const call = { kernel: geometry.axes.map((axis) => axis.kernel), input, words: { ...given, [name]: NATURAL } };
    return JSON.stringify(rules.geometry(call)) === JSON.stringify(geometry);
  } catch {
    return false;
  }
}

/** True for a list of zeros, which says what leaving it out says. */
const isNothing = (value: Value): boolean =>
  Array.isArray(value) && value.length > 0 && value.every((one) => one === 0);

/** Text of a value as a person writes it into a field. */
function textOf(value: Value, short: boolean): string {
  if (typeof value === "string") return value;
  if (value === null) return "";
  if (typeof value === "boolean") return String(value);
  if (Array.isArray(value) && value.every((entry) => typeof entry === "number")) {
    return short && value.every((entry) => entry === value[0]) ? String(value[0]) : value.join(", ");
  }
  return source(value);
}
