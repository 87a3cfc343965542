#!/usr/bin/env bash
# openvino 2026.4.1, ONNX importer and CPU plugin; models made with onnx 1.23.2
#
# A ConvTranspose with output_shape is imported with the wrong crop in two cases. With group > 1 nothing is cropped in
# front. With group = 1 and auto_pad=SAME_UPPER, an odd crop takes its larger half in front; ONNX wants it behind.
#
# Why a good guess is wrong: the sizes are right, since output_shape states them, and SAME_LOWER and NOTSET with one
# group are right as well. So a test of one node does not show it.
#
# Instead: write the pads into the model in place of output_shape and auto_pad.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import openvino
from onnx import helper, numpy_helper

x, w = np.float32([[[1, 2, 3]]]), np.float32([[[1, 10, 100, 1000]]])
full = np.zeros(8, "f")
for i in range(3):
    for t in range(4):
        full[2 * i + t] += x[0, 0, i] * w[0, 0, t]


def run(groups, **attributes):
    many = np.tile(x, (1, groups, 1))
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], group=groups, **attributes)
    values = [helper.make_tensor_value_info("x", 1, many.shape)], [helper.make_tensor_value_info("y", 1, [None] * 3)]
    weight = numpy_helper.from_array(np.tile(w, (groups, 1, 1)), "w")
    graph = helper.make_graph([node], "g", *values, [weight])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])
    core = openvino.Core()
    y = core.compile_model(core.read_model(model.SerializeToString(), b""), "CPU")([many])[0]
    assert all(np.array_equal(channel, y[0, 0]) for channel in y[0])
    return y[0, 0]


right = {"NOTSET": 2, "SAME_LOWER": 2, "SAME_UPPER": 1}  # elements to crop in front, of 3 in all
observed = {(1, "NOTSET"): 2, (1, "SAME_LOWER"): 2, (1, "SAME_UPPER"): 2}
observed |= {(2, auto_pad): 0 for auto_pad in right}
for (groups, auto_pad), front in observed.items():
    y = run(groups, output_shape=[5], auto_pad=auto_pad)
    print(f"group={groups} {auto_pad:10} crops {front} in front, ONNX {right[auto_pad]}:", y.astype(int))
    assert np.array_equal(y, full[front : front + 5])
for groups in (1, 2):
    assert np.array_equal(run(groups, pads=[1, 2]), full[1:6])
END
