"""Cropping and zero extension of the spatial axes of a tensor, by integers or by tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tconv.dialects.layouts import DataLayout


def extend(y: Any, pairs: Sequence[tuple[Any, Any]], layout: DataLayout) -> Any:
    """Return y with (lo, hi) zeros around each spatial axis; a negative number crops instead.

    The numbers are integers, or scalar tensors where they are known at run time only.
    """
    # zeros first: a crop may reach into those of the other end
    if all(isinstance(side, int) for pair in pairs for side in pair):
        if any(side > 0 for pair in pairs for side in pair):
            y = tf.pad(y, [[max(0, lo), max(0, hi)] for lo, hi in _per_axis(pairs, layout)])
        if any(side < 0 for pair in pairs for side in pair):
            y = y[tuple(slice(max(0, -lo), min(0, hi) or None) for lo, hi in _per_axis(pairs, layout))]
        return y
    both = tf.stack([tf.stack([tf.cast(side, tf.int32) for side in pair]) for pair in _per_axis(pairs, layout)])
    extended, cut = tf.pad(y, tf.maximum(both, 0)), tf.maximum(-both, 0)
    fitted = tf.slice(extended, cut[:, 0], tf.shape(extended) - tf.reduce_sum(cut, 1))
    if not tf.executing_eagerly():
        fitted.set_shape([None if isinstance(axis, int) else y.shape[at] for at, axis in enumerate(layout.axes)])
    return fitted


def _per_axis(pairs: Sequence[tuple[Any, Any]], layout: DataLayout) -> list[tuple[Any, Any]]:
    return [pairs[axis] if isinstance(axis, int) else (0, 0) for axis in layout.axes]
