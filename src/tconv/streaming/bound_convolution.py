"""Convolutions of a stream as calls of compiled code, with weights that all programs share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.activation import activation_of
from tconv.kernels.problem import Problem, is_plain
from tconv.models.layers import Convolution, replace_crop
from tconv.operator.strips import DIRECT
from tconv.streaming.commands import Commands
from tconv.streaming.time_step import TimeSpan


def add_convolution(
    commands: Commands,
    packed: dict[Any, Any],
    step: Convolution,
    given: TimeSpan,
    size: int,
    out: TimeSpan,
    threads: int,
) -> bool:
    """Add a convolution as a call of compiled code; False if it cannot be one."""
    g = step.geometry
    (k, s, _), ((lo, _),) = (each[0] for each in (g.kernel, g.stride, g.dilation)), (g.crop[0],)
    if (k, s, lo) != (1, 1, 0) or g.crop[0] != (0, 0) or (step.bias is not None and step.bias.ndim > 1):
        return False
    if step.method != DIRECT or step.weight.dtype != out.values.dtype:
        return False
    from tconv.kernels.simd.form_choice import direct_form
    from tconv.kernels.simd.specialized_call import compiled

    count = out.values.shape[-1]
    span = step.source(0, slice(out.start, out.start + count), [size], 1)
    start = max(span.start, given.start)
    x = given.values[..., start - given.start : span.stop - given.start]
    if start >= span.stop:  # outputs behind the last tap read no input: one without numbers stands for it
        start, x = span.start, np.zeros((*x.shape[:3], 1), x.dtype)
    left = out.start + g.crop[1][0] - g.stride[1] * start
    (full,) = step.along[1].full_shape(x.shape[3:])
    geometry = replace_crop(g, ((0, 0), (left, full - left - count)))
    p = Problem(geometry, len(x), *step.channels, x.shape[2:], x.dtype, step.bias is not None)
    if not (is_plain(x) and is_plain(out.values)):
        return False
    strides = [tuple(each // x.itemsize for each in array.strides) for array in (x, out.values)]
    activation = activation_of(step.activation, step.channels[1])
    form = direct_form(p, *strides)
    # the weight's order depends on the phase of the first output only
    key = id(step), form.name, left % g.stride[1]
    if key not in packed:
        packed[key] = form.pack(p, step.weight)
    bias = None if step.bias is None else _contiguous(packed, step, p.accumulate)
    call = compiled(form, p, strides[0], strides[1], threads, activation is not None)
    arrays = () if activation is None else _activation(packed, step, activation, p.accumulate)
    commands.sequence.add(call, x, packed[key], bias, out.values, arrays)
    return True


def _contiguous(packed: dict[Any, Any], step: Convolution, dtype: Any) -> Array:
    bias: Array = packed.setdefault((id(step), "bias"), np.ascontiguousarray(step.bias, dtype))
    return bias


def _activation(packed: dict[Any, Any], step: Convolution, activation: Any, dtype: Any) -> tuple[Array, ...]:
    arrays: tuple[Array, ...] = packed.setdefault((id(step), "activation"), activation.arrays(step.channels[1], dtype))
    return arrays
