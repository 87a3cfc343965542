"""Transposed convolution, convolution and weight gradient in operators of tf.nn, until `standard` has better ones."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.geometry import Geometry


def _order(layout: DataLayout) -> list[Any]:
    return ["N", *sorted(axis for axis in layout.axes if isinstance(axis, int)), "C"]


def _last(x: Any, layout: DataLayout) -> Any:
    order = _order(layout)
    view = x if "N" in layout.axes else x[None]
    axes = layout.axes if "N" in layout.axes else ("N", *layout.axes)
    return tf.transpose(view, [axes.index(axis) for axis in order])


def _native(x: Any, layout: DataLayout) -> Any:
    order = _order(layout)
    if "N" not in layout.axes:
        x, order = x[0], order[1:]
    return tf.transpose(x, [order.index(axis) for axis in layout.axes])


def _filters(w: Any, layout: WeightLayout, groups: int) -> Any:
    """Return the weight as [groups, *kernel, C_out/g, C_in/g]."""
    spatial = sorted(axis for axis in layout.axes if isinstance(axis, int))
    order = [*("G" if layout.grouped == "G" else ""), *("OI" if layout.grouped == "O" else "IO"), *spatial]
    w = tf.transpose(w, [layout.axes.index(axis) for axis in order])
    shape = tf.shape(w)
    if layout.grouped != "G":
        w = tf.reshape(w, tf.concat([[groups, shape[0] // groups], shape[1:]], 0))
    if layout.grouped == "O":
        w = tf.transpose(w, [0, 2, 1, *range(3, w.shape.rank)])
    # [g, I, O, *k]
    if layout.flip:
        w = tf.reverse(w, list(range(3, w.shape.rank)))
    return tf.transpose(w, [0, *range(3, w.shape.rank), 2, 1])


def _native_weight(w: Any, layout: WeightLayout) -> Any:
    nd = w.shape.rank - 3
    w = tf.transpose(w, [0, nd + 2, nd + 1, *range(1, nd + 1)])  # [g, I, O, *k]
    if layout.flip:
        w = tf.reverse(w, list(range(3, w.shape.rank)))
    spatial = list(range(nd))
    if layout.grouped == "G":
        order = ["G", "I", "O", *spatial]
    else:
        order = ["I", "O", *spatial]
        if layout.grouped == "O":
            w = tf.transpose(w, [0, 2, 1, *range(3, w.shape.rank)])
            order = ["O", "I", *spatial]
        shape = tf.shape(w)
        w = tf.reshape(w, tf.concat([[shape[0] * shape[1]], shape[2:]], 0))
    return tf.transpose(w, [order.index(axis) for axis in layout.axes])


def _dilated(w: Any, g: Geometry) -> Any:
    """Return [*kernel, O, I] with zeros between the taps."""
    for axis, d in enumerate(g.dilation):
        if d > 1:
            parts = tf.unstack(w, axis=axis)
            zero = tf.zeros_like(parts[0])
            spread = [part for tap in parts for part in (tap, *[zero] * (d - 1))][: g.extent[axis]]
            w = tf.stack(spread, axis=axis)
    return w


def _undilated(w: Any, g: Geometry) -> Any:
    return w[tuple(slice(None, None, d) for d in g.dilation)]


def _fit(y: Any, g: Geometry, sign: int) -> Any:
    pads = [[0, 0], *([max(0, sign * lo), max(0, sign * hi)] for lo, hi in g.crop), [0, 0]]
    cuts = [(max(0, -sign * lo), max(0, -sign * hi)) for lo, hi in g.crop]
    y = y[(slice(None), *(slice(lo, -hi if hi else None) for lo, hi in cuts), slice(None))]
    return tf.pad(y, pads)


_CONV = (tf.nn.conv1d, tf.nn.conv2d, tf.nn.conv3d)
_TRANSPOSED = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)


def _strides(g: Geometry) -> Any:
    return g.stride[0] if g.ndim == 1 else [1, *g.stride, 1]


def conv_transpose(
    x: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    g = geometry
    images, filters = _last(x, data), _filters(weight, weight_layout, g.groups)
    outputs = []
    for number, part in enumerate(tf.split(images, g.groups, -1)):
        w = _dilated(filters[number], g)
        sizes = tf.shape(part)
        full = [s * (sizes[axis + 1] - 1) + e for axis, (s, e) in enumerate(zip(g.stride, g.extent, strict=True))]
        shape = tf.stack([sizes[0], *full, tf.shape(w)[-2]])
        outputs.append(_TRANSPOSED[g.ndim - 1](part, w, shape, _strides(g), "VALID"))
    return _native(_fit(tf.concat(outputs, -1), g, -1), result)


def conv(
    y: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    g = geometry
    images, filters = _fit(_last(y, data), g, 1), _filters(weight, weight_layout, g.groups)
    outputs = [
        _CONV[g.ndim - 1](part, _dilated(filters[number], g), _strides(g), "VALID")
        for number, part in enumerate(tf.split(images, g.groups, -1))
    ]
    return _native(tf.concat(outputs, -1), result)


def weight_gradient(
    x: Any, y: Any, geometry: Geometry, x_data: DataLayout, y_data: DataLayout, weight_layout: WeightLayout
) -> Any:
    g = geometry
    images, larges = _last(x, x_data), _fit(_last(y, y_data), g, 1)
    gradients = []
    for part, large in zip(tf.split(images, g.groups, -1), tf.split(larges, g.groups, -1), strict=True):
        sizes = tf.stack([*g.extent, tf.shape(large)[-1], tf.shape(part)[-1]])
        if g.ndim == 3:
            w = tf.raw_ops.Conv3DBackpropFilterV2(
                input=large, filter_sizes=sizes, out_backprop=part, strides=_strides(g), padding="VALID"
            )
        else:
            if g.ndim == 1:
                large, part = large[:, None], part[:, None]
                sizes = tf.concat([[1], sizes], 0)
            stride = [1, 1, g.stride[0], 1] if g.ndim == 1 else _strides(g)
            w = tf.raw_ops.Conv2DBackpropFilter(
                input=large, filter_sizes=sizes, out_backprop=part, strides=stride, padding="VALID"
            )
            w = w[0] if g.ndim == 1 else w
        gradients.append(_undilated(w, g))
    w = tf.stack(gradients)
    w.set_shape([g.groups, *g.kernel, None, None])
    return _native_weight(w, weight_layout)
