"""Nearest and linear interpolation of a picture to another size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.models.steps.step import LINES, Region, Shape, taken

MODES = ("nearest", "linear")


@dataclass(frozen=True)
class Resize:
    """Interpolation by a factor for rows and one for columns, whole numbers or fractions such as 1/2.

    Pixel i of the output is at (i + 0.5) / factor - 0.5 of the input ("half pixel", PyTorch's align_corners=False);
    "nearest" takes the pixel floor(i / factor), as PyTorch's, ONNX's asymmetric floor and ncnn's do. Beyond the picture
    its outermost pixels repeat.
    """

    factors: tuple[Fraction, Fraction]
    mode: str = "nearest"
    roundings = 4

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input."""
        return given[0]

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the factor times the height (width), rounded down. Raises ShapeError if nothing is left."""
        result = math.floor(given[0] * self.factors[axis])
        if result < 1:
            raise ShapeError(f"nothing is left of {given[0]} {LINES[axis]} at {self.factors[axis]} of that")
        return result

    def _taps(self, outputs: slice, size: int, axis: int) -> tuple[Array, Array, Array]:
        """Return both input rows of each output row, and the share of the second one."""
        factor, places = self.factors[axis], np.arange(outputs.start, outputs.stop)
        p, q = factor.numerator, factor.denominator
        if self.mode == "nearest":
            rows = np.clip(places * q // p, 0, size - 1)
            return rows, rows, np.zeros(len(rows))
        # (2i + 1) q / 2p - 1/2, in whole numbers: floor and rest are exact
        numerator = (2 * places + 1) * q - p
        floor = numerator // (2 * p)
        share = (numerator - floor * 2 * p) / (2 * p)
        return np.clip(floor, 0, size - 1), np.clip(floor + 1, 0, size - 1), share

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows that are read."""
        low, high, _ = self._taps(outputs, sizes[0], axis)
        return slice(int(low.min()), int(high.max()) + 1)

    def first(self, output: int, axis: int) -> int:
        """Return the first row that an output row reads."""
        low, _, _ = self._taps(slice(output, output + 1), 1 << 40, axis)
        return int(low[0])

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        taps = [self._taps(span, sizes[0][axis], axis) for axis, span in enumerate((out.rows, out.columns))]
        spans = [self.source(0, span, [sizes[0][axis]], axis) for axis, span in enumerate((out.rows, out.columns))]
        x = taken(given[0], *spans)
        (top, bottom, down), (left, right, across) = (
            (low - span.start, high - span.start, share.astype(x.dtype))
            for (low, high, share), span in zip(taps, spans, strict=True)
        )
        if self.mode == "nearest":
            out.values[...] = x[..., top, :][..., left]
            return
        with np.errstate(all="ignore"):
            rows = x[..., top, :] * (1 - down)[:, None] + x[..., bottom, :] * down[:, None]
            out.values[...] = rows[..., left] * (1 - across) + rows[..., right] * across
