/** The page as it opens: without a fault, from its address and back, with its mistakes in place. */

import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { test } from "node:test";
import { browserTest, settled } from "./browser.mjs";
import { bundled } from "../bundled.mjs";
import { openAll, show, summedValue, textOf } from "./actions.mjs";

const { sceneOf, readAddress, dialects } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "state/address.ts",
  "dialects/registry.ts",
);

test("the page has at most 250 KB", async () => {
  const { size } = await stat(new URL("../../../src/tconv/data/explorer.html", import.meta.url));
  console.log(`# explorer.html: ${(size / 1024).toFixed(1)} KiB`);
  assert.ok(size <= 250 * 1024);
});

browserTest("it opens without an error or a request, with everything open", async (page) => {
  await openAll(page);
  assert.match(await textOf(page, "h1"), /transposed convolution/);
});

browserTest("a field changes the operator and the address", async (page) => {
  await page.fill("#field-kernel", "4");
  await page.fill("#field-padding", "1");
  await page.waitForFunction(() => location.hash.includes("padding=1"));
  assert.match(page.url(), /kernel=4/);
  assert.match(await textOf(page, "#panel-size pre"), /2·\(3 - 1\) \+ 1·\(4 - 1\) \+ 1 = 8[^]*= 8 - 1 - 1 = 6/);
});

browserTest("a slider moves by the keyboard", async (page) => {
  const slider = page.locator('[data-field="stride"] input[type="range"]');
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  await settled(page);
  assert.equal(await page.inputValue("#field-stride"), "3");
  assert.match(await textOf(page, "#panel-size pre"), /3·\(3 - 1\)/);
});

browserTest("an address opened again shows the same", async (page) => {
  const address = "#dialect=keras&kernel=3x2&strides=2&padding=same&input=5x4&pin=output:0:3,2";
  await show(page, address);
  assert.equal(await summedValue(page), valueAt(address, [3, 2]));
  await page.reload();
  await settled(page);
  assert.equal(await summedValue(page), valueAt(address, [3, 2]));
  assert.equal(await page.inputValue("#field-dialect"), "keras");
});

browserTest("every value of random addresses is that of the arithmetic", async (page) => {
  let seed = 7;
  const random = (least, most) =>
    least + (((seed = (seed * 1103515245 + 12345) % 2147483648) >> 8) % (most - least + 1));
  for (let round = 0; round < 16; round++) {
    const [kernel, stride, dilation] = [random(1, 4), random(1, 3), random(1, 2)];
    const padding = random(0, Math.floor((dilation * (kernel - 1)) / 2));
    const settings = `#dialect=torch&kernel=${kernel}&stride=${stride}&padding=${padding}&dilation=${dilation}&input=${random(2, 4)}x${random(2, 5)}&x=random&weight=random`;
    const { scene } = sceneOf(readAddress(settings).settings);
    const index = scene.outputShape.map((size) => random(0, size - 1));
    await show(page, `${settings}&pin=output:0:${index.join(",")}`);
    const expected = scene.output[index[0] * scene.outputShape[1] + index[1]];
    assert.equal(await summedValue(page), expected, `${settings} at ${index}`);
  }
});

const SIZES = ["1", "2", "3", "4", "5", "3x2", "0", "x"];
const WORDS = [
  "0",
  "1",
  "2",
  "3",
  "-1",
  "2x1",
  "same",
  "SAME",
  "VALID",
  "((1, 1), (1, 1))",
  "[[0, 0], [1, 0], [0, 1], [0, 0]]",
  "",
  "None",
  "0.5",
  "(",
  "SAME_UPPER",
  "99",
  "true",
];

const BROKEN = [
  "#dialect=nonsense",
  "#dialect=torch&kernel=abc",
  "#dialect=torch&kernel=3&banana=4",
  "#dialect=torch&kernel=3&pin=output:0:99,99",
  "#dialect=torch&kernel=3&weight=2x2:1,2,3",
  "#dialect=torch&kernel=3&input=99999999",
  "#dialect=torch&time=-5",
  "#%E0%A4%A",
  `#dialect=torch&kernel=${"9".repeat(5000)}`,
  "#dialect=__proto__",
];

browserTest("broken addresses explain themselves and leave a page that works", async (page) => {
  for (const address of BROKEN) {
    await show(page, address);
    await show(page, "#dialect=torch&kernel=2&stride=1&input=2&pin=output:0:1,1");
    assert.equal(await summedValue(page), valueAt("#dialect=torch&kernel=2&input=2", [1, 1]), address);
  }
  await show(page, "#dialect=torch&kernel=3&banana=4");
  assert.match(await textOf(page, "#notices"), /banana/);
});

browserTest("the page opens with broken addresses", async (page) => {
  const plain = page.url().split("#")[0];
  for (const address of BROKEN) {
    await page.goto("about:blank");
    await page.goto(plain + address);
    assert.ok(await page.locator("#panel-sum").count(), address);
  }
});

browserTest("whatever an address says, nothing fails", async (page) => {
  await openAll(page);
  let seed = 11;
  const one = (list) => list[((seed = (seed * 1103515245 + 12345) % 2147483648) >> 8) % list.length];
  for (let round = 0; round < 30; round++) {
    const dialect = one(Object.values(dialects));
    const rank = one([1, 2]);
    const words = dialect.words(rank).filter(() => one([true, false]));
    const given = words.map(({ name }) => `&${name}=${encodeURIComponent(one(WORDS))}`).join("");
    const more = one([
      "",
      "&channels=2:2",
      "&channels=1:3",
      "&x=2x2:1,2,3,4",
      "&weight=bilinear",
      "&predict=1",
      "&time=2",
    ]);
    const pin = `&pin=${one(["output", "input"])}:0:${Array(rank).fill(1).join(",")}`;
    await show(
      page,
      `#dialect=${dialect.name}&rank=${rank}&kernel=${one(SIZES)}&input=${one(SIZES)}${given}${more}${pin}`,
    );
    assert.deepEqual(page.faults, [], page.url());
  }
});

browserTest("the back button returns to the settings before an example", async (page) => {
  const before = await textOf(page, "#panel-size pre");
  await page.locator(".presets a").nth(2).click();
  await settled(page);
  assert.notEqual(await textOf(page, "#panel-size pre"), before);
  await page.goBack();
  await settled(page);
  assert.equal(await textOf(page, "#panel-size pre"), before);
});

browserTest(
  "the link past the settings leads to the boards and changes no setting",
  async (page) => {
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await settled(page);
    assert.equal(await page.evaluate(() => document.activeElement.id), "boards");
    assert.equal(await page.inputValue("#field-kernel"), "4");
    assert.equal(await textOf(page, "#notices"), "");
  },
  "#dialect=torch&kernel=4&input=3",
);

browserTest("an example opens the panel that its lesson needs, once", async (page) => {
  const overlap = page.locator("#panel-overlap");
  assert.equal(await overlap.evaluate((details) => details.open), false);
  await page.locator(".presets a", { hasText: "checkerboard" }).click();
  await settled(page);
  assert.match(await textOf(page, "#panel-overlap"), /Checkerboard: for a constant input/);
  await overlap.locator("summary").click();
  await page.fill("#field-input", "5");
  await page.fill("#field-input", "6");
  await settled(page);
  assert.ok(await page.locator(".hints p").isVisible());
});

browserTest("the output's caption says what the crop did to the full result", async (page) => {
  for (const [crop, words] of [
    ["((1,1),(1,0))", "5 × 6 kept of 7 × 7"],
    ["((-2,-1),(1,-2))", "10 × 8 cut and extended from 7 × 7"],
    ["((-1,-1),(-1,0))", "9 × 8 extended from 7 × 7"],
  ]) {
    await show(page, `#dialect=torch&kernel=3&stride=2&input=3&crop=${crop}`);
    assert.equal(await textOf(page, ".view-paint .board-output figcaption"), `OUTPUT ${words}`);
  }
});

const MISTAKES = [
  ["kernel", "0", /at least 1/],
  ["kernel", "-1", /at least 1/],
  ["kernel", "three", /whole number/],
  ["stride", "0", /at least 1/],
  ["stride", "x", /integer|number/],
  ["padding", "9", /removes all|at least one must remain/],
  ["output_padding", "5", /smaller than the stride/],
  ["input", "0", /at least 1/],
  ["input", "100000", /at most/],
  ["dilation", "0", /at least 1/],
];

browserTest("mistakes stand at their field, and go when they are corrected", async (page) => {
  for (const [field, text, message] of MISTAKES) {
    const input = page.locator(`#field-${field}`);
    const good = await input.inputValue();
    await input.fill(text);
    await settled(page);
    assert.match(await textOf(page, `#mistake-${field}`), message, `${field}=${text}`);
    assert.equal(await input.getAttribute("aria-invalid"), "true");
    await input.fill(good);
    await settled(page);
    assert.ok(await page.locator(`#mistake-${field}`).isHidden(), `${field} after ${text}`);
  }
});

browserTest("a stride above the kernel is explained", async (page) => {
  await page.fill("#field-stride", "5");
  await settled(page);
  assert.match(await page.locator("body").innerText(), /have no tap|no input reaches/);
});

browserTest(
  "embedded it has no header to scroll past",
  async (page) => {
    assert.equal(await page.locator("#hints").isVisible(), false);
    const { y } = await page.locator(".sentence").boundingBox();
    assert.ok(y < 40, `the first sentence begins at ${y}`);
    assert.ok(await page.locator("#settings-box").evaluate((details) => details.open));
  },
  "#dialect=torch&kernel=3&input=3&embed",
);

function valueAt(address, [row, column]) {
  const { scene } = sceneOf(readAddress(address).settings);
  return scene.output[row * scene.outputShape[1] + column];
}

browserTest(
  "the first picture of a wrong address is said to be an example",
  async (page) => assert.match(await textOf(page, "#stale-note"), /at most 16.*the page's first example/),
  "#kernel=500",
);
