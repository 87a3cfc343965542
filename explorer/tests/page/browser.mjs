/** The page in a real browser, as all tests of it open it: from a file, with everything that goes wrong recorded. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, test } from "node:test";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const PAGE = new URL("../../../src/tconv/data/explorer.html", import.meta.url).href;

/** Reason to skip the tests, or false. */
const withoutBrowser = existsSync(EXECUTABLE) ? false : `there is no browser at ${EXECUTABLE}; CHROMIUM= names another`;

let browser = null;
/** Pages by their context's options: a test reuses the page of the one before. */
const pages = new Map();

after(closeBrowser);

export async function closeBrowser() {
  await browser?.close();
}

/**
 * Open the page: `address` is what stands behind its name, `options` are of the browser's context.
 * Returned is the page, with the list `faults` of console errors, exceptions and requests to anything but the file.
 */
export async function openPage(address = "", options = {}) {
  const key = JSON.stringify(options);
  const page = pages.get(key) ?? (await newPage(options));
  pages.set(key, page);
  // another address alone would keep the document
  await page.goto("about:blank");
  await page.mouse.move(0, 0);
  page.faults.length = 0;
  await page.goto(PAGE + address);
  await settled(page);
  return page;
}

async function newPage(options) {
  browser ??= await chromium.launch({
    executablePath: EXECUTABLE,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.faults = [];
  page.on("console", (message) => message.type() === "error" && page.faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => page.faults.push(`exception: ${error.message}`));
  page.on(
    "request",
    (request) => /^(file|data|blob|about):/.test(request.url()) || page.faults.push(`request: ${request.url()}`),
  );
  return page;
}

/** Wait until what was asked for is drawn. */
export async function settled(page, frames = 2) {
  await page.evaluate(async (count) => {
    for (let frame = 0; frame < count; frame++) await new Promise(requestAnimationFrame);
  }, frames);
}

/** Declare a test of the page, as it opens with this address in a context of these options. */
export function browserTest(name, use, address = "", options = {}) {
  test(name, { skip: withoutBrowser }, async () => {
    const page = await openPage(address, options);
    try {
      await use(page);
      assert.deepEqual(page.faults, []);
    } catch (error) {
      // the next test gets a page without this one's faults
      pages.delete(JSON.stringify(options));
      await page.context().close();
      throw error;
    }
    // the theme is kept there
    await page.evaluate(() => localStorage.clear());
  });
}
