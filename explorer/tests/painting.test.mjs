/** The board of the scatter: its sums are those of the definition at every time. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { sceneOf, matrixOf } = await bundled("arithmetic/scene_of_settings.ts", "arithmetic/matrix.ts");
const { readAddress } = await bundled("state/address.ts");
const { Painting } = await bundled("boards/painting.ts");

const ADDRESSES = [
  "#dialect=torch&kernel=3&stride=2&input=3x4&x=random&weight=random",
  "#dialect=torch&kernel=3x2&stride=2&padding=1&output_padding=1&dilation=2&input=3&x=random&weight=random",
  "#dialect=torch&kernel=2&stride=3&input=4&channels=4:2&groups=2&x=random&weight=random",
  "#dialect=torch&rank=1&kernel=4&stride=2&padding=1&input=5&channels=2:3&x=random&weight=random",
  "#dialect=keras&kernel=2&strides=3&padding=same&input=3&x=random&weight=random",
];

for (const address of ADDRESSES) {
  const { scene } = sceneOf(readAddress(address).settings);
  /** Sums of the kept cells of a channel, as the board has them. */
  const kept = (painting) => {
    const [rows, columns] = scene.outputShape.length === 1 ? [1, ...scene.outputShape] : scene.outputShape;
    return Array.from({ length: rows * columns }, (_, at) => {
      const [row, column] = [Math.floor(at / columns) + painting.first[0], (at % columns) + painting.first[1]];
      return painting.sums[row * painting.columns + column];
    });
  };
  const size = scene.output.length / scene.channels.output;
  /** Output of the first elements: the others are 0. */
  const after = (time) => matrixOf(scene).transposedTimes(scene.x.map((number, at) => (at < time ? number : 0)));

  test(`every time, forwards and back: ${address}`, () => {
    for (let channel = 0; channel < scene.channels.output; channel++) {
      const painting = new Painting(scene, channel);
      for (const time of [0, 1, 2, 5, scene.x.length, 3, Infinity]) {
        painting.advance(time);
        assert.deepEqual(
          kept(painting),
          [...after(time).subarray(channel * size, (channel + 1) * size)],
          `time ${time}`,
        );
      }
    }
  });

  test(`overlap is the number of input places that reach a cell: ${address}`, () => {
    const painting = new Painting(scene, 0);
    painting.advance(Infinity);
    const [rows, columns] = scene.outputShape.length === 1 ? [1, ...scene.outputShape] : scene.outputShape;
    for (let at = 0; at < rows * columns; at++) {
      const index = scene.outputShape.length === 1 ? [at] : [Math.floor(at / columns), at % columns];
      const reaching = new Set(scene.gathered(0, index).map((one) => one.input.join()));
      const [row, column] = painting.spotOfOutput(index);
      assert.equal(painting.counts[row * painting.columns + column], reaching.size);
    }
  });
}
