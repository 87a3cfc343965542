"""Schedule of the direct form: order of the sums, blocks of channels, tiles and memory, for one layer or problem.

`layer_schedule` does not depend on the size of x, `tile_schedule` does. The plan prints their summary.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd import epilogue, epilogue_channels_last, microkernel
from tconv.kernels.simd.bfloat16_dot import direct_elements, panel_layer
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct import accumulation_order, tiling
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.phase_axes import Grid, grid, lengths

_ROWS = 6
"""Rows of the microkernel, if there are enough channels."""
_AHEAD_FROM = 1 << 20
"""Bytes of input and weight from which on the inputs of the next tile are prefetched during a tile."""
_TOGETHER = 64 << 10
"""Bytes of sums that are written together, at least, if there are as many channels."""
_SINGLE_THREAD = 1 << 21
"""Operations below which waking another thread costs more than it saves."""


class Blocks(NamedTuple):
    """Blocks of output channels: `wide` channels in each of the first ones, one less in the others."""

    wide: int
    wide_count: int
    narrow_count: int

    @property
    def total(self) -> int:
        """All blocks of a group."""
        return self.wide_count + self.narrow_count


class LayerSchedule(NamedTuple):
    """Order of the sums and of the packed weight, which do not depend on tiles or on the size of x."""

    grid: Grid
    chunks: list[accumulation_order.Chunk]
    blocks: Blocks
    calls: list[accumulation_order.MicrokernelCall]
    """of all chunks"""
    terms: int
    """weights per output channel of a group"""
    taps: int
    """largest number of taps of a call"""
    sums: int
    """largest number of rows of sums of a chunk"""
    sizes: tiling.LayerSizes


@lru_cache(maxsize=256)
def layer_schedule(layer: Layer) -> LayerSchedule:
    """Return the schedule of a layer."""
    axes, elements = grid(layer.geometry), direct_elements(layer)
    layer = panel_layer(layer, elements)
    chunks, most = accumulation_order.chunks(layer, axes, epilogue.most_phases(axes.fast.stride, elements), _ROWS)
    channels = layer.group_out
    count = -(-channels // most)
    wide = -(-channels // count)
    blocks = Blocks(wide, channels - (wide - 1) * count, count - (channels - (wide - 1) * count))
    calls = [call for chunk in chunks for call in chunk.calls]
    terms = sum(call.terms for call in calls)
    return LayerSchedule(
        axes,
        chunks,
        blocks,
        calls,
        terms,
        max(1, *map(_taps, calls), 1),
        max(len(chunk.phases) for chunk in chunks) * wide,
        tiling.LayerSizes(
            axes,
            layer.group_in,
            layer.in_channels,
            layer.out_channels,
            microkernel.most_vectors(max((wide * len(call.phases) for call in calls), default=1)),
            terms * layer.out_channels,
            layer.geometry.groups * blocks.total,
            math.prod(len(axis.shifts) for axis in axes.slow[:-1]),
            len(axes.slow_phases),
            elements,
        ),
    )


@lru_cache(maxsize=64)
def estimates(p: Problem) -> list[tiling.TilingEstimate]:
    """Return estimates for all candidate tilings; they do not depend on the number of threads."""
    return tiling.estimates(layer_schedule(p.layer).sizes, lengths(p), p.batch)


def cycles(p: Problem) -> float:
    """Return the estimated cycles of the whole call on one thread."""
    return min(each.computing + each.packing for each in estimates(p))


class TileSchedule(NamedTuple):
    """Tiles of a problem, and the places of their tables, panel and sums in a thread's scratch memory, in bytes."""

    tiling: tiling.Tiling
    splits: int
    threads: int
    tiles: int
    """number of tiles, with their ranges of channels"""
    ahead_place: int
    panel_place: int
    sums_place: int
    scratch: int
    together: int
    """blocks of channels whose outputs are written together"""
    whole_positions: bool
    """True if all channels are"""
    groups: int
    """groups whose inputs are in the panel at a time"""


def least_cycles(p: Problem) -> float:
    """Return a number of cycles that every tiling needs."""
    return tiling.least_cycles(layer_schedule(p.layer).sizes, lengths(p), p.batch)


@lru_cache(maxsize=256)
def tile_schedule(p: Problem, threads: int, channels_last: bool = False, x_last: bool = False) -> TileSchedule:
    """Return the tiles of a problem for a number of threads. `channels_last` is the layout of the output."""
    layer, elements = layer_schedule(p.layer), direct_elements(p.layer)
    if 2 * p.products < _SINGLE_THREAD:
        threads = 1
    # channels that are written together are those of one thread
    single = (
        channels_last and p.geometry.groups == 1 and epilogue_channels_last.together(p.out_channels, elements.lanes)
    )
    groups = _groups(p.layer, elements, channels_last, x_last)
    sizes, candidates = layer.sizes, estimates(p)
    if groups > 1:
        sizes = sizes._replace(group_in=groups * sizes.group_in, units=p.geometry.groups // groups)
        candidates = tiling.estimates(sizes, lengths(p), p.batch)
    best, splits, _ = tiling.pick(candidates, 1 if single else sizes.units, threads)
    t = tiling.tiling_of(sizes, lengths(p), p.batch, best)
    threads = min(threads, best.total * splits)
    # addresses of the next tile's cache lines, then an entry without effect for each tap of a call
    ahead = p.input_bytes > _AHEAD_FROM and best.total > threads
    lines = t.blocks * t.slots * (elements.stored_size * t.pitch // 64 + 2) if ahead else 0
    ahead_place = 8 * (HEAD + t.blocks * t.slots)
    panel_place = (ahead_place + 8 * (lines + layer.taps) + 63) // 64 * 64
    sums_place = (panel_place + elements.summed_size * t.panel + 63) // 64 * 64
    block = elements.summed_size * layer.sums * t.sum_row
    if groups > 1:
        together = groups * layer.blocks.total
    else:
        together = _together(p.layer, layer.blocks, block, elements.lanes) if channels_last else 1
    scratch = sums_place + block * together + elements.summed_size * 9 * elements.lanes
    tiles = best.total * splits
    return TileSchedule(
        t,
        splits,
        threads,
        tiles,
        ahead_place if ahead else 0,
        panel_place,
        sums_place,
        scratch,
        together,
        together == layer.sizes.units and splits == 1,
        groups,
    )


def _groups(layer: Layer, elements: Elements, channels_last: bool, x_last: bool) -> int:
    """Return how many groups are in a panel: with channels last, those of fewer would not fill a vector."""
    groups = layer.geometry.groups
    if elements.dot and layer.group_in % 2:  # a pair of channels would be of two groups
        return 1
    lanes = elements.lanes
    fewest = min(layer.group_out if channels_last else lanes, layer.group_in if x_last else lanes)
    return next((n for n in range(1, groups) if groups % n == 0 and n * fewest >= lanes), groups)


def _together(layer: Layer, blocks: Blocks, sums: int, lanes: int) -> int:
    """Return the number of blocks whose channels are written together, if each needs this many bytes for its sums.

    They have at least as many channels as a vector has lanes, if there are as many.
    """
    least = -(-lanes // max(1, blocks.wide - 1))
    largest = 4 * _TOGETHER if epilogue_channels_last.together(layer.group_out, lanes) else _TOGETHER
    most = max(least, largest // sums)
    return -(-blocks.total // -(-blocks.total // most))


def scratch_bytes(p: Problem) -> int:
    """Return the bytes of the packed weight, two copies during packing, tables of rows, and each thread's scratch."""
    tiles, layer, sizes = tile_schedule(p, get_num_threads()), layer_schedule(p.layer), lengths(p)
    slow = layer.grid.slow
    sources = sizes.slow[-1].positions + slow[-1].shifts[-1] - slow[-1].shifts[0]
    for axis, length in zip(slow[:-1], sizes.slow, strict=False):
        sources *= length.positions * len(axis.shifts)
    rows = sources + sizes.rows * len(layer.grid.slow_phases)
    return 3 * p.accumulate.itemsize * p.weight_count + 8 * rows + tiles.threads * tiles.scratch


def summary(p: Problem) -> str:
    """Return a line for the plan."""
    tiles, layer = tile_schedule(p, get_num_threads()), layer_schedule(p.layer)
    t = tiles.tiling
    phases = p.geometry.stride
    return (
        f"{direct_elements(p.layer).lanes} lanes ({target().cpu}), {tiles.threads} thread{'s' * (tiles.threads > 1)}; "
        f"{math.prod(phases)} phase{'s' * (math.prod(phases) > 1)}, {tiles.tiles} tiles of "
        f"{t.rows} x {t.width} positions, {layer.blocks.wide} channel{'s' * (layer.blocks.wide > 1)} at a time"
        f"{'; bfloat16 dot products' if direct_elements(p.layer).dot else ''}"
    )


def _taps(call: accumulation_order.MicrokernelCall) -> int:
    """Return the number of taps of a call: steps that differ in more than their channels."""
    return len({(step.slow, step.fast) for part in call.parts for step in part})
