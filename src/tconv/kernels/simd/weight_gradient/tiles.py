"""Tiles of a call: some rows of one picture each, by the shapes alone, so that the threads change no bit of a sum."""

from __future__ import annotations

from typing import NamedTuple

_TILE_BYTES = 1 << 19
"""Bytes of a and b in a tile: they are read by all blocks, from the cache."""
_LEAST_ROWS = 16
_TILES = 8
"""Tiles that a call has at least, if there are rows enough: more threads than this are rare for so little work."""
_MOST_SUMS = 1 << 26
"""Bytes of the sums of all tiles, unless one tile for each picture takes more."""


class RowTiles(NamedTuple):
    """Rows of a tile (the last of a picture may have fewer), tiles of a picture, and tiles of the call."""

    rows: int
    of_picture: int
    of_call: int


def tiles_of(batch: int, rows: int, row_bytes: int, sum_bytes: int) -> RowTiles:
    """Return the tiles of pictures with this many rows, each of `row_bytes` in a and b, and `sum_bytes` for a tile.

    >>> tiles_of(batch=16, rows=52, row_bytes=5184, sum_bytes=5184)
    RowTiles(rows=52, of_picture=1, of_call=16)
    >>> tiles_of(batch=1, rows=1, row_bytes=9_600_000, sum_bytes=2880)  # one axis: no rows
    RowTiles(rows=1, of_picture=1, of_call=1)
    """
    most = min(_TILE_BYTES // row_bytes, -(-batch * rows // _TILES))
    in_tile = min(rows, max(most, _LEAST_ROWS, -(-batch * rows * sum_bytes // _MOST_SUMS)))
    of_picture = -(-rows // in_tile)
    return RowTiles(in_tile, of_picture, batch * of_picture)
