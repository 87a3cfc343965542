"""Sums of a picture's channels, whose bits depend on neither strips nor bands."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array

BLOCK = 256
"""Columns of the narrowest band of a pass that finds means."""


class ColumnSums:
    """Sums in float64 of the pixels of each channel: column by column from the top, then over the columns."""

    def __init__(self, channels: int, width: int) -> None:
        self._sums = np.zeros((channels, width))

    def add(self, values: Array, first: int) -> None:
        """Add rows [C, rows, W] from column `first` on, below those that were added before."""
        place = self._sums[:, first : first + values.shape[2]]
        for row in range(values.shape[1]):
            np.add(place, values[:, row], out=place)

    def total(self) -> Array:
        """Return the sum of each channel."""
        total: Array = self._sums.sum(1)
        return total
