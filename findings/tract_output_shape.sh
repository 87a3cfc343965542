#!/usr/bin/env bash
# tract 0.23.9 (Python package); models made with onnx 1.23.2
#
# A ConvTranspose with output_shape is cropped at the end alone. ONNX splits the crop: half of it in front.
#
# Why a good guess is wrong: the size is the one asked for, and pads, output_padding, dilations and groups are right. The
# specification's formula for the pads that output_shape leaves is not applied.
#
# Instead: write the pads into the model in place of output_shape.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tract==0.23.9 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import numpy as np
import onnx
import tract
from onnx import helper, numpy_helper

x, w = np.float32([[[1, 2, 3]]]), np.float32([[[1, 10, 100, 1000]]])
full = np.zeros(8, "f")
for i in range(3):
    for t in range(4):
        full[2 * i + t] += x[0, 0, i] * w[0, 0, t]


def run(size, **attributes):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], **attributes)
    values = [helper.make_tensor_value_info("x", 1, x.shape)], [helper.make_tensor_value_info("y", 1, [1, 1, size])]
    graph = helper.make_graph([node], "g", *values, [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "m.onnx")
    return tract.onnx().load("m.onnx").into_model().into_runnable().run([x])[0].to_numpy()[0, 0]


for size in (8, 6, 4):
    crop = (8 - size) // 2
    y = run(size, output_shape=[size])
    print(f"output_shape [{size}]:", y.astype(int), "ONNX:", full[crop : 8 - crop].astype(int))
    assert np.array_equal(y, full[:size])
    assert np.array_equal(run(size, pads=[crop, crop]), full[crop : 8 - crop])
END
