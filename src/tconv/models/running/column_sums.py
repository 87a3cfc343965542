"""Sums of a picture's channels, whose bits depend on neither strips nor bands."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array

BLOCK = 256
"""Columns of a block. Bands of columns end between blocks."""
_ROWS = 4


class ColumnSums:
    """Sums in float64 of the pixels of each channel, added block by block and row by row from the top."""

    def __init__(self, channels: int, width: int) -> None:
        self._sums = np.zeros((channels, -(-width // BLOCK)))

    def add(self, values: Array, first: int) -> None:
        """Add rows [C, rows, W], below those that were added before; the first column begins a block."""
        channels, rows, width = values.shape
        blocks = -(-width // BLOCK)
        place = self._sums[:, first // BLOCK : first // BLOCK + blocks]
        for start in range(0, rows, _ROWS):
            part = values[:, start : start + _ROWS]
            wide = np.zeros((channels, part.shape[1], blocks * BLOCK))
            wide[:, :, :width] = part
            # each sum has 256 contiguous numbers: NumPy adds those in one order
            sums = wide.reshape(-1, BLOCK).sum(1).reshape(channels, -1, blocks)
            for row in range(part.shape[1]):
                place += sums[:, row]

    def total(self) -> Array:
        """Return the sum of each channel."""
        total = np.zeros(len(self._sums))
        for block in range(self._sums.shape[1]):
            total += self._sums[:, block]
        return total
