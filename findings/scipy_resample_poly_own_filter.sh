#!/usr/bin/env bash
# scipy 1.17.1: scipy.signal.resample_poly with a filter of your own
#
# The taps are multiplied by up / gcd(up, down): resample_poly(x, 4, 2, window=h) and (x, 2, 1, window=h) have twice h,
# and upfirdn(h, x, 2), a transposed convolution of stride 2 with the same taps, has h.
#
# Why a good guess is wrong: the documentation calls an array `window` the coefficients of the filter. A filter that is
# designed for an insertion of zeros, as a layer's bilinear weight [0.5, 1, 0.5] is, has the gain of up already: the
# result is twice as large. The factor is not that of the arguments but of the reduced fraction.
#
# Instead: pass h * gcd(up, down) / up, or call upfirdn and cut its result yourself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
from scipy.signal import resample_poly, upfirdn

rng = np.random.default_rng(0)
x = rng.standard_normal(9)
h = np.array([0.5, 1.0, 0.5])


def definition(x, h, stride):
    full = np.zeros(stride * (len(x) - 1) + len(h))
    for i, value in enumerate(x):
        full[stride * i : stride * i + len(h)] += value * h
    return full


full = definition(x, h, 2)
np.testing.assert_allclose(upfirdn(h, x, 2), full)
crop = full[1 : 1 + 2 * len(x)]  # half the filter's length is cut at the beginning
for up, down in ((2, 1), (4, 2), (6, 3)):
    y = resample_poly(x, up, down, window=h)
    print(f"up={up}, down={down}: result / transposed convolution = {np.median(y / crop):.3g}")
    if not np.allclose(y, 2 * crop):
        raise SystemExit("the taps are multiplied by another number now")
ones = np.ones(9)
print("a constant 1, enlarged by bilinear taps:", resample_poly(ones, 2, 1, window=h)[4:8])
print("with h / 2:", resample_poly(ones, 2, 1, window=h / 2)[4:8])
END
