#!/usr/bin/env bash
# onnx2torch 1.5.15, on torch 2.13.0; models made with onnx 1.23.2
#
# output_shape of a ConvTranspose is ignored: the module returns the full result, of another size than the ONNX model.
#
# Why a good guess is wrong: attributes that it cannot express, such as pads that differ or auto_pad=SAME_UPPER, are refused
# with NotImplementedError. This one is not looked at.
#
# Instead: write pads and output_padding into the model in place of output_shape.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/pip" install --quiet --no-deps onnx2torch==1.5.15
mkdir "$work/venv/lib/python3.11/site-packages/torchvision" # imported for two operators that are not used here
echo 'def roi_align(*args): raise NotImplementedError' >"$work/venv/lib/python3.11/site-packages/torchvision/ops.py"
touch "$work/venv/lib/python3.11/site-packages/torchvision/__init__.py"
"$work/venv/bin/python" -W ignore - <<'END'
import numpy as np
import onnx
import onnx2torch
import torch
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
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return onnx2torch.convert(model).eval()(torch.tensor(x)).detach().numpy()[0, 0]


for size in (8, 6, 4):
    crop = (8 - size) // 2
    y = run(size, output_shape=[size])
    print(f"output_shape [{size}]: {len(y)} elements", y.astype(int), "ONNX:", full[crop : 8 - crop].astype(int))
    assert np.array_equal(y, full)
    assert np.array_equal(run(size, pads=[crop, crop]), full[crop : 8 - crop])
try:
    run(5, pads=[1, 2])
except NotImplementedError as error:
    print(error)
else:
    raise AssertionError("pads that differ are accepted")
END
