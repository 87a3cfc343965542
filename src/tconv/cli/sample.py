"""The photograph that ships with the package: shrunk, so that what makes it larger can be measured and looked at."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from tconv.cli.upsampler import Array
from tconv.errors import ShapeError
from tconv.images import open_picture
from tconv.interpolation import downsample

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


def psnr(original: Array, other: Array) -> float:
    """Peak signal-to-noise ratio of 8-bit pixels in dB, 10*log10(255^2 / mean squared difference); inf if equal.

    >>> round(psnr(np.uint8([[0, 100]]), np.uint8([[0, 110]])), 2)
    31.14
    """
    squared = np.mean((original.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / squared)) if squared else float("inf")


def side_by_side(pictures: list[Array]) -> Array:
    """The same detail of pictures [3, H, W] next to each other, 4 times as large, every pixel repeated."""
    panels: list[Array] = []
    for picture in pictures:
        if panels:
            panels.append(np.full((3, panels[0].shape[1], _GAP), 255, np.uint8))
        panels.append(picture[:, *_DETAIL].repeat(_ZOOM, 1).repeat(_ZOOM, 2))
    return np.concatenate(panels, axis=2)
