"""Schedule of a depthwise layer: the calls for each phase of the slow axes, and the order of the packed weight.

A call adds the taps of one phase of all slow axes, for all phases of the fastest axis. It reads a row of x for each
combination of shifts of the slow axes, in ascending order; within a row the columns follow each other by their shift on
the fastest axis. So each output has its terms in the order of `direct/accumulation_order.py`, in one part.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.direct import accumulation_order
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.epilogue import interleaves
from tconv.kernels.simd.phase_axes import Grid, grid

MOST_TAPS = 64
"""Largest number of multiply-adds per vector and row that the machine code is written for."""
_MOST_SPAN = 64
"""Largest distance between two columns of a position."""
_MOST_OUTPUTS = 8
"""Largest number of outputs per input channel that are interleaved in registers, with lanes over channels."""


class Columns(NamedTuple):
    """Taps of the fastest axis, by the column of x that they multiply."""

    name: str
    """text for the names of functions"""
    stride: int
    shifts: tuple[int, ...]
    """ascending"""
    phases: tuple[tuple[int, ...], ...]
    """per shift, the phases that have a tap there"""

    @property
    def taps(self) -> int:
        """Weights of a row."""
        return sum(map(len, self.phases))


class RowCall(NamedTuple):
    """Call for one phase of all slow axes: the rows of x of its outputs."""

    outer: int
    """combinations of shifts of the slow axes without the last"""
    last: int
    """shifts of the last slow axis"""
    first_tap: int
    """taps of earlier calls"""


class DepthwiseSchedule(NamedTuple):
    """Calls of a layer, phases of the outer slow axes first, and its taps in the order of the packed weight."""

    grid: Grid
    columns: Columns
    outer_phases: tuple[tuple[int, ...], ...]
    calls: tuple[RowCall, ...]
    taps: tuple[tuple[int, ...], ...]
    """index of each tap, all spatial axes of the grid"""
    multiplier: int
    """output channels per input channel"""


@lru_cache(maxsize=256)
def depthwise_schedule(layer: Layer) -> DepthwiseSchedule:
    """Return the schedule of a depthwise layer."""
    axes, g = grid(layer.geometry), layer.geometry
    fast, last = axes.fast, axes.slow[-1]
    by_shift = [
        (shift, phase, tap)
        for shift in fast.shifts
        for phase, taps in enumerate(fast.taps)
        for own, tap in taps
        if own == shift
    ]
    phases = tuple(tuple(phase for own, phase, _ in by_shift if own == shift) for shift in fast.shifts)
    name = f"{g.kernel[-1]}_{g.stride[-1]}_{g.dilation[-1]}_{g.crop[-1][0]}".replace("-", "m")
    outer_phases = tuple(product(*(range(axis.stride) for axis in axes.slow[:-1])))
    calls: list[RowCall] = []
    taps: list[tuple[int, ...]] = []
    for outer in outer_phases:
        for phase in range(last.stride):
            of_axes = [axis.taps[r] for axis, r in zip(axes.slow, (*outer, phase), strict=True)]
            rows = [tuple(tap for _, tap in row) for row in product(*of_axes)]
            calls.append(RowCall(math.prod(map(len, of_axes[:-1])), len(of_axes[-1]), len(taps)))
            taps += [(*row, tap) for row in rows for _, _, tap in by_shift]
    columns = Columns(name, fast.stride, fast.shifts, phases)
    return DepthwiseSchedule(
        axes, columns, outer_phases, tuple(calls), tuple(taps), layer.out_channels // layer.in_channels
    )


def is_depthwise(p: Problem) -> bool:
    """Return True if each group has one input channel, and the functions of a row can compute the layer.

    Long sums are cut into parts, and a row needs code for each of its taps: the direct form has both.
    """
    if p.geometry.groups != p.in_channels:
        return False
    layer, axes = p.layer, grid(p.geometry)
    fast = axes.fast
    taps = sum(map(len, fast.taps))
    return (
        taps * (layer.out_channels // layer.in_channels) <= MOST_TAPS
        and fast.shifts[-1] - fast.shifts[0] <= _MOST_SPAN
        and fast.stride <= MOST_TAPS
        and accumulation_order.parts(layer, axes)[0]
    )


def lanes_over_positions(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> bool:
    """Return True if rows are contiguous in both arrays, and the phases of a row are interleaved in registers."""
    x_row = x_strides[-1] == 1 or p.input_shape[-1] == 1
    out_row = out_strides[-1] == 1 or p.output_shape[-1] == 1
    return x_row and out_row and interleaves(p.geometry.stride[-1], elements_of(p.dtype))


def lanes_over_channels(p: Problem, x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> bool:
    """Return True if the channels of a position are contiguous in both arrays."""
    few = p.out_channels // p.in_channels <= _MOST_OUTPUTS
    return few and p.in_channels > 1 and x_strides[1] == out_strides[1] == 1
