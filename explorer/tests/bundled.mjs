/** Modules of the sources as this process can import them: bundled, without a file. */

import { build } from "esbuild";

const here = new URL("../", import.meta.url);

/** Import a module of explorer/src, such as "own_numbers/npy_file.ts". */
export async function bundled(path) {
  const { outputFiles } = await build({
    entryPoints: [`src/${path}`],
    absWorkingDir: here.pathname,
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}
