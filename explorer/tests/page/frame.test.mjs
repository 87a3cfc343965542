/** The page in a frame: in a book's page, whose theme it takes, and in a notebook, where it has no address of its own. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { browserTest, PAGE } from "./browser.mjs";

const EMBEDDED = "#dialect=torch&kernel=2&stride=2&input=2&embed";

browserTest(
  "a frame takes the colours that the page around it gives it, and links to the whole page",
  async (page) => {
    const frame = await framed(page, { src: PAGE + EMBEDDED });
    for (const theme of ["dark", "light", "dark"]) {
      await page.evaluate((scheme) => (document.querySelector("iframe").style.colorScheme = scheme), theme);
      await frame.waitForSelector(`:root[data-theme=${theme}]`);
    }
    await frame.waitForSelector("#tools a[href]");
    assert.equal(await frame.getAttribute("#tools a", "href"), `${PAGE}${EMBEDDED.replace("&embed", "")}`);
  },
  "",
  // an emulated scheme would be that of all frames
  { colorScheme: null },
);

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
