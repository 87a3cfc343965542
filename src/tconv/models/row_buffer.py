"""Buffers for the rows of a layer's output that the next layers still need.

A run has one storage for each layer, or for several that are concatenated: memory does not grow with the height.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array

_ENDLESS = 1 << 40
_LINE = 16
"""Floats in a cache line."""


class RowBuffer:
    """Some rows of [C, H, W], up to row `stop`: row r is at index (r - anchor) mod period of `array`.

    In a ring, new rows replace rows that are no longer needed, and consecutive rows may be split into two pieces. In a
    linear buffer all rows are contiguous, and move to its front when space runs out.
    """

    def __init__(self, array: Array, anchor: int, stop: int, period: int = _ENDLESS) -> None:
        self.array, self.anchor, self.stop, self.period = array, anchor, stop, period
        self.address = int(array.ctypes.data)

    def part(self, channels: slice, columns: slice) -> RowBuffer:
        """Return a buffer of the same rows: some channels and columns of them."""
        return RowBuffer(self.array[channels, :, columns], self.anchor, self.stop, self.period)

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


class Storage:
    """Rows of several layers' outputs, one behind the other in the channels of one array; `buffers` are their views."""

    def __init__(self, array: Array, anchor: int, period: int = _ENDLESS) -> None:
        self.whole = RowBuffer(array, anchor, anchor, period)
        self.buffers: list[RowBuffer] = []

    def add(self, channels: slice, columns: slice) -> RowBuffer:
        """Return the buffer of some channels and columns."""
        buffer = self.whole.part(channels, columns)
        self.buffers.append(buffer)
        return buffer

    def reserve(self, start: int, stop: int) -> None:
        """Make room up to row `stop` in a linear storage: rows before `start` may be dropped."""
        whole = self.whole
        rows = whole.array.shape[1]
        if whole.period < _ENDLESS or stop - whole.anchor <= rows:
            return
        shift = start - whole.anchor
        for first in range(0, rows - shift, shift):  # pieces that do not overlap with where they move
            last = min(first + shift, rows - shift)
            whole.array[:, first:last] = whole.array[:, first + shift : last + shift]
        whole.anchor = start
        for buffer in self.buffers:
            buffer.anchor = start


def row_floats(width: int) -> int:
    """Return the floats from one row to the next: an odd number of cache lines.

    Rows at the same place of each page would evict each other from the cache: with rows of 1024 floats a run took 1.5
    times as long.
    """
    return (-(-width // _LINE) | 1) * _LINE
