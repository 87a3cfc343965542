/** Panels in a browser: copying, predictions, own numbers. */

import assert from "node:assert/strict";
import { browserTest, settled } from "./browser.mjs";
import { bundled } from "../bundled.mjs";
import { npyFile } from "../npy_writer.mjs";
import { openPanel, show, summedValue, textOf } from "./actions.mjs";

const { sceneOf, checkerboardOf, responseOf, matrixOf, readAddress, dialects, titleOf } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "arithmetic/phases.ts",
  "arithmetic/matrix.ts",
  "state/address.ts",
  "dialects/registry.ts",
);

const ADDRESS = "#dialect=torch&kernel=3&stride=2&padding=1&input=3&x=random&weight=random&pin=output:0:2,2";

browserTest(
  "every framework's call is that of its dialect, and is copied",
  async (page) => {
    const panel = await openPanel(page, "code");
    await panel.locator("details").evaluate((details) => (details.open = true));
    const { scene } = sceneOf(readAddress(ADDRESS).settings);
    await page.evaluate(() => {
      window.copied = [];
      navigator.clipboard.writeText = async (text) => void window.copied.push(text);
    });
    for (const dialect of Object.values(dialects)) {
      await panel.getByRole("button", { name: `Copy the ${titleOf(dialect)} call`, exact: true }).click();
      assert.equal(await page.evaluate(() => window.copied.at(-1)), dialect.code(scene.geometry, scene.inputShape));
      await page.waitForFunction(
        (name) => document.querySelector("#announcer").textContent.includes(name),
        titleOf(dialect),
      );
    }
    const reasons = dialects.keras.reasonsAgainst(scene.geometry, scene.inputShape);
    if (reasons.length) assert.ok((await panel.innerText()).includes(`Keras cannot say ${reasons[0]}`));
  },
  ADDRESS,
);

browserTest(
  "copying works where the clipboard is refused",
  async (page) => {
    const panel = await openPanel(page, "code");
    await page.evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new Error("refused"));
      addEventListener("copy", () => (window.copied = document.activeElement.value));
    });
    const button = panel.getByRole("button", { name: "Copy the tconv call" });
    await button.focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => window.copied);
    assert.equal(await page.evaluate(() => window.copied), "y = tconv.conv_transpose(x, weight, stride=2, padding=1)");
  },
  ADDRESS,
);

browserTest(
  "the copied link shows the same page again",
  async (page) => {
    await page.evaluate(() => (navigator.clipboard.writeText = async (text) => void (window.copied = text)));
    await page.getByRole("button", { name: "Copy link" }).click();
    const link = await page.evaluate(() => window.copied);
    const value = await summedValue(page);
    await page.goto("about:blank");
    await page.goto(link);
    await settled(page);
    assert.equal(await summedValue(page), value);
  },
  ADDRESS,
);

browserTest(
  "a prediction is judged, and its usual errors are named",
  async (page) => {
    const { scene } = sceneOf(readAddress(ADDRESS).settings);
    await openPanel(page, "predict");
    await page.locator("#predict-hide").click();
    await settled(page);
    assert.doesNotMatch(await textOf(page, "#panel-sum"), /= -?\d/);
    assert.doesNotMatch(await textOf(page, "#panel-loop .runs"), / \* /);
    // the size is asked for, too
    assert.doesNotMatch(await textOf(page, "#panel-size"), /= 5/);
    for (const caption of await page.locator(".board-figure figcaption").allTextContents())
      if (caption.startsWith("OUTPUT")) assert.match(caption, /\?$/);
    const cell = /y\[(\d+), (\d+)\]/.exec(await textOf(page, "#panel-predict"));
    const index = cell.slice(1).map(Number);
    const products = scene.gathered(0, index);
    const value = products.reduce((sum, each) => sum + each.product, 0);
    const answer = async (text) => {
      await page.fill("#predict-value", text);
      await page.keyboard.press("Enter");
      await settled(page);
      return textOf(page, "#predict-answer");
    };
    assert.match(await answer("lots"), /not a number/);
    assert.match(await answer(String(value + 1000)), /^Not /);
    assert.match(await answer(String(value)), /^Right/);
    assert.match(await textOf(page, "#predict-score"), /0 right of 1 question/);
    await page.fill("#predict-size", "5");
    await page.keyboard.press("Enter");
    await settled(page);
    assert.match(await textOf(page, "#predict-answer"), /Right: 5 × 5/);
    assert.match(await textOf(page, "#predict-score"), /1 right of 2 questions/);
    await page.fill("#predict-size", "7x7");
    await page.keyboard.press("Enter");
    await settled(page);
    assert.match(await textOf(page, "#predict-answer"), /full result/);
    await page.locator("#predict-hide").click();
    await settled(page);
    assert.equal(await summedValue(page), value);
  },
  ADDRESS.replace(/&pin.*/, "&pin=output:0:1,1"),
);

browserTest(
  "the boards show the channel of the cell that is chosen for a prediction",
  async (page) => {
    await page.evaluate(() => (Math.random = () => 0.9));
    await openPanel(page, "predict");
    await page.getByRole("button", { name: "Choose a cell for me" }).click();
    await settled(page);
    assert.match(await textOf(page, "#panel-predict"), /y\[1, /);
    assert.equal(await page.inputValue("#shown-output"), "1");
  },
  "#dialect=torch&kernel=2&input=2&channels=1:2",
);

browserTest(
  "a call that avoids a fault carries no caution of it",
  async (page) => {
    const panel = await openPanel(page, "code");
    const jax = panel.locator("section").filter({ has: page.locator("h3", { hasText: /^JAX$/ }) });
    assert.match(await jax.innerText(), /cannot say the crop .* XLA ends the process\. So: its full result/);
    assert.equal(await jax.locator(".why-not").count(), 1);
  },
  "#dialect=torch&kernel=2x3&stride=2x1&padding=1x0&input=3x1",
);

browserTest(
  "pasted numbers become the weight, and stand in the link",
  async (page) => {
    await openPanel(page, "numbers");
    await page.fill("#own-text", "array([[ 1., -2.],\n       [ 3.,  4.]])");
    await page.getByRole("button", { name: "Use these numbers" }).click();
    await settled(page);
    assert.equal(await page.inputValue("#field-kernel"), "2");
    await page.waitForFunction(() => location.hash.includes("weight=2x2:1,-2,3,4"));
    const { scene } = sceneOf(readAddress(new URL(page.url()).hash).settings);
    assert.deepEqual([...scene.weight], [1, -2, 3, 4]);
    assert.equal(await summedValue(page), scene.output[2 * scene.outputShape[1] + 2]);
    await page.selectOption("#own-target", "x");
    await page.fill("#own-text", "1 2 3\n4 5 6");
    await page.getByRole("button", { name: "Use these numbers" }).click();
    await page.waitForFunction(() => location.hash.includes("x=2x3:1,2,3,4,5,6"));
    await page.getByRole("button", { name: "Back to small whole numbers" }).click();
    await page.waitForFunction(() => !location.hash.includes("weight="));
  },
  ADDRESS.replace("padding=1&", ""),
);

browserTest(
  "own numbers are a choice of the settings while they are shown alone",
  async (page) => {
    const choices = () => page.locator("#field-weight option").allTextContents();
    const rules = await choices();
    await show(page, "#dialect=torch&kernel=2&input=2&weight=2x2:1,2,3,4");
    assert.deepEqual(await choices(), [...rules, "your own"]);
    await show(page, "#dialect=torch&kernel=2&input=2");
    assert.deepEqual(await choices(), rules);
  },
  "#dialect=torch&kernel=3&input=2",
);

browserTest(
  "a dropped .npy file is read in the dialect's layout",
  async (page) => {
    // Keras stores [kh, kw, C_out, C_in]
    const numbers = Array.from({ length: 2 * 3 * 2 * 1 }, (_, place) => place * place - 7);
    const bytes = npyFile(numbers, [2, 3, 2, 1], { descr: ">f4" });
    await drop(page, "#boards", "kernel.npy", bytes);
    await page.waitForFunction(() => location.hash.includes("weight="));
    assert.ok(await page.locator("#panel-numbers").evaluate((details) => details.open));
    assert.match(
      await textOf(page, "#own-answer"),
      /\[kh, kw, C_out, C_in\]: 1 input and 2 output channels, kernel 2 × 3/,
    );
    const { scene } = sceneOf(readAddress(new URL(page.url()).hash).settings);
    assert.deepEqual(
      [...scene.weight],
      [0, 1].flatMap((channel) => Array.from({ length: 6 }, (_, tap) => numbers[tap * 2 + channel])),
    );
  },
  "#dialect=keras&kernel=3&strides=2&input=3",
);

const BAD_FILES = [
  ["notes.txt", new TextEncoder().encode("hello"), /not a \.npy file/],
  ["cut.npy", npyFile([1, 2, 3, 4], [2, 2]).slice(0, -9), /cut short/],
  ["object.npy", npyFile([1], [1], { descr: "|O" }), /never run/],
  [
    "huge.npy",
    npyFile([1], [1], { header: "{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999), }" }),
    /at most/,
  ],
  ["video.npy", npyFile(new Array(32).fill(0), [2, 2, 2, 2, 2]), /Save one slice/],
  ["nan.npy", npyFile([1, NaN], [2]), /NaN/],
  ["wide.npy", npyFile(new Array(200).fill(1), [1, 200]), /at most/],
];

browserTest(
  "files that are no weight explain themselves and change nothing",
  async (page) => {
    const before = page.url();
    for (const [name, bytes, message] of BAD_FILES) {
      await drop(page, "#panels", name, bytes);
      await page.waitForFunction(() => document.querySelector("#own-answer").className === "mistake");
      assert.match(await textOf(page, "#own-answer"), message, name);
      await page.evaluate(() => (document.querySelector("#own-answer").className = ""));
    }
    await page.setInputFiles("#own-file", {
      name: "good.npy",
      mimeType: "",
      buffer: Buffer.from(npyFile([5, 6], [1, 2])),
    });
    await page.waitForFunction((address) => location.href !== address, before);
    assert.equal(await page.inputValue("#field-kernel"), "1x2");
  },
  ADDRESS,
);

browserTest(
  "every offered setting gives the wanted size, and is applied by its button",
  async (page) => {
    const panel = await openPanel(page, "solve");
    for (const [wanted, size] of [
      ["6", "6 × 6"],
      ["7x5", "7 × 5"],
    ]) {
      await page.fill("#wanted-output", wanted);
      await settled(page);
      const offered = await panel.locator("li button").count();
      assert.ok(offered > 2, wanted);
      for (let place = 0; place < Math.min(offered, 3); place++) {
        await page.fill("#wanted-output", wanted);
        await settled(page);
        await panel.locator("li button").nth(place).click();
        await settled(page);
        assert.match(await textOf(page, ".view-paint .board-output figcaption"), new RegExp(`^OUTPUT ${size}( |$)`));
      }
    }
    await page.fill("#wanted-output", "large");
    await settled(page);
    assert.match(await textOf(page, "#wanted-answer"), /“large” is not a size/);
    await page.fill("#wanted-output", "99");
    await settled(page);
    assert.match(await textOf(page, "#wanted-answer"), /^No setting gives 99/);
  },
  "#dialect=torch&kernel=3&stride=2&input=3",
);

browserTest(
  "the checkerboard has the numbers of the arithmetic, and goes with its remedies",
  async (page) => {
    const panel = await openPanel(page, "overlap");
    const { scene } = sceneOf(readAddress(new URL(page.url()).hash).settings);
    const percent = (checkerboardOf(scene) * 100).toPrecision(2);
    assert.match(await panel.innerText(), new RegExp(`Checkerboard: for a constant input, ${percent} %`));
    const [taps, gains] = await panel.locator("table").all();
    assert.deepEqual((await taps.locator("td").allInnerTexts()).map(Number), [4, 2, 2, 1]);
    const response = [...responseOf(scene).numbers];
    assert.deepEqual(
      (await gains.locator("td").allInnerTexts()).map((text) => Number(text.replace("−", "-"))),
      response,
    );
    await panel.getByRole("button", { name: /Use kernel 4 × 4/ }).click();
    await settled(page);
    assert.equal(await page.inputValue("#field-kernel"), "4");
    assert.match(await panel.innerText(), /the overlap is even/);
    await panel.getByRole("button", { name: "Use these weights" }).click();
    await settled(page);
    assert.match(await panel.innerText(), /No checkerboard with these weights: all phases have the same gain/);
  },
  "#dialect=torch&kernel=3&stride=2&padding=1&output_padding=1&input=4",
);

browserTest(
  "no weights and no kernel are advised for phases that the dilation leaves without a tap",
  async (page) => {
    const panel = await openPanel(page, "overlap");
    const advice = await panel.locator("li").allInnerTexts();
    assert.equal(advice.length, 2);
    assert.match(advice[0], /^A dilation without a factor in common with the stride/);
    await show(page, "#dialect=torch&kernel=2&stride=3&input=3");
    assert.deepEqual(
      (await panel.locator("li").allInnerTexts()).map((text) => /kernel|equalise/i.exec(text)?.[0]),
      ["kernel", undefined],
    );
  },
  "#dialect=torch&kernel=4&stride=2&dilation=2&input=3",
);

browserTest(
  "the convolution of the output is not the input, and least squares is",
  async (page) => {
    const panel = await openPanel(page, "inverse");
    const { scene } = sceneOf(readAddress(new URL(page.url()).hash).settings);
    const numbersOf = async (table) =>
      (await panel.locator("table").nth(table).locator("td").allInnerTexts()).map((text) =>
        Number(text.replace("−", "-")),
      );
    assert.deepEqual(await numbersOf(0), [...scene.x]);
    assert.deepEqual(await numbersOf(1), [...scene.output]);
    const back = matrixOf(scene).times(scene.output);
    assert.deepEqual(await numbersOf(2), [...back]);
    assert.deepEqual(await numbersOf(3), [...scene.x]);
    const apart = Math.max(...back.map((value, at) => Math.abs(value - scene.x[at])));
    assert.match(await panel.innerText(), new RegExp(`differs from x by up to ${apart}`));
    const there = Math.max(
      ...matrixOf(scene)
        .transposedTimes(back)
        .map((value, at) => Math.abs(value - scene.output[at])),
    );
    assert.match(await panel.innerText(), new RegExp(`with other numbers: here they differ by up to ${there}`));
    assert.match(await panel.innerText(), /rounding alone/);
    await show(page, "#dialect=torch&kernel=2&stride=1&padding=1&input=4");
    assert.match(await panel.innerText(), /K has rank \d+, fewer than its 16 rows/);
  },
  "#dialect=torch&kernel=2&stride=2&input=3&x=random&weight=random",
);

browserTest(
  "a mistake in the settings leaves every panel alive",
  async (page) => {
    for (const panel of await page.locator("details.panel").all())
      await panel.evaluate((details) => (details.open = true));
    await page.fill("#field-kernel", "0");
    await settled(page);
    assert.match(await textOf(page, "#panel-code"), /No operator: kernel is 0; it must be at least 1/);
    await page.fill("#field-kernel", "3");
    await settled(page);
    assert.match(await textOf(page, "#panel-code"), /conv_transpose/);
  },
  ADDRESS,
);

async function drop(page, selector, name, bytes) {
  await page.evaluate(
    ([target, fileName, content]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(content)], fileName));
      document
        .querySelector(target)
        .dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    },
    [selector, name, [...bytes]],
  );
}
