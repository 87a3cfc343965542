"""Functions of keras.ops in functional models, such as `x + y` and `x[..., :8]`, as steps of a stream."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.keras.stream_activations import ACTIVATIONS, in_a_row
from tconv.keras.stream_layers import concatenated, limited
from tconv.keras.stream_values import NodeList, Refusal, TimeValue, is_channel_axis
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange
from tconv.models.steps.padding import Padding

Rule = Callable[..., "TimeValue | list[TimeValue]"]
"""`rule(nodes, operation, *arguments)`: arguments are values, numbers, arrays and lists of them."""


def _constant(given: Any, value: TimeValue) -> Array:
    """Return a number, or an array with one entry per channel, as [C, 1, 1]."""
    array = np.asarray(given, np.float32)
    if array.size == 1:
        return array.reshape(1, 1, 1)
    wanted = [1, 1, 1]
    wanted[value.channel_axis] = value.channels
    if (1,) * (3 - array.ndim) + array.shape != tuple(wanted):
        raise Refusal(f"its constant has shape {array.shape}; a number, or one for each channel, is needed")
    return array.reshape(-1, 1, 1)


def _arithmetic(operation: str) -> Rule:
    """Return the rule of an operation on two values, or on one and a constant."""

    def read(nodes: NodeList, layer: Any, x: Any, y: Any) -> TimeValue:
        if isinstance(x, TimeValue) and isinstance(y, TimeValue):
            if operation in ("add", "subtract"):
                return nodes.add(Sum((1.0, 1.0 if operation == "add" else -1.0)), x, y)
            return nodes.add(Combination(operation), x, y)
        value, other = (x, y) if isinstance(x, TimeValue) else (y, x)
        constant = _constant(other, value)
        if operation == "add":
            return nodes.add(Affine(shift=constant), value)
        if operation == "multiply":
            return nodes.add(Affine(constant), value)
        if operation == "subtract":
            if value is x:
                return nodes.add(Affine(shift=-constant), value)
            return nodes.add(Affine(np.full(1, -1, np.float32), constant), value)
        if operation == "divide" and value is x:
            return nodes.add(Affine((1 / constant.astype(np.float64)).astype(np.float32)), value)
        if operation == "divide":
            return nodes.add(Affine(constant), in_a_row(nodes, value, "reciprocal"))
        if constant.size > 1:
            raise Refusal("its limits differ between channels; one number is needed")
        limit = float(constant[0, 0, 0])
        return in_a_row(nodes, value, ("clamp", *((limit, np.inf) if operation == "maximum" else (-np.inf, limit))))

    return read


def _function(*activations: Any) -> Rule:
    def read(nodes: NodeList, operation: Any, value: TimeValue) -> TimeValue:
        return in_a_row(nodes, value, *activations)

    return read


def _with_number(name: str, attribute: str) -> Rule:
    def read(nodes: NodeList, operation: Any, value: TimeValue) -> TimeValue:
        return in_a_row(nodes, value, (name, float(getattr(operation, attribute))))

    return read


def _gelu(nodes: NodeList, operation: Any, value: TimeValue) -> TimeValue:
    return in_a_row(nodes, value, "gelu_tanh" if operation.approximate else "gelu")


def _relu(nodes: NodeList, operation: Any, value: TimeValue) -> TimeValue:
    return limited(nodes, value, 0.0, None)


def _clip(nodes: NodeList, operation: Any, value: TimeValue) -> TimeValue:
    return in_a_row(nodes, value, ("clamp", float(operation.x_min), float(operation.x_max)))


def _power(nodes: NodeList, operation: Any, value: Any, exponent: Any) -> TimeValue:
    if not isinstance(value, TimeValue) or isinstance(exponent, TimeValue) or np.ndim(exponent):
        raise Refusal("its exponent is not one number")
    return in_a_row(nodes, value, ("power", float(exponent)))


def _concatenate(nodes: NodeList, operation: Any, values: list[TimeValue]) -> TimeValue:
    return concatenated(nodes, operation.axis, *values)


def _pad(nodes: NodeList, operation: Any, value: TimeValue, constant_values: Any = None) -> TimeValue:
    pairs, time = np.broadcast_to(operation.pad_width, (3, 2)), 3 - value.channel_axis
    if pairs[[0, value.channel_axis]].any() or (pairs < 0).any():
        raise Refusal(f"it pads by {operation.pad_width}; only time can be padded, by numbers from 0 on")
    modes = {"constant": "constant", "reflect": "reflect", "edge": "edge"}
    if operation.mode not in modes:
        raise Refusal(f'it pads with mode "{operation.mode}"; "constant" and "reflect" are read')
    sides = int(pairs[time, 0]), int(pairs[time, 1])
    return nodes.add(Padding(((0, 0), sides), modes[operation.mode], float(constant_values or 0.0)), value)


def _get_item(nodes: NodeList, operation: Any, value: TimeValue, key: Any) -> TimeValue:
    """Read x[..., a:b] and x[:, a:b]: channels, or samples that are cut off at both ends."""
    entries = list(key) if isinstance(key, (list, tuple)) else [key]
    if Ellipsis in entries:
        at = entries.index(Ellipsis)
        entries[at : at + 1] = [slice(None)] * (4 - len(entries))
    entries += [slice(None)] * (3 - len(entries))
    if len(entries) != 3 or not all(isinstance(each, slice) and each.step in (None, 1) for each in entries):
        raise Refusal("it takes more than ranges of channels and of time with a step of 1")
    if entries[0] not in (slice(None), slice(0, None)):
        raise Refusal("it takes some sequences of the batch")
    time, channels = entries[3 - value.channel_axis], entries[value.channel_axis]
    start, stop = time.start or 0, time.stop or 0
    if start < 0 or stop > 0 or time.stop == 0:
        raise Refusal(f"it takes samples {time.start} to {time.stop}; counts from the ends, as in x[:, 3:-2], are read")
    if start or stop:
        value = nodes.add(Padding(((0, 0), (-start, stop))), value)
    low, high, _ = channels.indices(value.channels)
    return value if (low, high) == (0, value.channels) else nodes.add(ChannelRange(low, high), value)


def _split(nodes: NodeList, operation: Any, value: TimeValue) -> list[TimeValue]:
    if not is_channel_axis(operation.axis, value):
        raise Refusal(f"it splits axis {operation.axis}, which is not that of the channels")
    given = operation.indices_or_sections
    if isinstance(given, int):
        if value.channels % given:
            raise Refusal(f"it splits {value.channels} channels in {given}")
        given = [value.channels // given * number for number in range(1, given)]
    bounds = [0, *map(int, given), value.channels]
    return [nodes.add(ChannelRange(low, high), value) for low, high in itertools.pairwise(bounds)]


def _transpose(nodes: NodeList, operation: Any, value: TimeValue) -> TimeValue:
    if operation.axes is None or tuple(operation.axes) != (0, 2, 1):
        raise Refusal(f"it transposes by {operation.axes}; (0, 2, 1) is needed")
    return value._replace(channels_last=not value.channels_last)


RULES: dict[str, Rule] = {
    "Add": _arithmetic("add"),
    "Subtract": _arithmetic("subtract"),
    "Multiply": _arithmetic("multiply"),
    "Divide": _arithmetic("divide"),
    "TrueDivide": _arithmetic("divide"),
    "Maximum": _arithmetic("maximum"),
    "Minimum": _arithmetic("minimum"),
    "Negative": _function("negate"),
    "Absolute": _function("abs"),
    "Abs": _function("abs"),
    "Square": _function("square"),
    "Sqrt": _function("sqrt"),
    "Rsqrt": _function("rsqrt"),
    "Reciprocal": _function("reciprocal"),
    "Exp": _function("exp"),
    "Log": _function("log"),
    "Sin": _function("sin"),
    "Cos": _function("cos"),
    "Erf": _function("erf"),
    "Relu": _relu,
    "Relu6": _function(*ACTIVATIONS["relu6"]),
    "LeakyRelu": _with_number("leaky_relu", "negative_slope"),
    "Elu": _with_number("elu", "alpha"),
    "Selu": _function("selu"),
    "Gelu": _gelu,
    "Sigmoid": _function("sigmoid"),
    "Tanh": _function("tanh"),
    "Silu": _function("silu"),
    "HardSigmoid": _function("hard_sigmoid"),
    "HardSilu": _function("hard_swish"),
    "HardTanh": _function(*ACTIVATIONS["hard_tanh"]),
    "Softplus": _function("softplus"),
    "Softsign": _function("softsign"),
    "LogSigmoid": _function(*ACTIVATIONS["log_sigmoid"]),
    "Clip": _clip,
    "Power": _power,
    "Concatenate": _concatenate,
    "Pad": _pad,
    "GetItem": _get_item,
    "Split": _split,
    "Transpose": _transpose,
    "StopGradient": _function(),
}
"""Rules by the names of the classes of Keras' operations."""


def rule_for(operation: Any) -> Rule:
    """Return the rule for an operation. Raises Refusal."""
    name = type(operation).__name__
    if name not in RULES or not type(operation).__module__.startswith("keras."):
        raise Refusal(f"there is no rule for this function; {', '.join(RULES)} are read")
    return RULES[name]


def plain(given: Any, values: Mapping[tuple[str, int, int], TimeValue]) -> Any:
    """Return an argument of a call in a configuration: tensors as their values, slices and arrays as such."""
    if isinstance(given, Mapping):
        if "class_name" not in given:
            return {key: plain(each, values) for key, each in given.items()}
        kind, config = given["class_name"], given.get("config")
        if kind == "__keras_tensor__" and isinstance(config, Mapping):
            return values[tensor_of(config["keras_history"])]
        if kind == "__ellipsis__":
            return Ellipsis
        if kind == "__slice__" and isinstance(config, Mapping):
            return slice(*(plain(config[key], values) for key in ("start", "stop", "step")))
        if kind in ("__numpy__", "__tensor__") and isinstance(config, Mapping):
            return np.asarray(config["value"], config["dtype"])
        raise Refusal(f"it has an argument of {kind}, which is not read")
    if isinstance(given, (list, tuple)):
        return [plain(each, values) for each in given]
    return given


def tensor_of(history: Any) -> tuple[str, int, int]:
    """Return operation, call and output of a tensor in a configuration."""
    name, call, output = history
    return str(name), int(call), int(output)
