"""Head of a tiled TIFF file that is written in place: its directories, and the place of every tile behind them.

All tiles have the same size and are not compressed, so that their places are known before any is written.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv.io.metadata import Metadata
from tconv.io.picture import Samples
from tconv.io.tiff_directory import LONG, LONG8, SHORT, Tag, directory, head, needs_big
from tconv.io.tiff_writing import common_tags

_ALIGNED = 4096
"""Bytes that tiles begin at a multiple of: a page of memory and a block of a disk."""


class PageKind(NamedTuple):
    """Sizes and meaning that all pages of a file have."""

    height: int
    width: int
    dtype: np.dtype[Any]
    tile: tuple[int, int]
    samples: Samples
    metadata: Metadata
    """of the first page"""
    profile: bytes | None
    resolution: tuple[float, float]

    @property
    def channels(self) -> int:
        """Samples of a pixel."""
        return self.samples.colours + len(self.samples.extra)

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles down and across."""
        return -(-self.height // self.tile[0]), -(-self.width // self.tile[1])

    @property
    def tile_bytes(self) -> int:
        """Bytes of a tile; those at the ends are as large as all others."""
        return math.prod(self.tile) * self.channels * self.dtype.itemsize


def file_head(kind: PageKind, pages: int) -> tuple[bytes, int]:
    """Return the bytes before the first tile, and their number: the tiles of all pages follow, row by row."""
    content = pages * math.prod(kind.grid) * kind.tile_bytes
    big = needs_big(content)
    length = len(_directories(kind, pages, big, 0))
    if not big and needs_big(content + length + _ALIGNED):
        big = True
        length = len(_directories(kind, pages, big, 0))
    start = -(-length // _ALIGNED) * _ALIGNED
    return _directories(kind, pages, big, start).ljust(start, b"\0"), start


def _directories(kind: PageKind, pages: int, big: bool, start: int) -> bytes:
    """Return header and directories of a file whose tiles begin at `start`; their length does not depend on it."""
    tiles = math.prod(kind.grid)
    word, name = (LONG8, "<u8") if big else (LONG, "<u4")
    sizes = Tag(word, tiles, np.full(tiles, kind.tile_bytes, name).tobytes())
    place = len(head(0, big))
    described, behind = kind.metadata.exif.directories(place, big)
    behind += b"\0" * (len(behind) % 2)
    parts = [head(place + len(behind), big), behind]
    place += len(behind)
    for page in range(pages):
        first = start + page * tiles * kind.tile_bytes
        offsets = first + np.arange(tiles, dtype=np.int64) * kind.tile_bytes
        tags = described if page == 0 else {}
        tags = tags | common_tags(
            (kind.height, kind.width),
            kind.dtype,
            kind.samples,
            kind.metadata if page == 0 else Metadata(nodata=kind.metadata.nodata),
            kind.profile,
            kind.resolution,
        )
        tags |= {
            259: Tag.of(SHORT, [1]),
            322: Tag.of(LONG, [kind.tile[1]]),
            323: Tag.of(LONG, [kind.tile[0]]),
            324: Tag(word, tiles, (offsets if start else np.zeros(tiles)).astype(name).tobytes()),
            325: sizes,
        }
        if pages > 1:
            tags[254] = Tag.of(LONG, [2])  # a page of several
        parts.append(directory(tags, place, big, page == pages - 1))
        place += len(parts[-1])
    return b"".join(parts)
