"""Interface of a layer of a network: sizes, pixels that it reads, and a part of its output.

A part is a rectangle of a node's output. Steps compute parts in the dtype that they are given, float32 as the network
runs and float64 for the check, with any axes before the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple, Protocol

from tconv._arrays import Array
from tconv.errors import ShapeError

Shape = tuple[int, int]
"""Height and width."""


LINES = "rows", "columns"
"""Words for both axes in messages."""


class Region(NamedTuple):
    """Rectangle of a picture: values [..., C, h, w], and the rows and columns of the whole picture that they are."""

    values: Array
    rows: slice
    columns: slice


class NetworkStep(Protocol):
    """Layer of a network with one input or more."""

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the output for those of the inputs. Raises ShapeError if they do not fit."""
        ...

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (axis 1: width) of the output for those of the inputs. Raises ShapeError."""
        ...

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows (axis 1: columns) of an input that these output rows read; at least one, inside the input.

        Those of a part of the output rows are among them: strips read no others.

        `number` is the place of the input among the step's inputs; `sizes` are the heights (widths) of all of them.
        """
        ...

    def first(self, output: int, axis: int) -> int:
        """Return the first row (column) of an unbounded input that an output row reads, near the top of a picture."""
        ...

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the output from parts of the inputs, which have the pixels that `source` states, or more.

        `sizes` are the heights and widths of the whole inputs.
        """
        ...

    @property
    def roundings(self) -> int:
        """Roundings between the inputs and an output, each of half a step of the larger of the two."""
        ...


def rebuilt(step: Any) -> tuple[type, tuple[Any, ...]]:
    """Return a dataclass as its type and its fields, as `__reduce__` has them: copies have no caches."""
    return type(step), tuple(getattr(step, each.name) for each in fields(step) if each.init)


def single(given: Sequence[int]) -> int:
    """Return the channels of the only input. Raises ShapeError if there are several."""
    if len(given) != 1:
        raise ShapeError(f"it reads {len(given)} inputs; 1 is needed")
    return given[0]


def taken(part: Region, rows: slice, columns: slice) -> Array:
    """Return the values of a smaller rectangle of a part, a view."""
    down = slice(rows.start - part.rows.start, rows.stop - part.rows.start)
    across = slice(columns.start - part.columns.start, columns.stop - part.columns.start)
    return part.values[..., down, across]
