"""`WholeBlocks`: a value whose length is a multiple of a number, checked at the end of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tconv.errors import ShapeError
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region, Shape, single, taken

_LONGEST = 1 << 31
"""Lengths from here on are those of streams without an end (`ENDLESS`, at any rate), which are not checked."""


@dataclass(frozen=True)
class WholeBlocks(SamePlace):
    """Copy of a value, for layers whose first outputs depend on the length of the whole, modulo their stride.

    Their stream is that of lengths that are multiples of it: the first outputs leave before the length is known.

    >>> WholeBlocks(2).output_extent([6], axis=1)
    6
    """

    multiple: int
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input."""
        return single(given)

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the length. Raises ShapeError for one that is no multiple."""
        if axis == 1 and given[0] < _LONGEST and given[0] % self.multiple:
            raise ShapeError(
                f"a whole input gives it {given[0]} samples; its padding depends on their number modulo "
                f"{self.multiple}, which a stream does not know in advance. Write inputs for which it is a multiple"
            )
        return given[0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Copy a part."""
        out.values[...] = taken(given[0], out.rows, out.columns)
