"""Snake, the activation of periodic signals that speech and music decoders have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.models.steps.pieces import SMALL, in_memory_order, pieces_of
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region, Shape, single, taken


@dataclass(frozen=True, eq=False)
class Snake(SamePlace):
    """x + scale * sin(alpha * x)^2 (Ziyin and others 2020, arXiv:2006.08195), with numbers for each channel, or one.

    `alpha` and `scale` are [C] or [1], float32. Snake has scale = 1 / alpha, SnakeBeta 1 / beta; models add 1e-9 to
    them, and some store logarithms: write what they come to.

    >>> alpha = np.array([0.5, 2], np.float32)
    >>> Snake(alpha, 1 / (alpha + 1e-9)).output_channels([2])
    2
    """

    alpha: Array
    scale: Array
    roundings = 8

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError for another number of constants."""
        channels = single(given)
        for name in ("alpha", "scale"):
            shape = getattr(self, name).shape
            if shape not in ((1,), (channels,)):
                raise ShapeError(f"{name} of snake has shape {shape}; ({channels},) or (1,) is needed")
        return channels

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        x, y = taken(given[0], out.rows, out.columns), out.values
        alpha, scale = (np.asarray(each, y.dtype).reshape(-1, 1, 1) for each in (self.alpha, self.scale))
        with np.errstate(all="ignore"):  # inf and NaN are values here
            if y.size <= SMALL:
                _fill(x, alpha, scale, y)
                return
            constants = (np.broadcast_to(each, y.shape) for each in (alpha, scale))
            y, x, alpha, scale = in_memory_order(y, x, *constants)
            for place in pieces_of(y.shape):
                _fill(x[place], alpha[place], scale[place], y[place])

    @property
    def magnitudes(self) -> _SnakeMagnitudes:
        """Step that gives, for absolute inputs, the size of numbers whose rounding the result has."""
        return _SnakeMagnitudes(np.abs(self.alpha), np.abs(self.scale))


def _fill(x: Array, alpha: Array, scale: Array, y: Array) -> None:
    np.multiply(x, alpha, out=y)
    np.sin(y, out=y)
    np.square(y, out=y)
    y *= scale
    y += x


class _SnakeMagnitudes(Snake):
    """|x| + scale * (1 + alpha * |x|): an error of the argument counts scale times in the result at most."""

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the sizes."""
        x, y = taken(given[0], out.rows, out.columns), out.values
        alpha, scale = (np.asarray(each, y.dtype).reshape(-1, 1, 1) for each in (self.alpha, self.scale))
        with np.errstate(all="ignore"):
            y[...] = x + scale * (1 + alpha * x)
