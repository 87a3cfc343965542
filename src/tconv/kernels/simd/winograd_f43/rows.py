"""Rows of a network's layer, made in groups of four: what `grouped` gives, and what it reads and writes."""

from __future__ import annotations

from typing import Protocol

from tconv.kernels.problem import Array


class Held(Protocol):
    """Some rows of a picture [C, H, W]: row r is at index (r - anchor) mod period of the array, if it is there."""

    array: Array
    anchor: int
    period: int
    address: int


class Rows(Protocol):
    """A layer of a network that makes its output rows in groups: `winograd_rows.Rows`."""

    def __call__(self, x: Held, reach: slice, rows: slice, out: Held, anchor: int) -> bool:
        """Put output rows into `out`; whether all were finite before the activation."""


GROUP = 4
"""Rows that are made together."""
