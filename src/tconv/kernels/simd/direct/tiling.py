"""How the positions are cut into tiles, and how a tile's inputs lie in its panel.

A panel holds what a tile needs of x, zeros around it, one input channel after another: `[channel][block][copy][slot]
[place]`. A slot is a row of x. Two forms:

- whole rows: a tile is some rows over the full width, its lanes run on from row to row, and every shift of the fastest
  axis has a copy of its own. No lane is left empty. Where the rows of a tile follow each other in one image, a shift
  of the last slow axis is another slot; for tiny images they may cross images, and such shifts are blocks.
- pieces: a tile is a piece of some rows, with a halo; a shift of the fastest axis is another place.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, NamedTuple

from tconv.kernels.simd.phase_axes import Grid, Lengths

_PANEL = 192 << 10  # bytes that stay in a core's own cache, beside the weights of a block and the next tile's inputs
_MOST_LANES = 512
_MOST_SPLITS = 24
_ROWS = (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 24, 32, 64, 128)
_FEW_ROWS = (1, 2, 4, 8, 16)
"""Rows of tiles that are pieces of rows."""
_VECTORS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
"""Vectors of a piece."""


class Tiling(NamedTuple):
    """The form of all tiles of a call."""

    whole: bool
    crossing: bool
    rows: int
    width: int
    lanes: int
    """float32 numbers in a vector"""
    width_total: int
    run: int
    """rows that follow each other: of the last slow axis, or of all images"""
    runs: int
    blocks: int
    copies: int
    slots: int
    pitch: int
    panel_channels: int

    @property
    def sum_pitch(self) -> int:
        """Floats from one row of a tile to the next, in its sums."""
        return self.width if self.whole else ceil(self.width, self.lanes) * self.lanes

    @property
    def sum_row(self) -> int:
        """Floats of sums per row of the multiply-adds."""
        return ceil(self.rows * self.sum_pitch, self.lanes) * self.lanes

    @property
    def channel_pitch(self) -> int:
        """Floats per channel of the panel; the last vector of a channel may reach beyond its last row.

        An odd number of cache lines (of 64 bytes): successive channels would else share a few places of the cache.
        """
        needed = self.blocks * self.copies * self.slots * self.pitch + self.lanes
        return (ceil(needed, 16) | 1) * 16

    @property
    def panel(self) -> int:
        """Floats of the panel: the multiply-adds read whole vectors, beyond the last row."""
        return self.channel_pitch * self.panel_channels + 8 * self.lanes

    @property
    def row_tiles(self) -> int:
        """Tiles along a run."""
        return ceil(self.run, self.rows)

    @property
    def segments(self) -> int:
        """Tiles along a row."""
        return ceil(self.width_total, self.width)

    @property
    def total(self) -> int:
        """All tiles."""
        return self.runs * self.row_tiles * self.segments

    def vectors(self) -> set[int]:
        """How many vectors of positions a tile can have (of a row, where it is made of pieces)."""
        rows = {min(self.rows, self.run), self.run % self.rows or self.rows}
        widths = {min(self.width, self.width_total), self.width_total % self.width or self.width}
        if self.whole:
            return {ceil(r * self.width, self.lanes) for r in rows}
        return {ceil(w, self.lanes) for w in widths}


def ceil(a: int, b: int) -> int:
    """a/b, rounded up."""
    return -(-a // b)


def groups_of(vectors: int, most: int) -> set[int]:
    """The sizes in which so many vectors are taken: as equal as can be."""
    count = ceil(vectors, most)
    return {vectors // count, ceil(vectors, count)}


class LayerCosts(NamedTuple):
    """The numbers of a layer that estimates need."""

    grid: Grid
    group_in: int
    in_channels: int
    out_channels: int
    most_vectors: int
    terms: int
    """weights per position, all channels and phases"""
    units: int
    """blocks of channels that can be shared out"""
    outer: int
    """choices of shifts of the slow axes but the last"""
    slow_phases: int


class TilingEstimate(NamedTuple):
    """A tiling with a rough count of cycles, to compare it with others of the same problem."""

    work: float
    """all but packing"""
    packing: int
    total: int
    """tiles"""
    whole: bool
    crossing: bool
    rows: int
    width: int


def tiling_of(layer: LayerCosts, lengths: Lengths, batch: int, lanes: int, chosen: TilingEstimate) -> Tiling:
    """The form that was estimated."""
    _, _, _, whole, crossing, rows, width = chosen
    shifts, last = layer.grid.fast.shifts, layer.grid.slow[-1].shifts
    run = batch * lengths.rows if crossing else lengths.slow[-1].positions
    return Tiling(
        whole,
        crossing,
        rows,
        width,
        lanes,
        lengths.fast.positions,
        run,
        1 if crossing else batch * lengths.rows // run,
        layer.outer * (len(last) if crossing else 1),
        len(shifts) if whole else 1,
        rows if crossing else rows + last[-1] - last[0],
        width if whole else ceil(width, lanes) * lanes + shifts[-1] - shifts[0],
        layer.group_in,
    )


def estimates(layer: LayerCosts, lengths: Lengths, batch: int, lanes: int) -> list[TilingEstimate]:
    """All tilings that are tried, with a rough count of cycles each.

    Fitted to times on a Zen 4 core; of a guess that is wrong nothing depends but time. It is made for every size of x
    that was not seen before: plain integers, and what does not change from tiling to tiling stays outside of the loop.
    """
    terms, most, per_vector = layer.terms, layer.most_vectors, 60 * layer.out_channels
    per_tile = 4 * terms / (16 if 4 * terms < 2 * _PANEL else 4)  # weights: read once per tile, from the nearest cache
    per_row = 20 * layer.out_channels * layer.slow_phases
    channels, group_in, tail = layer.in_channels, layer.group_in, 8 * lanes
    found = []
    for whole, crossing, rows, width, total, lines, pitch, packed, vectors, many in _forms(
        layer, lengths, batch, lanes
    ):
        held = most if most < many else many
        multiply = vectors * terms * (1.0 if held > 2 else 1.05 if held == 2 else 1.25)
        panel = (-(-(lines * pitch + lanes) // 16) | 1) * 16 * group_in + tail
        over = 4 * panel / _PANEL - 1
        spill = 1.0 if over <= 0 else 1.0 + 0.04 * (over if over < 4.0 else 4.0)
        work = multiply * spill + per_vector * vectors / held + total * per_tile + total * rows * per_row
        found.append(TilingEstimate(work, total * lines * channels * packed, total, whole, crossing, rows, width))
    return found


def least_cycles(layer: LayerCosts, lengths: Lengths, batch: int, lanes: int) -> float:
    """Return cycles that every estimate has: all positions, as full vectors, and the writing of all rows."""
    rows = batch * lengths.rows
    vectors = rows * lengths.fast.positions / lanes
    writing = rows * 20 * layer.out_channels * layer.slow_phases
    return vectors * layer.terms + 60 * layer.out_channels * vectors / layer.most_vectors + writing


def _forms(layer: LayerCosts, lengths: Lengths, batch: int, lanes: int) -> Iterator[tuple[Any, ...]]:
    """Whole, crossing, rows, width and number of tiles.

    Then lines of a channel in the panel, their pitch, and cycles to pack one; vectors of all tiles, and of a tile.
    """
    fast, last = layer.grid.fast.shifts, layer.grid.slow[-1].shifts
    reach, halo, outer = last[-1] - last[0], fast[-1] - fast[0], layer.outer
    all_rows, positions, long = batch * lengths.rows, lengths.fast.positions, lengths.slow[-1].positions
    planes = all_rows // long
    pieces: list[tuple[int, ...]] = []
    for vectors in _VECTORS:
        width = min(vectors * lanes, ceil(positions, lanes) * lanes)
        width = ceil(ceil(positions, ceil(positions, width)), lanes) * lanes  # as equal as can be
        if not pieces or pieces[-1][0] != width:
            segments, many, pitch = ceil(positions, width), width // lanes, width + halo
            few = ceil(positions - (segments - 1) * width, lanes)
            packed = 15 + 3 * ceil(min(pitch, positions + 8), lanes)
            pieces.append((width, segments, pitch, packed, all_rows * ((segments - 1) * many + few), many))
    for rows in _up_to(_FEW_ROWS, long):
        tiles, lines = planes * ceil(long, rows), outer * (rows + reach)
        for width, segments, pitch, packed, vectors, many in pieces:
            yield False, False, rows, width, tiles * segments, lines, pitch, packed, vectors, many
    if positions > 4 * _MOST_LANES:
        return
    packed = 15 + 3 * ceil(positions, lanes)
    for crossing, run in ((False, long), (True, all_rows)):
        for rows in _up_to(_ROWS, run):
            if rows * positions > max(_MOST_LANES, positions):
                break
            lines = len(last) * rows if crossing else rows + reach
            if crossing and run == long and lines >= rows + reach:
                continue  # one image: never better than the same without crossing
            tiles = ceil(run, rows)
            many, few = ceil(rows * positions, lanes), ceil((run - (tiles - 1) * rows) * positions, lanes)
            vectors = all_rows // run * ((tiles - 1) * many + few)
            lines *= outer * len(fast)
            yield True, crossing, rows, positions, all_rows // run * tiles, lines, positions, packed, vectors, many


def choose(found: list[TilingEstimate], units: int, threads: int) -> tuple[TilingEstimate, int, float]:
    """The tiling with the least cycles of all threads, into how many ranges of channels its tiles are cut, the cycles.

    `units` is the blocks of channels that can be shared out.
    """
    most = min(units, _MOST_SPLITS if threads > 1 else 1)
    chosen, cut, best = found[0], 1, math.inf
    for each in found:
        for splits in range(1, most + 1):
            cycles = each.work + each.packing * splits
            if cycles >= best:  # more ranges only pack more often
                break
            cycles *= imbalance(each.total * splits, threads)
            if cycles < best:
                chosen, cut, best = each, splits, cycles
    return chosen, cut, best


def _up_to(sizes: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Those below `most`, and that."""
    return (*sizes[: bisect_left(sizes, most)], most) if most < sizes[-1] else sizes


def imbalance(items: int, threads: int) -> float:
    """How much longer the busiest thread works than all of them on average; a slow core shows less with many items."""
    return 1.0 if threads == 1 else ceil(items, threads) * threads / items + 0.2 * threads / items
