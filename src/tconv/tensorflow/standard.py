"""The operator, its adjoint and its weight gradient in TensorFlow's standard operators.

All three take and return native tensors. Sizes of x and y may be unknown while a function is traced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import Any

import tensorflow as tf

from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.operator.standard import derivatives, forward
from tconv.operator.standard.forward import has_plain_form
from tconv.operator.standard.native_layouts import data_in, data_out, weight_in, weight_out
from tconv.operator.standard.operations import Size


@tf.autograph.experimental.do_not_convert
def conv_transpose(
    x: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return the transposed convolution of x and a weight, in the layout `result`."""
    images, w = data_in(OPERATIONS, x, data), weight_in(OPERATIONS, weight, weight_layout, geometry.groups)
    if _has_own(x, geometry, OPERATIONS.sizes(w)[-1]):
        y = _own(images, w[0], geometry)
    else:
        y = forward.conv_transpose(OPERATIONS, images, w, geometry, [True] * geometry.ndim)
    if max(geometry.stride) == 1:
        y = restored(y)
    return data_out(OPERATIONS, y, result)


@tf.autograph.experimental.do_not_convert
def conv(
    y: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return the convolution of y and a weight whose transpose `conv_transpose` is, in the layout `result`."""
    images, w = data_in(OPERATIONS, y, data), weight_in(OPERATIONS, weight, weight_layout, geometry.groups)
    return data_out(OPERATIONS, restored(derivatives.conv(OPERATIONS, images, w, geometry)), result)


@tf.autograph.experimental.do_not_convert
def weight_gradient(
    x: Any, y: Any, geometry: Geometry, x_data: DataLayout, y_data: DataLayout, weight_layout: WeightLayout
) -> Any:
    """Return the gradient with respect to the weight of the sum of y times the transposed convolution of x."""
    inputs, outputs = data_in(OPERATIONS, x, x_data), data_in(OPERATIONS, y, y_data)
    w = derivatives.weight_gradient(OPERATIONS, inputs, outputs, geometry, geometry.kernel[-1])
    return weight_out(OPERATIONS, w, weight_layout)


_LITE_TRANSPOSE = 6
"""Axes of the largest array that TensorFlow Lite transposes."""


_FEW_CHANNELS = 4


class _TensorFlow:
    """`Operations` of TensorFlow that the CPU, XLA and TensorFlow Lite have."""

    def sizes(self, x: Any) -> tuple[Size, ...]:
        known = x.shape.as_list()
        if None not in known:
            return tuple(known)
        sizes = tf.shape(x)
        return tuple(sizes[axis] if size is None else size for axis, size in enumerate(known))

    def reshape(self, x: Any, sizes: Sequence[Size]) -> Any:
        return tf.reshape(x, sizes)

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        if len(order) <= _LITE_TRANSPOSE:
            return tf.transpose(x, order)
        sizes = self.sizes(x)
        starts = [i for i in range(len(order)) if i == 0 or order[i] != order[i - 1] + 1]
        runs = [list(order[i:j]) for i, j in zip(starts, [*starts[1:], len(order)], strict=True)]
        inside = sorted(runs)  # axes that stay neighbours are joined
        x = tf.reshape(x, [math.prod(sizes[axis] for axis in run) for run in inside])
        x = tf.transpose(x, [inside.index(run) for run in runs])
        return tf.reshape(x, [sizes[axis] for axis in order])

    def flip(self, x: Any, axes: Sequence[int]) -> Any:
        return tf.reverse(x, list(axes)) if axes else x

    def pad(self, x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
        if any(side > 0 for pair in pairs for side in pair):  # zeros first: a crop may reach into them
            x = tf.pad(x, [(max(0, lo), max(0, hi)) for lo, hi in pairs])
        if any(side < 0 for pair in pairs for side in pair):
            x = x[tuple(slice(max(0, -lo), min(0, hi) or None) for lo, hi in pairs)]
        return x

    def slice(self, x: Any, starts: Sequence[int], sizes: Sequence[Size], steps: Sequence[int]) -> Any:
        axes = zip(starts, sizes, steps, strict=True)
        return x[tuple(slice(start, start + (n - 1) * step + 1, step) for start, n, step in axes)]

    def concatenate(self, arrays: Sequence[Any], axis: int) -> Any:
        return tf.concat(arrays, axis)

    def zeros(self, sizes: Sequence[Size], like: Any) -> Any:
        return tf.zeros(sizes, like.dtype)

    def conv(
        self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int], pads: Sequence[tuple[int, int]]
    ) -> Any:
        dtype = x.dtype
        x, w = _accumulating(x), _accumulating(w)
        x = self.pad(x, [(0, 0), *pads, (0, 0)])
        return tf.cast(_conv(x, w, stride, dilation), dtype)

    def correlate(self, x: Any, y: Any) -> Any:
        dtype = x.dtype
        x, y = _accumulating(x), _accumulating(y)
        (*_, G, C), outputs = self.sizes(x), self.sizes(y)[-1]
        positions = math.prod(self.sizes(x)[:-2])
        x, y = (tf.reshape(each, (positions, G, each.shape[-1])) for each in (x, y))
        if G == 1:
            sums = tf.matmul(tf.reshape(x, (positions, C)), tf.reshape(y, (positions, outputs)), transpose_a=True)
            return tf.cast(sums[None], dtype)
        return tf.cast(tf.matmul(tf.transpose(x, (1, 2, 0)), tf.transpose(y, (1, 0, 2))), dtype)


OPERATIONS = _TensorFlow()


def restored(y: Any) -> Any:
    """Return a result of a convolution in its own shape, also if it is empty, when oneDNN returns that of x.

    The sizes are written so that TensorFlow's optimizer does not see that they are those it expects.
    """
    batch, *sizes = OPERATIONS.sizes(y)
    if isinstance(batch, int):
        return y
    shape = y.shape
    y = tf.reshape(y, (batch, *(size + tf.minimum(batch, 0) for size in sizes)))
    y.set_shape(shape)
    return y


def _has_own(x: Any, g: Geometry, c_out: int) -> bool:
    """Return True if TensorFlow's own transposed convolution is right, and quicker on the CPU than one by phases.

    It is a matrix product and a sum of its columns. By phases, layers of up to 4 output channels are 2 to 6 times as
    quick, if their phases have equally many taps; most others take 1.5 to 2 times as long (2.21.0, Zen 4).
    """
    uneven = any(k % s for k, s in zip(g.kernel, g.stride, strict=True))
    return g.groups == 1 and x.dtype.is_floating and has_plain_form(g) and (uneven or c_out > _FEW_CHANNELS)


def _own(x: Any, w: Any, g: Geometry) -> Any:
    """Return TensorFlow's own transposed convolution of x [N, *n, C] and w [*k, C, O], in words that TFLite has."""
    dtype = x.dtype
    batch, *inputs, _ = OPERATIONS.sizes(x)
    *_, c_in, c_out = OPERATIONS.sizes(w)
    x, w = _accumulating(x), tf.transpose(_accumulating(w), (*range(g.ndim), g.ndim + 1, g.ndim))
    axes = list(zip(inputs, g.kernel, g.stride, g.crop, strict=True))
    same = all(-s < k - s - lo - hi <= 0 and lo == (lo + hi) // 2 for _, k, s, (lo, hi) in axes)
    sizes = [s * (n - 1) + k - (lo + hi if same else 0) for n, k, s, (lo, hi) in axes]
    kernel, stride = g.kernel, g.stride
    if g.ndim == 1:  # a row of an image
        inputs, kernel, stride, wide = [1, *inputs], (1, *kernel), (1, *stride), [1, *sizes]
    else:
        wide = sizes
    y = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.stack([batch, *wide, c_out]),
        filter=tf.reshape(w, (*kernel, c_out, c_in)),
        out_backprop=tf.reshape(x, (batch, *inputs, c_in)),
        strides=[1, *stride, 1],
        padding="SAME" if same else "VALID",
    )
    y = tf.cast(tf.reshape(y, (batch, *sizes, c_out)), dtype)
    return y if same else OPERATIONS.pad(y, [(0, 0), *((-lo, -hi) for lo, hi in g.crop), (0, 0)])


def _accumulating(x: Any) -> Any:
    """Return 16-bit floats in 32 bits, in which they are summed and rounded once."""
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x


def _conv(x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int]) -> Any:
    """Return the convolution without padding of x [N, *n, groups*C] and w [groups, *k, C, O]."""
    batch, *inputs, _ = OPERATIONS.sizes(x)
    groups, *kernel, c_in, c_out = OPERATIONS.sizes(w)
    axes = zip(inputs, kernel, stride, dilation, strict=True)
    outputs = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes]
    if groups == 1 and set(kernel) == {1} == set(stride):
        rows = tf.reshape(x, (batch * math.prod(inputs), c_in))
        y = tf.matmul(rows, tf.reshape(w, (c_in, c_out)))
    elif x.dtype.is_floating and len(kernel) <= 2:
        filters = tf.transpose(w, (*range(1, w.shape.rank - 1), 0, w.shape.rank - 1))
        filters = tf.reshape(filters, (*kernel, c_in, groups * c_out))
        if len(kernel) == 1:
            x, filters = tf.expand_dims(x, 1), tf.expand_dims(filters, 0)
        steps = [[*[1] * (3 - len(kernel)), *each, 1] for each in (stride, dilation)]
        y = tf.raw_ops.Conv2D(input=x, filter=filters, strides=steps[0], padding="VALID", dilations=steps[1])
    elif x.dtype.is_floating and len(kernel) == 3 and groups == 1 and max(dilation) == 1:
        y = tf.raw_ops.Conv3D(input=x, filter=w[0], strides=[1, *stride, 1], padding="VALID")
    else:
        y = _sum_of_taps(x, w, stride, dilation, outputs)
    # oneDNN returns an empty batch in the shape of x
    return tf.reshape(y, (batch, *outputs, groups * c_out))


def _sum_of_taps(x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int], outputs: Sequence[Size]) -> Any:
    """Return a convolution as one matrix product for each tap, as [positions, groups, O]."""
    batch, *_, channels = OPERATIONS.sizes(x)
    groups, *kernel, c_in, _ = OPERATIONS.sizes(w)
    terms = []
    for tap in product(*map(range, kernel)):
        starts = [0, *(d * t for d, t in zip(dilation, tap, strict=True)), 0]
        rows = OPERATIONS.slice(x, starts, (batch, *outputs, channels), (1, *stride, 1))
        rows = tf.transpose(tf.reshape(rows, (batch * math.prod(outputs), groups, c_in)), (1, 0, 2))
        terms.append(tf.matmul(rows, w[(slice(None), *tap)]))
    return tf.transpose(reduce(tf.add, terms), (1, 0, 2))
