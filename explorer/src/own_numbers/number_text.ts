/** Arrays in a text that someone pastes: rows of numbers, or nested lists as Python, NumPy and JSON print them. */

import { product } from "../arithmetic/indices";

export interface NumberArray {
  readonly shape: readonly number[];
  readonly numbers: readonly number[];
}

/** Text or file that is no array of numbers; the message says what was found, and what is needed. */
export class UnreadableNumbers extends Error {}

/** Most numbers that are read: more is no small example, and would only make the page slow. */
export const MOST_NUMBERS = 1_000_000;
const LONGEST_TEXT = 20_000_000;
const DEEPEST = 8;

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const SPECIAL: Readonly<Record<string, number>> = { nan: NaN, inf: Infinity, infinity: Infinity, true: 1, false: 0 };

/** Calls and words before a list that only name its type; every other call would have to be run. */
const NAMES = /^(?:[\w.]*\.)?(?:array|asarray|tensor|as_tensor|constant|parameter|variable|matrix|list|tuple)$/i;
/** Text after a list that changes no number: "dtype=float32)" and the like; no character fits two parts, so that no text takes long. */
const AFTER = /^\s*(?:,\s*(?:\w+\s*=\s*[^\s,;()\]}>*+]*(?:\([^()]*\))?\s*)?|[)\]}>;]\s*)*$/;
const LONGEST_AFTER = 300;

/**
 * Return the array of a text. Raises UnreadableNumbers.
 *
 * Lines are rows, split by spaces, commas, semicolons or tabs: "1 2\n3 4". With brackets it is a nested list, with or
 * without commas and the words around it: "array([[1., 2.], [3., 4.]])", "[[1 2]\n [3 4]]", "tensor([1, 2])".
 */
export function readNumberText(text: string): NumberArray {
  if (text.length > LONGEST_TEXT)
    throw new UnreadableNumbers(`The text has ${text.length} characters; at most ${LONGEST_TEXT} are read.`);
  if (text.trim() === "")
    throw new UnreadableNumbers(
      "There is no number in it. Write rows of numbers, such as 1 2 on one line and 3 4 on the next.",
    );
  const array = /[[(]/.test(text) ? nested(text) : rows(text);
  if (array.numbers.length === 0) throw new UnreadableNumbers("There is no number in it. Write at least one.");
  return array;
}

function numberOf(word: string): number {
  const text = word.replace("−", "-");
  const sign = text.startsWith("-") ? -1 : 1;
  const special = SPECIAL[text.replace(/^[+-]/, "").toLowerCase()];
  if (special !== undefined) return sign * special;
  if (text === "..." || text === "…")
    throw new UnreadableNumbers(
      "The text has “...” where NumPy left numbers out. Print all of them: np.set_printoptions(threshold=100000).",
    );
  if (!NUMBER.test(text))
    throw new UnreadableNumbers(`“${word.slice(0, 20)}” is not a number. Write numbers, split by spaces or commas.`);
  return Number(text);
}

function refuseMany(found: number): void {
  if (found > MOST_NUMBERS)
    throw new UnreadableNumbers(`There are more than ${MOST_NUMBERS} numbers. Use a small example.`);
}

function rows(text: string): NumberArray {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.split(/[\s,;]+/).filter(Boolean))
    .filter((line) => line.length > 0);
  const width = lines[0]?.length ?? 0;
  const uneven = lines.findIndex((line) => line.length !== width);
  if (uneven > 0)
    throw new UnreadableNumbers(
      `Row 1 has ${width} numbers and row ${uneven + 1} has ${lines[uneven]!.length}. All rows need as many.`,
    );
  refuseMany(lines.length * width);
  return { shape: lines.length === 1 ? [width] : [lines.length, width], numbers: lines.flat().map(numberOf) };
}

/** Place of the first bracket that is a list: that of "np.array([", of the inner "((", and of "w = (". */
function startOf(text: string): number {
  const list = text.indexOf("[");
  const start = list >= 0 ? list : text.search(/(?<![\w.])\(/);
  // names of values and of types stand before it: "w = np.array(", '{"weight": ', "<tf.Tensor: ..., numpy=array("
  const before = text.slice(0, Math.max(start, 0)).slice(-LONGEST_AFTER);
  const calls = before.slice(before.search(/[^=:{,]*$/)).split("(");
  const unknown = calls.map((name) => name.trim()).find((name) => name !== "" && !NAMES.test(name));
  if (start < 0 || unknown !== undefined)
    throw new UnreadableNumbers(
      `“${(unknown ?? text.trim()).slice(0, 20)}” is not a number, and nothing is computed here. Print the array, and paste what is printed.`,
    );
  return start;
}

function nested(text: string): NumberArray {
  const start = startOf(text);
  let end = text.length;
  const tokens = text.slice(start).matchAll(/[[\]()]|[^\s,;[\]()]+/g);
  const numbers: number[] = [];
  const shape: (number | undefined)[] = [];
  const counts: number[] = [];
  let leaf: number | undefined;
  for (const { 0: token, index } of tokens) {
    if (token === "[" || token === "(") {
      if (leaf !== undefined && counts.length >= leaf)
        throw new UnreadableNumbers(
          "A list stands beside numbers. Every list needs as many lists or numbers as its neighbour.",
        );
      if (counts.length > 0) counts[counts.length - 1]!++;
      counts.push(0);
      if (counts.length > DEEPEST)
        throw new UnreadableNumbers(`More than ${DEEPEST} brackets stand in each other. Paste the array of one layer.`);
    } else if (token === "]" || token === ")") {
      const length = counts.pop()!;
      const axis = counts.length;
      if (shape[axis] !== undefined && shape[axis] !== length)
        throw new UnreadableNumbers(
          `One list of axis ${axis} has ${shape[axis]} entries and another has ${length}. All need as many.`,
        );
      shape[axis] = length;
      if (axis === 0) {
        end = start + index + 1;
        break;
      }
    } else {
      if (leaf !== undefined && counts.length !== leaf)
        throw new UnreadableNumbers(
          "A number stands beside a list. Every list needs as many lists or numbers as its neighbour.",
        );
      leaf = counts.length;
      numbers.push(numberOf(token));
      counts[counts.length - 1]!++;
      refuseMany(numbers.length);
    }
  }
  if (counts.length > 0) throw new UnreadableNumbers("A bracket is not closed. Paste the whole array.");
  const after = text.slice(end).trim();
  if (after.length > LONGEST_AFTER || !AFTER.test(after))
    throw new UnreadableNumbers(
      `“${after.slice(0, 20)}” stands behind the array, and nothing is computed here. Paste one array alone.`,
    );
  const sizes = shape.map((size) => size ?? 0);
  if (product(sizes) !== numbers.length)
    throw new UnreadableNumbers("The lists have different lengths. All lists of an axis need as many entries.");
  return { shape: sizes, numbers };
}
