"""Recurrent layers of Keras as steps of a stream, whose state is the memory of a session."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tconv._arrays import Array
from tconv.keras.stream_convolutions import numbers
from tconv.keras.stream_values import NodeList, Refusal, TimeValue
from tconv.streaming.recurrent import Recurrent, RecurrentWeights

_ACTIVATIONS = keras.activations


def _check(layer: Any, value: TimeValue, activations: dict[str, Any]) -> None:
    """Raise Refusal for options that a stream cannot follow."""
    if not value.channels_last:
        raise Refusal("it runs along the middle axis, which is the channels")
    if layer.go_backwards:
        raise Refusal("it goes backwards: its first output needs the last input")
    if not layer.return_sequences:
        raise Refusal("it returns the last output only. Write return_sequences=True")
    if layer.return_state:
        raise Refusal("it returns its state, too. Write return_state=False; `stream.state()` has the state")
    if layer.stateful:
        raise Refusal("its result depends on the calls before. Write stateful=False; the stream keeps the state")
    for name, wanted in activations.items():
        if getattr(layer, name) is not wanted:
            raise Refusal(f"its {name} is {_ACTIVATIONS.serialize(getattr(layer, name))}; {wanted.__name__} is needed")


def _weights(cell: Any, order: tuple[int, ...]) -> RecurrentWeights:
    """Return weights with their gates in another order. The bias is [gates * units], or one for each product."""

    def ordered(array: Array) -> Array:
        gates = array.reshape(*array.shape[:-1], len(order), -1)[..., list(order), :]
        return np.ascontiguousarray(gates.reshape(array.shape).T)

    biases: list[Array] = []
    if cell.use_bias:
        bias = numbers(cell.bias)
        biases = [ordered(each) for each in (bias if bias.ndim == 2 else bias[None])]
    return RecurrentWeights(ordered(numbers(cell.kernel)), ordered(numbers(cell.recurrent_kernel)), *biases)


def lstm(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read an LSTM: kernels [C, 4 * units] and [units, 4 * units] of the gates i, f, c, o."""
    _check(layer, value, {"activation": _ACTIVATIONS.tanh, "recurrent_activation": _ACTIVATIONS.sigmoid})
    return nodes.add(Recurrent("lstm", (_weights(layer.cell, (0, 1, 2, 3)),)), value)


def gru(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a GRU: kernels [C, 3 * units] and [units, 3 * units] of the gates update, reset, new."""
    _check(layer, value, {"activation": _ACTIVATIONS.tanh, "recurrent_activation": _ACTIVATIONS.sigmoid})
    if not layer.reset_after:
        raise Refusal("it resets the state before the product with it. Write reset_after=True")
    return nodes.add(Recurrent("gru", (_weights(layer.cell, (1, 0, 2)),)), value)


def simple(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a SimpleRNN: kernels [C, units] and [units, units]."""
    names = {_ACTIVATIONS.tanh: "tanh", _ACTIVATIONS.relu: "relu"}
    _check(layer, value, {} if layer.activation in names else {"activation": _ACTIVATIONS.tanh})
    return nodes.add(Recurrent(names[layer.activation], (_weights(layer.cell, (0,)),)), value)
