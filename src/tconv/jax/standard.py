"""The operator, its adjoint and its weight gradient in XLA's standard operators.

All three take and return native arrays. Sizes of x and y may be symbols, as in `jax.export`. A program has the quick
form for the platform that it is compiled for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import lax

from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.jax.lax_operations import LaxOperations, accumulator, dimension_numbers, is_at_most, taps_first
from tconv.operator.standard import derivatives, forward
from tconv.operator.standard.forward import has_plain_form
from tconv.operator.standard.native_layouts import data_in, data_out, weight_in, weight_out

_LARGE = 5 << 20
"""Products of a layer, before they are summed, from which XLA's own transposed convolution on the CPU falls behind."""
_FEW_CHANNELS = 4
_MANY_TAPS = 256


def conv_transpose(
    x: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return the transposed convolution of x and a weight, in the layout `result`."""

    def compute(x: Any, weight: Any, cpu: bool) -> Any:
        ops = LaxOperations(cpu)
        images, w = data_in(ops, x, data), weight_in(ops, weight, weight_layout, geometry.groups)
        return data_out(ops, _forward(ops, images, w, geometry), result)

    return _by_platform(compute, x, weight)


def conv(
    y: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return the convolution of y and a weight whose transpose `conv_transpose` is, in the layout `result`."""

    def compute(y: Any, weight: Any, cpu: bool) -> Any:
        ops = LaxOperations(cpu)
        images, w = data_in(ops, y, data), weight_in(ops, weight, weight_layout, geometry.groups)
        return data_out(ops, derivatives.conv(ops, images, w, geometry), result)

    return _by_platform(compute, y, weight)


def weight_gradient(
    x: Any, y: Any, geometry: Geometry, x_data: DataLayout, y_data: DataLayout, weight_layout: WeightLayout
) -> Any:
    """Return the gradient with respect to the weight of the sum of y times the transposed convolution of x."""

    def compute(x: Any, y: Any, cpu: bool) -> Any:
        ops = LaxOperations(cpu)
        inputs, outputs = data_in(ops, x, x_data), data_in(ops, y, y_data)
        if geometry.groups == 1 and is_at_most(outputs.shape[-1], _FEW_CHANNELS):
            w = _few_outputs(ops, inputs, outputs, geometry)
        else:
            w = derivatives.weight_gradient(ops, inputs, outputs, geometry, geometry.kernel[-1])
        return weight_out(ops, w, weight_layout)

    return _by_platform(compute, x, y)


def _by_platform(compute: Callable[..., Any], *arrays: Any) -> Any:
    return lax.platform_dependent(*arrays, cpu=partial(compute, cpu=True), default=partial(compute, cpu=False))


def _forward(ops: LaxOperations, x: Any, w: Any, g: Geometry) -> Any:
    if ops.cpu and g.groups > 1 and _has_own(x, g, w.shape[-2:]):
        c_in = w.shape[-2]
        parts = [_own(x[..., i * c_in : (i + 1) * c_in], w[i], g) for i in range(g.groups)]
        return lax.concatenate(parts, x.ndim - 1)
    if ops.cpu and _has_own(x, g, w.shape[-2:]):
        return _own(x, w[0], g)
    return forward.conv_transpose(ops, x, w, g, [_aligned(n) for n in x.shape[1:-1]])


def _aligned(size: Any) -> bool:
    """Return True if one convolution with one more row costs less than several of fewer rows."""
    return not isinstance(size, int) or size > 16


def _has_own(x: Any, g: Geometry, channels: tuple[int, int]) -> bool:
    """Return True if XLA's own transposed convolution is right and the quickest on the CPU.

    It is a matrix product and a sum of its columns, in 1-D and 2-D.
    """
    if g.groups > 8 or not has_plain_form(g):
        return False
    sizes = x.shape[:-1]
    known = all(isinstance(n, int) for n in (*sizes, *channels))
    if not known or accumulator(x.dtype) != jnp.float32 or channels[0] < _FEW_CHANNELS:
        return False
    products = math.prod(sizes) * math.prod(g.kernel) * channels[1]
    return math.prod(g.kernel) <= _MANY_TAPS and (products < _LARGE or channels[1] <= _FEW_CHANNELS)


def _own(x: Any, w: Any, g: Geometry) -> Any:
    dtype = x.dtype
    y = lax.conv_general_dilated(
        x.astype(jnp.float32),
        lax.rev(w.astype(jnp.float32), tuple(range(g.ndim))),
        (1,) * g.ndim,
        [(e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(g.extent, g.crop, strict=True)],
        lhs_dilation=g.stride,
        dimension_numbers=dimension_numbers(g.ndim),
    )
    return y.astype(dtype)


def _few_outputs(ops: LaxOperations, x: Any, y: Any, g: Geometry) -> Any:
    """Return the weight gradient of a layer of few output channels: rows of taps are copied faster than columns."""
    c_in, c_out = x.shape[-1], y.shape[-1]
    rows = taps_first(derivatives.slices(ops, y, g, x.shape[:-1]))
    x = x.reshape(rows.shape[1], c_in)
    w = lax.dot_general(rows, x, (((1,), (0,)), ((), ())), preferred_element_type=accumulator(x.dtype)).astype(x.dtype)
    return jnp.swapaxes(w.reshape(1, *g.kernel, c_out, c_in), -1, -2)
