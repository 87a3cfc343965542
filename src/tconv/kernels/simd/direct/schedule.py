"""One problem as work: what is added up for which channels, how it is cut into items, and what memory that takes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct import accumulation_order, tiling
from tconv.kernels.simd.phase_axes import Grid, grid

_ROWS = 6
"""Rows of the multiply-adds, where enough channels fill them."""
_AHEAD_FROM = 1 << 20
"""Bytes of input and weight from which on the next tile's inputs are asked for while this one is worked on."""
_ALONE = 1 << 21
"""Operations below which waking another thread costs more than it brings."""


class Blocks(NamedTuple):
    """Output channels in blocks: `wide` of them in the first ones, one less in the others."""

    wide: int
    wide_count: int
    narrow_count: int

    @property
    def total(self) -> int:
        """All blocks of a group."""
        return self.wide_count + self.narrow_count


class Work(NamedTuple):
    """What has to be added up, whatever the tiles: the order of the sums and of the packed weight."""

    grid: Grid
    chunks: list[accumulation_order.Chunk]
    blocks: Blocks

    @property
    def calls(self) -> list[accumulation_order.Call]:
        """All calls of all chunks."""
        return [call for chunk in self.chunks for call in chunk.calls]

    @property
    def terms(self) -> int:
        """Weights per output channel of a group."""
        return sum(call.terms for call in self.calls)


@lru_cache(maxsize=64)
def work(p: Problem) -> Work:
    """The work of a problem."""
    axes = grid(p)
    stride = axes.fast.stride
    chunks, most = accumulation_order.chunks(p, axes, epilogue.most_phases(stride), _ROWS)
    channels = p.out_channels // p.geometry.groups
    count = -(-channels // most)
    wide = -(-channels // count)
    return Work(axes, chunks, Blocks(wide, channels - (wide - 1) * count, count - (channels - (wide - 1) * count)))


class Shape(NamedTuple):
    """Tiles, and where in a thread's memory things lie."""

    tiling: tiling.Tiling
    splits: int
    threads: int
    taps: int
    ahead_place: int
    panel_place: int
    sums_place: int
    scratch: int
    cycles: float
    """estimated, of all threads together"""

    @property
    def items(self) -> int:
        """Items of work."""
        return self.tiling.total * self.splits


@lru_cache(maxsize=256)
def shape(p: Problem, threads: int) -> Shape:
    """How a problem is cut up for a number of threads."""
    chip, done = target(), work(p)
    if 2 * p.macs.border_free < _ALONE:
        threads = 1
    fullest = max((done.blocks.wide * len(call.phases) for call in done.calls), default=1)
    fit, terms = microkernel.most_vectors(fullest), done.terms * p.out_channels
    units = p.geometry.groups * done.blocks.total
    t, splits, cycles = tiling.choose(p, done.grid, chip.lanes, fit, terms, units, threads)
    threads = min(threads, t.total * splits)
    # the lines of the next tile, and as many entries that ask for nothing as a call has taps
    taps = max(1, *(_taps(call) for call in done.calls), 1)
    ahead = p.input_bytes > _AHEAD_FROM and t.total > threads
    lines = t.blocks * t.slots * (4 * t.pitch // 64 + 2) if ahead else 0
    ahead_place = 8 * (HEAD + t.blocks * t.slots)
    panel_place = (ahead_place + 8 * (lines + taps) + 63) // 64 * 64
    sums_place = (panel_place + 4 * t.panel + 63) // 64 * 64
    largest = max(len(chunk.phases) for chunk in done.chunks) * done.blocks.wide
    scratch = sums_place + 4 * (largest * t.sum_row + 9 * chip.lanes)
    return Shape(t, splits, threads, taps, ahead_place if ahead else 0, panel_place, sums_place, scratch, cycles)


def scratch_bytes(p: Problem) -> int:
    """The packed weight and two copies made while packing, the tables of rows, and what each thread holds."""
    made, done = shape(p, get_num_threads()), work(p)
    slow = done.grid.slow
    stretched = slow[-1].positions + slow[-1].shifts[-1] - slow[-1].shifts[0]
    sources = stretched
    for axis in slow[:-1]:
        sources *= axis.positions * len(axis.shifts)
    rows = sources + done.grid.rows * len(done.grid.slow_phases)
    return 3 * 4 * p.weight_count + 8 * rows + made.threads * made.scratch


def summary(p: Problem) -> str:
    """What it does, in a line."""
    made, done = shape(p, get_num_threads()), work(p)
    t = made.tiling
    phases = p.geometry.stride
    return (
        f"{target().lanes} lanes ({target().cpu}), {made.threads} thread{'s' * (made.threads > 1)}; "
        f"{math.prod(phases)} phase{'s' * (math.prod(phases) > 1)}, {made.items} items of "
        f"{t.rows} x {t.width} positions, {done.blocks.wide} channels at a time"
    )


def _taps(call: accumulation_order.Call) -> int:
    """Taps of a call: steps that differ in more than their channels."""
    return len({(step.slow, step.fast) for part in call.parts for step in part})
