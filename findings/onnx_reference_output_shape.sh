#!/usr/bin/env bash
# onnx 1.23.2, ReferenceEvaluator
#
# A ConvTranspose whose output_shape is smaller than the full result, with auto_pad left at NOTSET, is refused. With
# auto_pad=SAME_UPPER or SAME_LOWER the same output_shape works.
#
# Why a good guess is wrong: the operator's text derives the pads from output_shape, and names SAME_UPPER only to say
# where the odd element goes ("Else" covers NOTSET). The evaluator derives them only under SAME_*; otherwise it takes
# pads of 0, with which the size does not fit. The error complains about the input's size instead.
#
# Instead: give auto_pad=SAME_LOWER along with output_shape, which means the same by the operator's text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

x, w = np.float32([[[1, 2, 3]]]), np.float32([[[1, 10, 100, 1000]]])
full = np.zeros(8, "f")
for i in range(3):
    for t in range(4):
        full[2 * i + t] += x[0, 0, i] * w[0, 0, t]


def run(**attributes):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], output_shape=[5], **attributes)
    return ReferenceEvaluator(node).run(None, {"x": x, "w": w})[0]


try:
    run()
except ValueError as error:
    print("NOTSET:", str(error)[:120])
else:
    raise AssertionError("the node is accepted")
lower, upper = run(auto_pad="SAME_LOWER"), run(auto_pad="SAME_UPPER")
print("SAME_LOWER:", lower[0, 0], "SAME_UPPER:", upper[0, 0])
assert np.array_equal(lower[0, 0], full[2:7])  # 3 elements too many: 2 in front, 1 behind
assert np.array_equal(upper[0, 0], full[1:6])
END
