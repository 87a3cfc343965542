"""Activations with numbers of their own, and gates."""

from __future__ import annotations

import math
from typing import Any

from tconv.errors import StreamError
from tconv.models.steps.arithmetic import Combination, Sum
from tconv.models.steps.channels import ChannelRange
from tconv.models.steps.pointwise import Pointwise
from tconv.torch.stream_reading.layouts import channels_inside
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, arguments, number_of, weight_of
from tconv.torch.stream_recording import RecordedOperation


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise StreamError(f"{name} is {value!r}; a number is needed")
    return float(value)


def leaky_relu(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a leaky ReLU."""
    a = arguments(operation, "input", negative_slope=0.01, inplace=False)
    return reader.add(Pointwise(("leaky_relu", _number(a.negative_slope, "the slope"))), reader.place(a.input))


def prelu(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a leaky ReLU with a slope for each channel, which is axis 1."""
    a = arguments(operation, "input", "weight")
    slopes, layout = weight_of(a.weight).reshape(-1), reader.layout(a.input)
    if slopes.size == 1:
        return reader.add(Pointwise(("leaky_relu", float(slopes[0]))), reader.place(a.input))
    if len(layout.axes) < 2 or layout.size(1) != slopes.size or layout.total != slopes.size:
        raise StreamError(f"prelu has slopes along another axis than the channels: its input is {layout}")
    return reader.add(Pointwise(("prelu", slopes)), reader.place(a.input))


def elu(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read an exponential linear unit."""
    a = arguments(operation, "input", alpha=1.0, inplace=False)
    return reader.add(Pointwise(("elu", _number(a.alpha, "alpha"))), reader.place(a.input))


def celu(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read alpha times the exponential linear unit of x / alpha."""
    a = arguments(operation, "input", alpha=1.0, inplace=False)
    alpha = _number(a.alpha, "alpha")
    inner = reader.add(Pointwise("elu"), reader.affine(reader.place(a.input), 1 / alpha))
    return reader.affine(inner, alpha)


def gelu(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a Gaussian error linear unit, exact or by tanh."""
    a = arguments(operation, "input", approximate="none")
    return reader.add(Pointwise("gelu_tanh" if a.approximate == "tanh" else "gelu"), reader.place(a.input))


def softplus(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read log(1 + exp(beta x)) / beta; above the threshold x itself, which differs by less than it rounds."""
    a = arguments(operation, "input", beta=1.0, threshold=20.0)
    beta, threshold = _number(a.beta, "beta"), _number(a.threshold, "the threshold")
    if threshold < 16:
        raise StreamError(f"softplus has a threshold of {threshold:g}; 16 or more is needed")
    if beta == 1:
        return reader.add(Pointwise("softplus"), reader.place(a.input))
    return reader.affine(reader.add(Pointwise("softplus"), reader.affine(reader.place(a.input), beta)), 1 / beta)


def logsigmoid(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read -log(1 + exp(-x))."""
    a = arguments(operation, "input")
    return reader.affine(reader.add(Pointwise("softplus"), reader.affine(reader.place(a.input), -1)), -1)


def tanhshrink(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read x - tanh(x)."""
    a = arguments(operation, "input")
    place = reader.place(a.input)
    return reader.add(Sum((1.0, -1.0)), place, reader.add(Pointwise("tanh"), place))


def hardtanh(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read limits."""
    a = arguments(operation, "input", min_val=-1.0, max_val=1.0, inplace=False)
    limits = _number(a.min_val, "a limit"), _number(a.max_val, "a limit")
    return reader.add(Pointwise(("clamp", *limits)), reader.place(a.input))


def log_of(base: float) -> Any:
    """Return the reader of a logarithm."""

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
        a = arguments(operation, "input", out=None)
        return reader.affine(reader.add(Pointwise("log"), reader.place(a.input)), 1 / math.log(base))

    return read


def log1p(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read log(1 + x)."""
    a = arguments(operation, "input", out=None)
    return reader.add(Pointwise("log"), reader.affine(reader.place(a.input), 1.0, 1.0))


def glu(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read the first half of the channels times the sigmoid of the second."""
    a = arguments(operation, "input", dim=-1)
    axis = reader.axis(a.input, number_of(a.dim, "dim"))
    inside, size = channels_inside(reader, a.input, axis)
    place, half = reader.place(a.input), inside * size // 2
    parts = [reader.add(ChannelRange(start, start + half), place) for start in (0, half)]
    return reader.add(Combination("multiply"), parts[0], reader.add(Pointwise("sigmoid"), parts[1]))
