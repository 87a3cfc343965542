"""BatchNormalization, and Mul, Div, Add and Sub by constants per channel, folded into the layer before them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.inventory.model_layer import StoredArray
from tconv.models.readers.onnx_graph import attributes_of, is_onnx
from tconv.onnx.graph_steps.fold_constants import refuse_quantized
from tconv.onnx.graph_steps.graph_step import GraphStep, PlacedLayer, StepError, remove_unused, remove_unused_value
from tconv.onnx.model_file import ModelFile, numbers_of
from tconv.onnx.node_writer import NodeWriter
from tconv.weights.folding import scale_channels

_ARITHMETIC = ("Mul", "Div", "Add", "Sub")


class FoldBatchnorm(GraphStep):
    """Scale and shift per output channel: w[:, o] * scale[o] and bias[o] * scale[o] + shift[o]."""

    name = "fold-batchnorm"
    summary = "BatchNormalization and arithmetic per channel behind the layer go into its weight and bias"
    exact = "equal up to rounding: the weight is multiplied in float64 and rounded once"

    def apply(self, file: ModelFile, placed: PlacedLayer) -> tuple[PlacedLayer, str]:
        node, layer = placed.node, placed.layer
        refuse_quantized(layer.weight)
        if layer.weight is None:
            raise StepError("its weight is computed from the model's inputs, so nothing can be folded into it")
        weight, groups = layer.weight.read(), int(layer.arguments.get("group", 1))
        channels = weight.shape[1] * groups
        bias = None if layer.bias is None else layer.bias.read().astype(np.float64)
        if layer.bias is None and len(node.inputs) > 2 and node.inputs[2] is not None:
            raise StepError("its bias is computed from the model's inputs, so nothing can be folded into it")
        scale, shift = np.ones(channels), np.zeros(channels) if bias is None else bias
        folded: list[Any] = []
        value = node.outputs[0]
        while (found := _affine(value, channels, weight.ndim)) is not None:
            user, factor, summand = found
            scale, shift = scale * factor, shift * factor + summand
            folded.append(user)
            value = user.outputs[0]
        if not folded:
            raise StepError(_reason(node.outputs[0]))
        with np.errstate(all="ignore"):
            new_bias = shift.astype(weight.dtype)
            new_weight = scale_channels(weight, scale, dialect="onnx", groups=groups)
        if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
            raise StepError(f"the folded numbers do not fit into {weight.dtype}")
        writer = NodeWriter(file, folded[-1], placed.name, external=bool(file.external))
        inputs = [
            node.inputs[0],
            writer.constant(new_weight, "folded/weight"),
            writer.constant(new_bias, "folded/bias"),
        ]
        attributes = attributes_of(node)
        title = node.name
        new = writer.op("ConvTranspose", *inputs, name="folded", **attributes)
        new.producer().name = title
        old_inputs = [each for each in node.inputs[1:] if each is not None]
        constants = [each for user in folded for each in user.inputs if each is not None]
        writer.replace(value, new)
        for user in reversed(folded[:-1]):
            remove_unused(user)
        remove_unused(node)
        for each in [*old_inputs, *constants]:
            remove_unused_value(each)
        changed = replace(
            layer, weight=_stored(new_weight, layer.weight), bias=_stored(new_bias, layer.weight), after=()
        )
        return PlacedLayer(changed, new.producer()), f"{', '.join(user.op_type for user in folded)} folded"


def _stored(array: Array, like: StoredArray) -> StoredArray:
    return StoredArray(array.shape, like.dtype, lambda: array, nbytes=array.nbytes)


def _affine(value: Any, channels: int, ndim: int) -> tuple[Any, Array, Array] | None:
    """Return the only reader of a value, with its factor and summand per channel; None if it is no such operation."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    user, place = next(iter(uses))
    if user.graph is not value.graph:  # a branch of If, or a Loop
        return None
    if is_onnx(user, "BatchNormalization") and place == 0:
        return _normalization(user, channels)
    if not is_onnx(user, *_ARITHMETIC) or len(user.inputs) != 2:
        return None
    other = numbers_of(user.inputs[1 - place])
    numbers = None if other is None else _per_channel(other, channels, ndim)
    if numbers is None:
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    match user.op_type:
        case "Mul":
            return user, numbers, zeros
        case "Add":
            return user, ones, numbers
        case "Div" if place == 0 and np.all(numbers != 0):
            return user, 1 / numbers, zeros
        case "Sub":
            return (user, ones, -numbers) if place == 0 else (user, -ones, numbers)
    return None


def _normalization(user: Any, channels: int) -> tuple[Any, Array, Array] | None:
    attributes = attributes_of(user)
    arrays = [numbers_of(value) for value in user.inputs[1:5]]
    used = [value for value in user.outputs[1:] if value.uses() or value.is_graph_output()]
    if len(arrays) < 4 or used or attributes.get("training_mode", 0) or attributes.get("spatial", 1) != 1:
        return None
    if any(array is None or array.shape != (channels,) for array in arrays):
        return None
    gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays if array is not None)
    spread = variance + float(attributes.get("epsilon", 1e-5))
    if not (spread > 0).all():
        return None
    factor = gamma / np.sqrt(spread)
    return user, factor, beta - factor * mean


def _per_channel(other: Array, channels: int, ndim: int) -> Array | None:
    """Return a constant as one number per channel; None if it varies along another axis, the width for example."""
    if other.dtype.kind not in "f" or other.ndim > ndim:
        return None
    shape = (1,) * (ndim - other.ndim) + other.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(other.astype(np.float64).reshape(-1), (channels,)).copy()


def _reason(value: Any) -> str:
    if value.is_graph_output():
        return "its output is an output of the model, so nothing behind it can be folded into it"
    users = sorted({use.node.op_type for use in value.uses()})
    if len(value.uses()) > 1:
        return f"its output is read by several nodes ({', '.join(users)}), which need the numbers without a fold"
    return f"behind it is {users[0] if users else 'nothing'}, which is no BatchNormalization or constant per channel"
