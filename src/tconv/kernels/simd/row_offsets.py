"""Where rows begin in memory: offsets of the slow axes, added up, with a mark where there is no row."""

from __future__ import annotations

from itertools import product

import numpy as np

from tconv.kernels.problem import Array
from tconv.kernels.simd.call_frame import NOWHERE
from tconv.kernels.simd.phase_axes import Axis


def slow_strides(strides: tuple[int, ...], axes: int) -> list[int]:
    """The strides of so many slow axes, of all strides of an array [N, C, *spatial]; a signal's one row has none."""
    return [0] * (axes + 3 - len(strides)) + [*strides[2:-1]]


def along(places: Array, length: int, stride: int) -> Array:
    """Offsets of places on an axis of this length."""
    return np.where((places >= 0) & (places < length), places * stride, NOWHERE)


def plus(a: Array, b: Array) -> Array:
    """Offsets on two axes together."""
    return np.where((a == NOWHERE) | (b == NOWHERE), NOWHERE, a + b)


def outer(axes: tuple[Axis, ...], strides: list[int]) -> list[Array]:
    """For each choice of shifts of these axes, where x begins for each choice of their positions."""
    per_axis = [
        [along(np.arange(axis.positions) - shift, axis.inputs, stride) for shift in axis.shifts]
        for axis, stride in zip(axes, strides, strict=True)
    ]
    found = []
    for choice in product(*per_axis):
        rows = np.zeros((1,), np.int64)
        for offsets in choice:
            rows = plus(rows[:, None], offsets).ravel()
        found.append(rows)
    return found


def destinations(slow: tuple[Axis, ...], phases: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """Where each row of the output of these slow phases begins."""
    spatial = slow_strides(strides, len(slow))
    rows = np.zeros((1,), np.int64)
    for axis, phase, stride in zip(slow, phases, spatial, strict=True):
        places = np.arange(axis.positions) * axis.stride + phase
        rows = plus(rows[:, None], along(places, axis.outputs, stride)).ravel()
    return rows
