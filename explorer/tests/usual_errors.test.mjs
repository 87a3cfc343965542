/** Wrong answers to a prediction, and the words that name the error. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { sceneOf, readAddress, judgedValue, judgedSize } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "state/address.ts",
  "panels/usual_errors.ts",
);

const sceneAt = (address) => sceneOf(readAddress(address).settings).scene;
// y[2, 2] = x[0, 1]... with a kernel of different numbers everywhere
const scene = sceneAt(
  "#dialect=torch&kernel=3&stride=2&padding=1&input=3&weight=3x3:1,20,300,7,50,600,11,13,17&x=3x3:2,3,5,7,11,13,17,19,23",
);
const cell = [1, 1];
const products = scene.gathered(0, cell);
const value = products.reduce((sum, each) => sum + each.product, 0);

test("the right value is right, and so is one rounded to three digits", () => {
  assert.ok(judgedValue(scene, 0, cell, value).right);
  const half = sceneAt("#dialect=torch&kernel=1&input=1&weight=1x1:0.123456&x=1x1:1");
  assert.ok(judgedValue(half, 0, [0, 0], 0.123).right);
  assert.ok(!judgedValue(half, 0, [0, 0], 0.13).right);
});

test("a missing paint is named", () => {
  assert.equal(products.length, 4);
  for (const each of products) {
    const { right, text } = judgedValue(scene, 0, cell, value - each.product);
    assert.ok(!right);
    assert.match(text, new RegExp(`without the paint of x\\[${each.input.join(", ")}\\]`));
  }
});

test("other usual errors are named", () => {
  const uncropped = scene.full[cell[0] * scene.fullShape[1] + cell[1]];
  const flipped = products.reduce((sum, each) => sum + each.x * scene.weight[8 - (each.tap[0] * 3 + each.tap[1])], 0);
  for (const [wrong, words] of [
    [products[0].product, /alone/],
    [flipped, /turned around/],
    [uncropped, /before the crop/],
    [-value, /sign/],
    [value + 0.5, /Which inputs/],
  ]) {
    const { right, text } = judgedValue(scene, 0, cell, wrong);
    assert.ok(!right);
    assert.match(text, words, String(wrong));
  }
});

test("sizes", () => {
  for (const [address, given, words] of [
    ["#dialect=torch&kernel=3&stride=2&padding=1&input=4", [7, 7], /^Right/],
    ["#dialect=torch&kernel=3&stride=2&padding=1&input=4", [9, 9], /full result/],
    ["#dialect=torch&kernel=3&stride=2&padding=1&input=4", [11, 11], /smaller, not larger/],
    ["#dialect=torch&kernel=3&stride=2&padding=1&input=4", [8, 8], /stride × input/],
    ["#dialect=torch&kernel=3&stride=2&padding=1&input=4", [2, 2], /ordinary convolution/],
    ["#dialect=torch&kernel=3&stride=2&padding=1&output_padding=1&input=4", [7, 7], /cropped differently/],
    ["#dialect=torch&kernel=3&stride=2&dilation=2&input=4", [9, 9], /dilation/],
    ["#dialect=torch&rank=1&kernel=3&stride=2&input=4", [11], /n − 1 strides/],
    ["#dialect=torch&kernel=3&stride=2&padding=1&input=4", [4, 4], /the input's size/],
    ["#dialect=torch&kernel=3&stride=2&padding=1&input=4", [100, 1], /stride·\(input − 1\)/],
  ]) {
    assert.match(judgedSize(sceneAt(address), given).text, words, `${address} ${given}`);
  }
});
