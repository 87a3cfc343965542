#!/usr/bin/env bash
# openvino 2026.4.1, CPU plugin
#
# A ConvolutionBackpropData with a kernel of 1, stride 1 and an output of the input's size ignores the pads: pads
# that crop one element in front, where output_padding adds one behind, should shift the result and do not.
#
# Why a good guess is wrong: each part works alone. pads_begin=[1] crops in front, also with a kernel of 1, and with an
# output_padding of 2 the result is right as well. Only where the sizes of input and output are equal is it wrong.
#
# Instead: crop with Slice and add zeros with Pad, or use a kernel of [0, w, 0] with both pads one larger.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import openvino
from openvino import opset15

x = np.float32([[[1, 2, 3, 4]]])


def run(w, **attributes):
    data, weight = opset15.constant(x), opset15.constant(np.float32([[w]]))
    node = opset15.convolution_backprop_data(data, weight, [1], **attributes)
    return openvino.compile_model(openvino.Model([node], []), "CPU")([])[0][0, 0]


full = np.zeros(5, "f")  # with the zero that output_padding adds
for i in range(4):
    full[i] += 2 * x[0, 0, i]
shifted = run([2], pads_begin=[1], output_padding=[1])
print("crop 1, add 1:", shifted, "by definition:", full[1:5])
assert np.array_equal(shifted, full[:4])
assert not np.array_equal(shifted, full[1:5])
assert np.array_equal(run([2], pads_begin=[1]), full[1:4])
assert np.array_equal(run([2], pads_begin=[1], output_padding=[2]), [*full[1:], 0])
assert np.array_equal(run([0, 2, 0], pads_begin=[2], pads_end=[1], output_padding=[1]), full[1:5])
END
