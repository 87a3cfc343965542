/** The call of the chosen dialect keeps the name of a padding that the user chose. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { sceneOf, tconvCode, dialects } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "panels/applied_settings.ts",
  "dialects/registry.ts",
);
const counting = { x: { rule: "counting" }, weight: { rule: "counting" } };

/** Dialect, words, kernel; part of the framework's call, and of tconv's. */
const CALLS = [
  ["keras", { strides: "4", padding: "same" }, 2, "strides=4, padding='same')", "strides=4, padding='same')"],
  ["keras", { strides: "4" }, 2, "weight, strides=4)", "padding='valid')"],
  ["onnx", { strides: "2", auto_pad: "SAME_UPPER" }, 3, "auto_pad='SAME_UPPER')", "auto_pad='SAME_UPPER')"],
  ["onnxruntime", { auto_pad: "SAME_UPPER" }, 3, 'auto_pad="SAME_UPPER"', "auto_pad='SAME_UPPER')"],
  ["openvino", { auto_pad: "same_upper" }, 3, "auto_pad='same_upper'", "strides=[1, 1], auto_pad='same_upper')"],
  ["paddle", { stride: "2", padding: "SAME" }, 3, "stride=2, padding='SAME')", "stride=2, padding='SAME')"],
];

for (const [dialect, words, kernel, native, own] of CALLS) {
  test(`${dialect} ${JSON.stringify(words)}`, () => {
    const settings = {
      dialect,
      words,
      kernel: [kernel],
      input: [3],
      channels: { input: 1, output: 1 },
      rank: 2,
      values: counting,
    };
    const { geometry, inputShape } = sceneOf(settings).scene;
    const code = dialects[dialect].code(geometry, inputShape, words);
    assert.ok(code.includes(native), code);
    const call = tconvCode(settings, geometry, inputShape);
    assert.ok(call.endsWith(own), call);
  });
}

test("a caution stands at its field", () => {
  const notes = (dialect, words, channels) =>
    sceneOf({ dialect, words, kernel: [3], input: [3], channels, rank: 2, values: counting }).notes.map(
      (note) => note.field,
    );
  const two = { input: 2, output: 2 };
  assert.deepEqual(notes("onnx", { group: "2" }, two), ["group"]);
  assert.deepEqual(notes("onnxruntime", { group: "2" }, two), []);
  assert.deepEqual(notes("keras", { strides: "2", dilation_rate: "2" }, two), ["strides", "strides", "dilation_rate"]);
  assert.deepEqual(notes("keras", { strides: "2" }, two), []);
});
