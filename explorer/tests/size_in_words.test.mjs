/** Size formulas in the words of the frameworks: what their numbers come to is the size of the geometry. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { sceneOf, dialects, sizeInWords } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "dialects/registry.ts",
  "dialects/size_in_words.ts",
);

/** Value of a formula's numbers: what stands behind the last sign of equality of a condition, else the whole. */
function valueOf(numbers) {
  if (numbers.includes(",") && !numbers.includes("max(")) return null;
  const [, condition, result] = /^\d+: (.*) = (\d+)$/.exec(numbers) ?? [null, numbers, null];
  const text = condition
    .replaceAll("·", "*")
    .replaceAll("−", "-")
    .replaceAll("⌊", "Math.floor(")
    .replaceAll("⌈", "Math.ceil(")
    .replace(/[⌋⌉]/g, ")")
    .replaceAll("max", "Math.max");
  const value = Function(`return ${text}`)();
  if (result !== null) assert.equal(value, Number(result), numbers);
  return result === null ? value : null;
}

const PADDINGS = {
  padding: ["", "0", "1", "same", "SAME", "valid", "VALID", "((1, 1),)", "((0, 1),)"],
  auto_pad: ["", "SAME_UPPER", "same_lower", "VALID", "valid"],
  pads: ["", "1,1", "0,1"],
  pads_begin: ["", "1"],
};

for (const dialect of Object.values(dialects)) {
  test(dialect.name, (t) => {
    const names = dialect.words(1).map((word) => word.name);
    const stride = names.find((name) => /^strides?$|^input_dilation$/.test(name));
    const dilation = names.find((name) => /(?<!input_)dilation/.test(name));
    let [shown, legal] = [0, 0];
    for (const [name, texts] of Object.entries(PADDINGS).filter(([each]) => names.includes(each))) {
      for (const padding of texts) {
        for (const [kernel, s, d, extra] of [
          [3, 2, 1, ""],
          [4, 2, 1, ""],
          [3, 2, 2, "1"],
          [2, 3, 1, "1"],
          [5, 1, 1, ""],
          [3, 2, 1, "0"],
        ]) {
          const given = {
            [name]: padding,
            ...(stride && { [stride]: String(s) }),
            ...(dilation && { [dilation]: String(d) }),
            ...(extra && names.includes("output_padding") && { output_padding: extra }),
          };
          const words = Object.fromEntries(Object.entries(given).filter(([, text]) => text !== ""));
          const settings = {
            dialect: dialect.name,
            rank: dialect.ranks[0] > 1 ? 2 : 1,
            kernel: [kernel],
            input: [4],
            words,
            channels: { input: 1, output: 1 },
            values: { x: { rule: "ones" }, weight: { rule: "ones" } },
          };
          const { scene } = sceneOf(settings);
          if (!scene) continue;
          legal++;
          const formula = sizeInWords({
            dialect,
            words,
            axis: scene.geometry.axes[0],
            input: 4,
            output: scene.outputShape[0],
          });
          if (!formula) continue;
          shown++;
          const value = valueOf(formula.numbers);
          if (value !== null) assert.equal(value, scene.outputShape[0], `${JSON.stringify(words)} ${formula.numbers}`);
          if (stride && !/^[a-z_]*(shape|size)/.test(formula.words))
            assert.ok(formula.words.includes(stride) || /^input·/.test(formula.words), formula.words);
        }
      }
    }
    t.diagnostic(`${shown} of ${legal} calls have a formula`);
    // none where the dialect has none of these arguments, as ncnn
    assert.ok(shown > legal / 3 || legal === 0, `${shown} of ${legal}`);
  });
}
