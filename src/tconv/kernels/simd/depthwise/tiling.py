"""Tiles of a depthwise call: blocks of all axes, of a size that fits a core's own cache."""

from __future__ import annotations

import math

_TILE = 256 << 10
"""Bytes of x and the output of a tile, about."""
_LEAST = 16 << 10
"""Bytes below which a tile is not divided any more."""
_PER_THREAD = 4
"""Tiles of a thread, at least, where there is enough to divide: a slow core takes fewer of them."""
_SINGLE_THREAD = 256 << 10
"""Bytes of x and the output below which waking another thread costs more than it saves."""


def threads_of(all_bytes: int, threads: int) -> int:
    """Return the number of threads that a call of this many bytes of x and output is worth."""
    return 1 if all_bytes < _SINGLE_THREAD else threads


def block_sizes(axes: dict[str, tuple[int, int]], element_bytes: int, images: int, threads: int) -> dict[str, int]:
    """Return the size of a tile on each axis, given as (length, unit): the first axis is filled first.

    Blocks are multiples of the unit. `element_bytes` are the bytes of x and output for one element of all axes.
    """
    whole = element_bytes * math.prod(length for length, _ in axes.values()) * images
    budget = min(_TILE, max(_LEAST, whole // (_PER_THREAD * threads)))
    sizes: dict[str, int] = {}
    size = element_bytes
    for name, (length, unit) in axes.items():
        count = ceil(length, max(unit, budget // size // unit * unit))
        sizes[name] = min(ceil(length, count * unit) * unit, length)  # as equal as possible
        size *= sizes[name]
    return sizes


def ceil(a: int, b: int) -> int:
    """Return a/b, rounded up."""
    return -(-a // b)
