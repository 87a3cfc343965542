"""Order of axes in a file or an array, and its view as images [N, C, *sizes].

The operator has `ndim` spatial axes and one of channels; every other axis (time, pages, positions, batch) counts images
and is folded into N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, ShapeError
from tconv.scale.regions import Region, Sizes, region_sizes

Axes = str | Sequence[str]
"""Names of axes in order: a letter each, as "TCZYX", or a list of names."""
_LETTERS = {
    "C": ("c", "s", "channel", "channels", "band", "bands"),
    "Z": ("z", "depth", "lev", "level"),
    "Y": ("y", "row", "rows", "height", "lat", "latitude"),
    "X": ("x", "column", "columns", "width", "lon", "longitude"),
    "T": ("t", "time"),
    "N": ("n", "batch", "sample"),
}
_LETTER_OF = {name: letter for letter, names in _LETTERS.items() for name in names}


@dataclass(frozen=True)
class AxisLayout:
    """Roles of the axes of an array.

    >>> layout = named_axes("TZYXC", (5, 7, 30, 40, 3), 2)
    >>> layout.image_shape, layout.ndim
    ((35, 3, 30, 40), 2)
    >>> layout.selection(8, (slice(0, 4), slice(5, 9)))
    (slice(1, 2, None), slice(1, 2, None), slice(0, 4, None), slice(5, 9, None), slice(0, 3, None))
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    channel: int | None
    """place of the axis of channels; None for one channel without an axis"""
    spatial: tuple[int, ...]
    """places of the spatial axes, in the order of the operator"""
    turned: bool = False
    """True for the transposed array of a file in Fortran's order: its axes that count images, the first fastest"""

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.spatial)

    @property
    def batch(self) -> tuple[int, ...]:
        """Places of the axes that count images, the last fastest."""
        found = [axis for axis in range(len(self.shape)) if axis != self.channel and axis not in self.spatial]
        return tuple(found[::-1] if self.turned else found)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """[N, C, *sizes]"""
        channels = 1 if self.channel is None else self.shape[self.channel]
        images = math.prod(self.shape[axis] for axis in self.batch)
        return images, channels, *(self.shape[axis] for axis in self.spatial)

    @property
    def roles(self) -> dict[str, Any]:
        """Roles of the axes as JSON has them: what decides which element belongs to which image."""
        return {"channels": self.channel, "space": list(self.spatial)}

    def along_space(self, per_axis: Sequence[int]) -> Sizes:
        """Return those of some numbers, one per axis of the array, that belong to spatial axes."""
        return tuple(per_axis[axis] for axis in self.spatial)

    def selection(self, image: int, region: Region) -> tuple[slice, ...]:
        """Return the slice along each axis of the array that holds a region of an image."""
        selected = [slice(0, size) for size in self.shape]
        counts = [self.shape[axis] for axis in self.batch]
        for axis, index in zip(self.batch, np.unravel_index(image, counts) if counts else (), strict=True):
            selected[axis] = slice(int(index), int(index) + 1)
        for axis, span in zip(self.spatial, region, strict=True):
            selected[axis] = span
        return tuple(selected)

    def to_image(self, values: Array) -> Array:
        """Return a view [C, *region] of the values of a selection."""
        channel = () if self.channel is None else (self.channel,)
        ordered = values.transpose(*self.batch, *channel, *self.spatial)
        image: Array = ordered[(0,) * len(self.batch)]
        return image if channel else image[None]

    def from_image(self, values: Array) -> Array:
        """Return a view of values [C, *region] in the order of the array's axes."""
        channel = () if self.channel is None else (self.channel,)
        ordered = values if channel else values[0]
        ordered = ordered[(None,) * len(self.batch)]
        stored: Array = ordered.transpose(np.argsort([*self.batch, *channel, *self.spatial]))
        return stored

    def stored(self, channels: int, per_axis: Sizes) -> tuple[int, ...]:
        """Return one number for each axis of the array: along channels, along space, and 1 along the others."""
        numbers = [1] * len(self.shape)
        if self.channel is not None:
            numbers[self.channel] = channels
        for axis, number in zip(self.spatial, per_axis, strict=True):
            numbers[axis] = number
        return tuple(numbers)

    def resized(self, image_shape: tuple[int, ...]) -> AxisLayout:
        """Return the layout of an output [N, C', *sizes']: the same order, with an axis of channels where it needs one.

        >>> named_axes("TYX", (5, 30, 40), 2).resized((5, 3, 60, 80)).names
        ('T', 'C', 'Y', 'X')
        """
        images, channels, *sizes = image_shape
        if images != self.image_shape[0]:
            raise ShapeError(
                f"the output has {images} images, the input {self.image_shape[0]}; as many are needed. "
                "Use an output without batch axes of its own"
            )
        names, shape, channel, spatial = list(self.names), list(self.shape), self.channel, self.spatial
        if channel is None and channels > 1:
            channel = min(spatial)
            names.insert(channel, "C")
            shape.insert(channel, channels)
            spatial = tuple(axis + (axis >= channel) for axis in spatial)
        if channel is not None:
            shape[channel] = channels
        for axis, size in zip(spatial, sizes, strict=True):
            shape[axis] = size
        return AxisLayout(tuple(names), tuple(shape), channel, spatial)

    def reversed(self) -> AxisLayout:
        """Return the layout of the transposed array, which is how Fortran's order lies in a file."""
        last = len(self.shape) - 1
        return AxisLayout(
            self.names[::-1],
            self.shape[::-1],
            None if self.channel is None else last - self.channel,
            tuple(last - axis for axis in self.spatial),
            not self.turned,
        )


def layout_for(shape: tuple[int, ...], ndim: int, axes: Axes | None, known: Sequence[str | None] | None) -> AxisLayout:
    """Return the layout of an array: by the axes that a caller states, else by names in the file, else by its rank."""
    if axes is not None:
        return named_axes(axes, shape, ndim)
    if known and all(known):
        names = [str(name) for name in known]
        letters = [_letter(name) for name in names]
        if len(set(letters)) == len(shape) and (ndim == 1 or set("ZYX"[-ndim:]) <= set(letters)):
            return named_axes(names, shape, ndim)
    return bare_axes(shape, ndim)


def bare_axes(shape: tuple[int, ...], ndim: int) -> AxisLayout:
    """Return the layout of an array without names: [*sizes], [C, *sizes] or [N, C, *sizes] by its rank.

    >>> bare_axes((3, 30, 40), 2).image_shape, bare_axes((30, 40), 2).image_shape
    ((1, 3, 30, 40), (1, 1, 30, 40))
    """
    extra = len(shape) - ndim
    if not 0 <= extra <= 2:
        raise ShapeError(
            f"an array of shape {shape} has {len(shape)} axes; with {ndim} spatial ones it needs {ndim}, {ndim + 1} "
            f"[C, *sizes] or {ndim + 2} [N, C, *sizes]. {_example(len(shape), ndim)}"
        )
    space = "ZYX"[-ndim:] if ndim <= 3 else "ABDEFGHIJK"[:ndim]
    names = ("", "C", "NC")[extra] + space
    return AxisLayout(tuple(names), shape, extra - 1 if extra else None, tuple(range(extra, len(shape))))


def named_axes(axes: Axes, shape: tuple[int, ...], ndim: int) -> AxisLayout:
    """Return the layout of an array with named axes: C (or S) are channels, Z, Y and X space, all others count images.

    Raises ArgumentError for names that repeat, are too few, or leave fewer than `ndim` spatial axes.
    """
    names = tuple(axes)
    if not all(isinstance(name, str) for name in names) or len(names) != len(shape):
        raise ArgumentError(
            f"axes is {axes!r}; one name for each axis of shape {shape} is needed. {_example(len(shape), ndim)}"
        )
    letters = [_letter(name) for name in names]
    if len(set(letters)) != len(letters):
        raise ArgumentError(f'axes is {axes!r}, which names an axis twice. Write axes="TCZYX", for example')
    channel = letters.index("C") if "C" in letters else None
    space = [letters.index(letter) for letter in "ZYX" if letter in letters]
    if len(space) < ndim and not (isinstance(axes, str) and ndim in (2, 3)):  # longer names may be any
        others = [axis for axis in range(len(names)) if axis != channel and letters[axis] != "N"]
        space = others if len(others) >= ndim else []
    if len(space) < ndim:
        raise ArgumentError(
            f"axes is {axes!r}; {ndim} spatial axes are needed, of Z, Y and X. {_example(len(shape), ndim)}"
        )
    return AxisLayout(names, tuple(shape), channel, tuple(space[-ndim:]))


def _example(count: int, ndim: int) -> str:
    if count < ndim:
        return f"Use an array of {ndim} axes at least"
    names = "TC" + "ZYX"[-ndim:]
    return f'Write axes="{(names if count <= len(names) else "TCZYX")[-count:]}", for example'


def _letter(name: str) -> str:
    return _LETTER_OF.get(name.lower(), name)


def copied(layout: AxisLayout, values: Array) -> Array:
    """Return values of a selection as an array [C, *region] of its own, in C order."""
    image: Array = np.ascontiguousarray(layout.to_image(values))
    return image


def checked_sizes(values: Array, channels: int, region: Region, name: str) -> None:
    """Raise ShapeError for values that are not [C, *region]."""
    if values.shape != (channels, *region_sizes(region)):
        raise ShapeError(
            f"values of shape {values.shape} were to be written to {name}; {(channels, *region_sizes(region))} is "
            "needed. Use the region that they were computed for"
        )


def shape_in_words(shape: Sequence[int]) -> str:
    """Return a shape as descriptions have it.

    >>> shape_in_words((3, 640, 480))
    '3x640x480'
    """
    return "x".join(map(str, shape)) or "1"
