"""Choice between tconv's kernel and the operator of tf.nn, where both can compute a call."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import tensorflow as tf

from tconv.dialects import dialect
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.tensorflow.operator_rule import Operator

_LEAST_POSITIONS = 1500
"""
Positions of x, over the batch, from which a layer of stride 1 is left to tf.nn.

Measured on two cores of a Zen 4 by CPU time on one thread, tf.nn's time over the kernel's: 3x3 taps, 128 channels
8x28x28 0.96 and 56x56 0.99, 64 channels 4x56x56 0.96, 256 channels 8x14x14 0.96; below it 256 channels 32x32 1.03 and
512 channels 16x16 1.12. Strides above 1 are 1.0 to 1.6, few channels more.
"""


def reason_for_nn(operator: Operator, x_shape: Any, dtype: Any) -> str:
    """Return the reason why tf.nn runs a call, which tconv's kernel could; empty if the kernel does."""
    if max(operator.geometry.stride) > 1:
        return ""
    batch, _, sizes = operator.x_layout.sizes(tuple(x_shape.as_list()))
    return _reason(operator, sizes, batch or 1, dtype.name)


@lru_cache(maxsize=1024)
def _reason(operator: Operator, sizes: Any, batch: int, dtype: str) -> str:
    g = operator.geometry
    plain_convolution = g.ndim == 2 and g.groups == 1 and max(g.dilation) == 1 and math.prod(g.kernel) > 1
    if not plain_convolution or dtype not in ("float32", "bfloat16") or None in sizes:
        return ""
    if batch * math.prod(sizes) < _LEAST_POSITIONS or reasons_against_nn(operator, sizes):
        return ""
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
    batch = tf.shape(x)[0] if batch is None else batch
    channels = tf.shape(weight)[-2] if channels is None else channels
    call = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[g.ndim - 1]
    return call(x, weight, [batch, *sizes, channels], name=name, **arguments)
