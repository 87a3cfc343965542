"""The photograph that comes with the package, for runs of the command without an input.

It is shrunk and enlarged again, so that the result can be compared with the original.
"""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.io.picture_reading import open_picture
from tconv.weights.interpolation import downsample, upsample

NAME = "chelsea"
CREDIT = "photograph by Stefan van der Walt, CC0, from scikit-image"
_DETAIL = (slice(68, 158), slice(112, 222))  # rows and columns for the side-by-side picture: an eye and its fur
_ZOOM, _GAP = 4, 8


def photograph(scale: int) -> Array:
    """Return the pixels [3, H, W], 8 bit, cut to multiples of the scale. Raises ShapeError for a larger scale."""
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
    """Return 8-bit pixels [C, s*H, s*W] as [C, H, W]: the adjoint of bicubic interpolation, normalised and rounded."""
    smaller: Array = downsample(pixels.astype(np.float32), scale, "bicubic")
    eight: Array = np.rint(np.clip(smaller, 0, 255)).astype(np.uint8)
    return eight


def enlarged(pixels: Array, scale: int, kernel: str) -> Array:
    """Return 8-bit pixels [C, H, W] enlarged by a filter."""
    larger: Array = upsample(pixels.astype(np.float32), scale, kernel)
    eight: Array = np.rint(np.clip(larger, 0, 255)).astype(np.uint8)
    return eight


def side_by_side(pictures: list[Array]) -> Array:
    """Return one detail of each picture [3, H, W] next to the others, 4 times as large, every pixel repeated."""
    panels: list[Array] = []
    for picture in pictures:
        if panels:
            panels.append(np.full((3, panels[0].shape[1], _GAP), 255, np.uint8))
        panels.append(picture[:, *_DETAIL].repeat(_ZOOM, 1).repeat(_ZOOM, 2))
    return np.concatenate(panels, axis=2)
