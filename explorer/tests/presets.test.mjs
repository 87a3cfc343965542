/** The examples of the page: each is legal, and what its sentence says is true. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { sceneOf, readAddress, PRESETS, lessonOf } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "state/address.ts",
  "page/presets.ts",
);
const scenes = new Map(PRESETS.map((preset) => [preset.title, sceneOf(readAddress(preset.address).settings).scene]));

test("every example is a scene, read without a complaint, with its own sentence", () => {
  for (const { title, address, lesson } of PRESETS) {
    const { settings, complaints } = readAddress(address);
    assert.deepEqual(complaints, []);
    assert.ok(scenes.get(title), title);
    assert.equal(lessonOf(settings).lesson, lesson);
  }
});

test("the sizes that the sentences name", () => {
  const sizes = (title) =>
    [scenes.get(title).inputShape, scenes.get(title).fullShape, scenes.get(title).outputShape].map((shape) => shape[0]);
  assert.deepEqual(sizes("stride 2"), [2, 4, 4]);
  assert.deepEqual(sizes("padding is a crop"), [3, 7, 5]);
  assert.deepEqual(sizes("output_padding"), [3, 7, 6]);
  assert.deepEqual(sizes("SAME is lopsided"), [4, 9, 8]);
  assert.deepEqual(sizes("1-D vocoder"), [6, 28, 24]);
  assert.deepEqual(scenes.get("SAME is lopsided").geometry.axes[0].crop, [0, 1]);
});

test("PyTorch has the size of SAME, shifted by one cell", () => {
  const same = scenes.get("SAME is lopsided");
  const { scene: torch } = sceneOf(
    readAddress("#dialect=torch&kernel=3&stride=2&padding=1&output_padding=1&input=4").settings,
  );
  assert.deepEqual(torch.outputShape, same.outputShape);
  const [rows, columns] = same.outputShape;
  for (let row = 0; row + 1 < rows; row++)
    for (let column = 0; column + 1 < columns; column++)
      assert.equal(torch.output[row * columns + column], same.output[(row + 1) * columns + column + 1]);
});

test("the counts that the sentences name", () => {
  const counts = (title) =>
    new Set(Array.from({ length: scenes.get(title).output.length }, (_, at) => scenes.get(title).output[at]));
  assert.deepEqual(counts("checkerboard"), new Set([1, 2, 4]));
  const textbook = scenes.get("textbook 2 × 2");
  assert.equal(textbook.gathered(0, [1, 1]).length, 4);
  assert.equal(textbook.gathered(0, [0, 0]).length, 1);
  const vocoder = scenes.get("1-D vocoder");
  const meeting = Array.from({ length: 24 }, (_, at) => vocoder.gathered(0, [at]).length);
  assert.deepEqual(new Set(meeting.slice(2, -2)), new Set([2]));
  assert.ok(
    scenes
      .get("groups")
      .gathered(1, [0, 0])
      .every((one) => one.inputChannel === 1),
  );
});
