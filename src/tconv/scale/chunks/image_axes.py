"""Axes of an array in any order: those that count images, that of the channels, and the spatial ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from tconv._arrays import Array
from tconv.dialects import DataLayout
from tconv.scale.stores.axis_layout import AxisLayout

_Entry = TypeVar("_Entry")


class ImageAxes(NamedTuple):
    """Numbers of the axes of an array."""

    images: tuple[int, ...]
    channel: int | None
    """None for arrays of one channel without an axis of its own"""
    spatial: tuple[int, ...]

    @classmethod
    def of_layout(cls, layout: AxisLayout) -> ImageAxes:
        """Return the axes of an array in a store."""
        return cls(layout.batch, layout.channel, layout.spatial)

    @classmethod
    def of_dialect(cls, layout: DataLayout) -> ImageAxes:
        """Return the axes of the layout of a dialect."""
        axes = layout.axes
        spatial = sorted(axis for axis in axes if isinstance(axis, int))
        images = (axes.index("N"),) if "N" in axes else ()
        return cls(images, axes.index("C"), tuple(axes.index(axis) for axis in spatial))

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of the array in canonical order: images, channel, spatial."""
        return (*self.images, *(() if self.channel is None else (self.channel,)), *self.spatial)

    @property
    def names(self) -> list[str]:
        """Names of the axes, in the order of the array, as `AxisLayout` reads them."""
        names = dict(zip(self.images, ("n", *(f"n{number}" for number in range(1, len(self.images)))), strict=True))
        names.update({axis: f"axis {number}" for number, axis in enumerate(self.spatial)})
        return [names.get(axis, "c") for axis in range(len(self.order))]

    def canonical(self, array: Array) -> Array:
        """Return an array as [N, C, *sizes]: a view, unless several axes count images."""
        ordered = array.transpose(self.order)
        count = math.prod(ordered.shape[: len(self.images)])
        channels = 1 if self.channel is None else array.shape[self.channel]
        return ordered.reshape(count, channels, *(array.shape[axis] for axis in self.spatial))

    def native(self, array: Array, images: Sequence[int]) -> Array:
        """Return an array [N, C, *sizes] in the order of these axes, with so many images along theirs."""
        channel = () if self.channel is None else (array.shape[1],)
        return array.reshape(*images, *channel, *array.shape[2:]).transpose(np.argsort(self.order))

    def ordered(self, images: Sequence[_Entry], channel: _Entry, spatial: Sequence[_Entry]) -> tuple[_Entry, ...]:
        """Return one entry per axis of the array, of those in canonical order."""
        entries = (*images, *(() if self.channel is None else (channel,)), *spatial)
        return tuple(entry for _, entry in sorted(zip(self.order, entries, strict=True), key=lambda pair: pair[0]))

    def with_channels(self, count: int) -> ImageAxes:
        """Return the axes of an output with so many channels: with an axis for them before the spatial ones."""
        if self.channel is not None or count == 1:
            return self
        place = min(self.spatial)

        def moved(axes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(axis + (axis >= place) for axis in axes)

        return ImageAxes(moved(self.images), place, moved(self.spatial))
