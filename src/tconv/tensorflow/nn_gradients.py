"""C and W in the operators that differentiate tf.nn's convolutions: the fastest on the CPU, where they can say a call.

They are not used in graphs that are compiled or saved, where `standard` multiplies no inserted zeros.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tensorflow as tf

from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.dialects.tensorflow_padding import padding_name
from tconv.tensorflow.operator_rule import Operator
from tconv.tensorflow.spatial_fit import extend


@lru_cache(maxsize=1024)
def _fits(operator: Operator, dtype: Any) -> bool:
    """Return True if the operators have this geometry, with these layouts, and sum in at least 32 bits."""
    g = operator.geometry
    last = DataLayout.of("N*C", g.ndim)
    layouts = operator.x_layout, operator.y_layout, operator.weight_layout
    exact = dtype in (tf.float32, tf.float64) or (dtype == tf.bfloat16 and g.ndim <= 2)
    plain = g.groups == 1 and max(g.dilation) == 1 and g.ndim <= 3
    return exact and plain and layouts == (last, last, WeightLayout.of("*OI", g.ndim))


def conv(operator: Operator, y: Any, weight: Any) -> Any:
    """Return C(y, weight); None if these operators cannot compute it."""
    spatial = y.shape.as_list()[1:-1]
    if not _fits(operator, y.dtype) or None in spatial or not y.shape[0]:
        return None
    g = operator.geometry
    y, weight, padding = _prepared(operator, y, tuple(spatial), weight)
    if g.ndim == 3:
        return tf.raw_ops.Conv3D(input=y, filter=weight, strides=[1, *g.stride, 1], **padding)
    x = tf.raw_ops.Conv2D(input=y, filter=weight, strides=_strides(g.stride), **padding)
    return x if g.ndim == 2 else x[:, 0]


def weight_gradient(operator: Operator, x: Any, y: Any) -> Any:
    """Return W(x, y); None if these operators cannot compute it."""
    spatial, channels = y.shape.as_list()[1:-1], (y.shape[-1], x.shape[-1])
    if not _fits(operator, y.dtype) or None in (*spatial, *channels) or not x.shape[0]:
        return None
    g = operator.geometry
    y, _, padding = _prepared(operator, y, tuple(spatial), None)
    sizes = [*g.kernel, *channels]
    if g.ndim == 3:
        strides = [1, *g.stride, 1]
        return tf.raw_ops.Conv3DBackpropFilterV2(
            input=y, filter_sizes=sizes, out_backprop=x, strides=strides, **padding
        )
    if g.ndim == 1:
        x, sizes = x[:, None], [1, *sizes]
    w = tf.raw_ops.Conv2DBackpropFilter(
        input=y, filter_sizes=sizes, out_backprop=x, strides=_strides(g.stride), **padding
    )
    return w if g.ndim == 2 else w[0]


def _strides(stride: tuple[int, ...]) -> list[int]:
    return [1, *[1] * (2 - len(stride)), *stride, 1]


def _prepared(operator: Operator, y: Any, sizes: tuple[int, ...], weight: Any) -> Any:
    """Return y and the weight as the operators take them, and their arguments for the padding."""
    pairs, padding = _padding(operator, sizes)
    y = extend(y, pairs, operator.y_layout)
    if operator.geometry.ndim == 1:
        y, weight = y[:, None], None if weight is None else weight[None]
    return y, weight, padding


@lru_cache(maxsize=1024)
def _padding(operator: Operator, sizes: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    """Return what y has to be extended by, and the arguments of the operators."""
    g = operator.geometry
    nothing = ((0, 0),) * g.ndim
    name = padding_name(g, g.conv_shape(sizes))
    if name is not None:
        return nothing, {"padding": name}
    if g.ndim == 3 or min(map(min, g.crop)) < 0:
        return g.crop, {"padding": "VALID"}
    explicit = [0, 0, *[0, 0] * (2 - g.ndim), *(side for pair in g.crop for side in pair), 0, 0]
    return nothing, {"padding": "EXPLICIT", "explicit_paddings": explicit}
