"""Layouts of a call, and the shapes and strides that follow from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem


class Layouts(NamedTuple):
    """Layouts of x, of the weight and of y; those of x and y have a batch axis."""

    x: DataLayout
    weight: WeightLayout
    y: DataLayout


def channels(layout: WeightLayout, shape: tuple[int, ...], groups: int) -> tuple[int, int]:
    """Return C_in and C_out of a native weight."""
    sizes = layout.sizes(shape)
    c_in, c_out = (sizes[one] * (1 if layout.grouped == one else groups) for one in ("I", "O"))
    return c_in, c_out


def weight_shape(layout: WeightLayout, in_channels: int, out_channels: int, g: Geometry) -> tuple[int, ...]:
    """Return the native shape of a weight."""
    sizes: dict[Any, int] = dict(enumerate(g.kernel))
    sizes["I"] = in_channels // (1 if layout.grouped == "I" else g.groups)
    sizes["O"] = out_channels // (1 if layout.grouped == "O" else g.groups)
    sizes["G"] = g.groups
    return tuple(sizes[axis] for axis in layout.axes)


def canonical_strides(p: Problem, layouts: Layouts, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the strides of canonical x and y, whose native arrays are in C order, with elements of this size."""
    of_x = _strides(layouts.x, (p.batch, p.in_channels, *p.input_shape), size)
    return of_x, _strides(layouts.y, (p.batch, p.out_channels, *p.output_shape), size)


def _strides(layout: DataLayout, shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    native = layout.native_shape(shape)
    steps, step = [0] * len(native), size
    for axis in reversed(range(len(native))):
        steps[axis], step = step, step * native[axis]
    view = np.lib.stride_tricks.as_strided(np.empty(1, f"V{size}"), native, steps, writeable=False)
    return tuple(layout.canonical(view).strides)
