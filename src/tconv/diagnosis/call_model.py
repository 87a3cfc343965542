"""Model of one call in canonical layouts and float64.

Causes change it, and it computes any window of the output of the changed call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.operator.functional import conv_transpose

Window = tuple[slice, ...]


class Activation(NamedTuple):
    """Limits, 0 and `high`, that an output is cut off at."""

    name: str
    high: float
    statement: str
    """Python that applies it to y in every dialect."""


ACTIVATIONS = (
    Activation("ReLU", math.inf, "y = y * (y > 0)"),
    Activation("ReLU6", 6.0, "y = y * (y > 0); y = y - (y - 6) * (y > 6)"),
)
"""Activations that both outputs may end in."""


@dataclass(frozen=True, eq=False)
class CallModel:
    """One call: x [N, C_in, *n], weight [C_in, C_out/groups, *kernel], bias [C_out] or None; float64 or complex128."""

    x: Array
    weight: Array
    bias: Array | None
    geometry: Geometry
    activation: Activation | None = None
    """Activation behind the call, which both outputs end in."""

    @property
    def groups(self) -> int:
        """Number of groups."""
        return self.geometry.groups

    @property
    def in_channels(self) -> int:
        """C_in."""
        return int(self.weight.shape[0])

    @property
    def out_channels(self) -> int:
        """C_out."""
        return int(self.weight.shape[1]) * self.groups

    @property
    def spatial(self) -> tuple[int, ...] | None:
        """The output's spatial shape; None if the crop leaves nothing."""
        try:
            return self.geometry.output_shape(self.x.shape[2:])
        except ShapeError:
            return None

    @property
    def terms(self) -> int:
        """Products in the longest sum."""
        return max(1, math.prod(map(max, self.geometry.overlap)) * self.in_channels // self.groups)

    @property
    def macs(self) -> int:
        """Multiply-adds of the whole call."""
        return self.geometry.macs(self.x.shape[2:], self.in_channels, self.out_channels, len(self.x)).border_free

    def with_geometry(self, **parts: Any) -> CallModel:
        """Return the call with these parts of the geometry replaced."""
        return replace(self, geometry=replace(self.geometry, **parts))

    def channels(self, groups: Sequence[int], within: Sequence[int]) -> CallModel:
        """Return the call that computes only these output channels of these groups; channels count within a group."""
        G, per = self.groups, self.in_channels // self.groups
        x = self.x.reshape(len(self.x), G, per, *self.x.shape[2:])
        x = x if len(groups) == G else x[:, list(groups)]
        w = self.weight.reshape(G, per, *self.weight.shape[1:])[list(groups)][:, :, list(within)]
        bias = None if self.bias is None else self.bias.reshape(G, -1)[np.ix_(groups, within)].ravel()
        return CallModel(
            x.reshape(len(x), len(groups) * per, *x.shape[3:]),
            w.reshape(len(groups) * per, *w.shape[2:]),
            bias,
            replace(self.geometry, groups=len(groups)),
            self.activation,
        )

    def part(self, window: Sequence[slice], images: slice = slice(None)) -> CallModel | None:
        """Return the call on only the inputs that these output places need; None if they need none."""
        g, x = self.geometry, self.x[images]
        needed = [
            slice(max(part.start, 0), min(part.stop, n))
            for part, n in zip(g.input_window(window), x.shape[2:], strict=True)
        ]
        if any(part.start >= part.stop for part in needed):
            return None
        inputs: Any = (..., *needed)
        small = x[inputs]
        front = [
            part.start + lo - s * inner.start
            for part, (lo, _), s, inner in zip(window, g.crop, g.stride, needed, strict=True)
        ]
        sizes = [part.stop - part.start for part in window]
        crop = [(lo, F - lo - L) for F, lo, L in zip(g.full_shape(small.shape[2:]), front, sizes, strict=True)]
        return replace(self, x=small, geometry=replace(g, crop=tuple(crop)))

    def window(self, window: Sequence[slice], images: slice = slice(None)) -> Array:
        """Return the output [N, C_out, *sizes] on ranges of output places; beyond the output there is only bias."""
        g, part = self.geometry, self.part(window, images)
        if part is None:
            shape = (len(self.x[images]), self.out_channels, *(each.stop - each.start for each in window))
            y: Array = np.zeros(shape, np.result_type(self.x, self.weight))
        else:
            dtype = np.result_type(part.x, self.weight)  # a cause may make one of them complex
            small, weight = part.x.astype(dtype, copy=False), self.weight.astype(dtype, copy=False)
            y = conv_transpose(small, weight, geometry=part.geometry)
        if self.bias is not None:
            y = y + self.bias.reshape(-1, *[1] * g.ndim)
        return self.activated(y)

    def activated(self, y: Array) -> Array:
        """Return y behind the activation."""
        if self.activation is None:
            return y
        cut: Array = np.clip(y, 0, self.activation.high)
        return cut


def whole(shape: Sequence[int]) -> Window:
    """Return the window of all places of an output with this spatial shape."""
    return tuple(slice(0, size) for size in shape)


def as_float64(array: Array) -> Array:
    """Return an array as float64, or as complex128 if it is complex."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def flatten_places(array: Array) -> Array:
    """Return [N, C, *spatial] as [N, C, places]."""
    return array.reshape(*array.shape[:2], -1)


_AXES = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}


def axis_names(ndim: int) -> tuple[str, ...]:
    """Return the names of the axes [N, C, *spatial] for a report."""
    return ("image", "channel", *_AXES.get(ndim, tuple(f"axis {a}" for a in range(ndim))))
