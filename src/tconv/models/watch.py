"""Interface of an observer of a running network: progress, and parts of layers to recompute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tconv._arrays import Array
from tconv.models.steps.step import Region


class Watch(Protocol):
    """Observer of the run of a network; node 0 is its input, node j the output of its j-th layer."""

    def advance(self, share: float) -> None:
        """Count a share of the work of the run that has just been done, 1 in all."""
        ...

    def wanted(self, number: int, rows: slice, columns: slice) -> Sequence[tuple[slice, slice]]:
        """Return small rectangles to check among these rows and columns of a node, which have just been computed."""
        ...

    def check(self, numbers: Sequence[int], given: dict[int, Region], out: Region) -> None:
        """Check a part of the output of the last of some nodes that were computed together.

        `given` are parts of all nodes that these read from outside, as they were really read. Raises CheckError.
        """
        ...

    def add_to_mean(self, place: int, values: Array) -> None:
        """Count pixels [C, h, w] of a node of which a mean over the whole picture is being computed."""
        ...

    def check_mean(self, number: int, mean: Array) -> None:
        """Check a mean [C, 1, 1] over the whole picture, when all its pixels have been counted. Raises CheckError."""
        ...
