"""Buffers for the rows of a layer's output that the next layers still need.

`Network.rows` has one for each layer, so that memory does not grow with the height of a picture.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.kernels.simd.winograd_f43.interface import GROUP

_FLOAT32 = np.dtype(np.float32)
_ENDLESS = 1 << 40
_LINE = 16
"""Floats in a cache line."""


class RowBuffer:
    """Some rows of [C, H, W], up to row `stop`: row r is at index (r - anchor) mod period of `array`.

    In a ring, new rows replace rows that are no longer needed, and consecutive rows may be split into two pieces. In a
    linear buffer all rows are contiguous, and move to its front when space runs out.
    """

    def __init__(self, array: Array, anchor: int, stop: int, period: int = _ENDLESS) -> None:
        self.anchor, self.stop, self.period = anchor, stop, period
        self._set_array(array)

    def _set_array(self, array: Array) -> None:
        self.array = array
        self.address = int(array.ctypes.data)

    @classmethod
    def linear(cls, channels: int, width: int, start: int) -> RowBuffer:
        """Return an empty linear buffer whose first row will be `start`."""
        return cls(_allocate(channels, 0, width), start, start)

    @classmethod
    def ring(cls, channels: int, width: int, anchor: int, start: int) -> RowBuffer:
        """Return an empty ring whose first row will be `start`; groups, which begin at `anchor`, stay contiguous."""
        return cls(_allocate(channels, GROUP, width), anchor, start, GROUP)

    def view(self, rows: slice) -> Array:
        """Return a view [1, C, rows, W] of contiguous rows that are stored, or that space is reserved for."""
        start = (rows.start - self.anchor) % self.period
        return self.array[None, :, start : start + rows.stop - rows.start]

    def pieces(self, rows: slice) -> list[slice]:
        """Return the rows as contiguous pieces, cut at the end of the ring."""
        pieces, start = [], rows.start
        while start < rows.stop:
            stop = min(rows.stop, start + self.period - (start - self.anchor) % self.period)
            pieces.append(slice(start, stop))
            start = stop
        return pieces

    def gathered(self, rows: slice) -> Array:
        """Return stored rows [1, C, rows, W], contiguous."""
        pieces = [self.view(piece) for piece in self.pieces(rows)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, 2)

    def reserve(self, start: int, stop: int) -> None:
        """Reserve space up to row `stop`; rows before `start` may be dropped."""
        start = min(start, self.stop)
        rows = stop - start
        if self.period < _ENDLESS:
            if rows > self.period:
                self._grow(start, rows)
        elif stop - self.anchor > self.array.shape[1]:
            stored = self.view(slice(start, self.stop))[0]
            if rows > self.array.shape[1]:
                channels, _, width = self.array.shape
                self._set_array(_allocate(channels, rows, width))
            self.array[:, : self.stop - start] = stored
            self.anchor = start

    def _grow(self, start: int, rows: int) -> None:
        """Enlarge the ring to this many rows from `start` on."""
        channels, _, width = self.array.shape
        period = ring_rows(rows)
        larger = RowBuffer(_allocate(channels, period, width), self.anchor, self.stop, period)
        stored = slice(start, self.stop)
        for piece in larger.pieces(stored):
            larger.view(piece)[...] = self.gathered(piece)
        self.period = period
        self._set_array(larger.array)


def ring_rows(rows: int) -> int:
    """Return the size of a ring for this many rows: whole groups, and one more, as the first may begin inside one."""
    return -(-rows // GROUP) * GROUP + GROUP


def row_floats(width: int) -> int:
    """Return the floats from one row to the next: an odd number of cache lines.

    Rows at the same place of each page would evict each other from the cache: with rows of 1024 floats a run took 1.5
    times as long.
    """
    return (-(-width // _LINE) | 1) * _LINE


def _allocate(channels: int, rows: int, width: int) -> Array:
    return empty((channels, rows, row_floats(width)), _FLOAT32)[:, :, :width]
