"""Pixels, whose samples lie together in a tile, to channels and back, a few rows at a time: they stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tconv._arrays import Array

_BAND = 1 << 18
"""Bytes of rows that are copied before the next channel's turn."""


def to_channels(pixels: Array, order: Sequence[int], out: Array) -> None:
    """Copy pixels [..., h, w, S] into out [C, ..., h, w]: channel n is the sample order[n].

    >>> out = np.empty((2, 1, 3), int)
    >>> to_channels(np.arange(6).reshape(1, 3, 2), (1, 0), out)
    >>> out.tolist()
    [[[1, 3, 5]], [[0, 2, 4]]]
    """
    for rows in _bands(pixels):
        for channel, sample in enumerate(order):
            out[channel, ..., rows, :] = pixels[..., rows, :, sample]


def to_pixels(channels: Array, order: Sequence[int], out: Array) -> None:
    """Copy channels [C, ..., h, w] into out [..., h, w, S]: sample n is the channel order[n]."""
    for rows in _bands(out):
        for sample, channel in enumerate(order):
            out[..., rows, :, sample] = channels[channel, ..., rows, :]


def _bands(pixels: Array) -> Iterator[slice]:
    *outer, height, width, count = pixels.shape
    row = int(np.prod(outer)) * width * count * pixels.itemsize
    step = height if count == 1 else max(1, _BAND // max(row, 1))
    return (slice(start, min(start + step, height)) for start in range(0, height, step or 1))
