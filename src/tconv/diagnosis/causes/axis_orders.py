"""Spatial axes in another order, or reversed, or both: every such change of an array, for x, the kernel and y.

`array_layout` and `weights` make causes of them, and outputs without a call are compared under all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Literal, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import axis_names
from tconv.diagnosis.fix_writer import FixWriter

_MOST_AXES = 3  # with more, there are too many orders to try them all


class AxisOrder(NamedTuple):
    """Spatial axes in another order, of which some are then reversed: those of [N, C, *spatial] or [I, O, *kernel]."""

    order: tuple[int, ...]
    """The old axis at each place."""
    flipped: tuple[int, ...]
    """The new axes that are reversed."""

    @property
    def moves(self) -> bool:
        """True if some axis is at another place."""
        return self.order != tuple(range(len(self.order)))

    @property
    def swaps_ends(self) -> bool:
        """True if only the first and the last axis are exchanged."""
        ndim = len(self.order)
        return not self.flipped and self.order == (ndim - 1, *range(1, ndim - 1), 0)

    @property
    def tried_with(self) -> Literal["crop", "nothing"]:
        """Second causes that it is tried with."""
        return "nothing" if self.flipped else "crop"

    def name(self, array: str) -> str:
        """Return the name of the cause that an array is changed in this way."""
        if not self.moves:
            every = len(self.flipped) == len(self.order)
            return f"{array} flipped" if every else f"{array} flipped on axes {' and '.join(map(str, self.flipped))}"
        return f"{array} axes exchanged{' and flipped' if self.flipped else ''}"

    def text(self, array: str) -> str:
        """Return the sentence about an array, "x" for example."""
        names = [*axis_names(len(self.order))[2:]]
        actual = ", ".join(names[axis] for axis in self.order)
        along = f"along spatial axis {' and '.join(map(str, self.flipped))}"
        if not self.moves:
            every = len(self.flipped) == len(self.order)
            return f"{array} is reversed {'along all spatial axes' if every else along}"
        text = f"{array}'s spatial axes are in another order, [{actual}] where [{', '.join(names)}] was expected"
        if self.swaps_ends:
            text = f"{array}'s first and last spatial axes are exchanged"
        return f"{text}, and reversed {along}" if self.flipped else text

    def transform(self, a: Array) -> Array:
        """Return an array [., ., *spatial] with its axes in this order."""
        order = (0, 1, *(axis + 2 for axis in self.order))
        return np.flip(np.transpose(a, order), tuple(axis + 2 for axis in self.flipped))

    def inverse(self, a: Array) -> Array:
        """Undo `transform`."""
        order = (0, 1, *(int(axis) + 2 for axis in np.argsort(self.order)))
        return np.transpose(np.flip(a, tuple(axis + 2 for axis in self.flipped)), order)

    def apply(self, writer: FixWriter, array: str) -> str:
        """Return the statement that applies it."""
        moved = [writer.reorder(array, self.order)] if self.moves else []
        return "; ".join([*moved, *([writer.flip(array, self.flipped)] if self.flipped else [])])

    def undo(self, writer: FixWriter, array: str) -> str:
        """Return the statement that undoes it."""
        moved = [writer.reorder(array, np.argsort(self.order).tolist())] if self.moves else []
        return "; ".join([*([writer.flip(array, self.flipped)] if self.flipped else []), *moved])


def changes_of_axes(shape: Sequence[int]) -> Iterator[AxisOrder]:
    """Yield every change of axes of this spatial shape but the reversal of one axis, the plainest first."""
    ndim = len(shape)
    same = tuple(range(ndim))
    orders = [order for order in permutations(same) if order != same]
    if ndim > _MOST_AXES:
        orders = [order for order in orders if sum(a != b for a, b in zip(order, same, strict=True)) == 2]
    orders.sort(key=lambda order: not AxisOrder(order, ()).swaps_ends)
    yield from (AxisOrder(order, ()) for order in orders)
    for order in [same, *orders] if ndim <= _MOST_AXES else [same]:
        long = [axis for axis in same if shape[order[axis]] > 1]
        for count in range(2 if order == same else 1, len(long) + 1):
            yield from (AxisOrder(order, flipped) for flipped in combinations(long, count))
