/**
 * Address of the page: all settings and the pinned cell as readable key=value pairs, defaults left out.
 *
 *     #dialect=keras&kernel=3&strides=2&padding=same&input=5x4&pin=output:0:3,2
 *
 * Own numbers stand as weight=2x2:0,1,2,3. Words of the dialect stand by their own names.
 */

import { product } from "../arithmetic/indices";
import { dialects } from "../dialects/registry";
import { DEFAULTS, FIRST_LOOK, RULES } from "./defaults";
import { type Cell, NOTHING, type Selection } from "./selection";
import type { Settings, Values } from "./settings";
import { readSizes, sizesText } from "./sizes";

export interface Address {
  readonly settings: Settings;
  readonly selection: Selection;
  readonly embed: boolean;
  /** What could not be read, a sentence each; the default stands in its place. */
  readonly complaints: readonly string[];
}

/** Most numbers of an array of the user. */
export const MOST_NUMBERS = 4096;

/** Return the address of these settings and of what is pinned. */
export function addressOf(settings: Settings, selection: Selection = NOTHING): string {
  const pairs: [string, string][] = [["dialect", settings.dialect]];
  if (settings.rank !== DEFAULTS.rank) pairs.push(["rank", String(settings.rank)]);
  pairs.push(["kernel", sizesText(settings.kernel)]);
  pairs.push(...Object.entries(settings.words));
  pairs.push(["input", sizesText(settings.input)]);
  const { input, output } = settings.channels;
  if (input !== 1 || output !== 1) pairs.push(["channels", `${input}:${output}`]);
  for (const name of ["x", "weight"] as const) {
    const text = valuesText(settings.values[name]);
    if (text !== "counting") pairs.push([name, text]);
  }
  const { shown, pinned, time, hidden } = selection;
  const usual = shownWith(pinned);
  if (shown.input !== usual.input || shown.output !== usual.output)
    pairs.push(["shown", `${shown.input}:${shown.output}`]);
  if (pinned) pairs.push(["pin", `${pinned.board}:${pinned.channel}:${pinned.index.join(",")}`]);
  if (Number.isFinite(time)) pairs.push(["time", String(time)]);
  if (hidden) pairs.push(["predict", "1"]);
  return `#${pairs.map(([name, value]) => `${name}=${encoded(value)}`).join("&")}`;
}

function encoded(text: string): string {
  // half of a surrogate pair has no code
  const whole = text.replace(/\p{Surrogate}/gu, "\ufffd");
  // what stays readable: colons, commas and brackets
  return encodeURIComponent(whole).replace(/%(3A|2C|5B|5D|28|29)/gi, decodeURIComponent);
}

/** Channels that are shown where the address does not say them: the first, and that of the pinned cell. */
function shownWith(pinned: Cell | null): Selection["shown"] {
  return pinned ? { ...NOTHING.shown, [pinned.board]: pinned.channel } : NOTHING.shown;
}

function valuesText(values: Values): string {
  if ("numbers" in values) return `${values.shape.join("x")}:${values.numbers.join(",")}`;
  return "seed" in values && values.seed ? `${values.rule}:${values.seed}` : values.rule;
}

/** Read an address, with or without its "#". An empty one is the first look. */
export function readAddress(text: string): Address {
  const complaints: string[] = [];
  const pairs = new Map<string, string>();
  for (const [name, value] of pairsOf(text)) {
    if (pairs.has(name)) complaints.push(`The address says ${clipped(name)} twice; the last one counts.`);
    pairs.set(name, value);
  }
  const embed = pairs.delete("embed");
  if (!pairs.size) return { settings: FIRST_LOOK, selection: NOTHING, embed, complaints };
  const take = <T>(name: string, fallback: T, read: (value: string) => T | null, needed: string): T => {
    const value = pairs.get(name);
    pairs.delete(name);
    if (value === undefined) return fallback;
    const found = read(value);
    if (found === null) complaints.push(`The address says ${name}=${clipped(value)}; ${needed}.`);
    return found ?? fallback;
  };
  const dialect = take(
    "dialect",
    DEFAULTS.dialect,
    (value) => (Object.hasOwn(dialects, value) ? value : null),
    `there are ${Object.keys(dialects).join(", ")}`,
  );
  const rank = take(
    "rank",
    DEFAULTS.rank,
    (value) => (value === "1" ? 1 : value === "2" ? 2 : null),
    "write rank=1 or rank=2",
  );
  const sizes = (value: string) => readSizes(value, rank);
  const example = rank === 2 ? "3 or 3x2" : "3";
  const values = (name: "x" | "weight"): Values => {
    const rules = RULES[name];
    const needed = `write ${rules.join(", ")} or numbers like 2x2:0,1,2,3`;
    return take(name, DEFAULTS.values[name], (value) => readValues(value, rules), needed);
  };
  const settings: Settings = {
    dialect,
    rank,
    kernel: take("kernel", DEFAULTS.kernel, sizes, `write a size like ${example}`),
    input: take("input", DEFAULTS.input, sizes, `write a size like ${example}`),
    channels: take("channels", DEFAULTS.channels, readSides, "write the channels of input and output like 2:4"),
    values: { x: values("x"), weight: values("weight") },
    words: {},
  };
  const pinned = take(
    "pin",
    null,
    (value) => readCell(value, rank),
    `write a cell like output:0:${rank === 2 ? "3,2" : "3"}`,
  );
  const selection: Selection = {
    pointed: null,
    shown: take("shown", shownWith(pinned), readSides, "write the shown channels of input and output like 0:1"),
    pinned,
    time: take("time", Infinity, (value) => (/^\d{1,6}$/.test(value) ? Number(value) : null), "write a whole number"),
    hidden: take("predict", false, (value) => value === "1", "write predict=1"),
  };
  const { framework, names, words: fieldsOf } = dialects[dialect]!;
  const fields = fieldsOf(rank).map((word) => word.name);
  const words: Record<string, string> = {};
  for (const [name, value] of pairs) {
    // an argument without a field, as a data_format, is read as in the call
    if (fields.includes(name) || names.includes(name)) words[name] = value;
    else complaints.push(`The address says ${clipped(name)}=${clipped(value)}; ${framework} has ${fields.join(", ")}.`);
  }
  return { settings: { ...settings, words }, selection, embed, complaints };
}

function pairsOf(address: string): [string, string][] {
  const pieces = address.replace(/^#/, "").split("&").filter(Boolean);
  return pieces.map((piece) => {
    const [name = "", ...rest] = piece.split("=");
    return [decoded(name), decoded(rest.join("="))];
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function clipped(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

function readSides(text: string): { input: number; output: number } | null {
  const found = /^(\d{1,3}):(\d{1,3})$/.exec(text);
  return found && { input: Number(found[1]), output: Number(found[2]) };
}

function readCell(text: string, rank: number): Cell | null {
  const found = /^(input|output):(\d{1,3}):(\d{1,6}(?:,\d{1,6})*)$/.exec(text);
  const index = found?.[3]?.split(",").map(Number);
  if (!found || index?.length !== rank) return null;
  return { board: found[1] as Cell["board"], channel: Number(found[2]), index };
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function readValues(text: string, rules: readonly string[]): Values | null {
  if (rules.includes(text)) return { rule: text } as Values;
  const seed = /^random:(\d{1,9})$/.exec(text)?.[1];
  if (seed) return { rule: "random", seed: Number(seed) };
  const [shapeText = "", numbersText = "", ...more] = text.split(":");
  if (more.length || !/^\d{1,4}(x\d{1,4})*$/.test(shapeText)) return null;
  const shape = shapeText.split("x").map(Number);
  const texts = numbersText.split(",");
  const numbers = texts.map(Number);
  const areNumbers = texts.every((each) => NUMBER.test(each)) && numbers.every(Number.isFinite);
  return areNumbers && numbers.length === product(shape) && numbers.length <= MOST_NUMBERS ? { shape, numbers } : null;
}
