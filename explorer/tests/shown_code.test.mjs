/** Code that the page shows, run in Python: the loop of the scatter, and the call of tconv in every dialect. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";
import { python } from "./python.mjs";

const { sceneOf, scatterLines, tconvCode, dialects } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "panels/loop_line.ts",
  "panels/applied_settings.ts",
  "dialects/registry.ts",
);

const OWN = {
  x: { rule: "random", seed: 3 },
  weight: { rule: "random", seed: 5 },
};
const settings = (
  dialect,
  words,
  { kernel = [3], input = [3], channels = { input: 1, output: 1 }, rank = 2 } = {},
) => ({ dialect, words, kernel, input, channels, rank, values: OWN });

const LOOPS = [
  settings("torch", { stride: "2" }),
  settings("torch", { stride: "2", padding: "1", output_padding: "1" }, { input: [3, 4] }),
  settings("torch", { stride: "3x2", dilation: "1x2" }, { kernel: [2, 3], input: [2, 4] }),
  settings("torch", { stride: "2", padding: "1" }, { rank: 1, kernel: [4], input: [5] }),
  settings("torch", { stride: "2" }, { channels: { input: 2, output: 3 } }),
  settings("torch", { stride: "2", groups: "2" }, { channels: { input: 4, output: 2 } }),
  settings("torch", { groups: "2", padding: "1" }, { channels: { input: 2, output: 6 } }),
  settings("torch", { stride: "2" }, { rank: 1, channels: { input: 2, output: 1 } }),
  settings("torch", { crop: "((-1, 0), (2, -2))" }, { channels: { input: 1, output: 2 } }),
  settings("torch", { crop: "((-1, 0), (0, -2))" }),
];

const CALLS = Object.keys(dialects).flatMap((dialect) =>
  [1, 2].flatMap((rank) =>
    [
      ["2", "1"],
      ["2", "0"],
      ["3", "0"],
    ].flatMap(([stride, padding]) => callOf(dialect, rank, stride, padding)),
  ),
);

/** Settings of the dialect that mean this stride and padding of PyTorch, in a list; none where it cannot say them. */
function callOf(dialect, rank, stride, padding) {
  const sizes = { rank, kernel: [4], channels: { input: 2, output: 3 } };
  const { scene } = sceneOf(settings("torch", { stride, padding }, sizes));
  const member = dialects[dialect];
  if (
    member.ranks[0] > rank ||
    member.ranks[1] < rank ||
    member.reasonsAgainst(scene.geometry, scene.inputShape).length
  )
    return [];
  return [settings(dialect, member.wordsOf(scene.geometry, scene.inputShape), sizes)];
}

const scenes = [...LOOPS, ...CALLS].map((each) => ({ each, ...sceneOf(each) }));
const cases = scenes.map(({ each, scene }) => ({
  code: LOOPS.includes(each) ? scatterLines(scene).lines.join("\n") : tconvCode(each, scene.geometry, scene.inputShape),
  dialect: LOOPS.includes(each) ? null : each.dialect,
  x: [[scene.channels.input, ...scene.inputShape], [...scene.x]],
  weight: [
    [
      scene.channels.input,
      scene.channels.output / scene.geometry.groups,
      ...scene.geometry.axes.map((axis) => axis.kernel),
    ],
    [...scene.weight],
  ],
  groups: scene.geometry.groups,
}));

const { stdout, missing } = python(["run_code.py"], JSON.stringify(cases));
const skip = missing ?? false;

cases.forEach(({ code, dialect }, at) => {
  test(
    `${dialect ?? "loop"}: ${code
      .split("\n")
      .at(dialect ? 0 : -2)
      .trim()}`,
    { skip },
    () => {
      const { shape, numbers, error } = JSON.parse(stdout)[at];
      assert.equal(error, undefined, code);
      const { scene } = scenes[at];
      assert.deepEqual(shape, [scene.channels.output, ...scene.outputShape]);
      assert.deepEqual(
        numbers,
        [...scene.output].map((number) => number + 0),
      );
    },
  );
});
