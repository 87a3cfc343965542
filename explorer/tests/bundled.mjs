/** Modules of the sources as this process can import them: bundled, without a file. */

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = new URL("../", import.meta.url);

/** Import modules of explorer/src as one, such as "own_numbers/npy_file.ts": they share their classes. */
export async function bundled(...paths) {
  const { outputFiles } = await build({
    stdin: {
      contents: paths.map((path) => `export * from "./src/${path}";`).join("\n"),
      resolveDir: fileURLToPath(here),
    },
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}
