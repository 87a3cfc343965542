/** Actions and readings that several browser tests need. */

import { settled } from "./browser.mjs";

/** Show the settings of an address in the page that is open. */
export async function show(page, address) {
  await page.evaluate((text) => (location.hash = text), address);
  await settled(page);
}

/** Middle of a cell of a board, in pixels of the window; `index` counts from the first element that can be pointed at. */
export async function middleOf(page, board, scene, index) {
  const box = await page.locator(`[data-board="${board}"]`).first().boundingBox();
  const isOutput = board === "output";
  const shape = isOutput ? scene.fullShape : scene.inputShape;
  const first = isOutput ? scene.geometry.axes.map((axis) => axis.crop[0]) : shape.map(() => 0);
  const [row, column] = index.length === 1 ? [0, index[0] + first[0]] : index.map((entry, axis) => entry + first[axis]);
  const [rows, columns] = shape.length === 1 ? [1, shape[0]] : shape;
  return { x: box.x + ((column + 0.5) * box.width) / columns, y: box.y + ((row + 0.5) * box.height) / rows };
}

export async function hover(page, board, scene, index) {
  const { x, y } = await middleOf(page, board, scene, index);
  await page.mouse.move(x, y);
  await settled(page);
}

/** Open a panel by its title, as a user does. */
export async function openPanel(page, name) {
  const panel = page.locator(`#panel-${name}`);
  if (!(await panel.evaluate((details) => details.open))) await panel.locator("summary").first().click();
  await settled(page);
  return panel;
}

/** Open everything that can be opened. */
export async function openAll(page) {
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
  await settled(page);
}

export async function textOf(page, selector) {
  return (await page.locator(selector).first().innerText()).replaceAll("−", "-");
}

/** Value that the sum in numbers ends with. */
export async function summedValue(page) {
  const text = await page.locator("#panel-sum .sum").allInnerTexts();
  return Number(text.at(-1).replaceAll("−", "-").split("=").at(-1).trim());
}
