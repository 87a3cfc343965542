"""Normalization with stored statistics, or with those of the channels at each moment; and means over channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tconv.errors import StreamError
from tconv.models.steps.channel_softmax import ChannelSoftmax
from tconv.models.steps.pooling import ChannelMean
from tconv.streaming.channel_norm import ChannelNorm
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, OperationReader, arguments, weight_of
from tconv.torch.stream_recording import RecordedOperation, TimeValue
from tconv.torch.stream_runs import Constant


def batch_norm(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
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


def _check_channels(reader: ModuleGraphReader, value: Any, axes: list[int], name: str) -> None:
    """Raise StreamError unless these axes are all channels of a value."""
    layout = reader.layout(value)
    roles = {layout.axes[axis] for axis in axes}
    if "T" in roles:
        raise StreamError(f"{name} is taken over time: it reads all of it")
    if "B" in roles:
        raise StreamError(f"{name} is taken over sessions")
    if math.prod(layout.size(axis) or 1 for axis in axes) != layout.total:
        raise StreamError(f"{name} is taken over some of the channels of {layout}")


def layer_norm(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a normalization over the channels of each moment."""
    a = arguments(operation, "input", "normalized_shape", weight=None, bias=None, eps=1e-5)
    return _normalized(reader, a, "layer_norm", a.bias, a.eps, True)


def rms_norm(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a normalization by the root of the mean square of the channels of each moment."""
    a = arguments(operation, "input", "normalized_shape", weight=None, eps=None)
    eps = float(np.finfo(np.float32).eps) if a.eps is None else a.eps
    return _normalized(reader, a, "rms_norm", None, eps, False)


def _normalized(reader: ModuleGraphReader, a: Any, name: str, bias: Any, eps: float, centred: bool) -> int:
    count = len(reader.layout(a.input).axes)
    _check_channels(reader, a.input, [*range(count - len(a.normalized_shape), count)], name)
    gain, shift = (None if each is None else weight_of(each).reshape(-1) for each in (a.weight, bias))
    return reader.add(ChannelNorm(gain, shift, float(eps), centred), reader.place(a.input))


def over_channels(kind: str) -> OperationReader:
    """Return the reader of a mean or a sum over all channels."""

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
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

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
        raise StreamError(f"{operation.name} {reason}")

    return read


def over_time_or_channels(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Refuse an operation that reads all of time, or of channels, by the axes that it is given."""
    value = operation.args[0] if operation.args else operation.kwargs.get("input")
    given = operation.kwargs.get("dim", operation.args[1] if len(operation.args) > 1 else None)
    if isinstance(given, (TimeValue, Constant)):
        raise StreamError(f"{operation.name} of two values has no form here; torch.{operation.name}imum has")
    dims = given if isinstance(given, tuple) else (given,)
    if all(isinstance(dim, int) for dim in dims):
        roles = {reader.layout(value).axes[reader.axis(value, dim)] for dim in dims}
        if "T" not in roles:
            raise StreamError(f"{operation.name} over channels or sessions is an operation that has no form here")
    raise StreamError(f"{operation.name} reads all of time")


def softmax(log: bool) -> OperationReader:
    """Return the reader of a softmax over all channels, or of its logarithm."""

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
        a = arguments(operation, "input", dim=None, _stacklevel=3, dtype=None)
        _check_channels(reader, a.input, [reader.axis(a.input, a.dim)], operation.name)
        return reader.add(ChannelSoftmax(log), reader.place(a.input))

    return read
