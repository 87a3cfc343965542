#!/usr/bin/env bash
# ncnn 1.0.20261020, BinaryOp of a picture [C, H, W] and a vector [n], with one number or more
#
# The vector is added along the channels if n is C, and along the width otherwise.
#
# Why a good guess is wrong: NumPy, PyTorch and ONNX align the last axes, so that a vector of W numbers goes along the
# width whatever C is. In ncnn the same layer means something else as soon as the picture is as wide as it has channels,
# and a square layer of a network may be the only one that is.
#
# Instead: give the constant three axes: [C, 1, 1] (0=1 1=1 2=C of MemoryData), or [1, 1, W] (0=W 1=1 2=1).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ncnn==1.0.20261020 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import ncnn
import numpy as np


def added(x, vector, shape):
    rows = ["7767517", "3 3", "Input x 0 1 x", f"MemoryData v 0 1 v {shape}", "BinaryOp y 2 1 x v y 0=0"]
    net = ncnn.Net()
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    assert net.load_param_mem("\n".join(rows) + "\n") == 0
    vector.tofile("net.bin")
    assert net.load_model("net.bin") == 0
    extractor = net.create_extractor()
    extractor.input("x", ncnn.Mat(x).clone())
    code, mat = extractor.extract("y")
    assert code == 0
    y = np.array(mat)
    del mat  # before the net that owns its memory
    return y


rng = np.random.default_rng(0)
for channels, width in [(3, 5), (5, 5)]:
    x = rng.standard_normal((channels, 4, width)).astype(np.float32)
    vector = np.arange(width, dtype=np.float32)
    y = added(x, vector, f"0={width}")
    along = {"the width": x + vector, "the channels": x + vector[:channels, None, None]}
    (found,) = [name for name, expected in along.items() if np.array_equal(y, expected)]
    print(f"[{channels}, 4, {width}] + [{width}]: along {found}")
    assert found == ("the channels" if channels == width else "the width")
    assert np.array_equal(added(x, vector, f"0={width} 1=1 2=1"), x + vector)
END
