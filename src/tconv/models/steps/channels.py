"""Concatenation of channels, and ranges of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tconv.errors import ShapeError
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import LINES, Region, Shape, taken


@dataclass(frozen=True)
class Concat(SamePlace):
    """Concatenation of the channels of several inputs of one size.

    >>> Concat().output_channels([3, 5])
    8
    """

    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the sum of the channels."""
        return sum(given)

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) of every input. Raises ShapeError."""
        if len(set(given)) > 1:
            raise ShapeError(f"it concatenates pictures of {list(given)} {LINES[axis]}; as many of all are needed")
        return given[0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        start = 0
        for part in given:
            stop = start + part.values.shape[-3]
            out.values[..., start:stop, :, :] = taken(part, out.rows, out.columns)
            start = stop


@dataclass(frozen=True)
class ChannelRange(SamePlace):
    """Some channels of an input: from `start` to `stop`.

    >>> ChannelRange(1, 3).output_channels([4])
    2
    """

    start: int
    stop: int
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the number of channels. Raises ShapeError for a range that the input does not have."""
        if len(given) != 1 or not 0 <= self.start < self.stop <= given[0]:
            raise ShapeError(f"it takes channels {self.start} to {self.stop} of {', '.join(map(str, given))}")
        return self.stop - self.start

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        out.values[...] = taken(given[0], out.rows, out.columns)[..., self.start : self.stop, :, :]
