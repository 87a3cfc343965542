"""Pieces of arrays that are computed at a time, so that they stay in the caches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tconv._arrays import Array

PIECE = 1 << 14
"""Numbers of a piece: with temporary arrays they stay in the caches."""
SMALL = 1 << 11
"""Numbers of an array whose order in memory costs more to find than it saves."""


def pieces_of(shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the indices of pieces of an array, of PIECE numbers at most."""
    axis = 0
    while axis < len(shape) - 1 and math.prod(shape[axis + 1 :]) > PIECE:
        axis += 1
    step = max(1, PIECE // max(1, math.prod(shape[axis + 1 :])))
    for lead in np.ndindex(shape[:axis]):
        for start in range(0, shape[axis], step):
            yield (*lead, slice(start, start + step))


def in_memory_order(out: Array, *others: Array) -> list[Array]:
    """Return views whose axes are in the order in which `out` lies in memory; all have as many axes."""
    order = sorted(range(out.ndim), key=lambda axis: -abs(out.strides[axis]))
    return [array.transpose(order) for array in (out, *others)]


def flat_pieces(x: Array, out: Array) -> Iterator[tuple[Array, Array]]:
    """Yield pieces of both arrays, which have one shape: parts of a line if both lie in memory alike without gaps."""
    if out.size <= SMALL:
        yield x, out
        return
    out, x = in_memory_order(out, x)
    if out.flags.c_contiguous and x.flags.c_contiguous:
        out, x = out.reshape(-1), x.reshape(-1)
    for place in pieces_of(out.shape):
        yield x[place], out[place]
