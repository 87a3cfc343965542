"""Where rows begin in memory: offsets of the slow axes, added up, with a mark where there is no row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tconv.kernels.problem import Array
from tconv.kernels.simd.call_frame import NOWHERE
from tconv.kernels.simd.phase_axes import Axis, Length


def slow_strides(strides: tuple[int, ...], axes: int) -> list[int]:
    """The strides of so many slow axes, of all strides of an array [N, C, *spatial]; a signal's one row has none."""
    return [0] * (axes + 3 - len(strides)) + [*strides[2:-1]]


def along(places: Array, length: int, stride: int) -> Array:
    """Offsets of places on an axis of this length."""
    return np.where((places >= 0) & (places < length), places * stride, NOWHERE)


def together(tables: Iterable[Array]) -> Array:
    """Offsets [choices, places] of one axis after another, added up: all choices of all axes, and all places."""
    first, *others = tables
    for other in others:
        a, b = first[:, None, :, None], other[:, None, :]
        both = np.where((a == NOWHERE) | (b == NOWHERE), NOWHERE, a + b)
        first = both.reshape(len(first) * len(other), -1)
    return first


def outer(axes: Iterable[Axis], lengths: Iterable[Length], strides: Iterable[int]) -> list[Array]:
    """For each axis, where x begins: [shifts, positions]."""
    return [
        along(np.arange(length.positions) - np.array(axis.shifts)[:, None], length.inputs, stride)
        for axis, length, stride in zip(axes, lengths, strides, strict=False)
    ]


def destinations(axes: Iterable[tuple[int, int, int]], strides: Iterable[int]) -> Array:
    """Return where each row of the output begins, [slow phases, rows].

    `axes` has phases, positions and outputs of each slow axis.
    """
    return together(
        along(np.arange(positions * phases).reshape(positions, phases).T, outputs, stride)
        for (phases, positions, outputs), stride in zip(axes, strides, strict=True)
    )
