"""Axes of an array in any order: those that count images, that of the channels, and the spatial ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import shown
from tconv._arrays import Array
from tconv.dialects import DataLayout
from tconv.errors import ArgumentError, ShapeError

CHANNEL_NAMES = ("c", "channel", "channels", "band", "bands")
IMAGE_NAMES = ("n", "t", "b", "s", "batch", "time", "sample", "samples", "image", "images", "frame", "frames", "p")
"""Names of axes that are not spatial, in small letters."""


class ImageAxes(NamedTuple):
    """Numbers of the axes of an array."""

    images: tuple[int, ...]
    channel: int | None
    """None for arrays of one channel without an axis of its own"""
    spatial: tuple[int, ...]

    @classmethod
    def of(cls, layout: DataLayout) -> ImageAxes:
        """Return the axes of the layout of a dialect."""
        axes = layout.axes
        spatial = sorted(axis for axis in axes if isinstance(axis, int))
        images = (axes.index("N"),) if "N" in axes else ()
        return cls(images, axes.index("C"), tuple(axes.index(axis) for axis in spatial))

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of the array in canonical order: images, channel, spatial."""
        return (*self.images, *(() if self.channel is None else (self.channel,)), *self.spatial)

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

    def shape(self, images: Sequence[int], channels: int, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of an array with these axes."""
        shape = [0] * len(self.order)
        for axis, size in zip(self.order, (*images, *([channels][: self.channel is not None]), *sizes), strict=True):
            shape[axis] = size
        return tuple(shape)


def named_axes(names: Any, ndim: int, spatial: int, channels: int) -> ImageAxes:
    """Return the axes of an array that a text, as "tcyx", or a list of names describes.

    >>> named_axes("tcyx", 4, 2, 3)
    ImageAxes(images=(0,), channel=1, spatial=(2, 3))

    Letters other than those of channels (c) and images (n, t, b, s, p) are spatial; as many as the operator has.
    Raises ArgumentError.
    """
    given = list(names) if isinstance(names, str | list | tuple) else []
    words = [str(name).lower() for name in given]
    if len(words) != ndim or len(set(words)) != ndim:
        raise ArgumentError(
            f"axes is {shown(names)}; one name for each of {ndim} axes is needed. Write "
            f'axes="{example(ndim, spatial, channels)}"'
        )
    channel = [axis for axis, word in enumerate(words) if word in CHANNEL_NAMES]
    rest = [axis for axis in range(ndim) if axis not in channel]
    images = [axis for axis in rest if words[axis] in IMAGE_NAMES]
    others = [axis for axis in rest if axis not in images]
    if len(channel) > 1 or len(others) != spatial:
        raise ArgumentError(
            f"axes is {shown(names)}, which has {len(channel)} axes of channels and {len(others)} spatial ones; at "
            f"most 1 and exactly {spatial} are needed, and n, t, b, s or p for those that count images. Write "
            f'axes="{example(ndim, spatial, channels)}"'
        )
    return ImageAxes(tuple(images), channel[0] if channel else None, tuple(others))


def default_axes(shape: Sequence[int], spatial: int, channels: int) -> ImageAxes:
    """Return the axes [..., C, *sizes]; without C, if the operator has one channel and the array no axis for it.

    Raises ShapeError for too few axes.
    """
    ndim = len(shape)
    if ndim < spatial + (channels != 1):
        raise ShapeError(
            f"the array has shape {tuple(shape)}; {spatial} spatial axes"
            f"{f' and one of {channels} channels' if channels != 1 else ''} are needed. Use an array with "
            f"axes {example(spatial + 1, spatial, channels)}"
        )
    alone = channels == 1 and ndim == spatial
    images = ndim - spatial - (not alone)
    return ImageAxes(tuple(range(images)), None if alone else images, tuple(range(ndim - spatial, ndim)))


def example(ndim: int, spatial: int, channels: int) -> str:
    """Return names for so many axes."""
    letters = "zyx"[-spatial:] if spatial <= 3 else "wvuzyx"[-spatial:]
    before = ndim - len(letters)
    if before <= 0:
        return letters
    channel = "c" if channels != 1 or before > 1 else ""
    return "ntbsp"[: before - len(channel)] + channel + letters
