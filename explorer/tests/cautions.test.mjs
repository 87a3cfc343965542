/** Cautions beside a call stand where the faults that tconv knows of the framework apply. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bundled } from "./bundled.mjs";
import { python } from "./python.mjs";

const { cautionsOf } = await bundled("dialects/cautions.ts");

const SCRIPT = `
import itertools, json, tconv
from tconv.dialects.fault_conditions import xla_ends_process, xla_reads_outside
told = []
for k, s, d, lo, hi, n, g in itertools.product((1, 2, 3), (1, 2), (1, 2), (0, 1, 3), (0, 1), (1, 2, 3), (1, 2)):
    axes = [(k, s, d, (lo, hi), n), (3, 1, 1, (0, 0), 2)]
    kernel, stride, dilation, crop, input = zip(*axes)
    geometry = tconv.Geometry(kernel, stride, crop, dilation, g)
    told.append([axes, g, xla_ends_process(geometry, input), xla_reads_outside(geometry)])
print(json.dumps(told))
`;

test("the conditions are those of tconv", (t) => {
  const { stdout, missing } = python(["-c", SCRIPT]);
  if (missing) return t.skip(missing);
  const counts = { ends: 0, reads: 0 };
  for (const [axes, groups, ends, reads] of JSON.parse(stdout)) {
    const geometry = {
      groups,
      axes: axes.map(([kernel, stride, dilation, crop]) => ({ kernel, stride, dilation, crop })),
    };
    const input = axes.map((axis) => axis[4]);
    const texts = cautionsOf("jax", geometry, input).map(({ text }) => text);
    assert.equal(
      texts.some((text) => text.includes("ends the process")),
      ends,
    );
    assert.equal(
      texts.some((text) => text.includes("reads outside")),
      reads,
    );
    assert.equal(cautionsOf("onnx", geometry, input).length, groups - 1);
    counts.ends += ends;
    counts.reads += reads;
  }
  assert.ok(counts.ends > 0 && counts.reads > 0, JSON.stringify(counts));
});
