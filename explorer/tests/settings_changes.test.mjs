/** Another dialect shows the same operator where it can say it, and says what it cannot. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";

const { sceneOf, readAddress, dialects, changeDialect } = await bundled(
  "arithmetic/scene_of_settings.ts",
  "state/address.ts",
  "dialects/registry.ts",
  "page/settings_changes.ts",
);

function storeOf(address) {
  const momentOf = (settings) => ({ settings, ...sceneOf(settings) });
  return {
    moment: momentOf(readAddress(address).settings),
    change(part) {
      this.moment = momentOf({ ...this.moment.settings, ...part });
    },
  };
}

for (const address of [
  "#dialect=torch&input=4&kernel=3&stride=2&padding=1&output_padding=1",
  "#dialect=torch&input=4x3&kernel=3x2&stride=2x1&crop=((0,1),(1,-1))",
  "#dialect=torch&input=4&kernel=5&stride=2&dilation=2&padding=2",
  "#dialect=torch&input=4&kernel=2&stride=2&groups=2&channels=2:2",
]) {
  test(`from dialect to dialect with ${address}`, () => {
    for (const first of Object.keys(dialects)) {
      for (const second of Object.keys(dialects)) {
        const store = storeOf(address);
        const { output } = store.moment.scene;
        const lost = [changeDialect(store, first), changeDialect(store, second)].find(Boolean);
        assert.equal(store.moment.settings.dialect, second);
        assert.ok(store.moment.scene, `${first} to ${second}: ${store.moment.mistakes[0]?.text}`);
        if (lost) assert.match(lost, / cannot say the settings before: .+\. What it has is shown/);
        else assert.deepEqual([...store.moment.scene.output], [...output], `${first} to ${second}`);
      }
    }
  });
}
