"""Base of the steps whose output pixels read the pixels at their own place."""

from __future__ import annotations

from collections.abc import Sequence

from tconv.errors import ShapeError
from tconv.models.steps.step import LINES


class SamePlace:
    """NetworkStep whose inputs have the size of the output; one of a single row (column) counts for all of them."""

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the common height (width) of the inputs. Raises ShapeError for others."""
        if not {*given} <= {1, max(given)}:
            raise ShapeError(f"it combines {list(given)} {LINES[axis]}; as many of all are needed, or 1")
        return max(given)

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the same rows, or the only one of a value that counts for all."""
        return slice(0, 1) if sizes[number] == 1 else outputs

    def first(self, output: int, axis: int) -> int:
        """Return the same row."""
        return output
