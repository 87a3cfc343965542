/** Scenes of settings: mistakes stand at their field, and no text of a field throws. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { dialects, sceneOf } = await bundled("arithmetic/scene_of_settings.ts", "dialects/registry.ts");

const counting = { x: { rule: "counting" }, weight: { rule: "counting" } };
const settingsOf = (more) => ({
  dialect: "torch",
  rank: 2,
  kernel: [3],
  input: [4],
  words: {},
  channels: { input: 1, output: 1 },
  values: counting,
  ...more,
});
const built = (more) => sceneOf(settingsOf(more));

/** Settings, the field of the mistake, and a part of its text. */
const MISTAKES = [
  [{ dialect: "caffe" }, "dialect", "there are torch, tensorflow"],
  [{ dialect: "constructor" }, "dialect", "there are torch"],
  [{ dialect: "tflite", rank: 1 }, "dialect", "2 to 3"],
  [{ kernel: [0] }, "kernel", "at least 1"],
  [{ kernel: [3, 99] }, "kernel", "at most 16"],
  [{ kernel: [1.5] }, "kernel", "an integer is needed"],
  [{ kernel: [1, 2, 3] }, "kernel", "there are 2 spatial axes"],
  [{ kernel: [NaN, 2] }, "kernel", "an integer"],
  [{ input: [65] }, "input", "at most 64"],
  [{ input: [] }, "input", "0 entries"],
  [{ input: [64], words: { stride: "9" } }, "input", "at most 512"],
  [{ input: [64], kernel: [16], channels: { input: 16, output: 16 } }, "input", "products"],
  [{ channels: { input: 0, output: 1 } }, "channels", "at least 1"],
  [{ channels: { input: 3, output: 2 }, words: { groups: "2" } }, "channels", "2 groups do not divide"],
  [{ channels: { input: 99, output: 2 } }, "channels", "at most 16"],
  [{ words: { padding: "9" } }, "padding", "removes all of them"],
  [{ words: { crop: "(9, 9)" } }, "crop", "removes all of them"],
  [{ dialect: "onnx", words: { pads: "9" } }, "pads", "removes all of them"],
  [{ words: { padding: "same" } }, "padding", "keras"],
  [{ words: { output_padding: "1" } }, "output_padding", "smaller than the stride"],
  [{ words: { stride: "2.0" } }, "stride", "an integer is needed"],
  [{ words: { stride: "1".repeat(5000) } }, "stride", "an integer is needed"],
  [{ words: { stride: "(".repeat(900) } }, "stride", "an integer is needed"],
  [{ words: { stride: "1000000000" } }, "stride", "at most 64"],
  [{ words: { stride: "9".repeat(400) } }, "stride", "an integer is needed"],
  [{ kernel: [1], words: { dilation: "1000000000" } }, "dilation", "at most 64"],
  [{ words: { crop: "(1000000, -1000000)" } }, "crop", "at most 10000"],
  [{ words: { strides: "2" } }, "strides", "Write stride="],
  [{ words: { output_size: "2" } }, "output_size", "is not an argument"],
  [{ words: { __proto__: null, toString: "2" } }, "toString", "is not an argument"],
  [{ dialect: "tensorflow", words: { output_shape: "99, 99" } }, "output_shape", "reduces"],
  [{ dialect: "keras", words: { padding: "full" } }, "padding", "valid"],
  [{ values: { ...counting, x: { shape: [3, 3], numbers: Array(9).fill(1) } } }, "x", "[1, 4, 4] is needed"],
  [{ values: { ...counting, x: { shape: [4, 4], numbers: [1, 2] } } }, "x", "2 numbers"],
  [{ values: { ...counting, weight: { shape: [3, 3], numbers: Array(9).fill(Infinity) } } }, "weight", "finite"],
  [{ values: { ...counting, weight: { rule: "bilinear" } }, words: { stride: "3" } }, "weight", "linear interpolation"],
];

test("mistakes stand at their field and say what is needed", () => {
  for (const [more, field, part] of MISTAKES) {
    const { scene, mistakes } = built(more);
    assert.equal(scene, null, field);
    assert.equal(mistakes[0].field, field, mistakes[0].text);
    assert.ok(mistakes[0].text.includes(part), mistakes[0].text);
  }
  // one of each part that does not depend on another
  const { mistakes } = built({ dialect: "x", kernel: [0], input: [0], channels: { input: 0, output: 0 } });
  assert.deepEqual(
    mistakes.map(({ field }) => field),
    ["dialect", "kernel", "input", "channels"],
  );
});

test("a phase without a tap is a note, not a mistake", () => {
  const { scene, mistakes, notes } = built({ words: { stride: "5" } });
  assert.ok(scene);
  assert.deepEqual(mistakes, []);
  assert.ok(notes[0].field === "stride" && notes[0].text.includes("2 of 5 phases have no tap"), notes[0].text);
  assert.deepEqual(built({ words: { stride: "3" } }).notes, []);
  assert.ok(built({ words: { stride: "2", dilation: "2" } }).notes[0].text.includes("a factor in common"));
  const both = built({ words: { stride: "4", dilation: "2" } }).notes[0].text;
  assert.ok(both.endsWith("in common with the stride, and a kernel of at least 4"), both);
});

test("every dialect has a scene without a word, and says it in code", () => {
  for (const [name, dialect] of Object.entries(dialects)) {
    for (const rank of name === "tflite" ? [2] : [1, 2]) {
      const { scene, mistakes } = built({ dialect: name, rank });
      assert.deepEqual(mistakes, [], name);
      assert.ok(dialect.code(scene.geometry, scene.inputShape).includes("y = "));
      const fields = dialect.words(rank);
      assert.equal(new Set(fields.map((word) => word.name)).size, fields.length);
      for (const word of fields) {
        assert.ok(word.hint.endsWith("."), `${name} ${word.name}`);
        assert.equal(word.kind === "choice", word.choices !== undefined);
        // the text of a default means the default
        if (word.fallback && word.name !== "padding") {
          const again = built({ dialect: name, rank, words: { [word.name]: word.fallback } });
          assert.deepEqual(again.scene?.geometry, scene.geometry, `${name} ${word.name}`);
        }
        for (const choice of word.choices ?? []) {
          assert.deepEqual(built({ dialect: name, rank, words: { [word.name]: choice } }).mistakes, []);
        }
      }
    }
  }
});

test("the page fills in what a framework must be told", () => {
  const same = built({ dialect: "tensorflow", words: { strides: "2" }, input: [4, 5] });
  assert.deepEqual(same.scene.outputShape, [8, 10]);
  const valid = built({ dialect: "tflite", words: { strides: "2", padding: "VALID" } });
  assert.deepEqual(valid.scene.outputShape, [9, 9]);
  assert.deepEqual(built({ dialect: "jax", words: { strides: "2" } }).scene.outputShape, [8, 8]);
  // and leaves it out again, so that the input can still be changed
  const { geometry, inputShape } = same.scene;
  assert.deepEqual(dialects.tensorflow.wordsOf(geometry, inputShape), { strides: "2" });
});

test("own numbers are used as they are", () => {
  const numbers = [0, 1, 2, 3];
  const own = { shape: [2, 2], numbers };
  const { scene } = built({ kernel: [2], input: [2], values: { x: own, weight: { shape: [1, 1, 2, 2], numbers } } });
  assert.deepEqual([...scene.output], [0, 0, 1, 0, 4, 6, 4, 12, 9]);
});

test("random numbers are whole, small and the same again", () => {
  const values = (seed) => ({ x: { rule: "random", seed }, weight: { rule: "random", seed } });
  const [one, again, other] = [7, 7, 8].map((seed) => built({ values: values(seed), input: [20] }).scene);
  assert.deepEqual(one.x, again.x);
  assert.notDeepEqual(one.x, other.x);
  assert.notDeepEqual([...one.x.slice(0, 9)], [...one.weight]);
  assert.ok(one.x.every((number) => Number.isInteger(number) && Math.abs(number) <= 4));
  assert.equal(new Set(one.x).size, 9);
});

test("no text of a field throws", () => {
  let state = 1;
  const random = (below) => (state = (state * 48271) % 2147483647) % below;
  const PARTS = [
    "(",
    ")",
    "[",
    "]",
    ",",
    " ",
    "1",
    "2",
    "-1",
    "0",
    "None",
    "SAME",
    "'",
    '"',
    "x",
    "1e9",
    "𝟚",
    "\n",
    "\\",
    "constructor",
  ];
  for (let round = 0; round < 4000; round++) {
    const name = Object.keys(dialects)[random(16)];
    const fields = dialects[name].words(2);
    const words = Object.fromEntries(
      [0, 1].map(() => [
        fields[random(fields.length)].name,
        Array.from({ length: random(7) }, () => PARTS[random(PARTS.length)]).join(""),
      ]),
    );
    const { scene, mistakes } = built({ dialect: name, rank: 1 + random(2), input: [1 + random(4)], words });
    assert.notEqual(scene === null, mistakes.length === 0);
  }
});
