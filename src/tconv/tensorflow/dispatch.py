"""Choice between tconv's kernel and the operator of tf.nn, where both can compute a call."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import tensorflow as tf

from tconv.dialects import dialect
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.tensorflow.operator_rule import Operator
from tconv.tensorflow.standard import restored

_LEAST_PRODUCTS = 4_000_000
"""Multiply-adds below which tconv's kernel is quicker by what TensorFlow needs to begin."""
_MANY_POSITIONS = 1500
"""Positions of x, over the batch, from which a convolution of stride 1 is at its best in tf.nn."""
_MUCH_BORDER = 1.5
"""Outputs over inputs from which the border is the reason that is named."""


def may_run_nn(operator: Operator) -> bool:
    """Return False if tconv's kernel is to run for all sizes.

    The conditions here and in `_reason` are measured, as tf.nn's CPU time on one thread over the kernel's, on a Zen 4.
    3x3 taps, 128 channels, 8x28x28 0.96, 56x56 0.99; 64 channels, 4x56x56 0.96; 256 channels, 8x14x14 0.96, but 32x32
    1.03 and 512 channels, 16x16 1.12; on few positions 4x4 taps, 100 -> 512 channels, 128x1x1 0.38; 5x5 taps, 64
    channels, 8x8x8 0.60 without a crop and 0.98 with it.
    Strides above 1: 1.0 to 2.9. Where it is less (5x5 taps on 2x2 without a crop 0.86) oneDNN multiplies the zeros that
    it inserts, and infinite and NaN weights spread to outputs that they do not belong to.
    """
    return max(operator.geometry.stride) == 1


def reason_for_nn(operator: Operator, x_shape: Any, weight_shape: Any, dtype: Any) -> str:
    """Return the reason why tf.nn runs a call, which tconv's kernel could; empty if the kernel does."""
    if not may_run_nn(operator):
        return ""
    batch, channels, sizes = operator.x_layout.sizes(tuple(x_shape.as_list()))
    outputs = operator.weight_layout.sizes(tuple(weight_shape.as_list()))["O"]
    if batch == 0 or None in (channels, outputs, *sizes):
        return ""
    return _reason(operator, sizes, batch or 1, channels * outputs, dtype.name)


@lru_cache(maxsize=1024)
def _reason(operator: Operator, sizes: tuple[int, ...], batch: int, channels: int, dtype: str) -> str:
    g = operator.geometry
    positions, taps = math.prod(sizes), math.prod(g.kernel)
    if dtype not in ("float32", "bfloat16") or batch * positions * channels * taps < _LEAST_PRODUCTS or taps == 1:
        return ""
    small = positions <= math.prod(2 * k for k in g.kernel)
    faster = g.ndim == 2 and (small or batch * positions >= _MANY_POSITIONS)
    if not faster or reasons_against_nn(operator, sizes):
        return ""
    if math.prod(g.output_shape(sizes)) > _MUCH_BORDER * positions:
        return "most outputs are in the border, where the kernel multiplies zeros"
    return "a layer of stride 1 is an ordinary convolution, which is as fast in tf.nn"


@lru_cache(maxsize=1024)
def reasons_against_nn(operator: Operator, sizes: tuple[int, ...]) -> tuple[str, ...]:
    """Return all reasons why the operator of tf.nn cannot compute a call on the CPU, or computes it wrongly."""
    g, speaker = operator.geometry, dialect("tensorflow")
    reasons = list(speaker.reasons_against(g, sizes))
    layouts = operator.x_layout, operator.y_layout, operator.weight_layout
    last = DataLayout.of("N*C", g.ndim)
    if layouts != (last, last, WeightLayout.of("*OI", g.ndim)):
        reasons.append("layouts other than [N, *spatial, C] and [*kernel, C_out, C_in]")
    if g.groups > 1:
        reasons.append("groups, which tf.nn has only with oneDNN")
    if max(g.dilation) > 1:
        reasons.append("dilation, which tf.nn has only with oneDNN")
    if not reasons:
        native = speaker.arguments(g, sizes)
        reasons += [fault.what for fault in speaker.faults if fault.applies(g, sizes, native)]
    return tuple(reasons)


def run_nn(operator: Operator, x: Any, weight: Any, name: str | None) -> Any:
    """Run the operator of tf.nn on a call that it has no reasons against."""
    g = operator.geometry
    arguments = dict(dialect("tensorflow").arguments(g, operator.x_layout.sizes(tuple(x.shape.as_list()))[2]))
    sizes = arguments.pop("output_shape")
    arguments.pop("dilations")
    batch, channels = x.shape[0], weight.shape[-2]
    if batch is None:
        batch, x = tf.shape(x)[0], _with_own_shape(x)
    channels = tf.shape(weight)[-2] if channels is None else channels
    call = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[g.ndim - 1]
    return call(x, weight, [batch, *sizes, channels], name=name, **arguments)


@tf.custom_gradient
def _with_own_shape(x: Any) -> Any:
    """Return x, whose gradient gets its shape: oneDNN returns an empty batch in that of y."""
    return tf.identity(x), restored
