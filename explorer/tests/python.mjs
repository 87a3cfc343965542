/** The project's Python, or the one that PYTHON names, with the library of this checkout. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Run Python with these arguments. Return what it printed, or `missing`, a text that says why there is nothing. */
export function python(given, input = "") {
  const own = path("../../.venv/bin/python");
  const command = process.env.PYTHON ?? (existsSync(own) ? own : "python3");
  const env = { ...process.env, PYTHONPATH: path("../../src") };
  const options = { cwd: path("./"), env, input, encoding: "utf8", maxBuffer: 1 << 28 };
  const { status, stdout, stderr, error } = spawnSync(command, given, options);
  return status === 0 ? { stdout } : { missing: `${command} gives no answers: ${stderr || error}`.trim() };
}
