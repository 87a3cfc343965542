#!/usr/bin/env bash
# openvino 2026.4.1, CPU plugin
#
# A GroupConvolutionBackpropData with a single group is refused when the model is compiled.
#
# Why a good guess is wrong: the number of groups is the first axis of the weight, and 1 is a legal size of it. The
# operation is created and its shape inferred; the error comes later and names a primitive descriptor. Two groups work.
#
# Instead: use ConvolutionBackpropData with the weight without its first axis.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import openvino
from openvino import opset15

x, w = np.float32([[[1, 2], [3, 4]]]), np.float32([[[1, 10, 100]], [[2, 0, 5]]])
full = np.zeros(5, "f")
for channel in range(2):
    for i in range(2):
        for t in range(3):
            full[2 * i + t] += x[0, channel, i] * w[channel, 0, t]


def run(operation, w):
    node = operation(opset15.constant(x), opset15.constant(w), [2])
    print(node.get_type_name(), "weight", w.shape, "output", node.get_output_shape(0))
    return openvino.compile_model(openvino.Model([node], []), "CPU")([])[0]


try:
    run(opset15.group_convolution_backprop_data, w[None])
except RuntimeError as error:
    message = str(error)
    print(message.strip().splitlines()[-1])
    assert "could not create a primitive descriptor" in message
else:
    raise AssertionError("a single group is accepted")
assert np.array_equal(run(opset15.convolution_backprop_data, w)[0, 0], full)
two = run(opset15.group_convolution_backprop_data, np.stack([w[:1], w[1:]]))
assert np.array_equal(two[0].sum(0), full)
END
