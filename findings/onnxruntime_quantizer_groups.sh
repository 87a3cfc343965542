#!/usr/bin/env bash
# onnxruntime 1.32.0, onnxruntime.quantization
#
# quantize_static with per_channel=True raises a broadcasting error for a grouped ConvTranspose with a bias. The weight
# is [C_in, C_out/groups, kh, kw] and gets C_out/groups scales along axis 1, which the groups share; the bias has C_out
# numbers, and its scale is x's times the weight's.
#
# Why a good guess is wrong: the same layer without a bias, without groups, or with one output channel in each group is
# quantized, and so is every grouped Conv, whose weight has all output channels on axis 0.
#
# Instead: per_channel=False, or leave the layer out with nodes_to_exclude.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

logging.disable(logging.WARNING)
rng = np.random.default_rng(0)


class Inputs(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"x": rng.standard_normal((1, 4, 6, 6), dtype=np.float32)} for _ in range(2)])

    def get_next(self):
        return next(self.left, None)


def quantized(out_channels, groups, bias, per_channel):
    """Return "quantized", or the error of the quantizer."""
    arrays = {"w": rng.standard_normal((4, out_channels // groups, 4, 4), dtype=np.float32)}
    if bias:
        arrays["b"] = rng.standard_normal(out_channels).astype(np.float32)
    node = helper.make_node("ConvTranspose", ["x", *arrays], ["y"], strides=[2, 2], group=groups)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, out_channels, 14, 14])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "in.onnx")
    try:
        quantize_static("in.onnx", "out.onnx", Inputs(), per_channel=per_channel)
        return "quantized"
    except ValueError as error:
        return f"ValueError: {error}"


for out_channels, groups, bias, per_channel in (
    (8, 2, True, True),
    (8, 2, False, True),
    (8, 2, True, False),
    (4, 4, True, True),
    (8, 1, True, True),
):
    result = quantized(out_channels, groups, bias, per_channel)
    print(f"4 -> {out_channels}, {groups} groups, bias {bias}, per channel {per_channel}: {result}")
    assert (result == "quantized") != (groups == 2 and bias and per_channel)
END
