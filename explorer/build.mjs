// Builds the page: all modules, styles and the palette in one HTML file. `node build.mjs --check` compares instead of writing.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = new URL("./", import.meta.url);
const page = new URL("../src/tconv/data/explorer.html", here);
const bundled = { bundle: true, minify: true, write: false, target: "es2022", absWorkingDir: fileURLToPath(here) };
const script = await build({ ...bundled, entryPoints: ["src/main.ts"], format: "iife", charset: "utf8" });
const style = await build({ ...bundled, entryPoints: ["src/style.css"] });
// "</script>" inside a string would end the element
const code = script.outputFiles[0].text.trim().replaceAll("</script", "<\\/script");
const html = (await readFile(new URL("src/page.html", here), "utf8"))
  .replace("/* style */", () => style.outputFiles[0].text.trim())
  .replace("/* script */", () => code);

if (process.argv.includes("--check")) {
  if ((await readFile(page, "utf8")) !== html) {
    console.error("src/tconv/data/explorer.html is not what explorer/src builds. Run: npm run build");
    process.exit(1);
  }
} else {
  await writeFile(page, html);
}
console.log(`explorer.html: ${(Buffer.byteLength(html) / 1024).toFixed(0)} KiB`);
