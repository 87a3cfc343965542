"""Similarity of two pictures by their luma: PSNR and SSIM.

The command reports both where the original of an enlarged picture is known.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.models.image_model import luma


def _lumas(*pictures: Array) -> list[Array]:
    return [luma(picture.astype(np.float64))[0] for picture in pictures]


def psnr(original: Array, other: Array) -> float:
    """Return the peak signal-to-noise ratio in dB of the luma of 8-bit pixels [3, H, W]; inf if equal.

    It is 10*log10(255^2 / mean squared difference).

    >>> round(psnr(np.full((3, 1, 2), 100, np.uint8), np.full((3, 1, 2), 110, np.uint8)), 2)
    28.13
    """
    a, b = _lumas(original, other)
    squared = np.mean((a - b) ** 2)
    return float(10 * np.log10(255**2 / squared)) if squared else float("inf")


def ssim(original: Array, other: Array) -> float:
    """Return the structural similarity of the luma of 8-bit pixels [3, H, W]: the mean over 7 x 7 windows, 1 if equal.

    Wang and others, Image quality assessment: from error visibility to structural similarity, 2004; uniform windows and
    sample covariances, as in scikit-image. NaN for a picture smaller than one window.
    """
    a, b = _lumas(original, other)
    if min(a.shape) < 7:
        return float("nan")

    def mean(values: Array) -> Array:
        columns = np.lib.stride_tricks.sliding_window_view(values, 7, 0).mean(-1)
        windows: Array = np.lib.stride_tricks.sliding_window_view(columns, 7, 1).mean(-1)
        return windows

    ma, mb, unbiased = mean(a), mean(b), 49 / 48
    va, vb, vab = ((mean(p * q) - mean(p) * mean(q)) * unbiased for p, q in ((a, a), (b, b), (a, b)))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))
