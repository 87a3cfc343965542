"""Tilings of the form with lanes over output channels, and the estimate that picks among them.

A tile is a piece of some rows of positions. Its panel contains its inputs, `[block][slot][position][channel]`, with
zeros where there is none: a slot is a row of x, a block belongs to a combination of shifts of the slow axes but the
last. A shift of the last slow axis is another slot, a shift of the fastest axis another position. In tiles that cross
from image to image, such shifts of rows are blocks, too. Where every axis has a single shift (kernel and stride equal),
the positions of a tile are one line.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tconv.kernels.simd.channel_lanes.microkernel import most_positions
from tconv.kernels.simd.direct.tiling import ceil, imbalance
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.phase_axes import Grid, Lengths

_PANEL = 256 << 10
"""Bytes that stay in a core's own cache, beside the weights of a block."""
_NEAR = 384 << 10
"""Bytes of packed weights that stay in it from tile to tile."""
_MOST_SPLITS = 24
_SMALL = 8
"""Rows of an image up to which tiles may cross to the next."""
_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
_WIDTHS = (16, 32, 48, 64, 96, 128, 192, 256, 512)


class LayerSizes(NamedTuple):
    """Sizes of a layer that an estimate depends on."""

    grid: Grid
    group_in: int
    groups: int
    units: int
    """blocks of columns of all groups, which tiles can be split into"""
    blocks: list[tuple[int, int, int]]
    """terms and vectors of blocks of columns of a group, and how many there are of them"""
    outer: int
    """combinations of shifts of the slow axes without the last"""
    pitch: int
    elements: Elements


class Tiling(NamedTuple):
    """Form of all tiles of a call."""

    flat: bool
    """all positions of a tile are one line: no axis has two shifts"""
    crossing: bool
    rows: int
    width: int
    width_total: int
    run: int
    """consecutive rows: of the last slow axis, or of all images"""
    runs: int
    blocks: int
    slots: int
    halo: int
    """positions of a slot beside the tile's own"""
    pitch: int

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

    def lines(self) -> set[int]:
        """Return the numbers of positions that a line of a tile can have."""
        widths = {self.width, self.width_total % self.width or self.width}
        if not self.flat:
            return widths
        rows = {self.rows, self.run % self.rows or self.rows}
        return {r * w for r in rows for w in widths}


def pick_tiling(layer: LayerSizes, lengths: Lengths, batch: int, threads: int) -> tuple[Tiling, int]:
    """Return the tiling with the least estimated time, and the ranges of columns that its tiles are split into."""
    most = min(layer.units, _MOST_SPLITS if threads > 1 else 1)
    best, least = None, math.inf
    for t in _candidates(layer, lengths, batch):
        computing, packing = _cycles(layer, t)
        for splits in range(1, most + 1):
            cycles = computing + packing * splits
            if cycles >= least:
                break
            cycles *= imbalance(t.total * splits, threads)
            if cycles < least:
                best, least = (t, splits), cycles
    assert best is not None
    return best


def _candidates(layer: LayerSizes, lengths: Lengths, batch: int) -> list[Tiling]:
    """Return the tilings to compare."""
    fast, last = layer.grid.fast.shifts, layer.grid.slow[-1].shifts
    reach, halo = last[-1] - last[0], fast[-1] - fast[0]
    all_rows, positions, long = batch * lengths.rows, lengths.fast.positions, lengths.slow[-1].positions
    flat = layer.outer == len(last) == len(fast) == 1
    found = []
    widths = {ceil(positions, ceil(positions, width)) for width in _WIDTHS}
    for crossing, run in ((False, long), (True, all_rows)):
        small = run > long and long <= _SMALL  # shifts are blocks then: more to pack
        if not crossing if flat else crossing and not small:
            continue
        for rows in sorted({min(r, run) for r in _ROWS}):
            for width in widths if rows < 4 or positions <= _WIDTHS[-1] else ():
                blocks = layer.outer * (len(last) if crossing else 1)
                slots = rows if crossing else rows + reach
                found.append(
                    Tiling(
                        flat, crossing, rows, width, positions, run, all_rows // run, blocks, slots, halo, layer.pitch
                    )
                )
    return found


def _cycles(layer: LayerSizes, t: Tiling) -> tuple[float, float]:
    """Return a rough count of the cycles of all tiles without packing, and of packing.

    Fitted to times on a Zen 4 core. A wrong estimate costs time, nothing else.
    """
    lanes, size = layer.elements.lanes, layer.elements.summed_size
    line = t.rows * t.width if t.flat else t.width
    lines = t.runs * t.run * t.width_total / line
    computing, weights = 0.0, 0
    for terms, vectors, count in layer.blocks:
        calls = ceil(line, most_positions(vectors))
        computing += count * lines * (terms * max(line * vectors, 4 * calls) + calls * (40 + 4 * vectors))
        weights += count * terms * vectors * lanes * size
    computing += t.total * weights / (32 if weights <= _NEAR else 8)
    panel = t.blocks * t.slots * (t.width + t.halo) * t.pitch
    over = size * panel / _PANEL - 1
    computing *= 1 + 0.04 * min(4.0, max(0.0, over))
    packing = t.total * t.blocks * t.slots * (t.width + t.halo) * (2 * ceil(layer.group_in, lanes) + 4.0)
    return layer.groups * computing, layer.groups * packing
