"""Distance from the true result that rounding alone explains.

A float32 sum of K terms has an error that grows with sqrt(K) in units of the sums' own size (Higham 2002, ch. 2.6).
The limit here, as in `tconv bench`, is 4 * 2**-23 * (sqrt(K) + 4) of it. The size is the root of the mean over one
plane of y**2 + sum((x*w)**2), because sums that cancel were rounded while they were larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel

_SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_SPACING |= {"complex64": 2.0**-23, "complex128": 2.0**-52}


def spacing(dtype: np.dtype[Any]) -> float:
    """Return the spacing of a dtype's numbers around 1; 0 for integers, which are exact."""
    return _SPACING.get(dtype.name, 0.0)


def computed_dtype(array: Array) -> np.dtype[Any]:
    """Return the dtype that an array was computed in: float32 for a float64 array whose numbers are all float32's."""
    own: np.dtype[Any] = array.dtype
    if own != np.float64:
        return own
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = array.astype(np.float32)
    same = np.array_equal(narrow, array, equal_nan=True)
    return np.dtype(np.float32) if same and not (np.rint(array) == array).all() else own


@dataclass(frozen=True, eq=False)
class Tolerance:
    """Largest error of rounding at each place of an output: planes [N, C, 1...] + relative * |y|."""

    planes: Array
    relative: float

    def at(self, y: Array, images: slice = slice(None), channels: Any = slice(None)) -> Array:
        """Return the largest distance from y [N, C, *window], which may be a part of the images and channels."""
        limits: Array = self.planes[images][:, channels] + self.relative * np.abs(y)
        return limits


def call_tolerance(call: CallModel, y: Array, dtype: np.dtype[Any], power: Array | None = None) -> Tolerance:
    """Return the tolerance of y [N, C_out, *L], computed in `dtype`, as the result of a call.

    `power` is the mean square of each plane of y, if the caller has it.
    """
    g, G = call.geometry, call.groups
    sums = _squares(call.x).reshape(len(call.x), G, -1)
    taps = _squares(call.weight).reshape(G, -1, call.weight.shape[1])
    products = np.einsum("ngc,gco->ngo", sums, taps).reshape(len(call.x), -1)
    products /= math.prod(g.full_shape(call.x.shape[2:]))
    size = np.sqrt(np.nan_to_num(products)[: len(y)] + (power_of(y) if power is None else power))
    # results of 2-byte floats are summed in float32 and rounded once; exact integers may still have been floats
    unit = min(max(spacing(dtype), 2.0**-52), 2.0**-23)
    planes = 4 * unit * (math.sqrt(call.terms) + 4) * size
    return Tolerance(planes.reshape(*planes.shape, *[1] * g.ndim), spacing(dtype))


def outputs_tolerance(y: Array, dtype: np.dtype[Any]) -> Tolerance:
    """Return the tolerance of an output whose call is unknown: that of sums of 4096 products."""
    unit = min(max(spacing(dtype), 2.0**-52), 2.0**-23)
    planes = 4 * unit * (math.sqrt(4096) + 4) * np.sqrt(power_of(y))
    return Tolerance(planes.reshape(*planes.shape, *[1] * (y.ndim - 2)), spacing(dtype))


def _squares(array: Array) -> Array:
    """Return the sums of squares over all but the first two axes."""
    total: Array = (np.abs(array.reshape(*array.shape[:2], math.prod(array.shape[2:]))) ** 2).sum(-1)
    return total


def power_of(y: Array) -> Array:
    """Return the mean square of the finite elements of each plane, [N, C]."""
    flat = y.reshape(*y.shape[:2], -1)
    quick: Array = np.einsum("ncp,ncp->nc", flat, flat.conj()).real / flat.shape[2]  # without arrays of y's size
    if np.isfinite(quick).all():
        return quick
    squares = np.abs(flat) ** 2
    finite = np.isfinite(squares)
    power: Array = np.where(finite, squares, 0).sum(-1) / np.maximum(1, finite.sum(-1))
    return power
