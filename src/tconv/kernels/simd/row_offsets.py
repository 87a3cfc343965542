"""Offsets of rows in memory: sums of the offsets on the slow axes, with a mark where there is no row.

The compiled calls of both forms build their tables of rows of x and of the output with it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tconv._arrays import Array
from tconv.kernels.simd.call_frame import NO_ROW
from tconv.kernels.simd.phase_axes import Axis, Length


def slow_strides(strides: tuple[int, ...], axes: int) -> list[int]:
    """Return the strides of this many slow axes, from those of an array [N, C, *spatial]; 0 for a signal's one row."""
    return [0] * (axes + 3 - len(strides)) + [*strides[2:-1]]


def axis_offsets(indices: Array, length: int, stride: int) -> Array:
    """Return the offsets of indices on an axis of this length; `NO_ROW` outside of it."""
    return np.where((indices >= 0) & (indices < length), indices * stride, NO_ROW)


def combine(tables: Iterable[Array]) -> Array:
    """Return the sums of the offsets [variants, positions] of several axes, for all variants and positions of each."""
    first, *others = tables
    for other in others:
        a, b = first[:, None, :, None], other[:, None, :]
        sums = np.where((a == NO_ROW) | (b == NO_ROW), NO_ROW, a + b)
        # sizes in full: a phase without taps on an axis has no variants
        first = sums.reshape(len(first) * len(other), first.shape[1] * other.shape[1])
    return first


def shifted_offsets(axes: Iterable[Axis], lengths: Iterable[Length], strides: Iterable[int]) -> list[Array]:
    """Return the offsets of x, [shifts, positions], of each axis."""
    return [
        axis_offsets(np.arange(length.positions) - np.array(axis.shifts)[:, None], length.inputs, stride)
        for axis, length, stride in zip(axes, lengths, strides, strict=False)
    ]


def output_offsets(axes: Iterable[tuple[int, int, int]], strides: Iterable[int]) -> Array:
    """Return the offsets of the output, [slow phases, rows], for (phases, positions, outputs) of each slow axis."""
    return combine(
        axis_offsets(np.arange(positions * phases).reshape(positions, phases).T, outputs, stride)
        for (phases, positions, outputs), stride in zip(axes, strides, strict=True)
    )


def epilogue_calls(calls: Array, offsets: int, rows: int) -> Array:
    """Return a layer's calls of the epilogue for one size of x.

    The first number of a call is its slow phase; it becomes the address of that phase's offsets, of which there are
    `rows` each, from the address `offsets` on.
    """
    table = calls.copy()
    table[:, 0] = table[:, 0] * (8 * rows) + offsets
    return table
