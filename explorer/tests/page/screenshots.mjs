/** Pictures of the page in its states, to look at: `node tests/page/screenshots.mjs [folder]`. */

import { mkdir } from "node:fs/promises";
import { closeBrowser, openPage, settled } from "./browser.mjs";
import { openAll } from "./actions.mjs";

const folder = process.argv[2] ?? "/tmp/explorer-screenshots";
const only = process.argv[3];
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const DARK = { colorScheme: "dark" };
const PINNED = "#dialect=torch&kernel=3&stride=2&padding=1&output_padding=1&input=4&pin=output:0:3,2";

/** Name, address, options of the context, and true to open all panels. */
const STATES = [
  ["first", "", {}, false],
  ["pinned", PINNED, {}, false],
  ["panels", PINNED, {}, true],
  ["panels-dark", PINNED, DARK, true],
  ["panels-phone", PINNED, PHONE, true],
  ["phone", "", PHONE, false],
  ["phone-dark", PINNED, { ...PHONE, ...DARK }, false],
  ["mistake", "#dialect=torch&kernel=0&input=3", {}, true],
  ["channels", "#dialect=keras&kernel=3&strides=2&padding=same&input=4&channels=2:2&pin=output:1:3,2", {}, true],
  ["one-axis", "#dialect=onnx&rank=1&kernel=4&strides=2&pads=1,1&input=5&pin=input:0:2", {}, true],
  ["sizes", "#dialect=tensorflow&kernel=3&strides=2&input=4x5", {}, false],
  ["large", "#dialect=torch&kernel=4&stride=2&padding=1&input=32&x=random&weight=random&pin=output:0:20,31", {}, true],
];

await mkdir(folder, { recursive: true });
for (const [name, address, options, opened] of STATES.filter(([name]) => !only || name === only)) {
  const page = await openPage(address, options);
  if (opened) await openAll(page);
  await seeAll(page);
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  if (page.faults.length) console.error(name, page.faults);
}
await closeBrowser();

/** Scroll through the page: boards are drawn when they come into view. */
async function seeAll(page) {
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  for (let top = 0; top <= height; top += 400) {
    await page.evaluate((to) => scrollTo(0, to), top);
    await settled(page);
  }
  await page.evaluate(() => scrollTo(0, 0));
  await settled(page);
}
