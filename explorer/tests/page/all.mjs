/** All tests of the page in one process, because they share a browser: `node tests/page/all.mjs`. */

import { readdir } from "node:fs/promises";

const here = new URL("./", import.meta.url);

for (const name of (await readdir(here)).sort()) if (name.endsWith(".test.mjs")) await import(new URL(name, here));
