"""Convolutions, transposed convolutions and matrices over channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import StreamError
from tconv.geometry import Geometry
from tconv.models.layers import Convolution
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, arguments, bias_of, number_of, weight_of
from tconv.torch.stream_recording import RecordedOperation, TimeValue


def check_channels_before_time(reader: ModuleGraphReader, value: Any, name: str) -> None:
    """Raise StreamError unless a value is [sessions, C, T] or [C, T]."""
    layout = reader.layout(value)
    axes = layout.axes[-2:]
    before = [reader.shape(value)[axis] for axis, role in enumerate(layout.axes[:-2]) if role == "C"]
    if axes != ("C", "T") or len(layout.axes) > 3 or before not in ([], [1]):
        raise StreamError(f"{name} runs along another axis than time: its input is {layout}")


def conv1d(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read an ordinary convolution."""
    a = arguments(operation, "input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
    place = reader.place(a.input)
    check_channels_before_time(reader, a.input, "the convolution")
    weight, stride, dilation = weight_of(a.weight), number_of(a.stride, "stride"), number_of(a.dilation, "dilation")
    total = dilation * (weight.shape[2] - 1)
    padding = a.padding[0] if isinstance(a.padding, tuple) else a.padding
    if padding in ("same", "valid"):
        sides = (total // 2, total - total // 2) if padding == "same" else (0, 0)
    else:
        sides = (number_of(padding, "padding"),) * 2
    groups = number_of(a.groups, "groups")
    return reader.add(ordinary(weight, bias_of(a.bias), stride, sides, dilation, groups), place)


def ordinary(
    weight: Array, bias: Array | None, stride: int, sides: tuple[int, int], dilation: int, groups: int
) -> Convolution | StridedConvolution:
    """Return the step of a convolution with weight [C_out, C_in/groups, k]."""
    row = np.ascontiguousarray(weight[:, :, None])
    if stride == 1:
        return Convolution.ordinary(row, bias, ((0, 0), sides), (1, dilation), groups)
    return StridedConvolution(row, bias, (1, stride), ((0, 0), sides), (1, dilation), groups)


def conv_transpose1d(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a transposed convolution."""
    a = arguments(operation, "input", "weight", bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1)
    place = reader.place(a.input)
    check_channels_before_time(reader, a.input, "the transposed convolution")
    weight = weight_of(a.weight)
    stride, padding, more, groups, dilation = (
        number_of(getattr(a, name), name) for name in ("stride", "padding", "output_padding", "groups", "dilation")
    )
    crop = ((0, 0), (padding, padding - more))
    geometry = Geometry((1, weight.shape[2]), (1, stride), crop, (1, dilation), groups)
    return reader.add(Convolution(np.ascontiguousarray(weight[:, :, None]), geometry, bias_of(a.bias)), place)


def linear(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a matrix over the last axis, which is that of the channels."""
    a = arguments(operation, "input", "weight", bias=None)
    return _matrix(reader, a.input, weight_of(a.weight), bias_of(a.bias), -1)


def matmul(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a product with a constant matrix, on either side."""
    a = arguments(operation, "input", "other")
    if isinstance(a.input, TimeValue) and isinstance(a.other, TimeValue):
        raise StreamError("matmul multiplies two values that depend on the input, as attention does")
    if isinstance(a.input, TimeValue):
        return _matrix(reader, a.input, _square(weight_of(a.other)).T, None, -1)
    return _matrix(reader, a.other, _square(weight_of(a.input)), None, -2)


def _square(weight: Array) -> Array:
    if weight.ndim < 2 or weight.size != weight.shape[-2] * weight.shape[-1]:
        raise StreamError(f"matmul has a constant of shape {weight.shape}; a matrix is needed")
    return weight.reshape(weight.shape[-2:])


def _matrix(reader: ModuleGraphReader, value: Any, weight: Array, bias: Array | None, axis: int) -> int:
    """Return the place of a matrix [C_out, C_in] over an axis that has all channels."""
    layout = reader.layout(value)
    if len(layout.axes) < -axis or layout.axes[axis] != "C":
        raise StreamError(f"a matrix multiplies along time: its input is {layout}")
    if layout.total != weight.shape[1]:
        raise StreamError(f"a matrix multiplies one axis of channels of several: its input is {layout}")
    row = np.ascontiguousarray(weight[:, :, None])
    return reader.add(ordinary(row, bias, 1, (0, 0), 1, 1), reader.place(value))
