"""Transposed convolutions of a strip of an image: output rows whose bits do not depend on the strip that they are in.

`conv_transpose` and `prepare` choose a method by the sizes of a call, and minimal filtering pairs the rows of a strip.
The direct sum (method "simd") has one order of sums for any strip. Where it does not run (complex numbers, integers,
weights with inf or NaN, a machine without it), every output row is computed alone, by matrix products of the same
sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv import kernels
from tconv._arrays import Array, is_finite
from tconv._memory import empty
from tconv.geometry import Geometry
from tconv.kernels import tap_products
from tconv.kernels.activation import activation_of
from tconv.kernels.problem import Problem
from tconv.operator.functional import conv_transpose
from tconv.operator.method_choice import choose_method
from tconv.operator.prepared import PreparedLayer, prepare

DIRECT = "simd"
"""Method whose order of sums depends on neither the strip nor its size."""
ROWS = "rows of taps"
"""Name, in reports, of the products of each row by itself."""


def layer_method(p: Problem) -> str:
    """Return the method of a `StripLayer`: "simd", or "rows of taps". No size decides it."""
    return ROWS if kernels.kernel(DIRECT).reasons_against(p) else DIRECT


def strip_method(p: Problem) -> str:
    """Return the method of `conv_transpose_strip`: "simd", "rows of taps", or for one channel a method of NumPy."""
    method = layer_method(p)
    # of one channel: the methods of NumPy add the same products one by one, in the same order
    return choose_method(p, "auto") if method == ROWS and p.layer.group_in == 1 else method


def _problem(weight: Array, geometry: Geometry, x: Array | None = None) -> Problem:
    """Return the problem of a canonical weight; without x, for an image of one pixel: the method is the same."""
    batch, sizes = (1, (1,) * geometry.ndim) if x is None else (len(x), x.shape[2:])
    out = weight.shape[1] * geometry.groups
    return Problem(geometry, batch, weight.shape[0], out, sizes, weight.dtype, finite_weight=is_finite(weight))


def conv_transpose_strip(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Return `conv_transpose` of x [N, C_in, h, w] and weight [C_in, C_out/groups, kh, kw], of one floating dtype.

    x has the input rows of a strip, and the crop is relative to them, as `weights.interpolation.crop_for` returns it.
    """
    method = strip_method(_problem(weight, geometry, x))
    if method != ROWS:
        return np.asarray(conv_transpose(x, weight, geometry=geometry, method=method))
    shape = x.shape[0], weight.shape[1] * geometry.groups, *geometry.output_shape(x.shape[2:])
    out = empty(shape, x.dtype)
    _run_rows(geometry, x, weight, None, out)
    return out


class StripLayer:
    """Layer with a canonical float32 weight, a bias and an activation, as `tconv.prepare` takes them, for strips."""

    def __init__(self, weight: Array, bias: Array | None, geometry: Geometry, activation: Any) -> None:
        self._weight, self._bias, self._geometry = weight, bias, geometry
        self._activation = activation_of(activation, weight.shape[1] * geometry.groups)
        self._layer: PreparedLayer | None = None
        if layer_method(_problem(weight, geometry)) == DIRECT:
            self._layer = prepare(weight, bias, geometry=geometry, activation=activation, method=DIRECT)

    def specialized(self, x: Array, out: Array) -> Callable[[Array, Array], Any]:
        """Return the layer as a function of arrays like x [1, C_in, h, w] and out [1, C_out, H, W], without checks."""
        return self._run_alone if self._layer is None else self._layer.specialized(x, out)

    def _run_alone(self, x: Array, out: Array) -> None:
        _run_rows(self._geometry, x, self._weight, self._bias, out)
        if self._activation is not None:
            self._activation.apply(out)


def _run_rows(g: Geometry, x: Array, weight: Array, bias: Array | None, out: Array) -> None:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # inf and NaN are values here
        tap_products.run_rows(g, x, weight, bias, out)
