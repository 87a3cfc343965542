/** Texts of fields as Python reads them, and values as Python writes them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { parsed, shown, source } = await bundled("dialects/value.ts");

/** Text of a field, and the source of the value that it means. */
const TEXTS = [
  ["2", "2"],
  [" -3 ", "-3"],
  ["+3", "3"],
  ["1.5", "1.5"],
  ["2.0", "'2.0'"],
  ["1e3", "'1e3'"],
  ["2, 3", "(2, 3)"],
  ["2,", "(2,)"],
  ["2x3", "(2, 3)"],
  ["2 × 3", "(2, 3)"],
  ["2x", "'2x'"],
  ["(2)", "2"],
  ["(2,)", "(2,)"],
  ["()", "()"],
  ["[]", "[]"],
  ["[2]", "[2]"],
  ["((0, 1), (2, -3))", "((0, 1), (2, -3))"],
  ["(0, 1), [2, 3]", "((0, 1), [2, 3])"],
  ["[[0,0],[1,2],]", "[[0, 0], [1, 2]]"],
  ["None", "None"],
  ["(None, True, false)", "(None, True, False)"],
  ["SAME", "'SAME'"],
  ['"SAME"', "'SAME'"],
  ["'it', 'is'", "('it', 'is')"],
  ["it's", '"it\'s"'],
  ["toString", "'toString'"],
  // no Python: the text itself, for the message
  ["(1, 2", "'(1, 2'"],
  ["1)", "'1)'"],
  ["(1, 2]", "'(1, 2]'"],
  ["1,, 2", "'1,, 2'"],
  [",", "','"],
  ["1 2", "'1 2'"],
  ["[1 2]", "'[1 2]'"],
  ["a\nb", "'a\\nb'"],
  ["a\\b", "'a\\\\b'"],
  ["", "''"],
];

test("a text means what it means in Python", () => {
  for (const [text, expected] of TEXTS) assert.equal(source(parsed(text)), expected, text);
});

test("a value is short in a message", () => {
  const text = shown(Array(99).fill(10));
  assert.ok(text.length === 100 && text.startsWith("(10, 10") && text.endsWith("..."), text);
  assert.equal(shown("a   b"), "'a b'");
});
