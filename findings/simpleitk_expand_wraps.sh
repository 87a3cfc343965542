#!/usr/bin/env bash
# SimpleITK 2.5.7, numpy 2.4.6
#
# sitk.Expand of 8-bit pixels with a B-spline wraps: where the spline overshoots, -13 becomes 243 and 280 becomes 24. White
# specks on black beside every edge, and no warning. sitk.Resample of the same picture, with the same interpolator, cuts
# to 0..255.
#
# Why a good guess is wrong: both filters take the interpolators by name and give the same numbers in float32.
#
# Instead: sitk.Resample, or Expand in float32, np.clip and rounding.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet SimpleITK==2.5.7 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import SimpleITK as sitk

x = np.zeros((16, 16), np.uint8)
x[:, 8:] = 255


def expanded(values):
    return sitk.GetArrayFromImage(sitk.Expand(sitk.GetImageFromArray(values), [2, 2], sitk.sitkBSpline))


def resampled(values):
    image = sitk.GetImageFromArray(values)
    return sitk.GetArrayFromImage(
        sitk.Resample(image, [32, 32], sitk.Transform(), sitk.sitkBSpline, [-0.25, -0.25], [0.5, 0.5])
    )


eight, floats = expanded(x)[16], expanded(x.astype(np.float32))[16]
print("8 bits  ", eight[8:24])
print("float32 ", np.rint(floats[8:24]).astype(int))
print("Resample", resampled(x)[16][8:24])
assert floats.min() < -1 and floats.max() > 256
assert np.array_equal(eight, np.trunc(floats).astype(int) % 256)
assert eight[:16].max() > 200 and eight[16:].min() < 50
assert np.abs(resampled(x)[16] - np.clip(floats, 0, 255)).max() <= 1
END
