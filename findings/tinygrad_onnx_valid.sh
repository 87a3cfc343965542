#!/usr/bin/env bash
# tinygrad 0.14.0, ONNX importer, on its Python device
#
# A ConvTranspose with auto_pad=VALID is computed as SAME_LOWER: the result is cropped to s * n.
#
# Why a good guess is wrong: VALID means no pads, hence the full result, and the importer's Conv takes it so. Its
# ConvTranspose sends every auto_pad other than NOTSET through the rule of SAME_*, in which all but SAME_UPPER
# put the odd element in front.
#
# Instead: remove auto_pad=VALID from the node before the import. NOTSET with no pads is the same by definition.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tinygrad==0.14.0 numpy==2.4.6
DEV=PYTHON CACHELEVEL=0 "$work/venv/bin/python" - <<'END'
import numpy as np
from tinygrad import Tensor
from tinygrad.nn.onnx import onnx_ops

x, w = np.float32([[[1, 2, 3]]]), np.float32([[[1, 10, 100]]])
full = np.zeros(7, "f")
for i in range(3):
    for t in range(3):
        full[2 * i + t] += x[0, 0, i] * w[0, 0, t]

results = {}
for auto_pad in ("NOTSET", "VALID", "SAME_LOWER", "SAME_UPPER"):
    y = onnx_ops["ConvTranspose"](Tensor(x), Tensor(w), strides=[2], auto_pad=auto_pad)
    results[auto_pad] = y.numpy()[0, 0]
    print(f"{auto_pad:10}", results[auto_pad])
assert np.array_equal(results["NOTSET"], full)
assert np.array_equal(results["VALID"], full[1:])
assert np.array_equal(results["SAME_LOWER"], full[1:])
assert np.array_equal(results["SAME_UPPER"], full[:-1])
conv = onnx_ops["Conv"](Tensor(x), Tensor(w), auto_pad="VALID").numpy()
assert conv.shape == (1, 1, 1)
END
