"""Activations of Keras, by their names, as steps of a stream. A new one is a line in `ACTIVATIONS` or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tconv.keras.stream_values import NodeList, Refusal, TimeValue
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channel_softmax import ChannelSoftmax
from tconv.models.steps.channels import ChannelRange
from tconv.models.steps.pointwise import Pointwise

ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "linear": (),
    "relu": ("relu",),
    "relu6": ("relu6",),
    "leaky_relu": (("leaky_relu", 0.2),),
    "elu": ("elu",),
    "celu": ("elu",),
    "selu": ("selu",),
    "gelu": ("gelu",),
    "sigmoid": ("sigmoid",),
    "tanh": ("tanh",),
    "silu": ("silu",),
    "swish": ("silu",),
    "mish": ("mish",),
    "hard_sigmoid": ("hard_sigmoid",),
    "hard_silu": ("hard_swish",),
    "hard_swish": ("hard_swish",),
    "hard_tanh": (("clamp", -1.0, 1.0),),
    "softplus": ("softplus",),
    "softsign": ("softsign",),
    "exponential": ("exp",),
    "log_sigmoid": ("negate", "softplus", "negate"),
}
"""Activations by the names of Keras' functions, as one or more of `Pointwise` in a row."""


def _glu(nodes: NodeList, value: TimeValue) -> TimeValue:
    if value.channels % 2:
        raise Refusal(f"glu halves {value.channels} channels")
    half = value.channels // 2
    gate = nodes.add(Pointwise("sigmoid"), nodes.add(ChannelRange(half, value.channels), value))
    return nodes.add(Combination("multiply"), nodes.add(ChannelRange(0, half), value), gate)


def _tanh_shrink(nodes: NodeList, value: TimeValue) -> TimeValue:
    return nodes.add(Sum((1.0, -1.0)), value, nodes.add(Pointwise("tanh"), value))


def _squareplus(nodes: NodeList, value: TimeValue) -> TimeValue:
    square = nodes.add(Pointwise("square"), value)
    root = nodes.add(Pointwise("sqrt"), nodes.add(Affine(shift=np.full(1, 4, np.float32)), square))
    return nodes.add(Sum((0.5, 0.5)), value, root)


def _softmax(nodes: NodeList, value: TimeValue) -> TimeValue:
    return nodes.add(ChannelSoftmax(), value)


def _log_softmax(nodes: NodeList, value: TimeValue) -> TimeValue:
    return nodes.add(ChannelSoftmax(log=True), value)


_COMPOSED: dict[str, Callable[[NodeList, TimeValue], TimeValue]] = {
    "glu": _glu,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "tanh_shrink": _tanh_shrink,
    "squareplus": _squareplus,
}
"""Activations that are more than one step in a row."""

_OVER_CHANNELS = "softmax", "log_softmax", "sparsemax", "glu"
"""Activations that Keras computes along the last axis."""


def activated(nodes: NodeList, value: TimeValue, activation: Any) -> TimeValue:
    """Return the activation of a value: a function of Keras, or None. Raises Refusal for others."""
    if activation is None:
        return value
    name = getattr(activation, "__name__", type(activation).__name__)
    module = str(getattr(activation, "__module__", ""))
    if isinstance(activation, keras.Layer) or not module.startswith("keras."):
        raise Refusal(
            f"its activation {name} is code that cannot be read. Use a name of keras.activations, or a layer behind it"
        )
    if name in _OVER_CHANNELS and not value.channels_last:
        raise Refusal(f"its activation {name} is over the last axis, which is time")
    if name in _COMPOSED:
        return _COMPOSED[name](nodes, value)
    if name not in ACTIVATIONS:
        known = ", ".join([*ACTIVATIONS, *_COMPOSED])
        raise Refusal(f"its activation is {name}; {known} are read")
    return in_a_row(nodes, value, *ACTIVATIONS[name])


def in_a_row(nodes: NodeList, value: TimeValue, *activations: Any) -> TimeValue:
    """Return a value after activations of `Pointwise`, one after the other."""
    for each in activations:
        value = nodes.add(Pointwise(each), value)
    return value
