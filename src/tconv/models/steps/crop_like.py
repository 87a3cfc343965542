"""Crop to a size that follows from that of another picture, as exports write it behind a padding to a multiple."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tconv.errors import ShapeError
from tconv.models.steps.step import LINES, Region, Shape, taken


@dataclass(frozen=True)
class CropLike:
    """Crop of the first input, from its first row and column on, to the size of the second input times the factors.

    Of the second input only the size counts.

    >>> CropLike((2, 2)).output_extent([12, 5], axis=0)
    10
    """

    factors: tuple[Fraction | int, Fraction | int] = (1, 1)
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the first input. Raises ShapeError unless there are two."""
        if len(given) != 2:
            raise ShapeError(f"it crops a picture to the size of another, and reads {len(given)} inputs; 2 are needed")
        return given[0]

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) of the crop. Raises ShapeError if the first input is smaller."""
        result = math.floor(given[1] * self.factors[axis])
        if not 1 <= result <= given[0]:
            raise ShapeError(f"{given[0]} {LINES[axis]} cannot be cropped to {result}; as many or more are needed")
        return result

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the same rows of the first input, and rows near them of the second, which must have some."""
        if number == 0:
            return outputs
        low, high = (
            min(math.floor(row / self.factors[axis]), sizes[1] - 1) for row in (outputs.start, outputs.stop - 1)
        )
        return slice(low, high + 1)

    def first(self, output: int, axis: int) -> int:
        """Return the same row."""
        return output

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        out.values[...] = taken(given[0], out.rows, out.columns)
