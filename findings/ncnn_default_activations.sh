#!/usr/bin/env bash
# ncnn 1.0.20261020, the layers HardSwish, HardSigmoid and ELU without their parameters
#
# HardSwish is x * clamp(0.2 x + 0.5, 0, 1), HardSigmoid clamp(0.2 x + 0.5, 0, 1), and ELU has the slope 0.1 at 0.
#
# Why a good guess is wrong: PyTorch's hardswish and hardsigmoid, and ONNX's HardSwish, divide x by 6, and all ELUs have
# the slope 1. The first two differ by 0.21 and 0.08 at most, little enough to pass for a network that is a bit worse.
#
# Instead: always write 0=0.16666667 1=0.5 for the first two, and 0=1 for ELU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ncnn==1.0.20261020 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'END'
import ncnn
import numpy as np

x = np.linspace(-4, 4, 33, dtype=np.float32).reshape(1, 1, 33)


def computed(kind, parameters=""):
    net = ncnn.Net()
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    assert net.load_param_mem(f"7767517\n2 2\nInput x 0 1 x\n{kind} y 1 1 x y {parameters}\n") == 0
    open("net.bin", "wb").close()  # nothing is stored
    assert net.load_model("net.bin") == 0
    extractor = net.create_extractor()
    extractor.input("x", ncnn.Mat(x).clone())
    code, mat = extractor.extract("y")
    assert code == 0
    y = np.array(mat).reshape(x.shape)
    del mat  # before the net that owns its memory
    return y


gate = lambda slope: np.clip(slope * x + 0.5, 0, 1)
elu = lambda slope: np.where(x > 0, x, slope * np.expm1(np.minimum(x, 0)))
for kind, function, usual, found, parameters in [
    ("HardSwish", lambda slope: x * gate(slope), 1 / 6, 0.2, "0=0.16666667 1=0.5"),
    ("HardSigmoid", gate, 1 / 6, 0.2, "0=0.16666667 1=0.5"),
    ("ELU", elu, 1.0, 0.1, "0=1"),
]:
    y = computed(kind)
    difference = np.abs(y - function(usual)).max()
    print(f"{kind}: slope {found} in place of {usual:.4g}, up to {difference:.3f} apart")
    assert np.allclose(y, function(found), atol=1e-5) and difference > 0.05
    assert np.allclose(computed(kind, parameters), function(usual), atol=1e-5)
END
