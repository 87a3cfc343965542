#!/usr/bin/env bash
# openvino 2026.4.1, CPU plugin
#
# GroupConvolutionBackpropData ignores pads_begin where an output_shape is given. ConvolutionBackpropData crops by it.
#
# Why a good guess is wrong: the grouped operation is the plain one, once per group, with the same attributes. Here two
# groups of the very same data give another result than one of them alone. Without output_shape they agree.
#
# Instead: give pads_begin and pads_end without output_shape. They determine the size.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import openvino
from openvino import opset15

x, w = np.float32([[[1, 2, 3]]]), np.float32([[[1, 10, 100]]])
full = np.zeros(7, "f")
for i in range(3):
    for t in range(3):
        full[2 * i + t] += x[0, 0, i] * w[0, 0, t]


def run(operation, x, w, **attributes):
    node = operation(opset15.constant(x), opset15.constant(w), strides=[2], **attributes)
    return openvino.compile_model(openvino.Model([node], []), "CPU")([])[0]


one = lambda **attributes: run(opset15.convolution_backprop_data, x, w, **attributes)[0]
two = lambda **attributes: run(
    opset15.group_convolution_backprop_data, np.tile(x, (1, 2, 1)), np.stack([w, w]), **attributes
)[0]
plain, grouped = one(pads_begin=[1], output_shape=[5]), two(pads_begin=[1], output_shape=[5])
print("plain:", plain[0], "grouped:", grouped[0])
assert np.array_equal(plain, [full[1:6]])
assert np.array_equal(grouped, [full[:5]] * 2)
assert np.array_equal(one(pads_begin=[1], pads_end=[1]), [full[1:6]])
assert np.array_equal(two(pads_begin=[1], pads_end=[1]), [full[1:6]] * 2)
END
