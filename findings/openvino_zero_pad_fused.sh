#!/usr/bin/env bash
# openvino 2026.4.1, CPU plugin
#
# A Pad of zeros in front of a transposed convolution is fused into its pads as if the stride were 1: a padding of 1 on
# each side of the input makes the output of a layer with stride s one element longer per side, not s. Where the layer
# has pads of its own, the result is 10x10 in place of 12x12.
#
# Why a good guess is wrong: for a convolution, padding the input by p and pads of p are the same, and the pass that
# fuses them treats the transposed convolution alike. There, pads crop the output, and one more input is s more outputs.
# Any extra output of the model between the two operations keeps them apart, so a comparison of all tensors finds nothing.
#
# Instead: give the layer no pads and cut its output with a Slice, or keep the padded tensor as an output.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import openvino
from openvino import opset15

rng = np.random.default_rng(0)
x = rng.integers(-9, 9, (1, 2, 4, 4)).astype("f")
w = rng.integers(-9, 9, (2, 3, 4, 4)).astype("f")


def definition(x, stride, pads):
    n, c = x.shape[2], w.shape[1]
    full = np.zeros((1, c, stride * (n - 1) + 4, stride * (n - 1) + 4), "f")
    for i in range(n):
        for j in range(n):
            taps = np.einsum("c,cokl->okl", x[0, :, i, j], w)
            full[0, :, stride * i : stride * i + 4, stride * j : stride * j + 4] += taps
    end = full.shape[2] - pads
    return full[:, :, pads:end, pads:end]


def run(stride, pads, keep=False):
    given = opset15.parameter([1, 2, 4, 4], np.float32)
    ends = opset15.constant(np.array([0, 0, 1, 1]))
    padded = opset15.pad(given, ends, ends, "constant", opset15.constant(np.float32(0)))
    layer = opset15.convolution_backprop_data(
        padded, opset15.constant(w), [stride, stride], pads_begin=[pads, pads], pads_end=[pads, pads]
    )
    results = [layer, padded] if keep else [layer]
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.compile_model(openvino.Model(results, [given]), "CPU", hint)(x)[0]


for stride, pads in [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 1)]:
    expected = definition(np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), stride, pads)
    got, kept = run(stride, pads), run(stride, pads, keep=True)
    equal = got.shape == expected.shape and np.array_equal(got, expected)
    print(f"stride {stride}, pads {pads}: {got.shape[2:]}, right is {expected.shape[2:]}, equal: {equal}")
    assert np.array_equal(kept, expected)
    wrong = stride > 1 and pads > 0
    assert equal != wrong
    if wrong:
        assert got.shape[2] == expected.shape[2] - 2 * (stride - 1)
        assert np.array_equal(got, expected[:, :, stride - 1 : 1 - stride, stride - 1 : 1 - stride])
END
