/** The page in a frame: in a book's page, whose theme it takes, and in a notebook, where it has no address of its own. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { browserTest, PAGE } from "./browser.mjs";

const EMBEDDED = "#dialect=torch&kernel=2&stride=2&input=2&embed";

browserTest("a frame takes the theme of the page around it, and links to the whole page", async (page) => {
  await page.evaluate(() =>
    addEventListener("message", ({ data, source }) => {
      if (data.explorerTheme === "?") source.postMessage({ explorerTheme: "dark" }, "*");
    }),
  );
  const frame = await framed(page, { src: PAGE + EMBEDDED });
  await frame.waitForSelector(":root[data-theme=dark]");
  await page.evaluate(() => window.frames[0].postMessage({ explorerTheme: "light" }, "*"));
  await frame.waitForSelector(":root[data-theme=light]");
  await page.evaluate(() => window.frames[0].postMessage({ explorerTheme: "purple" }, "*"));
  await page.evaluate(() => window.frames[0].postMessage(null, "*"));
  assert.equal(await frame.getAttribute(":root", "data-theme"), "light");
  await frame.waitForSelector("#tools a[href]");
  assert.equal(await frame.getAttribute("#tools a", "href"), `${PAGE}${EMBEDDED.replace("&embed", "")}`);
});

browserTest("an example is shown in a notebook's frame", async (page) => {
  const start = `<script>location.hash = "${EMBEDDED}"</script>`;
  const srcdoc = (await readFile(new URL(PAGE), "utf8")).replace("</head>", () => `${start}</head>`);
  const frame = await framed(page, { srcdoc });
  await frame.locator(".presets a", { hasText: "SAME" }).click();
  await frame.waitForFunction(() => document.querySelector("#field-dialect").value === "tensorflow");
});

async function framed(page, attributes) {
  const element = await page.evaluateHandle((given) => {
    const frame = Object.assign(document.createElement("iframe"), given, { width: 900, height: 700 });
    document.body.replaceChildren(frame);
    return frame;
  }, attributes);
  return element.contentFrame();
}
