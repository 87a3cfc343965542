"""One problem as work: what is added up for which channels, how it is cut into items, and what memory that takes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd import epilogue, microkernel
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct import accumulation_order, tiling
from tconv.kernels.simd.phase_axes import Grid, grid, lengths

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
    """The sums of a layer, whatever the tiles and the size of x: their order, and that of the packed weight."""

    grid: Grid
    chunks: list[accumulation_order.Chunk]
    blocks: Blocks
    calls: list[accumulation_order.Call]
    """of all chunks"""
    terms: int
    """weights per output channel of a group"""
    taps: int
    """of a call, at most"""
    sums: int
    """rows of sums that a chunk holds, at most"""
    layered: tiling.LayerCosts


@lru_cache(maxsize=64)
def work(layer: Layer) -> Work:
    """The work of a layer."""
    axes = grid(layer.geometry)
    chunks, most = accumulation_order.chunks(layer, axes, epilogue.most_phases(axes.fast.stride), _ROWS)
    channels = layer.group_out
    count = -(-channels // most)
    wide = -(-channels // count)
    blocks = Blocks(wide, channels - (wide - 1) * count, count - (channels - (wide - 1) * count))
    calls = [call for chunk in chunks for call in chunk.calls]
    terms = sum(call.terms for call in calls)
    return Work(
        axes,
        chunks,
        blocks,
        calls,
        terms,
        max(1, *map(_taps, calls), 1),
        max(len(chunk.phases) for chunk in chunks) * wide,
        tiling.LayerCosts(
            axes,
            layer.group_in,
            layer.in_channels,
            layer.out_channels,
            microkernel.most_vectors(max((wide * len(call.phases) for call in calls), default=1)),
            terms * layer.out_channels,
            layer.geometry.groups * blocks.total,
            math.prod(len(axis.shifts) for axis in axes.slow[:-1]),
            len(axes.slow_phases),
        ),
    )


@lru_cache(maxsize=64)
def estimates(p: Problem) -> list[tiling.TilingEstimate]:
    """All tilings that are tried, whatever the number of threads."""
    return tiling.estimates(work(p.layer).layered, lengths(p), p.batch, target().lanes)


def cycles(p: Problem) -> float:
    """Estimated, of one thread."""
    return min(each.work + each.packing for each in estimates(p))


class Shape(NamedTuple):
    """Tiles, and where in a thread's memory things lie."""

    tiling: tiling.Tiling
    splits: int
    threads: int
    items: int
    """items of work"""
    ahead_place: int
    panel_place: int
    sums_place: int
    scratch: int


def least_cycles(p: Problem) -> float:
    """A number of cycles that no tiling stays below."""
    return tiling.least_cycles(work(p.layer).layered, lengths(p), p.batch, target().lanes)


@lru_cache(maxsize=256)
def shape(p: Problem, threads: int) -> Shape:
    """Cut up a problem for a number of threads."""
    done, lanes = work(p.layer), target().lanes
    if 2 * p.products < _ALONE:
        threads = 1
    chosen, splits, _ = tiling.choose(estimates(p), done.layered.units, threads)
    t = tiling.tiling_of(done.layered, lengths(p), p.batch, lanes, chosen)
    threads = min(threads, chosen.total * splits)
    # the lines of the next tile, and as many entries that ask for nothing as a call has taps
    ahead = p.input_bytes > _AHEAD_FROM and chosen.total > threads
    lines = t.blocks * t.slots * (4 * t.pitch // 64 + 2) if ahead else 0
    ahead_place = 8 * (HEAD + t.blocks * t.slots)
    panel_place = (ahead_place + 8 * (lines + done.taps) + 63) // 64 * 64
    sums_place = (panel_place + 4 * t.panel + 63) // 64 * 64
    scratch = sums_place + 4 * (done.sums * t.sum_row + 9 * lanes)
    items = chosen.total * splits
    return Shape(t, splits, threads, items, ahead_place if ahead else 0, panel_place, sums_place, scratch)


def scratch_bytes(p: Problem) -> int:
    """The packed weight and two copies made while packing, the tables of rows, and what each thread holds."""
    made, done, sizes = shape(p, get_num_threads()), work(p.layer), lengths(p)
    slow = done.grid.slow
    sources = sizes.slow[-1].positions + slow[-1].shifts[-1] - slow[-1].shifts[0]
    for axis, length in zip(slow[:-1], sizes.slow, strict=False):
        sources *= length.positions * len(axis.shifts)
    rows = sources + sizes.rows * len(done.grid.slow_phases)
    return 3 * 4 * p.weight_count + 8 * rows + made.threads * made.scratch


def summary(p: Problem) -> str:
    """What it does, in a line."""
    made, done = shape(p, get_num_threads()), work(p.layer)
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
