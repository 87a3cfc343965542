#!/usr/bin/env bash
# onnxruntime 1.32.0, onnxruntime.quantization.quantize_static; models made with onnx 1.23.2
#
# per_channel=True and a ConvTranspose with groups: a depthwise layer gets one scale for all its channels, as if
# per_channel were off; small channels become zeros. With two channels per group and a bias, "operands could not be broadcast".
#
# Why a good guess is wrong: per channel means axis 1 of the weight, which is right for one group. With groups, that axis
# has C_out / groups elements, and equal entries of different groups share a scale. A depthwise Conv gets a scale a channel.
#
# Instead: one node per group before quantising, or the layer in nodes_to_exclude.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 sympy numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'END'
import logging

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable()
rng = np.random.default_rng(0)
samples = [rng.uniform(-1, 1, (1, 4, 5)).astype("f") for _ in range(8)]


class Samples(CalibrationDataReader):
    def __init__(self):
        self.rest = iter(samples)

    def get_next(self):
        x = next(self.rest, None)
        return None if x is None else {"x": x}


def scales(kind, groups, per_channel):
    c_out = 4 if groups == 4 else 8
    size = np.repeat([1, 10, 100, 1000], c_out // 4).astype("f")  # of each output channel
    w = rng.uniform(0.5, 1, (groups, 4 // groups, c_out // groups, 3)).astype("f") * size.reshape(groups, 1, -1, 1)
    if kind == "Conv":
        w = w.swapaxes(1, 2).reshape(c_out, 4 // groups, 3)
    else:
        w = w.reshape(4, c_out // groups, 3)
    node = helper.make_node(kind, ["x", "w", "b"], ["y"], group=groups)
    values = [helper.make_tensor_value_info("x", 1, [1, 4, 5])], [helper.make_tensor_value_info("y", 1, [1, c_out, None])]
    constants = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.zeros(c_out, "f"), "b")]
    graph = helper.make_graph([node], "g", *values, constants)
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)]), "m.onnx")
    quantize_static(
        "m.onnx", "q.onnx", Samples(), QuantFormat.QDQ, per_channel=per_channel, weight_type=QuantType.QInt8
    )
    model = onnx.load("q.onnx")
    (scale,) = (numpy_helper.to_array(each) for each in model.graph.initializer if each.name == "w_scale")
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}["w_quantized"]
    return scale.size, int((stored == 0).sum()), stored.size


for kind, groups in (("Conv", 4), ("Conv", 2), ("ConvTranspose", 1), ("ConvTranspose", 4), ("ConvTranspose", 2)):
    for per_channel in (False, True):
        try:
            count, zeros, size = scales(kind, groups, per_channel)
            found = f"{count} scales, {zeros} of {size} weights are 0"
        except ValueError as error:
            count, zeros, found = None, None, f"raises {error}"
        print(f"{kind}, group={groups}, per_channel={per_channel}: {found}")
        if not per_channel:
            assert count == 1 and zeros
        elif kind == "Conv" or groups == 1:
            assert count == (4 if groups == 4 else 8) and zeros == 0
        elif groups == 4:
            assert count == 1 and zeros
        else:
            assert "could not be broadcast" in found
END
