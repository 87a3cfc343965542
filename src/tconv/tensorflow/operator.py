"""The transposed convolution of tensors and its adjoint, with derivatives of any order in both modes.

T(x, w) is bilinear. With its adjoint C(y, w), a strided convolution, and its weight gradient W(x, y), a correlation,

    <y, T(x, w)> = <x, C(y, w)> = <w, W(x, y)>

so the derivatives of each of the three are the two others, and nothing else is needed for any order. `apply` and
`adjoint` compute T and C on native tensors of any layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import tensorflow as tf

from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.tensorflow import standard_stand_in as standard
from tconv.tensorflow.spatial_fit import extend


@dataclass(frozen=True)
class Operator:
    """Geometry of T with the layouts of x, the weight and y."""

    geometry: Geometry
    x_layout: DataLayout
    weight_layout: WeightLayout
    y_layout: DataLayout

    @property
    def uncropped(self) -> Operator:
        """The operator whose y is the full result."""
        return replace(self, geometry=replace(self.geometry, crop=((0, 0),) * self.geometry.ndim))


def apply(
    x: Any,
    weight: Any,
    bias: Any,
    geometry: Geometry,
    data: DataLayout,
    weight_layout: WeightLayout,
    result: DataLayout,
) -> Any:
    """Return T(x, weight) + bias for native tensors of one dtype.

    x has the layout `data` and y the layout `result`; `bias` is [C_out] or None. Sizes of x may be unknown while a
    function is traced. The caller has checked ranks, channels and dtypes.
    """
    operator = Operator(geometry, data, weight_layout, result)
    y = differentiable(operator).transposed(x, weight)
    return y if bias is None else add_bias(y, bias, result)


def adjoint(
    y: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return C(y, weight), the strided convolution whose transpose `apply` is, for y of layout `data`.

    Rows of y that are left over behind the last window do not count, as in any convolution.
    """
    operator = Operator(geometry, result, weight_layout, data)
    return _exact_conv(operator, y, weight)


def _exact_conv(operator: Operator, y: Any, weight: Any) -> Any:
    """Return C(y, weight), with the left-over rows of y moved into the crop, so that T returns the shape of y."""
    g = operator.geometry
    sizes = spatial_sizes(y, operator.y_layout)
    if all(isinstance(size, int) for size in sizes):
        crop = tuple(
            (lo, hi - (L + lo + hi - e) % s)
            for L, (lo, hi), e, s in zip(sizes, g.crop, g.extent, g.stride, strict=True)
        )
        exact = replace(operator, geometry=replace(g, crop=crop))
        return differentiable(exact).conv(y, weight)
    full = [
        L + lo + hi - (L + lo + hi - e) % s for L, (lo, hi), e, s in zip(sizes, g.crop, g.extent, g.stride, strict=True)
    ]
    pairs = [(lo, F - L - lo) for F, L, (lo, _) in zip(full, sizes, g.crop, strict=True)]
    return differentiable(operator.uncropped).conv(extend(y, pairs, operator.y_layout), weight)


def spatial_sizes(tensor: Any, layout: DataLayout) -> list[Any]:
    """Return the size of each spatial axis, an int, or a scalar tensor where it is not known yet."""
    static = tensor.shape.as_list()
    dynamic: Any = None if None not in static else tf.shape(tensor)
    sizes = {axis: at for at, axis in enumerate(layout.axes) if isinstance(axis, int)}
    return [dynamic[sizes[axis]] if static[sizes[axis]] is None else static[sizes[axis]] for axis in sorted(sizes)]


def add_bias(y: Any, bias: Any, layout: DataLayout) -> Any:
    """Return y plus one number per channel."""
    return y + tf.reshape(bias, [-1 if axis == "C" else 1 for axis in layout.axes])


def bias_gradient(dy: Any, layout: DataLayout) -> Any:
    """Return the sum over everything but the channels."""
    return tf.reduce_sum(dy, [at for at, axis in enumerate(layout.axes) if axis != "C"])


# -- the three, closed under differentiation -------------------------------------------------------------------------


class Differentiable(NamedTuple):
    """T, C and W of an operator in TensorFlow's own operators, each with the others as its derivatives."""

    transposed: Callable[[Any, Any], Any]
    conv: Callable[[Any, Any], Any]
    weight_gradient: Callable[[Any, Any], Any]


@lru_cache(maxsize=1024)
def differentiable(operator: Operator) -> Differentiable:
    """Return T(x, w), C(y, w) and W(x, y) of an operator. C needs a y without rows left over."""
    g, data, layout, result = operator.geometry, operator.x_layout, operator.weight_layout, operator.y_layout

    @_with_gradients
    def transposed(x: Any, weight: Any) -> Any:
        y = standard.conv_transpose(x, weight, g, data, layout, result)
        return _shaped(y, x, weight, operator), lambda dy: (conv(dy, weight), weight_gradient(x, dy))

    @_with_gradients
    def conv(y: Any, weight: Any) -> Any:
        x = standard.conv(y, weight, g, result, layout, data)
        return x, lambda dx: (transposed(dx, weight), weight_gradient(dx, y))

    @_with_gradients
    def weight_gradient(x: Any, y: Any) -> Any:
        weight = standard.weight_gradient(x, y, g, data, result, layout)
        return weight, lambda dw: (conv(y, dw), transposed(x, dw))

    return Differentiable(transposed, conv, weight_gradient)


def _with_gradients(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a function of two tensors that returns a result and its gradients as `tf.custom_gradient` does.

    In a graph the gradients refer to copies of the tensors (which cost nothing): those of an outer graph would be out
    of scope where TensorFlow differentiates a gradient.
    """
    own = tf.custom_gradient(function)

    def differentiated(a: Any, b: Any) -> Any:
        return own(a, b) if tf.executing_eagerly() else own(tf.identity(a), tf.identity(b))

    return differentiated


def _shaped(y: Any, x: Any, weight: Any, operator: Operator) -> Any:
    """Return y with what is known of its shape while a function is traced."""
    if not tf.executing_eagerly():
        y.set_shape(static_shape(x.shape, weight.shape, operator))
    return y


def static_shape(x_shape: Any, weight_shape: Any, operator: Operator) -> list[int | None]:
    """Return the shape of y, None where it is not known."""
    g = operator.geometry
    named = dict(zip(operator.x_layout.axes, x_shape.as_list(), strict=True))
    per_weight = operator.weight_layout.sizes(tuple(weight_shape.as_list()))["O"]
    groups = 1 if operator.weight_layout.grouped == "O" else g.groups
    for axis, (s, e, (lo, hi)) in enumerate(zip(g.stride, g.extent, g.crop, strict=True)):
        n = named[axis]
        named[axis] = None if n is None else s * (n - 1) + e - lo - hi
    named["C"] = None if per_weight is None else per_weight * groups
    return [named.get(axis, 1) for axis in operator.y_layout.axes]
