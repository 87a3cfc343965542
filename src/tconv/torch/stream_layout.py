"""Layout of a module's value: which of its axes are sessions, time and channels; to the layout of streams and back."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array


class Layout(NamedTuple):
    """Axes of a value: "B" for sessions, "T" for time, and "C" for each axis of channels, whose sizes `channels` are.

    >>> Layout(("B", "T", "C"), (80,))
    [B, T, 80]
    """

    axes: tuple[str, ...]
    channels: tuple[int, ...]

    @property
    def time(self) -> int:
        """Axis of time."""
        return self.axes.index("T")

    @property
    def sessions(self) -> int | None:
        """Axis of sessions; None if there is none."""
        return self.axes.index("B") if "B" in self.axes else None

    @property
    def total(self) -> int:
        """Number of channels: all of its axes, as one."""
        return math.prod(self.channels)

    def size(self, axis: int) -> int | None:
        """Return the channels of an axis; None for time and sessions."""
        return self.channels[self.axes[:axis].count("C")] if self.axes[axis] == "C" else None

    def canonical(self, array: Array) -> Array:
        """Return an array of this layout as [sessions, C, T]; without its axis of sessions, as one session."""
        order = [axis for axis, role in enumerate(self.axes) if role == "C"]
        if "B" in self.axes:
            order.insert(0, self.axes.index("B"))
        else:
            array = array[None]
            order = [0, *(axis + 1 for axis in order)]
        order.append(self.time + ("B" not in self.axes))
        moved = np.transpose(array, order)
        return moved.reshape(len(moved), self.total, moved.shape[-1])

    def native(self, array: Array) -> Array:
        """Return an array [sessions, C, T] in this layout. Without an axis of sessions it has to be one session."""
        split = array.reshape(len(array), *self.channels, array.shape[-1])
        roles = ["B", *["C"] * len(self.channels), "T"]
        if "B" not in self.axes:
            split, roles = split[0], roles[1:]
        channels = iter(axis for axis, role in enumerate(roles) if role == "C")
        return np.transpose(split, [next(channels) if role == "C" else roles.index(role) for role in self.axes])

    def __repr__(self) -> str:
        sizes = iter(self.channels)
        return f"[{', '.join(str(next(sizes)) if role == 'C' else role for role in self.axes)}]"
