"""Interface between networks and layers that compute their output rows in groups of four.

A network gives such a layer its buffered rows; `tconv.models` implements `RowWindow`, `row_groups` the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tconv._arrays import Array


class RowWindow(Protocol):
    """Some rows of a picture [C, H, W]: row r, if it is there, is at index (r - anchor) mod period of the array."""

    array: Array
    anchor: int
    period: int
    address: int


class Skip(NamedTuple):
    """Rows that are added to a layer's output y, after the activation: y * scale + rows.

    They have the channels and columns of the output, include all rows that are asked for, and share no memory with it.
    """

    rows: RowWindow
    scale: float


MOST_SKIPS = 2
"""Skips of one call: (y * scale + rows) * scale + rows."""


class RowGroupLayer(Protocol):
    """Layer of a network that computes its output rows in groups: `row_groups.WinogradLayer`."""

    unit: int
    """Output columns that are computed together: 1, or pairs that begin at even columns of the picture."""

    def __call__(
        self,
        x: RowWindow,
        reach: slice,
        rows: slice,
        out: RowWindow,
        anchor: int,
        *,
        skips: Sequence[Skip] = (),
        left: int | None = None,
        column: int = 0,
    ) -> bool:
        """Write output rows into `out`. Returns True if all were finite before the activation."""


GROUP = 4
"""Rows of a group."""
