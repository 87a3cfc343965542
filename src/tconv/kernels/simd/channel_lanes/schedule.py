"""Schedule of the form with lanes over output channels: columns and their blocks for a layer, tiles for a problem.

A column is an output channel of a phase. Neighbouring phases of the fastest axis whose taps meet the same inputs are
one run: their columns are neighbours in an output with channels last, and one product computes them all. With kernel
and stride equal that is a whole row of taps.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.bfloat16_dot import direct_elements, panel_layer
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.channel_lanes import tiling
from tconv.kernels.simd.channel_lanes.microkernel import PLACE, most_vectors
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.accumulation_order import Step, microkernel_call
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.phase_axes import Grid, grid, lengths

_SINGLE_THREAD = 1 << 21
"""Operations below which waking another thread costs more than it saves."""
_CONFLICT = 1024
"""Bytes: positions of a panel at a multiple of them compete for a few sets of the nearest cache."""


class Run(NamedTuple):
    """Phases of the fastest axis with the same inputs, of one phase of the slow axes."""

    slow: int
    """number of the slow phase"""
    first: int
    """first phase of the fastest axis"""
    parts: tuple[tuple[tuple[Step, ...], ...], ...]
    """for each phase, its parts of steps: they differ in their taps only"""
    terms: int
    """products in a sum"""
    columns: int
    vectors: tuple[int, ...]
    """vectors of each block of columns"""


class LayerSchedule(NamedTuple):
    """Runs of a layer; they do not depend on the size of x."""

    grid: Grid
    runs: list[Run]
    columns: int
    """largest number of columns of a run"""
    group_weights: int
    """numbers of a group in the packed weight"""
    filled: float
    """part of the multiply-adds whose lanes have a column"""
    sizes: tiling.LayerSizes


def blocks_of(columns: int, lanes: int) -> tuple[int, ...]:
    """Return the vectors of each block of so many columns, as equal as possible."""
    total = -(-columns // lanes)
    count = -(-total // most_vectors())
    return tuple(total // count + (i < total % count) for i in range(count))


@lru_cache(maxsize=256)
def layer_schedule(layer: Layer) -> LayerSchedule:
    """Return the schedule of a layer."""
    axes, channels, elements = grid(layer.geometry), layer.group_out, direct_elements(layer)
    layer = panel_layer(layer, elements)
    stride, joins = axes.fast.stride, layer.geometry.groups == 1
    runs = []
    for slow in range(len(axes.slow_phases)):
        last = None
        phases: list[tuple[int, tuple[tuple[Step, ...], ...]]] = []
        grouped = [phases]
        for phase in range(stride):
            call = microkernel_call(layer, axes, (slow * stride + phase,))
            assert call is not None
            inputs = [[(step.slow, step.fast, step.channels) for step in part] for part in call.parts]
            if phases and not (joins and inputs == last):
                phases = []
                grouped.append(phases)
            phases.append((phase, call.parts))
            last = inputs
        for run in grouped:
            terms = sum(step.channels[1] - step.channels[0] for part in run[0][1] for step in part)
            columns = len(run) * channels
            runs.append(
                Run(
                    slow,
                    run[0][0],
                    tuple(parts for _, parts in run),
                    terms,
                    columns,
                    blocks_of(columns, elements.lanes),
                )
            )
    padded = sum(run.terms * sum(run.vectors) for run in runs) * elements.lanes
    sizes = tiling.LayerSizes(
        axes,
        layer.group_in,
        layer.geometry.groups,
        layer.geometry.groups * sum(len(run.vectors) for run in runs),
        [(run.terms, vectors) for run in runs for vectors in run.vectors],
        math.prod(len(axis.shifts) for axis in axes.slow[:-1]),
        panel_pitch(layer.group_in, elements),
        elements,
    )
    filled = sum(run.terms * run.columns for run in runs) / padded if padded else 1.0
    return LayerSchedule(axes, runs, max(run.columns for run in runs), padded, filled, sizes)


def panel_pitch(channels: int, elements: Elements) -> int:
    """Return the numbers from one position of the panel to the next: whole vectors, and no multiple of `_CONFLICT`."""
    line = 64 // elements.summed_size
    pitch = -(-channels // line) * line
    return pitch + line * conflicts(pitch, elements)


def conflicts(pitch: int, elements: Elements) -> bool:
    """Return True if positions at this distance would compete for a few sets of the nearest cache."""
    return pitch * elements.summed_size % _CONFLICT == 0


class TileSchedule(NamedTuple):
    """Tiles of a problem, and the places of their tables, panel and sums in a thread's scratch memory, in bytes."""

    tiling: tiling.Tiling
    splits: int
    threads: int
    tiles: int
    """number of tiles, with their ranges of columns"""
    places: int
    constants: int
    constants_size: int
    """numbers of each constant"""
    sums: int
    panel: int
    scratch: int


@lru_cache(maxsize=256)
def tile_schedule(p: Problem, threads: int) -> TileSchedule:
    """Return the tiles of a problem for a number of threads."""
    layer, elements = layer_schedule(p.layer), direct_elements(p.layer)
    size, lanes = elements.summed_size, elements.lanes
    if 2 * p.products < _SINGLE_THREAD:
        threads = 1
    t, splits = tiling.pick_tiling(layer.sizes, lengths(p), p.batch, threads)
    threads = min(threads, t.total * splits)
    constants_size = layer.columns + 9 * lanes
    ends = [8 * (HEAD + t.blocks * t.slots)]
    for length in (
        8 * PLACE * len(layer.grid.slow_phases) * t.rows * t.width,
        2 * size * constants_size,
        size * lanes * (target().registers + 1),
        size * (t.blocks * t.slots * (t.width + t.halo) * t.pitch + lanes * (t.pitch + 1)),
    ):
        ends.append((ends[-1] + 63) // 64 * 64 + length)
    places, constants, sums, panel, scratch = ((end + 63) // 64 * 64 for end in ends)
    return TileSchedule(t, splits, threads, t.total * splits, places, constants, constants_size, sums, panel, scratch)
