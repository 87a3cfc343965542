"""One axis after another: which inputs, through which taps, make the outputs of a phase.

Here a phase is a residue of the *output*: o = s*i + phase, i = 0, 1, ... Then full[o + lo] takes tap t where
(d*t - o - lo) is a multiple of s, from x[i - shift] with shift = (d*t) div s - (phase + lo) div s. The crop has become
a part of the shift: all phases run over the same i, no output is made that a crop would throw away, and the phases of
an axis interleave without an offset.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

from tconv.kernels.problem import Problem


class Axis(NamedTuple):
    """One spatial axis."""

    inputs: int
    outputs: int
    stride: int
    positions: int
    """values of i: outputs of a phase, at most"""
    taps: tuple[tuple[tuple[int, int], ...], ...]
    """per phase, (shift, tap) in ascending order"""

    @property
    def shifts(self) -> list[int]:
        """All shifts of all phases, ascending."""
        return sorted({shift for phase in self.taps for shift, _ in phase})


_NONE = Axis(1, 1, 1, 1, (((0, 0),),))


class Grid(NamedTuple):
    """All axes: the slow ones (at least one: a signal is a picture with one row) and the fastest."""

    slow: tuple[Axis, ...]
    fast: Axis

    @property
    def rows(self) -> int:
        """Rows of positions in an image: values of i on the slow axes."""
        return math.prod(axis.positions for axis in self.slow)

    @property
    def slow_phases(self) -> list[tuple[int, ...]]:
        """All combinations of phases of the slow axes."""
        return list(product(*(range(axis.stride) for axis in self.slow)))


def grid(p: Problem) -> Grid:
    """The axes of a problem."""
    g = p.geometry
    axes = []
    for n, L, k, s, d, (lo, _) in zip(
        p.input_shape, p.output_shape, g.kernel, g.stride, g.dilation, g.crop, strict=True
    ):
        phases: list[list[tuple[int, int]]] = [[] for _ in range(s)]
        for t in range(k):
            phase = (d * t - lo) % s
            phases[phase].append((d * t // s - (phase + lo) // s, t))
        axes.append(Axis(n, L, s, -(-L // s), tuple(map(tuple, phases))))
    return Grid(tuple(axes[:-1]) or (_NONE,), axes[-1])
