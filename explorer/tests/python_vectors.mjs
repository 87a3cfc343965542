/** Vectors of vectors.py: from the file that TCONV_VECTORS names, or from the project's Python. */

import { readFileSync } from "node:fs";
import { python } from "./python.mjs";

/** Return the vectors, or a text that says why there are none. */
export function pythonVectors() {
  if (process.env.TCONV_VECTORS) return JSON.parse(readFileSync(process.env.TCONV_VECTORS, "utf8"));
  const { stdout, missing } = python(["vectors.py"]);
  return missing ?? JSON.parse(stdout);
}
