/** Figures of the page in this browser, printed and not judged: they depend on the machine. */

import { browserTest, settled } from "./browser.mjs";
import { bundled } from "../bundled.mjs";
import { middleOf } from "./actions.mjs";

const { sceneOf } = await bundled("arithmetic/scene_of_settings.ts");
const { readAddress } = await bundled("state/address.ts");

const LARGE = "#dialect=torch&kernel=4&stride=2&padding=1&input=32&x=random&weight=random";
const HOVERS = 60;

const print = (text) => console.log(`# ${text}`);
const milliseconds = (value) => `${value.toFixed(1)} ms`;

browserTest(
  "time of a hover at 32x32 inputs",
  async (page) => {
    const { scene } = sceneOf(readAddress(LARGE).settings);
    await page.evaluate(() => {
      window.hovers = [];
      document.addEventListener("pointermove", () => {
        const start = performance.now();
        // the page draws in the next frame; a task behind it runs when that is done
        requestAnimationFrame((frame) => {
          const channel = new MessageChannel();
          channel.port1.onmessage = () =>
            window.hovers.push({ whole: performance.now() - start, work: performance.now() - Math.max(start, frame) });
          channel.port2.postMessage(null);
        });
      });
    });
    const places = [];
    for (let hover = 0; hover < HOVERS; hover++)
      places.push(await middleOf(page, "output", scene, [(hover * 7) % 64, (hover * 13) % 64]));
    const processor = await processorTime(page);
    for (const { x, y } of places) {
      await page.mouse.move(x, y);
      await settled(page);
    }
    print(`hover at 32x32 inputs, processor time of the page: ${milliseconds((await processor()) / HOVERS)} each`);
    const hovers = await page.evaluate(() => window.hovers);
    for (const [name, key] of [
      ["from the event to the end of the next frame", "whole"],
      ["work in that frame", "work"],
    ]) {
      const sorted = hovers.map((hover) => hover[key]).sort((a, b) => a - b);
      print(
        `hover at 32x32 inputs, ${name}: median ${milliseconds(sorted[sorted.length >> 1])}, 95 % ${milliseconds(sorted[Math.floor(sorted.length * 0.95)])} (${sorted.length} hovers)`,
      );
    }
  },
  LARGE,
);

/** Return a function that gives the processor time of the page's thread since now, in ms: other programs do not change it. */
async function processorTime(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const read = async () =>
    (await session.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value * 1000;
  const start = await read();
  return async () => (await read()) - start;
}

browserTest(
  "frames per second while playing",
  async (page) => {
    await page.selectOption("#speed", { index: (await page.locator("#speed option").count()) - 1 });
    await page.locator("#play").click();
    const processor = await processorTime(page);
    const frames = await page.evaluate(
      () =>
        new Promise((resolve) => {
          const times = [];
          const frame = (time) => (
            times.push(time),
            times.length < 120 ? requestAnimationFrame(frame) : resolve(times)
          );
          requestAnimationFrame(frame);
        }),
    );
    print(
      `playing 32x32 inputs, processor time of the page: ${milliseconds((await processor()) / frames.length)} a frame`,
    );
    const gaps = frames
      .slice(1)
      .map((time, at) => time - frames[at])
      .sort((a, b) => a - b);
    print(
      `playing 32x32 inputs: ${(((frames.length - 1) * 1000) / (frames.at(-1) - frames[0])).toFixed(1)} frames a second, longest gap ${milliseconds(gaps.at(-1))}`,
    );
  },
  LARGE,
);

for (const [name, address] of [
  ["the first look", ""],
  ["32x32 inputs", LARGE],
]) {
  browserTest(
    `first paint of ${name}`,
    async (page) => {
      const paints = [];
      for (let load = 0; load < 3; load++) {
        await page.reload();
        await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length);
        paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
      }
      print(`first paint of ${name}: ${paints.map(milliseconds).join(", ")}`);
    },
    address,
  );
}

browserTest(
  "time of a changed setting at 32x32 inputs",
  async (page) => {
    const times = await page.evaluate(async () => {
      const found = [];
      const field = document.querySelector("#field-kernel");
      for (const kernel of ["3", "4", "5", "6", "4"]) {
        const start = performance.now();
        field.value = kernel;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
        found.push(performance.now() - start);
      }
      return found;
    });
    print(`a changed kernel at 32x32 inputs, to the second frame: ${times.map(milliseconds).join(", ")}`);
  },
  LARGE,
);
