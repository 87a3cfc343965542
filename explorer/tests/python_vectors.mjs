/** Vectors of vectors.py: from the file that TCONV_VECTORS names, or from the project's Python. */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Return the vectors, or a text that says why there are none. */
export function pythonVectors() {
  if (process.env.TCONV_VECTORS) return JSON.parse(readFileSync(process.env.TCONV_VECTORS, "utf8"));
  const own = path("../../.venv/bin/python");
  const python = process.env.PYTHON ?? (existsSync(own) ? own : "python3");
  const env = { ...process.env, PYTHONPATH: path("../../src") };
  const { status, stdout, stderr } = spawnSync(python, [path("vectors.py")], {
    env,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  return status === 0 ? JSON.parse(stdout) : `${python} gives no vectors: ${stderr ?? ""}`.trim();
}
