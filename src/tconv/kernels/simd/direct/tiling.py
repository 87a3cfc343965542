"""Tilings: positions of the output in tiles, the layout of a tile's panel, and the estimate that picks among them.

A panel contains the inputs of a tile, padded with zeros, `[channel][block][copy][slot][position]`. A slot is a row of
x. There are two kinds of tiles:

- whole rows: a tile is some rows over the full width. Its lanes continue from row to row, so no lane is empty, and each
  shift of the fastest axis has a copy of its own. If the rows of a tile follow each other in one image, a shift of the
  last slow axis is another slot. For tiny images a tile may cross images; such shifts are then blocks.
- pieces: a tile is a piece of some rows, with a halo. A shift of the fastest axis is another position.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, NamedTuple

from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.phase_axes import Grid, Lengths

_PANEL = 192 << 10
"""Bytes that stay in a core's own cache, beside the weights of a block and the next tile's inputs."""
_LARGE_PANEL = 2 << 20
"""Bytes of a panel that the last cache can have to give up to other cores: it is read once per block of channels."""
_MOST_LANES = 512
_MOST_SPLITS = 24
_ROWS = (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 24, 32, 64, 128)
_FEW_ROWS = (1, 2, 4, 8, 16)
"""Candidates for the rows of a tile of pieces."""
_VECTORS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
"""Candidates for the vectors of a piece."""


class Tiling(NamedTuple):
    """Form of all tiles of a call."""

    whole: bool
    crossing: bool
    rows: int
    width: int
    elements: Elements
    width_total: int
    run: int
    """consecutive rows: of the last slow axis, or of all images"""
    runs: int
    blocks: int
    copies: int
    slots: int
    pitch: int
    panel_channels: int

    @property
    def lanes(self) -> int:
        """Numbers in a vector."""
        return self.elements.lanes

    @property
    def sum_pitch(self) -> int:
        """Numbers from one row of a tile to the next, in its sums."""
        return self.width if self.whole else ceil(self.width, self.lanes) * self.lanes

    @property
    def sum_row(self) -> int:
        """Numbers of sums per row of the microkernel."""
        return ceil(self.rows * self.sum_pitch, self.lanes) * self.lanes

    @property
    def channel_pitch(self) -> int:
        """Numbers per channel of the panel; the last vector of a channel may extend beyond its last row.

        It is an odd number of cache lines (of 64 bytes): with an even one channels would compete for a few cache sets.
        """
        needed = self.blocks * self.copies * self.slots * self.pitch + self.lanes
        return odd_cache_lines(needed, self.elements)

    @property
    def panel(self) -> int:
        """Numbers of the panel. The microkernel reads whole vectors, beyond the last row."""
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
        """Return the numbers of vectors of positions that a tile can have (in one row, for pieces)."""
        rows = {min(self.rows, self.run), self.run % self.rows or self.rows}
        widths = {min(self.width, self.width_total), self.width_total % self.width or self.width}
        if self.whole:
            return {ceil(r * self.width, self.lanes) for r in rows}
        return {ceil(w, self.lanes) for w in widths}


def ceil(a: int, b: int) -> int:
    """Return a/b, rounded up."""
    return -(-a // b)


def odd_cache_lines(numbers: int, elements: Elements) -> int:
    """Return how many numbers fill an odd number of cache lines, at least this many.

    With an even one, arrays at this distance would compete for a few cache sets.
    """
    in_line = 64 // elements.summed_size
    return (ceil(numbers, in_line) | 1) * in_line


def groups_of(vectors: int, most: int) -> set[int]:
    """Return the sizes of the groups into which this many vectors are cut, as equal as possible."""
    count = ceil(vectors, most)
    return {vectors // count, ceil(vectors, count)}


class LayerSizes(NamedTuple):
    """Sizes of a layer that an estimate depends on."""

    grid: Grid
    group_in: int
    in_channels: int
    out_channels: int
    most_vectors: int
    terms: int
    """weights per position, all channels and phases"""
    units: int
    """blocks of channels that tiles can be split into"""
    outer: int
    """combinations of shifts of the slow axes without the last"""
    slow_phases: int
    elements: Elements


class TilingEstimate(NamedTuple):
    """Tiling with a rough count of its cycles, to compare it with others of the same problem."""

    computing: float
    """cycles of all but packing"""
    packing: int
    total: int
    """tiles"""
    whole: bool
    crossing: bool
    rows: int
    width: int


def tiling_of(layer: LayerSizes, lengths: Lengths, batch: int, estimate: TilingEstimate) -> Tiling:
    """Return the tiling of an estimate."""
    lanes = layer.elements.lanes
    _, _, _, whole, crossing, rows, width = estimate
    shifts, last = layer.grid.fast.shifts, layer.grid.slow[-1].shifts
    run = batch * lengths.rows if crossing else lengths.slow[-1].positions
    return Tiling(
        whole,
        crossing,
        rows,
        width,
        layer.elements,
        lengths.fast.positions,
        run,
        1 if crossing else batch * lengths.rows // run,
        layer.outer * (len(last) if crossing else 1),
        len(shifts) if whole else 1,
        rows if crossing else rows + last[-1] - last[0],
        width if whole else ceil(width, lanes) * lanes + shifts[-1] - shifts[0],
        layer.group_in,
    )


def estimates(layer: LayerSizes, lengths: Lengths, batch: int) -> list[TilingEstimate]:
    """Return the candidate tilings, each with a rough count of cycles.

    The formula is fitted to times on a Zen 4 core. A wrong estimate costs time, nothing else. It runs for every size of
    x not seen before, so it uses plain integers, and computes outside of the loop what all tilings share.
    """
    terms, most, per_vector = layer.terms, layer.most_vectors, 60 * layer.out_channels
    lanes, size = layer.elements.lanes, layer.elements.summed_size
    line = 64 // size
    # of the weights, read once per tile from the nearest cache
    per_tile = size * terms / (16 if size * terms < 2 * _PANEL else 4)
    per_row = 20 * layer.out_channels * layer.slow_phases
    channels, group_in, tail = layer.in_channels, layer.group_in, 8 * lanes
    all_estimates = []
    for whole, crossing, rows, width, total, lines, pitch, packed, vectors, many in _forms(
        layer, lengths, batch, lanes
    ):
        group = most if most < many else many  # vectors of a call
        multiply = vectors * terms * (1.0 if group > 2 else 1.05 if group == 2 else 1.25)
        panel = (-(-(lines * pitch + lanes) // line) | 1) * line * group_in + tail
        over = size * panel / _PANEL - 1
        spill = 1.0 if over <= 0 else 1.0 + 0.04 * (over if over < 4.0 else 4.0)
        if size * panel > _LARGE_PANEL:
            spill += 0.12 * (size * panel / _LARGE_PANEL - 1)
        computing = multiply * spill + per_vector * vectors / group + total * per_tile + total * rows * per_row
        all_estimates.append(
            TilingEstimate(computing, total * lines * channels * packed, total, whole, crossing, rows, width)
        )
    return all_estimates


def least_cycles(layer: LayerSizes, lengths: Lengths, batch: int) -> float:
    """Return the cycles that every estimate includes: all positions, as full vectors, and the writing of all rows."""
    rows = batch * lengths.rows
    vectors = rows * lengths.fast.positions / layer.elements.lanes
    writing = rows * 20 * layer.out_channels * layer.slow_phases
    return vectors * layer.terms + 60 * layer.out_channels * vectors / layer.most_vectors + writing


def _forms(layer: LayerSizes, lengths: Lengths, batch: int, lanes: int) -> Iterator[tuple[Any, ...]]:
    """Yield candidates: whole, crossing, rows, width and number of tiles; then sizes for the estimate.

    Those are lines of a channel in the panel, their pitch, cycles to pack one, vectors of all tiles, and of a tile.
    """
    fast, last = layer.grid.fast.shifts, layer.grid.slow[-1].shifts
    reach, halo, outer = last[-1] - last[0], fast[-1] - fast[0], layer.outer
    all_rows, positions, long = batch * lengths.rows, lengths.fast.positions, lengths.slow[-1].positions
    planes = all_rows // long
    pieces: list[tuple[int, ...]] = []
    for vectors in _VECTORS:
        width = min(vectors * lanes, ceil(positions, lanes) * lanes)
        width = ceil(ceil(positions, ceil(positions, width)), lanes) * lanes  # as equal as possible
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
                continue  # of one image: never better than the same tiling without crossing
            tiles = ceil(run, rows)
            many, few = ceil(rows * positions, lanes), ceil((run - (tiles - 1) * rows) * positions, lanes)
            vectors = all_rows // run * ((tiles - 1) * many + few)
            lines *= outer * len(fast)
            yield True, crossing, rows, positions, all_rows // run * tiles, lines, positions, packed, vectors, many


def pick(candidates: list[TilingEstimate], units: int, threads: int) -> tuple[TilingEstimate, int, float]:
    """Return the tiling with the least cycles of all threads, the ranges of channels it is split into, and the cycles.

    `units` is the number of blocks of channels, the largest possible number of ranges.
    """
    most = min(units, _MOST_SPLITS if threads > 1 else 1)
    best, best_splits, least = candidates[0], 1, math.inf
    for estimate in candidates:
        for splits in range(1, most + 1):
            cycles = estimate.computing + estimate.packing * splits
            if cycles >= least:  # more ranges only pack more often
                break
            cycles *= imbalance(estimate.total * splits, threads)
            if cycles < least:
                best, best_splits, least = estimate, splits, cycles
    return best, best_splits, least


def _up_to(sizes: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Return the sizes below `most`, and `most` itself if it is not larger than all."""
    return (*sizes[: bisect_left(sizes, most)], most) if most < sizes[-1] else sizes


def imbalance(tiles: int, threads: int) -> float:
    """Return the time of the busiest thread over the average; the last term, for slow cores, falls with more tiles."""
    return 1.0 if threads == 1 else ceil(tiles, threads) * threads / tiles + 0.2 * threads / tiles
