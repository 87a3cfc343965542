"""Taps of each output phase, relative to the output: what turns a transposed convolution into stride-1 convolutions.

Output o = s*m + phase reads input m + shift through tap t, with phase = (d*t - lo) mod s and
shift = (phase + lo - d*t) div s. The crop's beginning is in the phases, so only the end is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.rewriting.operations import Constant


class AxisTap(NamedTuple):
    """Tap of one axis, the output phase that it belongs to, and the input that it reads there."""

    tap: int
    phase: int
    shift: int


def axis_taps(g: Geometry, axis: int) -> list[AxisTap]:
    """Return the taps of an axis with their phases and shifts."""
    s, d, (lo, _) = g.stride[axis], g.dilation[axis], g.crop[axis]
    taps = []
    for t in range(g.kernel[axis]):
        phase = (d * t - lo) % s
        taps.append(AxisTap(t, phase, (phase + lo - d * t) // s))
    return taps


class Window(NamedTuple):
    """Convolution of one axis: its taps read shift `first`, `first` + step, ...; `pads` give n + `grown` outputs."""

    first: int
    step: int
    taps: int
    pads: tuple[int, int]

    def place(self, shift: int) -> int:
        """Return the tap of the convolution that reads a shift."""
        return (shift - self.first) // self.step


def window(shifts: Sequence[int], grown: int) -> Window:
    """Return the smallest convolution that reads all these shifts and has n + `grown` outputs."""
    first, last = min(shifts), max(shifts)
    step = math.gcd(*(shift - first for shift in shifts)) or 1
    return Window(first, step, (last - first) // step + 1, (-first, grown + last))


def blocks(g: Geometry, axis: int) -> tuple[int, int]:
    """Return (grown, cut): the output has n + grown blocks of s elements, without the last `cut` of them."""
    s, e, (lo, hi) = g.stride[axis], g.extent[axis], g.crop[axis]
    length = e - lo - hi  # L - s*(n - 1)
    return -(-length // s) - 1, -length % s


def conv_weight(
    weight: Constant,
    g: Geometry,
    taps: Sequence[Sequence[AxisTap]],
    places: Callable[[int, AxisTap], int],
    shape: Sequence[int],
    arrange: Callable[[Array], Array],
    arranged: Sequence[int],
) -> Constant:
    """Return a convolution's weight whose numbers are a layer's, at other places, with zeros elsewhere.

    `places(axis, tap)` is the place of a tap on an axis of `shape`; `arrange` brings
    [groups, C_in/groups, C_out/groups, *shape] into the shape `arranged`.
    """
    groups, (c_in, c_out) = g.groups, weight.shape[:2]

    def moved(w: Array) -> Array:
        apart = np.zeros((groups, c_in // groups, c_out, *shape), w.dtype)
        source = w.reshape(groups, c_in // groups, *w.shape[1:])
        old = [np.array([tap.tap for tap in axis], dtype=np.intp) for axis in taps]
        new = [np.array([places(a, tap) for tap in axis], dtype=np.intp) for a, axis in enumerate(taps)]
        channels = [np.arange(size) for size in source.shape[:3]]
        apart[np.ix_(*channels, *new)] = source[np.ix_(*channels, *old)]
        return np.ascontiguousarray(arrange(apart))

    return weight.derived(arranged, moved)
