#!/usr/bin/env bash
# libvips 8.18.7 (pyvips 3.2.0), numpy 2.4.6
#
# vips_resize by a factor above 1, linear or cubic, moves the picture by half a pixel of the output to the right and down:
# output o is the input at o / s - 0.5, not at (o + 0.5) / s - 0.5. Mirrored, resized and mirrored back is another picture.
#
# Why a good guess is wrong: Pillow, OpenCV, PyTorch and scikit-image keep the pixels' centres in place, and so does
# vips_resize when it makes pictures smaller. Beside an original of the same size the shift is half a pixel, which costs
# several dB of PSNR and shows as fringes between tiles of different scale.
#
# Instead: image.affine([s, 0, 0, s], idx=0.5 / s - 0.5, idy=0.5 / s - 0.5, ...), compared with a ramp.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import pyvips

ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))


def resized(values, scale, kernel):
    return pyvips.Image.new_from_array(values).resize(scale, kernel=kernel).numpy()


for scale in (2, 3, 5):
    for kernel in ("linear", "cubic"):
        row = resized(ramp, scale, kernel)[20 * scale]
        places = np.arange(len(row)) / scale - 0.5  # a ramp's value is its place
        inner = slice(4 * scale, -4 * scale)
        shift = np.mean((places + 0.5 / scale - row)[inner]) * scale
        print(f"{kernel} by {scale}: the picture lies {shift:.2f} pixels of the output to the right")
        assert abs(shift - 0.5) < 0.02
        assert np.abs(row - places)[inner].max() < 1 / 64  # cubic: places are rounded to 64ths
small = resized(ramp, 0.5, "linear")[10]
assert np.abs(small - (2 * np.arange(32) + 0.5))[4:-4].max() < 1e-3
random = np.random.default_rng(0).random((16, 16)).astype(np.float32)
mirrored = resized(np.ascontiguousarray(random[::-1, ::-1]), 2, "linear")[::-1, ::-1]
gap = np.abs(resized(random, 2, "linear") - mirrored).max()
print(f"mirrored, resized and mirrored back: {gap:.2f} of white off")
assert gap > 0.1
END
