/** The page for everyone: axe-core without a violation, dark, on a phone, without motion. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { browserTest, settled } from "./browser.mjs";
import { openAll, show, textOf } from "./actions.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const PINNED = "#dialect=torch&kernel=3&stride=2&padding=1&output_padding=1&input=4&pin=output:0:3,2";
const KERAS = "#dialect=keras&rank=1&kernel=4&strides=2&padding=same&input=5&channels=2:2&pin=input:1:2";
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const DARK = { colorScheme: "dark" };

/** Name, address, options, true to open everything, and a field with a text that is a mistake. */
const STATES = [
  ["at first", "", {}, false],
  ["with every panel open", PINNED, {}, true],
  ["dark, with every panel open", PINNED, DARK, true],
  ["on a phone, with every panel open", KERAS, PHONE, true],
  ["on a dark phone, at first", "", { ...PHONE, ...DARK }, false],
  ["with mistakes", "#dialect=torch&kernel=0&stride=0&input=3&banana=2", {}, true],
  ["with mistakes, dark", "#dialect=torch&kernel=3&padding=9&input=3", DARK, true],
  ["while predicting", `${PINNED}&predict=1`, {}, true],
  ["in the middle of the scatter", `${PINNED}&time=3`, {}, true],
  ["embedded", `${PINNED}&embed`, {}, false],
];

for (const [name, address, options, opened] of STATES) {
  browserTest(
    `axe finds nothing ${name}`,
    async (page) => {
      if (opened) await openAll(page);
      assert.deepEqual(await violations(page), []);
      await refuseSideways(page);
    },
    address,
    options,
  );
}

browserTest(
  "the dark page is dark, and its button makes it light",
  async (page) => {
    const luminance = () =>
      page.evaluate(() =>
        getComputedStyle(document.documentElement)
          .backgroundColor.match(/\d+/g)
          .slice(0, 3)
          .reduce((sum, part) => sum + Number(part), 0),
      );
    assert.ok((await luminance()) < 200);
    const theme = page.getByRole("button", { name: /^Theme/ });
    await theme.click();
    await settled(page);
    assert.match(await theme.innerText(), /light/);
    assert.ok((await luminance()) > 600);
  },
  PINNED,
  DARK,
);

browserTest(
  "no page is wider than a phone, whatever its settings",
  async (page) => {
    await openAll(page);
    for (const address of [
      PINNED,
      KERAS,
      "#dialect=torch&kernel=5&stride=3&input=16&x=random",
      "#dialect=tensorflow&rank=1&kernel=9&strides=4&input=40",
      "#dialect=torch&kernel=0&input=3",
    ]) {
      await show(page, address);
      await refuseSideways(page);
    }
  },
  PINNED,
  PHONE,
);

browserTest(
  "without motion nothing moves by itself, and nothing is animated",
  async (page) => {
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
    const before = await textOf(page, "#time-text");
    await settled(page, 10);
    assert.equal(await textOf(page, "#time-text"), before);
  },
  PINNED,
  { reducedMotion: "reduce" },
);

browserTest(
  "headings have a level below the one before, and names are unique",
  async (page) => {
    await openAll(page);
    const levels = await page.evaluate(() =>
      [...document.querySelectorAll("h1, h2, h3, h4")].map((heading) => Number(heading.tagName[1])),
    );
    assert.equal(levels.filter((level) => level === 1).length, 1);
    levels.forEach((level, at) =>
      assert.ok(at === 0 || level <= levels[at - 1] + 1, `heading ${at} jumps to level ${level}`),
    );
    const ids = await page.evaluate(() => [...document.querySelectorAll("[id]")].map((element) => element.id));
    assert.equal(new Set(ids).size, ids.length);
  },
  PINNED,
);

async function violations(page) {
  await page.evaluate(axe);
  const { violations: found } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const all = found.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target.join(" ")} ${node.failureSummary.split("\n").slice(1, 2)}`),
  );
  return all.length > 4 ? [...all.slice(0, 4), `and ${all.length - 4} more`] : all;
}

async function refuseSideways(page) {
  const [content, window] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.ok(content <= window, `${page.url()} is ${content} pixels wide in a window of ${window}`);
}
