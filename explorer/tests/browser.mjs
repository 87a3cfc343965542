/** The page in a real browser, as all tests of it open it: from a file, with everything that goes wrong recorded. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const PAGE = new URL("../../src/tconv/data/explorer.html", import.meta.url).href;

/** Reason to skip the tests, or false. */
const withoutBrowser = existsSync(EXECUTABLE) ? false : `there is no browser at ${EXECUTABLE}; CHROMIUM= names another`;

export function launch() {
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
}

/** Make a page in a context with these options, with the list `faults` of errors and of requests to anything but a file. */
async function newPage(browser, options) {
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

/** Open the page in a context of its own: `address` is what stands behind its name, `options` are of the context. */
export async function openPage(browser, address = "", options = {}) {
  const page = await newPage(browser, options);
  await page.goto(PAGE + address);
  await settled(page);
  return page;
}

/** Wait until what was asked for is drawn. */
export async function settled(page) {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}

/**
 * Return a function that declares a test of a page: its name, what to do with the page, the address and the context's
 * options. All tests of a file share a browser, and those with the same options a context; each loads the page anew.
 * Without a browser they are skipped.
 */
export function browserTests() {
  const pages = new Map();
  let browser;
  let loads = 0;
  before(async () => (browser = withoutBrowser ? null : await launch()));
  after(() => browser?.close());
  return (name, use, address = "", options = {}) =>
    test(name, { skip: withoutBrowser }, async () => {
      const key = JSON.stringify(options);
      if (!pages.has(key)) pages.set(key, await newPage(browser, options));
      const page = pages.get(key);
      page.faults.length = 0;
      await page.mouse.move(0, 0);
      // another query is another document, where another # would only change the one that is open
      await page.goto(`${PAGE}?${++loads}${address}`);
      await settled(page);
      try {
        await use(page);
        assert.deepEqual(page.faults, []);
      } catch (error) {
        pages.delete(key);
        await page.context().close();
        throw error;
      }
      await page.evaluate(() => localStorage.clear());
    });
}
