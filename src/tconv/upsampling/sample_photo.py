"""The photograph that ships with the package: shrunk, so that what makes it larger can be measured and looked at."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from tconv.errors import ShapeError
from tconv.io.pictures import open_picture
from tconv.models.image_model import luma
from tconv.upsampling.upsampler import Array
from tconv.weights.interpolation import downsample, upsample

NAME = "chelsea"
CREDIT = "photograph by Stefan van der Walt, CC0, from scikit-image"
_DETAIL = (slice(68, 158), slice(112, 222))  # rows and columns for the side-by-side picture: an eye and its fur
_ZOOM, _GAP = 4, 8


def photograph(scale: int) -> Array:
    """The pixels [3, H, W], 8 bit, cut to multiples of the scale. Raises ShapeError for a scale larger than it is."""
    with as_file(files("tconv") / "data" / f"{NAME}.png") as path:
        pixels = open_picture(path).read()
    height, width = (n // scale * scale for n in pixels.shape[1:])
    if not height * width:
        raise ShapeError(
            f"--scale is {scale}, and the photograph that is shrunk by it has {pixels.shape[1]} rows. "
            f"Write --scale {pixels.shape[1]} at most, or a picture of your own"
        )
    return pixels[:, :height, :width]


def shrink(pixels: Array, scale: int) -> Array:
    """8-bit pixels [C, s*H, s*W] as [C, H, W]: the adjoint of bicubic interpolation, normalised, rounded to 8 bits."""
    smaller: Array = downsample(pixels.astype(np.float32), scale, "bicubic")
    eight: Array = np.rint(np.clip(smaller, 0, 255)).astype(np.uint8)
    return eight


def enlarged(pixels: Array, scale: int, kernel: str) -> Array:
    """8-bit pixels [C, H, W] made larger by a filter."""
    larger: Array = upsample(pixels.astype(np.float32), scale, kernel)
    eight: Array = np.rint(np.clip(larger, 0, 255)).astype(np.uint8)
    return eight


def _lumas(*pictures: Array) -> list[Array]:
    return [luma(picture.astype(np.float64))[0] for picture in pictures]


def psnr(original: Array, other: Array) -> float:
    """Peak signal-to-noise ratio of the luma of 8-bit pixels [3, H, W], 10*log10(255^2 / mean squared difference).

    In dB; inf if equal.

    >>> round(psnr(np.full((3, 1, 2), 100, np.uint8), np.full((3, 1, 2), 110, np.uint8)), 2)
    28.13
    """
    a, b = _lumas(original, other)
    squared = np.mean((a - b) ** 2)
    return float(10 * np.log10(255**2 / squared)) if squared else float("inf")


def ssim(original: Array, other: Array) -> float:
    """Structural similarity of the luma of 8-bit pixels [3, H, W]: the mean over all windows of 7 x 7, 1 if equal.

    Wang and others, Image quality assessment: from error visibility to structural similarity, 2004; uniform windows and
    sample covariances, as in scikit-image. NaN where a picture has no such window.
    """
    a, b = _lumas(original, other)
    if min(a.shape) < 7:
        return float("nan")

    def mean(values: Array) -> Array:
        windows = np.lib.stride_tricks.sliding_window_view(values, 7, 0).mean(-1)
        found: Array = np.lib.stride_tricks.sliding_window_view(windows, 7, 1).mean(-1)
        return found

    ma, mb, unbiased = mean(a), mean(b), 49 / 48
    va, vb, vab = ((mean(p * q) - mean(p) * mean(q)) * unbiased for p, q in ((a, a), (b, b), (a, b)))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))


def side_by_side(pictures: list[Array]) -> Array:
    """The same detail of pictures [3, H, W] next to each other, 4 times as large, every pixel repeated."""
    panels: list[Array] = []
    for picture in pictures:
        if panels:
            panels.append(np.full((3, panels[0].shape[1], _GAP), 255, np.uint8))
        panels.append(picture[:, *_DETAIL].repeat(_ZOOM, 1).repeat(_ZOOM, 2))
    return np.concatenate(panels, axis=2)
