"""The operator, its adjoint and its weight gradient on JAX's own convolutions, with the zeros that XLA inserts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry


def _native(y: Any, layout: DataLayout) -> Any:
    order = ["N", "C", *sorted(axis for axis in layout.axes if isinstance(axis, int))]
    return y.transpose([order.index(axis) for axis in layout.axes])


def _pad(y: Any, pairs: Any) -> Any:
    return jax.lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0)] * 2 + [(lo, hi, 0) for lo, hi in pairs])


def conv_transpose(
    x: Any,
    weight: Any,
    geometry: Geometry,
    data: DataLayout,
    weight_layout: WeightLayout,
    result: DataLayout,
    **kind: Any,
) -> Any:
    """Return the transposed convolution. The full output is cropped afterwards: XLA has faults with some paddings."""
    g = geometry
    w = WeightLayout.of("OI*", g.ndim, "O", flip=True).native(weight_layout.canonical(weight, g.groups), g.groups)
    padding = [(e - 1, e - 1) for e in g.extent]
    one = (1,) * g.ndim
    full = jax.lax.conv_general_dilated(
        data.canonical(x), w, one, padding, g.stride, g.dilation, feature_group_count=g.groups, **kind
    )
    return _native(_pad(full, [(-lo, -hi) for lo, hi in g.crop]), result)


def conv(
    y: Any,
    weight: Any,
    geometry: Geometry,
    data: DataLayout,
    weight_layout: WeightLayout,
    result: DataLayout,
    **kind: Any,
) -> Any:
    """Return the adjoint, a strided convolution."""
    g, w = geometry, weight_layout.canonical(weight, geometry.groups)
    x = jax.lax.conv_general_dilated(
        _pad(data.canonical(y), g.crop), w, g.stride, "VALID", None, g.dilation, feature_group_count=g.groups, **kind
    )
    return _native(x, result)


def weight_gradient(
    x: Any,
    y: Any,
    geometry: Geometry,
    x_data: DataLayout,
    y_data: DataLayout,
    weight_layout: WeightLayout,
    **kind: Any,
) -> Any:
    """Return the gradient of the weight: a convolution of y with x as its kernel, summed over the batch."""
    g, x, y = geometry, x_data.canonical(x), _pad(y_data.canonical(y), geometry.crop)
    n, count = x.shape[:2]
    of_group = y.shape[1] // g.groups
    if 0 in x.shape:
        w = jnp.zeros((count, of_group, *g.kernel), kind.get("preferred_element_type") or x.dtype)
        return weight_layout.native(w, g.groups)
    y = y.reshape(n, g.groups, of_group, *y.shape[2:]).swapaxes(0, 2)
    y = y.reshape(of_group, g.groups * n, *y.shape[3:])
    w = jax.lax.conv_general_dilated(
        y, x.swapaxes(0, 1), g.dilation, "VALID", None, g.stride, feature_group_count=g.groups, **kind
    )
    return weight_layout.native(w.swapaxes(0, 1), g.groups)
