"""Means of blocks of a picture: the small version by which a network's output is compared with its input."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array

_BLOCKS = 12
"""Blocks along each side of a large picture."""
_SIDE = 8
"""Pixels along a side of a block at least, so that noise does not count."""
_SAMPLES = 512
"""Rows (columns) of a picture that are read at least, where it has so many."""


class BlockMeans:
    """Sums of the finite numbers [C, H, W] of each block of a picture, of which parts are added one after another.

    `height` and `width` are those of the small picture, and `scale` is how many times larger the numbers are.
    """

    def __init__(self, height: int, width: int, scale: int = 1) -> None:
        self._counts = [min(_BLOCKS, -(-size // _SIDE)) for size in (height, width)]
        self._sizes = height * scale, width * scale
        self._sums: Array | None = None
        self._numbers: Array | None = None

    def add(self, values: Array, row: int = 0, column: int = 0) -> None:
        """Add a part [C, h, w] that begins at this row and column."""
        steps = [max(1, size // _SAMPLES) for size in self._sizes]
        some = values[:, :: steps[0], :: steps[1]]
        if not some.size:
            return
        if self._sums is None or self._numbers is None:
            self._sums, self._numbers = np.zeros((2, len(values), *self._counts))
        finite = np.isfinite(some)
        blocks, starts = [], []
        for first, length, step, count, size in zip(
            (row, column), values.shape[1:], steps, self._counts, self._sizes, strict=True
        ):
            block = np.minimum(np.arange(first, first + length, step) * count // size, count - 1)
            starts.append(np.flatnonzero(np.diff(block, prepend=-1)))
            blocks.append(block[starts[-1]])
        at = slice(None), blocks[0][:, None], blocks[1]
        for total, part in ((self._sums, np.where(finite, some, 0)), (self._numbers, finite)):
            across = np.add.reduceat(part, starts[1], 2, dtype=np.float64)
            total[at] += np.add.reduceat(across, starts[0], 1)

    @property
    def values(self) -> Array:
        """The means [C, blocks down, blocks across]; NaN for a block without numbers, [0, ...] before any part."""
        if self._sums is None:
            return np.empty((0, *self._counts))
        with np.errstate(all="ignore"):
            means: Array = self._sums / self._numbers
        return means


def difference(given: Array, made: Array) -> float:
    """Return the mean absolute difference of two arrays of block means, where both have numbers; 0 if nowhere.

    >>> difference(np.zeros((3, 1, 1)), np.full((3, 1, 1), 0.5))
    0.5
    """
    both = np.abs(made - given)
    both = both[np.isfinite(both)]
    return float(both.mean()) if both.size else 0.0
