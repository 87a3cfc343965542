/** Values of arguments: read from the text of a field, and written as Python source. */

/** An array stands for a tuple, a List for a list; null is None. */
export type Value = number | string | boolean | null | readonly Value[];

/** List of Python, as against a tuple. */
export class List extends Array<Value> {}

export const list = (values: Iterable<Value>): List => List.from(values) as List;

/** Arguments by their names, in the order in which they are written. */
export type Arguments = Readonly<Record<string, Value>>;

/** Source of a value, as Python's repr writes it. */
export function source(value: Value): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") {
    const text = value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
    return text.includes("'") && !text.includes('"') ? `"${text}"` : `'${text.replaceAll("'", "\\'")}'`;
  }
  const entries = Array.from(value, source).join(", ");
  if (value instanceof List) return `[${entries}]`;
  return `(${entries}${value.length === 1 ? "," : ""})`;
}

/** Value as text for a message, in one line and not too long. */
export function shown(value: Value | undefined): string {
  const text = source(value ?? null)
    .split(/\s+/)
    .join(" ")
    .trim();
  return text.length <= 100 ? text : `${text.slice(0, 97)}...`;
}

/** Longest text that is read; brackets within brackets need the stack. */
const LONGEST = 1000;
const NAMED: Record<string, Value> = { None: null, True: true, False: false, true: true, false: false };

/**
 * Value that the text of a field means: "2", "2, 3", "2x3", "(0, 1)", "[[0, 0], [1, 1]]", "None", "same".
 *
 * Text that is none of these is itself the value, so that a refusal can show it.
 */
export function parsed(text: string): Value {
  const trimmed = text.trim();
  if (trimmed.length > LONGEST) return trimmed;
  if (/^\d+(\s*[x×]\s*\d+)+$/.test(trimmed)) return trimmed.split(/\s*[x×]\s*/).map(Number);
  const tokens = trimmed.match(/[()[\],]|"[^"]*"|'[^']*'|[^()[\],"'\s]+|["']/g) ?? [];
  let at = 0;
  function one(): Value | undefined {
    const token = tokens[at++]!;
    if (token === "(" || token === "[") {
      const entries = many(token === "(" ? ")" : "]");
      if (!entries) return undefined;
      // (2) is a number in brackets
      return token === "[" ? list(entries.values) : entries.single ? entries.values[0] : entries.values;
    }
    if (token === undefined || /^[)\],]$/.test(token)) return undefined;
    return atom(token);
  }
  function many(end?: string): { values: Value[]; single: boolean } | undefined {
    const values: Value[] = [];
    let commas = 0;
    while (at < tokens.length && tokens[at] !== end) {
      const value = one();
      if (value === undefined) return undefined;
      values.push(value);
      if (tokens[at] === ",") {
        at++;
        commas++;
      } else if (tokens[at] !== end) return undefined;
    }
    if (tokens[at] !== end) return undefined;
    at++;
    return { values, single: values.length === 1 && !commas };
  }
  const whole = many();
  if (!whole || !whole.values.length || at <= tokens.length - 1) return trimmed;
  return whole.single ? whole.values[0]! : whole.values;
}

function atom(token: string): Value {
  if (Object.hasOwn(NAMED, token)) return NAMED[token]!;
  if (/^[+-]?\d+$/.test(token)) return Number(token);
  // "2.0" stays text, because it is no integer in Python
  if (/^[+-]?\d*\.\d+$/.test(token) && !Number.isInteger(Number(token))) return Number(token);
  return /^(["']).*\1$/.test(token) && token.length > 1 ? token.slice(1, -1) : token;
}
