"""C and W in the operators of tf.nn that are fastest on the CPU, for geometries and layouts that they have.

Where kernel and stride are equal and nothing is cropped, both are one product of matrices: y is cut into blocks, one
for each position of x (W of 128 -> 64 channels, 196x196: 31 ms for 86 on one thread). Elsewhere they are TensorFlow's
convolution and its gradient. With one output channel per group, W is the depthwise one with explicit padding, which
oneDNN leaves to TensorFlow (64 channels, 128x128: 3.4 ms for 27). With more, only oneDNN has groups, without explicit
padding (128 -> 64 channels, 4 groups, 64x64: 3.3 ms, one gradient for each group 9.8, one product for each tap 55).
Graphs that are compiled or saved have `standard` instead.
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
    plain = max(g.dilation) == 1 and g.ndim <= (3 if g.groups == 1 else 2)
    return exact and plain and layouts == (last, last, WeightLayout.of("*OI", g.ndim))


@lru_cache(maxsize=1024)
def _weight_gradient_with_groups(operator: Operator, dtype: Any, outputs: int) -> Any:
    """Return the function that computes W of a geometry that fits, with groups; None if there is none."""
    g = operator.geometry
    if outputs == g.groups and dtype in (tf.float32, tf.float64) and len(set(g.stride)) == 1:
        return _depthwise_weight_gradient
    return _grouped_weight_gradient if dtype in (tf.float32, tf.bfloat16) and _gradient_has_groups(dtype) else None


@lru_cache(maxsize=8)
def _gradient_has_groups(dtype: Any) -> bool:
    """Return True if Conv2DBackpropFilter takes groups on this CPU, as it does with oneDNN."""
    with tf.init_scope(), tf.device("CPU:0"):
        y, x = tf.ones((1, 3, 3, 4), dtype), tf.ones((1, 2, 2, 4), dtype)
        try:
            w = tf.raw_ops.Conv2DBackpropFilter(
                input=y, filter_sizes=[2, 2, 2, 4], out_backprop=x, strides=[1, 1, 1, 1], padding="VALID"
            )
        except (tf.errors.OpError, ValueError):
            return False
        return bool(tf.reduce_all(w == 4))


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
    if g.groups > 1:
        function = _weight_gradient_with_groups(operator, y.dtype, channels[0])
        return None if function is None else function(operator, x, y)
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


def _depthwise_weight_gradient(operator: Operator, x: Any, y: Any) -> Any:
    """Return W with one output channel per group."""
    g, channels = operator.geometry, (y.shape[-1], x.shape[-1])
    y = extend(y, [(min(lo, 0), min(hi, 0)) for lo, hi in g.crop], operator.y_layout)
    if g.ndim == 1:
        x, y = x[:, None], y[:, None]
    w = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=y,
        filter_sizes=[*[1] * (2 - g.ndim), *g.kernel, channels[0], channels[1] // channels[0]],
        out_backprop=x,
        strides=[1, g.stride[0], g.stride[0], 1],
        **_explicit(tuple((max(lo, 0), max(hi, 0)) for lo, hi in g.crop)),
    )
    w = tf.reshape(w, [*g.kernel, 1, channels[1]])
    # of an empty batch it returns memory that nothing was written to
    return w if x.shape[0] is not None else tf.where(tf.shape(x)[0] > 0, w, tf.zeros_like(w))


def _grouped_weight_gradient(operator: Operator, x: Any, y: Any) -> Any:
    """Return W with groups.

    Where x is vectorized and y is not, `tf.vectorized_map` joins the copies of x along the channels, as if there were
    one group. So y is a slice (all of it, nothing is copied) that begins where a part of x without elements tells.
    """
    g, channels, shape = operator.geometry, (y.shape[-1], x.shape[-1]), y.shape
    nothing = tf.cast(tf.reshape(x[:0], [0]), tf.int32)
    y = tf.slice(y, tf.concat([[0] * (g.ndim + 2), nothing], 0), [-1] * (g.ndim + 2))
    if not tf.executing_eagerly():
        y.set_shape(shape)
    name = padding_name(g, g.conv_shape(tuple(shape.as_list()[1:-1])))
    y = y if name else extend(y, g.crop, operator.y_layout)
    if g.ndim == 1:
        x, y = x[:, None], y[:, None]
    w = tf.raw_ops.Conv2DBackpropFilter(
        input=y,
        filter_sizes=[*[1] * (2 - g.ndim), *g.kernel, channels[0] // g.groups, channels[1]],
        out_backprop=x,
        strides=_strides(g.stride),
        padding=name or "VALID",
    )
    return w if g.ndim == 2 else w[0]


@lru_cache(maxsize=1024)
def _is_of_blocks(operator: Operator, dtype: Any) -> bool:
    """Return True if every element of y belongs to one position of x, and matrices of this dtype are multiplied."""
    g = operator.geometry
    return g.groups == 1 and g.kernel == g.stride and not any(map(any, g.crop)) and dtype in (tf.float32, tf.float64)


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
    return nothing, _explicit(g.crop)


def _explicit(pairs: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    sides = [0, 0, *[0, 0] * (2 - len(pairs)), *(side for pair in pairs for side in pair), 0, 0]
    return {"padding": "EXPLICIT", "explicit_paddings": sides}
