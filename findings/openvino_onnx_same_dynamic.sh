#!/usr/bin/env bash
# openvino 2026.4.1, ONNX importer and CPU plugin; models made with onnx 1.23.2
#
# A ConvTranspose with auto_pad=SAME_UPPER crops nothing if the spatial sizes of the model's input are dynamic: the
# output is the full result, s * (n - 1) + k elements instead of s * n. With the same sizes stated it is right.
#
# Why a good guess is wrong: the same file with the same input gives another size only because its declared shape is
# open, as exporters write it for networks that take any picture; Model.reshape to that size does not help.
#
# Instead: state the sizes in the file, or write pads and output_padding into it in place of auto_pad.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import openvino
from onnx import helper, numpy_helper

x, w = np.float32([[[1, 2, 3]]]), np.float32([[[1, 10, 100, 1000, 10000]]])
full = np.zeros(9, "f")
for i in range(3):
    for t in range(5):
        full[2 * i + t] += x[0, 0, i] * w[0, 0, t]


def run(length, reshaped=False):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], auto_pad="SAME_UPPER")
    values = [helper.make_tensor_value_info("x", 1, [1, 1, length])], [helper.make_tensor_value_info("y", 1, [1, 1, None])]
    graph = helper.make_graph([node], "g", *values, [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])
    core = openvino.Core()
    network = core.read_model(model.SerializeToString(), b"")
    if reshaped:
        network.reshape(x.shape)
    return core.compile_model(network, "CPU")([x])[0][0, 0]


print("sizes stated", run(3))
print("sizes open  ", run(None))
print("reshaped    ", run(None, reshaped=True))
assert np.array_equal(run(3), full[1:7])
assert np.array_equal(run(None), full)
assert np.array_equal(run(None, reshaped=True), full)
END
