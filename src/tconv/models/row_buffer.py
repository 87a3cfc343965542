"""Rows of a layer's output that the next layers still need."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.kernels.simd.winograd_f43.rows import GROUP

_FLOAT32 = np.dtype(np.float32)
_ENDLESS = 1 << 40
_LINE = 16
"""Floats of a cache line."""


class Kept:
    """Some rows of [C, H, W], up to row `stop`: row r is at index (r - anchor) mod period of `array`.

    Either in a ring, where new rows take the places of those that nobody needs any more (and rows in a row may come in
    two pieces), or in a buffer: whoever reads there finds all of them in one piece, and they move up to make room.
    """

    def __init__(self, array: Array, anchor: int, stop: int, period: int = _ENDLESS) -> None:
        self.anchor, self.stop, self.period = anchor, stop, period
        self._put(array)

    def _put(self, array: Array) -> None:
        self.array = array
        self.address = int(array.ctypes.data)

    @classmethod
    def buffer(cls, channels: int, width: int, start: int) -> Kept:
        """An empty buffer whose first row will be `start`."""
        return cls(_room(channels, 0, width), start, start)

    @classmethod
    def ring(cls, channels: int, width: int, anchor: int, start: int) -> Kept:
        """An empty ring whose first row will be `start`; groups, which begin at `anchor`, lie in one piece."""
        return cls(_room(channels, GROUP, width), anchor, start, GROUP)

    def view(self, rows: slice) -> Array:
        """Rows that are there, or that there is room for, [1, C, rows, W]: a piece."""
        start = (rows.start - self.anchor) % self.period
        return self.array[None, :, start : start + rows.stop - rows.start]

    def pieces(self, rows: slice) -> list[slice]:
        """The same rows, cut where the ring begins again."""
        found, start = [], rows.start
        while start < rows.stop:
            stop = min(rows.stop, start + self.period - (start - self.anchor) % self.period)
            found.append(slice(start, stop))
            start = stop
        return found

    def gathered(self, rows: slice) -> Array:
        """Rows that are there, [1, C, rows, W], in one piece."""
        pieces = [self.view(piece) for piece in self.pieces(rows)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, 2)

    def make_room(self, start: int, stop: int) -> None:
        """Make room up to `stop`; the rows before `start` may be forgotten."""
        start = min(start, self.stop)
        rows = stop - start
        if self.period < _ENDLESS:
            if rows > self.period:
                self._grow(start, rows)
        elif stop - self.anchor > self.array.shape[1]:
            before = self.view(slice(start, self.stop))[0]
            if rows > self.array.shape[1]:
                channels, _, width = self.array.shape
                self._put(_room(channels, rows, width))
            self.array[:, : self.stop - start] = before
            self.anchor = start

    def _grow(self, start: int, rows: int) -> None:
        """A ring that has room for so many rows from `start` on."""
        channels, _, width = self.array.shape
        period = ring_rows(rows)
        larger = Kept(_room(channels, period, width), self.anchor, self.stop, period)
        before = slice(start, self.stop)
        for piece in larger.pieces(before):
            larger.view(piece)[...] = self.gathered(piece)
        self.period = period
        self._put(larger.array)


def ring_rows(rows: int) -> int:
    """The rows of a ring that is made for so many: whole groups, one of which may be cut."""
    return -(-rows // GROUP) * GROUP + GROUP


def row_floats(width: int) -> int:
    """Floats from one row to the next: an odd number of cache lines.

    Rows at the same place of each page would push each other out of the cache: those of 1024 floats took half as long
    again.
    """
    return (-(-width // _LINE) | 1) * _LINE


def _room(channels: int, rows: int, width: int) -> Array:
    return empty((channels, rows, row_floats(width)), _FLOAT32)[:, :, :width]
