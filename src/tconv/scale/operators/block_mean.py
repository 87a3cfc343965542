"""Means of blocks of two elements along each axis, as a `TileOperator`: the next smaller level of a pyramid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.scale.operators.tile_operator import Read
from tconv.scale.regions import Region, Sizes, elements, within

_SLAB = 1 << 18
"""Outputs that are computed at once: their sums stay in the cache."""


class BlockMean:
    """Means of 2x2 elements of each channel (2x2x2 of three axes), half as many along each axis, rounded up.

    A block at an odd end has the mean of its elements that exist. Integers are rounded to the nearest, halves to even;
    their sums are exact. Float16 is summed in float32, float32 in float64. Every block has one order of sums.

    >>> halving = BlockMean(1, 2, np.dtype("uint8"))
    >>> halving.output_sizes((5, 8)), halving.window((slice(1, 3), slice(0, 4)), (5, 8))
    ((3, 4), (slice(2, 5, None), slice(0, 8, None)))
    """

    method = "mean"

    def __init__(self, channels: int, ndim: int, dtype: np.dtype[Any]) -> None:
        self.channels, self.ndim, self.dtype, self.result = (channels, channels), ndim, dtype, dtype
        self.name = f"mean of {'x'.join('2' * ndim)} elements"

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the name, channels and dtype."""
        return "block mean", self.channels[0], self.ndim, str(self.dtype)

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return half of each size, rounded up."""
        return tuple(-(-size // 2) for size in sizes)

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the elements of the blocks."""
        return tuple(slice(2 * span.start, min(2 * span.stop, size)) for span, size in zip(outputs, sizes, strict=True))

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out [C, *outputs] from x [C, *window]."""
        x = x[:, *within(self.window(outputs, sizes), window)]
        rows = max(1, _SLAB // max(math.prod(out.shape[2:]), 1))
        for channel in range(len(out)):
            for first in range(0, out.shape[1], rows):
                part = out[channel, first : first + rows]
                part[...] = self._means(x[channel, 2 * first : 2 * (first + rows)])

    def _means(self, x: Array) -> Array:
        counts: Any = 1  # elements of each block, 1 at an odd end
        for axis, size in enumerate(x.shape):
            along = np.full(-(-size // 2), 2)
            along[-1] -= size % 2
            counts = counts * along.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        if x.dtype.kind in "fc":
            wide = np.result_type(x.dtype, np.float32 if x.dtype.itemsize == 2 else np.float64)
            # the number of elements is a power of two, so that only the sums are rounded
            with np.errstate(all="ignore"):
                means: Array = (_sums(x, wide) * (1 / counts).astype(wide)).astype(x.dtype)
            return means
        # each element is split into a quotient and a rest of 2**ndim, so that sums of 64-bit integers do not overflow
        parts = 1 << x.ndim
        wide = np.dtype(np.uint64 if x.dtype == np.uint64 else np.int64)
        wider = x.astype(wide)
        high = _sums(wider // wide.type(parts), wide)
        low = _sums(wider % wide.type(parts), wide)
        counts = counts.astype(wide)
        # the mean of a block of `counts` elements is (parts * high + low) / counts
        quotient, rest = np.divmod(low, counts)
        quotient = quotient + high * (wide.type(parts) // counts)
        up = (2 * rest > counts) | ((2 * rest == counts) & (quotient % 2 == 1))
        rounded: Array = (quotient + up).astype(x.dtype)
        return rounded

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the bytes of a slab: of each output, its elements in 64 bits, twice, and some sums of them."""
        row = elements(outputs[1:]) if len(outputs) > 1 else 1
        return int(48 + 18 * 2**self.ndim) * max(min(_SLAB, elements(outputs)), row)

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the additions."""
        return self.channels[0] * elements(self.window(outputs, sizes))

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> Any:
        """Return None: no output needs the whole image."""
        return None


def _sums(x: Array, wide: np.dtype[Any]) -> Array:
    """Return the sums of blocks, one axis after another; a block at an odd end has fewer elements."""
    for axis in range(x.ndim):
        first, second = (x[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
        sums = first.astype(wide)
        sums[(slice(None),) * axis + (slice(0, second.shape[axis]),)] += second
        x = sums
    return x
