"""Interface of an operation whose output is computed tile by tile, with the bits of the whole.

All tiles of an image have the same bits as the image computed at once: each output has one order of sums, which depends
on neither the tile nor its place in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tconv._arrays import Array
from tconv.scale.regions import Region, Sizes

Read = Callable[[Region], Array]
"""Function of a region of the input, which returns its values [C, *region]."""


class TileOperator(Protocol):
    """Operation on images [C, *sizes] with one, two or three spatial axes, or more.

    It can be pickled, so that other processes run it, and threads may share it.
    """

    name: str
    """Description in reports."""
    method: str
    """Method of summation, one for all tiles."""
    ndim: int
    """Number of spatial axes."""
    channels: tuple[int, int]
    """Channels of the input and of the output."""
    dtype: np.dtype[Any]
    """Dtype of the input."""
    result: np.dtype[Any]
    """Dtype of the output."""

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return the sizes of the output for those of the input. Raises ShapeError if an axis would be empty."""
        ...

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the inputs that outputs read; at least one along each axis, all inside the input."""
        ...

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out [C', *outputs] from x [C, *window]; `window` is that of the outputs, or a larger one.

        `sizes` are those of the whole input. `context` is what `prepare` returned.
        """
        ...

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the most bytes that `compute` allocates beside x and out, packed weights included."""
        ...

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the multiply-adds that `compute` does for a tile, those of its borders included."""
        ...

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return all that the output depends on beside the input: weights, geometry, settings."""
        ...

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> Any:
        """Return what all tiles need of the whole image, such as means over it: a dict of arrays; None for nothing.

        `memory` are the bytes that it may allocate.
        """
        ...
