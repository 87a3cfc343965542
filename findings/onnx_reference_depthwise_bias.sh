#!/usr/bin/env bash
# onnx 1.23.2, ReferenceEvaluator
#
# A depthwise ConvTranspose with a bias gets the bias of the first channel on every channel.
#
# Why a good guess is wrong: the reference evaluator is what one compares a runtime with. It runs a node with groups
# as one node per group, and passes each of them the whole bias, of which a node with one output channel uses the
# first entry. Without a bias, and with one group, the result is right.
#
# Instead: leave the bias out of the node and add it with an Add node, or take another runtime as the reference.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

x = np.float32([[[1, 2], [3, 4]]])
w = np.float32([[[1, 10]], [[100, 1000]]])
bias = np.float32([10, 20])

full = np.zeros((1, 2, 4), "f")
for channel in range(2):
    for i in range(2):
        for t in range(2):
            full[0, channel, 2 * i + t] += x[0, channel, i] * w[channel, 0, t]

bare = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], group=2)
biased = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2], group=2)
without = ReferenceEvaluator(bare).run(None, {"x": x, "w": w})[0]
got = ReferenceEvaluator(biased).run(None, {"x": x, "w": w, "b": bias})[0]
print("with bias 10, 20:\n", got[0], "\nby definition:\n", (full + bias[:, None])[0], sep="")
assert np.array_equal(without, full)
assert np.array_equal(got, full + bias[0])
assert not np.array_equal(got, full + bias[:, None])
END
