"""Regions of images: one slice per spatial axis, with start and stop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

Sizes = tuple[int, ...]
"""Numbers of elements along the spatial axes."""
Region = tuple[slice, ...]
"""One slice per spatial axis, start and stop given, inside the image."""


def region_sizes(region: Region) -> Sizes:
    """Return the number of elements along each axis.

    >>> region_sizes((slice(2, 5), slice(0, 4)))
    (3, 4)
    """
    return tuple(span.stop - span.start for span in region)


def elements(region: Region) -> int:
    """Return the number of elements of a region, of one channel."""
    return math.prod(region_sizes(region))


def whole(sizes: Sizes) -> Region:
    """Return the region of a whole image."""
    return tuple(slice(0, size) for size in sizes)


def within(region: Region, origin: Region) -> Region:
    """Return a region as it lies in an array of the region `origin`.

    >>> within((slice(5, 7),), (slice(4, 9),))
    (slice(1, 3, None),)
    """
    return tuple(
        slice(span.start - first.start, span.stop - first.start) for span, first in zip(region, origin, strict=True)
    )


def placed(region: Region, origin: Region) -> Region:
    """Return a region of an array of the region `origin` as it lies in the image: the inverse of `within`.

    >>> placed((slice(1, 3),), (slice(4, 9),))
    (slice(5, 7, None),)
    """
    return tuple(
        slice(first.start + span.start, first.start + span.stop) for span, first in zip(region, origin, strict=True)
    )


def grid(sizes: Sizes, tile: Sizes) -> Iterator[Region]:
    """Yield the tiles of an image in the order of its elements, the last axis fastest; those at the end are smaller.

    >>> [region[0] for region in grid((5,), (2,))]
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return itertools.product(*map(spans, sizes, tile))


def grid_downward(sizes: Sizes, tile: Sizes) -> Iterator[Region]:
    """Yield the tiles of an image column by column, each from the top down: the first axis fastest.

    >>> [(rows.start, columns.start) for rows, columns in grid_downward((4, 4), (2, 2))]
    [(0, 0), (2, 0), (0, 2), (2, 2)]
    """
    others = map(spans, sizes[1:], tile[1:])
    return ((first, *rest) for *rest, first in itertools.product(*others, spans(sizes[0], tile[0])))


def spans(size: int, tile: int) -> list[slice]:
    """Return the parts of one axis."""
    return [slice(start, min(start + tile, size)) for start in range(0, size, tile)]


def tile_count(sizes: Sequence[int], tile: Sequence[int]) -> int:
    """Return the number of tiles that `grid` yields."""
    return math.prod(-(-size // part) for size, part in zip(sizes, tile, strict=True))
