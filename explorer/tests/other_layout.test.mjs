/** A weight that is dropped in the words of another framework is read, with a hint. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { otherLayout } = await bundled("own_numbers/other_layout.ts");

for (const [shape, pattern, expected] of [
  [[3, 3, 6, 4], "IO*", "Keras"],
  [[3, 3, 64, 64], "IO*", "Keras"],
  [[4, 6, 3, 3], "*OI", "PyTorch"],
  [[64, 64, 3, 3], "*OI", "PyTorch"],
  [[6, 3, 3, 4], "IO*", "MLX (mlx)"],
  [[4, 6, 3, 3], "IO*", ""],
  [[4, 4, 3, 3], "*OI", ""],
  [[3, 3, 6, 4], "*OI", ""],
  [[4, 6, 3], "*OI", ""],
  [[4, 6, 5, 7], "*OI", ""],
]) {
  test(`${shape} read as ${pattern}`, () => {
    const said = otherLayout(shape, pattern, 1);
    if (expected) assert.ok(said.includes(`a weight of ${expected}:`), said);
    else assert.equal(said, "");
  });
}
