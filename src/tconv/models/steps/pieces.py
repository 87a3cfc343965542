"""Pieces of arrays that are computed at a time, so that they stay in the caches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

PIECE = 1 << 14
"""Numbers of a piece: with temporary arrays they stay in the caches."""


def pieces_of(shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the indices of pieces of an array [..., C, h, w], of PIECE numbers at most, but of one row at least."""
    channels, height, width = shape[-3:]
    rows = max(1, PIECE // width)
    planes = max(1, rows // height)
    for lead in np.ndindex(shape[:-3]):
        for channel, row in itertools.product(range(0, channels, planes), range(0, height, rows)):
            yield (*lead, slice(channel, channel + planes), slice(row, row + rows))
