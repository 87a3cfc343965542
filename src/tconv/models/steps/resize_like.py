"""Interpolation of a picture to the size of another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tconv.errors import ShapeError
from tconv.models.steps.resizing import Resize


@dataclass(frozen=True)
class ResizeLike(Resize):
    """Resize of the first input to the size of the second one, of which only the size counts.

    >>> ResizeLike(mode="linear").output_extent([5, 12], axis=0)
    12
    """

    factors: tuple[int, int] = (1, 1)
    by_size: bool = True

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the first input. Raises ShapeError unless there are two."""
        if len(given) != 2:
            raise ShapeError(
                f"it resizes a picture to the size of another, and reads {len(given)} inputs; 2 are needed"
            )
        return given[0]

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) of the second input."""
        return given[-1]

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows that are read of the first input, and the same rows of the second, which must have some."""
        return super().source(0, outputs, sizes, axis) if number == 0 else outputs

    def first(self, output: int, axis: int) -> int:
        """Return a row: which one is read depends on both sizes."""
        return output
