"""How the positions are cut into tiles, and how a tile's inputs lie in its panel.

A panel holds what a tile needs of x, zeros around it, one input channel after another: `[channel][block][copy][slot]
[place]`. A slot is a row of x. Two forms:

- whole rows: a tile is some rows over the full width, its lanes run on from row to row, and every shift of the fastest
  axis has a copy of its own. No lane is left empty. Where the rows of a tile follow each other in one image, a shift
  of the last slow axis is another slot; for tiny images they may cross images, and such shifts are blocks.
- pieces: a tile is a piece of some rows, with a halo; a shift of the fastest axis is another place.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from tconv.kernels.problem import Problem
from tconv.kernels.simd.phase_axes import Grid

_PANEL = 192 << 10  # bytes that stay in a core's own cache, beside the weights of a block and the next tile's inputs
_MOST_LANES = 512
_MOST_SPLITS = 24


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


def _forms(p: Problem, grid: Grid, lanes: int) -> Iterator[Tiling]:
    fast, slow = grid.fast, grid.slow
    shifts, last = fast.shifts, slow[-1].shifts
    outer = prod(len(axis.shifts) for axis in slow[:-1])
    reach = last[-1] - last[0]
    channels = p.in_channels // p.geometry.groups
    planes = p.batch * grid.rows // slow[-1].positions

    def tiling(whole: bool, crossing: bool, rows: int, width: int) -> Tiling:
        slots = rows if crossing else rows + reach
        blocks = outer * len(last) if crossing else outer
        pitch = width if whole else ceil(width, lanes) * lanes + shifts[-1] - shifts[0]
        return Tiling(
            whole,
            crossing,
            rows,
            width,
            lanes,
            fast.positions,
            p.batch * grid.rows if crossing else slow[-1].positions,
            1 if crossing else planes,
            blocks,
            len(shifts) if whole else 1,
            slots,
            pitch,
            channels,
        )

    for crossing in (False, True):
        run = p.batch * grid.rows if crossing else slow[-1].positions
        for rows in sorted({min(run, r) for r in (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 24, 32, 64, 128)}):
            if rows * fast.positions <= max(_MOST_LANES, fast.positions) and fast.positions <= 4 * _MOST_LANES:
                yield tiling(True, crossing, rows, fast.positions)
    for rows in sorted({min(slow[-1].positions, r) for r in (1, 2, 4, 8, 16)}):
        for vectors in (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32):
            width = min(vectors * lanes, ceil(fast.positions, lanes) * lanes)
            pieces = ceil(fast.positions, width)
            width = -(-(ceil(fast.positions, pieces)) // lanes) * lanes  # as equal as can be
            yield tiling(False, False, rows, width)


def choose(
    p: Problem, grid: Grid, lanes: int, most_vectors: int, terms: int, units: int, threads: int
) -> tuple[Tiling, int, float]:
    """The tiling with the least estimated work, into how many ranges of channels each of its tiles is cut, the cycles.

    `terms` is the weights per position, all channels and phases; `units` the blocks of channels that can be shared out.
    """
    best: tuple[float, Tiling, int] | None = None
    for t in sorted(set(_forms(p, grid, lanes))):
        work, packing = _cycles(p, grid, t, most_vectors, terms)
        for splits in range(1, min(units, _MOST_SPLITS if threads > 1 else 1) + 1):
            cost = (work + packing * splits) * imbalance(t.total * splits, threads)
            if best is None or cost < best[0]:
                best = cost, t, splits
    assert best is not None
    cycles, chosen, cut = best
    return chosen, cut, cycles


def _cycles(p: Problem, grid: Grid, t: Tiling, most_vectors: int, terms: int) -> tuple[float, float]:
    """A rough count of cycles, to compare tilings of one problem with each other: all work but packing, and packing.

    Fitted to times on a Zen 4 core; of a guess that is wrong nothing depends but time.
    """
    full = min(t.rows, t.run)
    last = t.run - (t.row_tiles - 1) * t.rows
    if t.whole:
        many, few = (ceil(rows * t.width, t.lanes) for rows in (full, last))
        vectors = t.runs * ((t.row_tiles - 1) * many + few)
    else:
        many, few = ceil(t.width, t.lanes), ceil(t.width_total - (t.segments - 1) * t.width, t.lanes)
        vectors = p.batch * grid.rows * ((t.segments - 1) * many + few)
    held = min(most_vectors, many)
    thin = 1.0 if held > 2 else 1.05 if held == 2 else 1.25
    spill = 1.0 + 0.04 * min(4.0, max(0.0, 4 * t.panel / _PANEL - 1))
    calls = 60 * p.out_channels * vectors / held
    weights = t.total * 4 * terms / (16 if 4 * terms < 2 * _PANEL else 4)  # read once per tile, from the nearest cache
    writing = t.total * t.rows * 20 * p.out_channels * prod(axis.stride for axis in grid.slow)
    lines = t.total * t.blocks * t.copies * t.slots * p.in_channels
    packing = lines * (15 + 3 * ceil(min(t.pitch, t.width_total + 8), t.lanes))
    return vectors * terms * thin * spill + calls + weights + writing, packing


def imbalance(items: int, threads: int) -> float:
    """How much longer the busiest thread works than all of them on average; a slow core shows less with many items."""
    return 1.0 if threads == 1 else ceil(items, threads) * threads / items + 0.2 * threads / items
