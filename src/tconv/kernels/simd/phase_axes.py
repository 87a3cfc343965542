"""Spatial axes of a problem, one by one: the inputs and the taps of the outputs of each phase.

Here a phase is a residue of the *output*: o = s*i + phase, i = 0, 1, ... Then full[o + lo] has the taps t for which
(d*t - o - lo) is a multiple of s, with the inputs x[i - shift] where shift = (d*t) div s - (phase + lo) div s. The crop
has become a part of the shift. So all phases have the same i, no output outside of the crop is computed, and the phases
of an axis interleave without an offset.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

from tconv.geometry import Geometry
from tconv.kernels.problem import Problem


class Axis(NamedTuple):
    """Spatial axis, without its length."""

    stride: int
    taps: tuple[tuple[tuple[int, int], ...], ...]
    """per phase, (shift, tap) in ascending order"""
    shifts: tuple[int, ...]
    """all shifts of all phases, ascending"""


class Length(NamedTuple):
    """Length of an axis."""

    inputs: int
    outputs: int
    positions: int
    """values of i: the largest number of outputs of a phase"""


_SINGLE_AXIS = Axis(1, (((0, 0),),), (0,))
_SINGLE_LENGTH = Length(1, 1, 1)


class Grid(NamedTuple):
    """All axes: the slow ones (at least one: a signal is a picture with one row) and the fastest."""

    slow: tuple[Axis, ...]
    fast: Axis
    slow_phases: tuple[tuple[int, ...], ...]
    """all combinations of phases of the slow axes"""


class Lengths(NamedTuple):
    """Lengths of all axes."""

    slow: tuple[Length, ...]
    fast: Length

    @property
    def rows(self) -> int:
        """Rows of positions in an image: values of i on the slow axes."""
        return math.prod(length.positions for length in self.slow)


def grid(g: Geometry) -> Grid:
    """Return the axes of a geometry."""
    axes = []
    for k, s, d, (lo, _) in zip(g.kernel, g.stride, g.dilation, g.crop, strict=True):
        phases: list[list[tuple[int, int]]] = [[] for _ in range(s)]
        for t in range(k):
            phase = (d * t - lo) % s
            phases[phase].append((d * t // s - (phase + lo) // s, t))
        shifts = sorted({shift for phase in phases for shift, _ in phase})
        axes.append(Axis(s, tuple(map(tuple, phases)), tuple(shifts)))
    slow = tuple(axes[:-1]) or (_SINGLE_AXIS,)
    return Grid(slow, axes[-1], tuple(product(*(range(axis.stride) for axis in slow))))


def lengths(p: Problem) -> Lengths:
    """Return the lengths of a problem's axes."""
    axes = zip(p.input_shape, p.output_shape, p.geometry.stride, strict=True)
    of_axes = [Length(n, L, -(-L // s)) for n, L, s in axes]
    return Lengths(tuple(of_axes[:-1]) or (_SINGLE_LENGTH,), of_axes[-1])
