"""Functional and Sequential models of Keras as nodes of a stream.

Edges come from the configuration that the model states of itself, layers and weights from the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from tconv._arguments import shown
from tconv.errors import ArgumentError, StreamError
from tconv.keras import stream_layers, stream_operations
from tconv.keras.stream_operations import plain, tensor_of
from tconv.keras.stream_values import NodeList, Refusal, TimeValue, refused
from tconv.keras.whole_blocks import Blocks, without_marks
from tconv.models.layers import Node
from tconv.models.simplification import simplified
from tconv.models.steps.channels import ChannelRange

Tensor = tuple[str, int, int]

_CODE = (
    "its call is code, whose layers Keras has not recorded. Write x = keras.Input((None, channels)), then "
    "tconv.keras.stream(keras.Model(x, model.call(x)))"
)


class KerasReading(NamedTuple):
    """Nodes of a model along time, the channels of its input, and the layouts of its input and output."""

    nodes: list[Node]
    channels: int
    channels_last: tuple[bool, bool]
    blocks: tuple[Blocks, ...]
    """values whose lengths must be multiples"""
    layers: tuple[str, ...]
    """name of the layer of each node; "" where it is not known"""


def read_model(model: Any) -> KerasReading:
    """Return the nodes of a Functional or Sequential model of one input [N, T, C] or [N, C, T] and one output.

    >>> import keras
    >>> layers = [keras.Input((None, 4)), keras.layers.Conv1DTranspose(2, 6, 3, "same", activation="tanh")]
    >>> [type(node.step).__name__ for node in read_model(keras.Sequential(layers)).nodes]
    ['Convolution', 'Pointwise']

    Raises StreamError for a model that cannot be read, with the layer that is the reason.
    """
    if not isinstance(model, keras.Layer):
        raise ArgumentError(
            f"model is {shown(model)}; a model or layer of Keras 3 is needed. Write tconv.keras.stream(model)"
        )
    if _is_model(model) and not _is_sequential(model) and not _is_functional(model):
        raise refused(model.name, type(model).__name__, _CODE)
    value = input_of(model)
    nodes = NodeList()
    outputs = _called(nodes, model, [value])
    if len(outputs) != 1:
        raise StreamError(f"the model has {len(outputs)} outputs; one is needed. Write keras.Model(inputs, output)")
    result = outputs[0]
    if not nodes.nodes:
        raise StreamError("the model returns its input, and has no layer to stream. Write a model with one")
    if result.place != len(nodes.nodes):  # a layer that nobody reads was the last one
        nodes.nodes.append(Node(ChannelRange(0, result.channels), (result.place,)))
    found, blocks = without_marks(simplified(nodes.nodes, value.channels))
    layers = tuple(nodes.layer_of(node.step) for node in found)
    return KerasReading(found, value.channels, (value.channels_last, result.channels_last), blocks, layers)


def input_of(model: Any) -> TimeValue:
    """Return the input of a model: its channels and layout. Raises StreamError."""
    shape: Any = getattr(model, "input_shape", None)
    if _is_model(model) and not model.built:
        raise StreamError(f'model "{model.name}" is not built. Begin it with keras.Input((None, channels))')
    if isinstance(shape, (list, dict)):
        raise StreamError(f"the model has {len(shape)} inputs; one is needed. Write keras.Model(input, output)")
    if shape is None or len(shape) != 3:
        raise StreamError(
            f"the input has shape {shape}; [N, time, channels] is needed. Write keras.Input((None, channels))"
        )
    last = layout_of(model, shape)
    channels = shape[2 if last else 1]
    if channels is None:
        raise StreamError(f"the channels of the input {shape} are unknown. Write keras.Input((None, channels))")
    return TimeValue(0, int(channels), last)


def layout_of(model: Any, shape: Sequence[int | None]) -> bool:
    """Return True for [N, T, C]: by the axis without a size, or by the first layer that states its layout."""
    if (shape[1] is None) != (shape[2] is None):
        return shape[1] is None
    for layer in _layers(model):
        if (stated := getattr(layer, "data_format", None)) is not None:
            return bool(stated == "channels_last")
    return True


def _layers(model: Any) -> Iterator[Any]:
    yield model
    for layer in model.layers if _is_model(model) else ():
        yield from _layers(layer)


def _is_model(layer: Any) -> bool:
    return isinstance(layer, keras.Model)


# -- calls -----------------------------------------------------------------------------------------------------------


def _called(nodes: NodeList, layer: Any, values: list[TimeValue]) -> list[TimeValue]:
    """Add the nodes of a call of a model or a layer, and return its outputs."""
    if _is_sequential(layer):
        for each in layer.layers:
            values = _called(nodes, each, values)
        return values
    if _is_functional(layer):
        return _Functional(nodes, layer).called(values)
    try:
        if _is_model(layer):
            raise Refusal(_CODE)
        if layer.compute_dtype != "float32":
            raise Refusal(f"it computes in {layer.compute_dtype}; float32 is needed")
        nodes.layer = layer.name
        return [stream_layers.rule_for(layer)(nodes, layer, *values)]
    except Refusal as reason:
        raise refused(layer.name, type(layer).__name__, reason) from None


def _is_sequential(model: Any) -> bool:
    return isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call


def _is_functional(model: Any) -> bool:
    """Return True for a model made of inputs and outputs whose call is Keras' own."""
    for base in type(model).__mro__:
        if base.__name__ == "Functional" and base.__module__.startswith("keras."):
            return type(model).call is getattr(base, "call", None)
    return False


class _Functional:
    """Calls within a functional model, each of them once, as its outputs need them."""

    def __init__(self, nodes: NodeList, model: Any) -> None:
        self._nodes, self._model = nodes, model
        self._config: Mapping[str, Any] = model.get_config()
        self._entries = {entry["name"]: entry for entry in self._config["layers"]}
        self._operations = {operation.name: operation for operation in model.operations}
        self._values: dict[Tensor, TimeValue] = {}

    def called(self, values: list[TimeValue]) -> list[TimeValue]:
        """Return the outputs of the model for values of its inputs."""
        inputs, outputs = (_tensors(self._config[key]) for key in ("input_layers", "output_layers"))
        if len(inputs) != len(values):
            raise StreamError(f'model "{self._model.name}" has {len(inputs)} inputs; it is given {len(values)}')
        self._values.update(zip(inputs, values, strict=True))
        waiting = outputs[::-1]
        while waiting:  # without recursion: models may have thousands of layers in a row
            tensor = waiting[-1]
            if tensor in self._values:
                waiting.pop()
                continue
            missing = [each for each in _sources(self._call(tensor)) if each not in self._values]
            if missing:
                waiting += missing[::-1]
            else:
                self._compute(tensor)
        return [self._values[tensor] for tensor in outputs]

    def _call(self, tensor: Tensor) -> Mapping[str, Any]:
        """Return the arguments of the call that makes a tensor."""
        name, number, _ = tensor
        call: Mapping[str, Any] = self._entries[name]["inbound_nodes"][number]
        return call

    def _compute(self, tensor: Tensor) -> None:
        """Add the nodes of the call that makes a tensor, whose inputs are known."""
        name, number, _ = tensor
        operation, call = self._operations[name], self._call(tensor)
        try:
            positional, keywords = (plain(call[key], self._values) for key in ("args", "kwargs"))
        except Refusal as reason:
            raise refused(name, type(operation).__name__, reason) from None
        if isinstance(operation, keras.Layer):
            outputs = _called(self._nodes, operation, _layer_inputs(operation, positional, keywords))
        else:
            try:
                self._nodes.layer = name
                given = {key: value for key, value in keywords.items() if value is not None}
                made = stream_operations.rule_for(operation)(self._nodes, operation, *positional, **given)
            except (Refusal, TypeError) as reason:
                raise refused(name, type(operation).__name__, reason) from None
            outputs = made if isinstance(made, list) else [made]
        for turn, value in enumerate(outputs):
            self._values[name, number, turn] = value


def _layer_inputs(layer: Any, positional: Sequence[Any], keywords: Mapping[str, Any]) -> list[TimeValue]:
    """Return the values that a layer is called on: one, or a list. Raises StreamError for other arguments."""
    extra = [key for key, value in keywords.items() if value is not None and key not in ("training", "inputs")]
    inputs = [*positional, *([keywords["inputs"]] if "inputs" in keywords else [])]
    values = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], list) else inputs
    if extra or not values or not all(isinstance(value, TimeValue) for value in values):
        given = ", ".join(extra) or "other arguments than tensors"
        raise refused(layer.name, type(layer).__name__, f"it is called with {given}")
    return list(values)


def _tensors(given: Any) -> list[Tensor]:
    """Return the tensors of a model's inputs or outputs: one, or a list or dict of them."""
    if isinstance(given, Mapping):
        return [tensor for value in given.values() for tensor in _tensors(value)]
    if isinstance(given, (list, tuple)) and len(given) == 3 and isinstance(given[0], str):
        return [tensor_of(given)]
    return [tensor for value in given for tensor in _tensors(value)]


def _sources(call: Any) -> list[Tensor]:
    """Return the tensors in the arguments of a call."""
    if isinstance(call, Mapping):
        if call.get("class_name") == "__keras_tensor__":
            return [tensor_of(call["config"]["keras_history"])]
        return [tensor for value in call.values() for tensor in _sources(value)]
    if isinstance(call, (list, tuple)):
        return [tensor for value in call for tensor in _sources(value)]
    return []
