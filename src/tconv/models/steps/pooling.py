"""Means over the whole picture, as the gates of squeeze and excitation read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv.models.steps.step import Region, Shape, taken


@dataclass(frozen=True)
class GlobalMean:
    """Mean of each channel over all pixels: an output of 1 x 1."""

    roundings = 2

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input."""
        return given[0]

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return 1."""
        return 1

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return all rows."""
        return slice(0, sizes[0])

    def first(self, output: int, axis: int) -> int:
        """Return the first row."""
        return 0

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill in the means, summed in float64."""
        whole = taken(given[0], slice(0, sizes[0][0]), slice(0, sizes[0][1]))
        with np.errstate(all="ignore"):
            out.values[...] = whole.mean((-2, -1), dtype=np.float64, keepdims=True)
