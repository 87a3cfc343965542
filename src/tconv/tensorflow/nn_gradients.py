"""C and W in the operators of tf.nn that are fastest on the CPU, for geometries and layouts that they have.

Where kernel and stride are equal and nothing is cropped, both are one product of matrices: y is cut into blocks, one
for each position of x (W of 128 -> 64 channels, 196x196: 31 ms for 86 on one thread). Elsewhere they are TensorFlow's
convolution and its gradient. Graphs that are compiled or saved have `standard` instead.
"""

from __future__ import annotations

import math
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
    if not _fits(operator, y.dtype) or None in (*spatial, *weight.shape) or y.shape[0] == 0:
        return None
    if y.shape[0] is None and not _is_of_blocks(operator, y.dtype):  # oneDNN returns an empty batch in the shape of y
        return None
    g = operator.geometry
    if _is_of_blocks(operator, y.dtype):
        rows = tf.matmul(_blocks(operator, y), tf.reshape(weight, [-1, weight.shape[-1]]))
        return tf.reshape(rows, [-1, *g.conv_shape(tuple(spatial)), weight.shape[-1]])
    y, weight, padding = _prepared(operator, y, tuple(spatial), weight)
    if g.ndim == 3:
        return tf.raw_ops.Conv3D(input=y, filter=weight, strides=[1, *g.stride, 1], **padding)
    x = tf.raw_ops.Conv2D(input=y, filter=weight, strides=_strides(g.stride), **padding)
    return x if g.ndim == 2 else x[:, 0]


def weight_gradient(operator: Operator, x: Any, y: Any) -> Any:
    """Return W(x, y); None if these operators cannot compute it."""
    spatial, channels = y.shape.as_list()[1:-1], (y.shape[-1], x.shape[-1])
    if not _fits(operator, y.dtype) or None in (*spatial, *channels) or x.shape[0] == 0:
        return None
    g = operator.geometry
    sizes = [*g.kernel, *channels]
    if _is_of_blocks(operator, y.dtype):
        w = tf.matmul(_blocks(operator, y), tf.reshape(x, [-1, x.shape[-1]]), transpose_a=True)
        return tf.reshape(w, sizes)
    y, _, padding = _prepared(operator, y, tuple(spatial), None)
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


@lru_cache(maxsize=1024)
def _is_of_blocks(operator: Operator, dtype: Any) -> bool:
    """Return True if every element of y belongs to one position of x, and matrices of this dtype are multiplied."""
    g = operator.geometry
    return g.kernel == g.stride and not any(map(any, g.crop)) and dtype in (tf.float32, tf.float64)


def _blocks(operator: Operator, y: Any) -> Any:
    """Return y [N, n*s, ..., C] as the matrix [N*n*..., s*...*C]."""
    stride, sizes, channels = operator.geometry.stride, y.shape.as_list()[1:-1], y.shape[-1]
    counts = [L // s for L, s in zip(sizes, stride, strict=True)]
    ndim = len(stride)
    inside = [-1, stride[0], *(each for axis in range(1, ndim) for each in (counts[axis], stride[axis]))]
    inside[-1] *= channels
    if ndim == 1:
        return tf.reshape(y, inside)
    y = tf.transpose(tf.reshape(y, inside), [*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2)])
    return tf.reshape(y, [-1, math.prod(stride) * channels])


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
