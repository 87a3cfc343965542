/** Cells that are pointed at with the mouse, a finger and the keyboard; pins; the time of the scatter. */

import assert from "node:assert/strict";
import { browserTest, settled } from "./browser.mjs";
import { bundled } from "../bundled.mjs";
import { hover, middleOf, show, summedValue, textOf } from "./actions.mjs";

const { sceneOf } = await bundled("arithmetic/scene_of_settings.ts");
const { readAddress } = await bundled("state/address.ts");

const ADDRESS = "#dialect=torch&kernel=3x2&stride=2&padding=1x0&input=4x3&x=random&weight=random";
const { scene } = sceneOf(readAddress(ADDRESS).settings);
const valueOf = ([row, column]) => scene.output[row * scene.outputShape[1] + column];

browserTest(
  "a hover shows the sum of the cell under it, for cells of every phase and border",
  async (page) => {
    for (let row = 0; row < scene.outputShape[0]; row += 3) {
      for (let column = 0; column < scene.outputShape[1]; column++) {
        await hover(page, "output", scene, [row, column]);
        assert.match(await textOf(page, "#panel-sum"), new RegExp(`y\\[${row}, ${column}\\]`));
        assert.equal(await summedValue(page), valueOf([row, column]));
      }
    }
  },
  ADDRESS,
);

browserTest(
  "the sum names its inputs, taps, phase and the row of the matrix",
  async (page) => {
    await hover(page, "output", scene, [2, 2]);
    const text = await textOf(page, "#panel-sum");
    const products = scene.gathered(0, [2, 2]);
    for (const each of products)
      assert.ok(text.includes(`x[${each.input.join(", ")}]·w[${each.tap.join(", ")}]`), text);
    assert.match(text, /full\[3, 2\]/);
    assert.match(text, /\(1, 0\): the place \(3, 2\) modulo the stride \(2, 2\)/);
    assert.match(text, new RegExp(`row ${2 * scene.outputShape[1] + 2} of Kᵀ`));
  },
  ADDRESS,
);

browserTest(
  "a hover of an input says all that it paints, and what the crop removes",
  async (page) => {
    await hover(page, "input", scene, [0, 1]);
    const text = await textOf(page, "#panel-sum");
    for (const each of scene.painted(0, [0, 1]).filter((one) => one.output)) {
      assert.ok(text.includes(`y[${each.output.join(", ")}] += `), text);
    }
    assert.match(text, /the crop removes 2 of them/);
  },
  ADDRESS,
);

browserTest(
  "the marked line of the loop has the values of the sum",
  async (page) => {
    await hover(page, "output", scene, [2, 2]);
    const text = await textOf(page, "#panel-loop");
    for (const each of scene.gathered(0, [2, 2])) {
      assert.ok(text.includes(`full[3, 2] += ${each.x} * ${each.w}`), text);
    }
    assert.match(text, new RegExp(`${valueOf([2, 2])} so far`.replace("-", "\\-")));
    assert.match(await textOf(page, "#panel-loop .running"), /full\[2\*i \+ a, 2\*j \+ b\] \+= x\[i, j\] \* w\[a, b\]/);
  },
  ADDRESS,
);

browserTest(
  "the keyboard alone reaches every cell, and pins",
  async (page) => {
    const board = page.locator('[data-board="output"]').first();
    await board.focus();
    await page.keyboard.press("Control+Home");
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight"]) await page.keyboard.press(key);
    await settled(page);
    assert.match(await textOf(page, "#panel-sum"), /y\[2, 1\]/);
    assert.equal(await summedValue(page), valueOf([2, 1]));
    const said = (await textOf(page, "#announcer")).replaceAll("×", "*");
    assert.match(said, new RegExp(`OUTPUT \\(2, 1\\) is ${valueOf([2, 1])} = `.replace("-", "\\-")));
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => location.hash.includes("pin=output:0:2,1"));
    await page.keyboard.press("Tab");
    await settled(page);
    assert.match(await textOf(page, "#panel-sum"), /y\[2, 1\]/);
  },
  ADDRESS,
);

browserTest(
  "all of the page is reached with Tab, and nothing holds it",
  async (page) => {
    const reached = new Set();
    for (let step = 0; step < 80; step++) {
      await page.keyboard.press("Tab");
      const where = await page.evaluate(() => {
        const element = document.activeElement;
        return element === document.body
          ? "body"
          : `${element.tagName} ${element.id} ${element.dataset.board ?? ""} ${element.closest("details")?.id ?? ""} ${element.textContent.slice(0, 20)}`;
      });
      if (where === "body") break;
      reached.add(where);
    }
    const all = [...reached].join("\n");
    for (const wanted of [
      "field-kernel",
      "field-stride",
      " input",
      " output",
      "play",
      "panel-size",
      "panel-code",
      "panel-glossary",
    ])
      assert.ok(all.includes(wanted), `${wanted} is not in\n${all}`);
  },
  ADDRESS,
);

browserTest(
  "a click pins a cell while others are hovered, and a second one releases it",
  async (page) => {
    const { x, y } = await middleOf(page, "output", scene, [1, 3]);
    await page.mouse.click(x, y);
    await page.mouse.move(5, 5);
    await settled(page);
    assert.equal(await summedValue(page), valueOf([1, 3]));
    await page.mouse.click(x, y);
    await page.mouse.move(5, 5);
    await settled(page);
    assert.match(await textOf(page, "#panel-sum"), /For example/);
  },
  ADDRESS,
);

browserTest(
  "stepping paints one input after the other",
  async (page) => {
    await page.locator("#time").fill("0");
    for (const turn of [1, 2, 3]) {
      await page.getByRole("button", { name: "Step forward" }).click();
      await settled(page);
      assert.match(await textOf(page, "#time-text"), new RegExp(`${turn} of 12`));
    }
    await page.waitForFunction(() => location.hash.includes("time=3"));
    assert.match(await textOf(page, "#panel-loop"), /input 3 of 12/);
    await page.getByRole("button", { name: "Step back" }).click();
    await settled(page);
    assert.match(await textOf(page, "#time-text"), /2 of 12/);
  },
  ADDRESS,
);

browserTest(
  "a sum says which of its products are painted",
  async (page) => {
    await show(page, `${ADDRESS}&time=2&pin=output:0:2,2`);
    const painted = scene.gathered(0, [2, 2]).filter((each) => each.input[0] * 3 + each.input[1] < 2);
    assert.match(await textOf(page, "#panel-sum"), new RegExp(`Painted so far: ${painted.length} of`));
  },
  ADDRESS,
);

browserTest(
  "playing goes to the end by itself and can be paused",
  async (page) => {
    await page.selectOption("#speed", "60");
    await page.locator("#play").click();
    await page.waitForFunction(() => document.querySelector("#play").textContent === "Play", null, { timeout: 30000 });
    assert.match(await textOf(page, "#time-text"), /12 of 12/);
    await show(page, "#dialect=torch&kernel=1&input=32");
    await page.locator("#play").click();
    await page.locator("#play").click();
    await settled(page);
    const paused = await textOf(page, "#time-text");
    assert.match(paused, /^\d{1,3} of 1024/);
    await settled(page, 10);
    assert.equal(await textOf(page, "#time-text"), paused);
  },
  ADDRESS,
);

browserTest(
  "a tap of a finger pins",
  async (page) => {
    await page.locator('[data-board="output"]').first().scrollIntoViewIfNeeded();
    const { x, y } = await middleOf(page, "output", scene, [3, 4]);
    await page.touchscreen.tap(x, y);
    await settled(page);
    assert.equal(await summedValue(page), valueOf([3, 4]));
  },
  ADDRESS,
  { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
);
