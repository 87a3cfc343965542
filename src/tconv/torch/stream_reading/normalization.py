"""Normalization with stored statistics, or with those of the channels at each moment; and means over channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import StreamError
from tconv.models.steps.arithmetic import Combination, Sum
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import ChannelMean
from tconv.torch.stream_reading.graph_reader import GraphReader, OperationReader, arguments, weight_of
from tconv.torch.stream_recording import Operation, Value


def batch_norm(reader: GraphReader, operation: Operation) -> int:
    """Read a batch norm in evaluation mode: it multiplies and adds constants."""
    a = arguments(
        operation,
        "input",
        "running_mean",
        "running_var",
        weight=None,
        bias=None,
        training=False,
        momentum=0.1,
        eps=1e-5,
    )
    layout = reader.layout(a.input)
    if a.training or a.running_mean is None or a.running_var is None:
        raise StreamError("batch_norm has no stored statistics: it reads all of time")
    if len(layout.axes) < 2 or layout.axes[1] != "C" or layout.size(1) != layout.total:
        raise StreamError(f"batch_norm runs along another axis than the channels: its input is {layout}")
    mean, variance = (weight_of(each, "statistics").astype(np.float64) for each in (a.running_mean, a.running_var))
    scale = (1 if a.weight is None else weight_of(a.weight)) / np.sqrt(variance + a.eps)
    shift = (0 if a.bias is None else weight_of(a.bias, "bias")) - mean * scale
    return reader.affine(reader.place(a.input), scale, shift)


def _check_channels(reader: GraphReader, value: Any, axes: list[int], name: str) -> None:
    """Raise StreamError unless these axes are all channels of a value."""
    layout = reader.layout(value)
    if any(layout.axes[axis] != "C" for axis in axes):
        raise StreamError(f"{name} is taken over time: it reads all of it")
    if math.prod(layout.size(axis) or 1 for axis in axes) != layout.total:
        raise StreamError(f"{name} is taken over some of the channels of {layout}")


def _scaled(reader: GraphReader, place: int, root: int, weight: Array | None, bias: Array | None) -> int:
    normal = reader.add(Combination("multiply"), place, root)
    if weight is None and bias is None:
        return normal
    return reader.affine(normal, 1.0 if weight is None else weight, 0.0 if bias is None else bias)


def layer_norm(reader: GraphReader, operation: Operation) -> int:
    """Read a normalization over the channels of each moment."""
    a = arguments(operation, "input", "normalized_shape", weight=None, bias=None, eps=1e-5)
    count = len(reader.layout(a.input).axes)
    _check_channels(reader, a.input, [*range(count - len(a.normalized_shape), count)], "layer_norm")
    place = reader.place(a.input)
    centred = reader.add(Sum((1.0, -1.0)), place, reader.add(ChannelMean(), place))
    variance = reader.add(ChannelMean(), reader.add(Pointwise("square"), centred))
    root = reader.add(Pointwise("rsqrt"), reader.affine(variance, 1.0, a.eps))
    weights = [None if each is None else weight_of(each).reshape(-1) for each in (a.weight, a.bias)]
    return _scaled(reader, centred, root, *weights)


def rms_norm(reader: GraphReader, operation: Operation) -> int:
    """Read a normalization by the root of the mean square of the channels of each moment."""
    a = arguments(operation, "input", "normalized_shape", weight=None, eps=None)
    count = len(reader.layout(a.input).axes)
    _check_channels(reader, a.input, [*range(count - len(a.normalized_shape), count)], "rms_norm")
    place = reader.place(a.input)
    square = reader.add(ChannelMean(), reader.add(Pointwise("square"), place))
    eps = float(np.finfo(np.float32).eps) if a.eps is None else a.eps
    root = reader.add(Pointwise("rsqrt"), reader.affine(square, 1.0, eps))
    return _scaled(reader, place, root, None if a.weight is None else weight_of(a.weight).reshape(-1), None)


def over_channels(kind: str) -> OperationReader:
    """Return the reader of a mean or a sum over all channels."""

    def read(reader: GraphReader, operation: Operation) -> int:
        a = arguments(operation, "input", dim=None, keepdim=False, dtype=None, out=None)
        if a.dim is None:
            raise StreamError(f"{operation.name} is taken over time: it reads all of it")
        dims = a.dim if isinstance(a.dim, tuple) else (a.dim,)
        _check_channels(reader, a.input, [reader.axis(a.input, dim) for dim in dims], operation.name)
        mean = reader.add(ChannelMean(), reader.place(a.input))
        return mean if kind == "mean" else reader.affine(mean, reader.layout(a.input).total)

    return read


def all_of_time(reason: str) -> OperationReader:
    """Return the reader of an operation that no stream can compute, with the reason."""

    def read(reader: GraphReader, operation: Operation) -> int:
        raise StreamError(f"{operation.name} {reason}")

    return read


def softmax(reader: GraphReader, operation: Operation) -> int:
    """Read a softmax, which is refused: over time it reads all of it."""
    a = arguments(operation, "input", dim=None, _stacklevel=3, dtype=None)
    value = a.input
    over_time = (
        isinstance(value, Value)
        and isinstance(a.dim, int)
        and (reader.layout(value).axes[reader.axis(value, a.dim)] == "T")
    )
    raise StreamError(
        f"{operation.name} is taken over time: it reads all of it"
        if over_time
        else f"{operation.name} has no step here"
    )
