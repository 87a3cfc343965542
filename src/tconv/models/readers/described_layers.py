"""Layers of a description by their "op": the keys that each has, and the step that it becomes.

A new op is a function and a line in `OPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tconv.errors import ArgumentError, FileError
from tconv.geometry import Geometry
from tconv.kernels.activation import activation_of
from tconv.models.layers import Convolution
from tconv.models.readers.described_values import LayerValues, given, text_of
from tconv.models.steps import depth_to_space, padding, sample_positions
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.functions import FUNCTIONS, function_of
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import ChannelMean, GlobalMean, Pooling
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.step import NetworkStep
from tconv.models.steps.strided_convolution import StridedConvolution

_FORMS = '"relu", "relu6", ["clamp", low, high], ["leaky_relu", slope] or ["prelu", slopes]'


class Op(NamedTuple):
    """Reader of the layers with one "op", and the keys that they may have besides op, name and inputs."""

    read: Callable[[LayerValues], NetworkStep]
    keys: frozenset[str] = frozenset()


def step_of(values: dict[str, Any], tensors: dict[str, Any]) -> NetworkStep:
    """Return the step of a layer. Raises FileError, ArgumentError, GeometryError."""
    name = given(values, "op", object, "")
    if not isinstance(name, str) or name not in OPS:
        raise FileError(f"its op is {text_of(name)}; one of {', '.join(OPS)} is needed")
    op = OPS[name]
    known = op.keys | {"op", "name", "inputs"}
    if name not in ("conv", "conv_transpose", "activation") and values.get("activation") is not None:
        kind = "a sum" if name == "add" else name
        raise FileError(f"it is {kind} with an activation. Write the activation as a layer after it")
    if unknown := set(values) - known - {"activation"}:
        raise FileError(f"it has {', '.join(map(repr, sorted(unknown)))}; {', '.join(sorted(known))} are known")
    return op.read(LayerValues(values, tensors))


def _conv(layer: LayerValues) -> NetworkStep:
    weight, bias = layer.tensor("weight", 4), layer.tensor("bias", 1) if layer.has("bias") else None
    sides, stride, dilation = layer.sides("padding"), layer.integers("stride", 1), layer.integers("dilation", 1)
    groups = layer.integer("groups", 1)
    if len(weight) % groups:
        raise FileError(f"its weight has shape {weight.shape}; {groups} groups do not divide it")
    activation = _activation(layer, len(weight))
    if stride == (1, 1):
        return Convolution.ordinary(weight, bias, sides, dilation, groups, activation)
    return StridedConvolution(weight, bias, stride, sides, dilation, groups, activation)


def _conv_transpose(layer: LayerValues) -> NetworkStep:
    weight, bias = layer.tensor("weight", 4), layer.tensor("bias", 1) if layer.has("bias") else None
    sides, stride, dilation = layer.sides("padding"), layer.integers("stride", 1), layer.integers("dilation", 1)
    groups = layer.integer("groups", 1)
    if len(weight) % groups:
        raise FileError(f"its weight has shape {weight.shape}; {groups} groups do not divide it")
    activation = _activation(layer, weight.shape[1] * groups)
    return Convolution(weight, Geometry(weight.shape[2:], stride, sides, dilation, groups), bias, activation)


def _activation(layer: LayerValues, channels: int | None = None) -> Any:
    """Return a layer's activation: a name, or a tuple of a name and numbers. Raises FileError.

    `channels` are those that it applies to, if they are known here: then it is one of `tconv.prepare`.
    """
    stated = layer.values.get("activation")
    activation: Any = stated
    if stated is not None and not isinstance(stated, str):
        name, *numbers = given(layer.values, "activation", list, "a name, or a list of a name and numbers,") or [None]
        activation = (name, *(layer.named(part, 1) if isinstance(part, str) else part for part in numbers))
    if channels is None:  # the network knows them
        if function_of(activation) is not None:
            return activation
        sizes = [part.size for part in activation if isinstance(part, np.ndarray)] if activation else []
        channels = max([1, *sizes])
    elif isinstance(activation, (str, tuple)) and (activation if isinstance(activation, str) else activation[0]) in (
        *FUNCTIONS,
    ):
        raise FileError(f"its activation is {text_of(stated)}. Write it as a layer after it")
    try:
        activation_of(activation, channels)
    except ArgumentError:
        raise FileError(
            f"its activation is {text_of(stated)}; {_FORMS}, with one slope or {channels}, is needed, or, as a layer "
            f"of op activation, {', '.join(FUNCTIONS)}"
        ) from None
    return activation


def _add(layer: LayerValues) -> NetworkStep:
    scales = layer.values.get("scales", [1, 1])
    if not isinstance(scales, list) or len(scales) != 2:
        raise FileError(f"'scales' is {text_of(scales)}; a list of two numbers is needed")
    first, second = (LayerValues({"scales": scale}, {}).number("scales", 1) for scale in scales)
    return Sum((first, second))


def _combination(operation: str) -> Callable[[LayerValues], NetworkStep]:
    return lambda layer: Combination(operation)


def _affine(layer: LayerValues) -> NetworkStep:
    return Affine(layer.constant("scale", 1), layer.constant("shift", 0))


def _channels(layer: LayerValues) -> NetworkStep:
    start, stop = (layer.values.get(key) for key in ("start", "stop"))
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in (start, stop)):
        raise FileError(
            f'it takes channels {text_of(start)} to {text_of(stop)}. Write "start": 0, "stop": 8, for example'
        )
    return ChannelRange(start, stop)  # type: ignore[arg-type]


def _resize(layer: LayerValues) -> NetworkStep:
    mode = layer.choice("mode", sample_positions.MODES, "nearest")
    positions = layer.choice("positions", list(sample_positions.POSITIONS), None) if layer.has("positions") else None
    rounding = layer.choice("rounding", list(sample_positions.ROUNDING), "floor")
    coefficient = layer.number("coefficient", -0.75)
    if layer.has("scale"):
        return Resize(layer.factors("scale"), mode, positions, rounding, coefficient)
    return ResizeLike((1, 1), mode, positions, rounding, coefficient)


def _to_pixels(layer: LayerValues) -> NetworkStep:
    order = layer.choice("order", depth_to_space.ORDERS, "channels")
    return depth_to_space.ChannelsToPixels(layer.integer("block"), order)


def _to_channels(layer: LayerValues) -> NetworkStep:
    order = layer.choice("order", depth_to_space.ORDERS, "channels")
    return depth_to_space.PixelsToChannels(layer.integer("block"), order)


def _pad(layer: LayerValues) -> NetworkStep:
    mode = layer.choice("mode", padding.MODES, "constant")
    sides, multiple = layer.sides("padding"), layer.integers("multiple", 1)
    return padding.Padding(sides, mode, layer.number("value", 0), multiple)


def _crop(layer: LayerValues) -> NetworkStep:
    if layer.has("scale"):
        return CropLike(layer.factors("scale"))
    (top, bottom), (left, right) = layer.sides("padding", None)
    if min(top, bottom, left, right) < 0:
        raise FileError("it crops by numbers below 0. Write a layer of op pad")
    return padding.Padding(((-top, -bottom), (-left, -right)))


def _pool(operation: str) -> Callable[[LayerValues], NetworkStep]:
    def read(layer: LayerValues) -> NetworkStep:
        kernel, stride = layer.integers("kernel", None), layer.integers("stride", 1)
        counts = layer.flag("counts_padding") if operation == "mean" else False
        return Pooling(operation, kernel, stride, layer.sides("padding"), layer.flag("ceil"), counts)

    return read


_CONVOLUTION = frozenset({"weight", "bias", "stride", "padding", "dilation", "groups", "activation"})
_WINDOWS = frozenset({"kernel", "stride", "padding", "ceil"})

OPS: dict[str, Op] = {
    "conv": Op(_conv, _CONVOLUTION),
    "conv_transpose": Op(_conv_transpose, _CONVOLUTION),
    "add": Op(_add, frozenset({"scales"})),
    "activation": Op(lambda layer: Pointwise(_activation(layer)), frozenset({"activation"})),
    "multiply": Op(_combination("multiply")),
    "divide": Op(_combination("divide")),
    "maximum": Op(_combination("maximum")),
    "minimum": Op(_combination("minimum")),
    "affine": Op(_affine, frozenset({"scale", "shift"})),
    "concat": Op(lambda layer: Concat()),
    "channels": Op(_channels, frozenset({"start", "stop"})),
    "resize": Op(_resize, frozenset({"scale", "mode", "positions", "rounding", "coefficient"})),
    "depth_to_space": Op(_to_pixels, frozenset({"block", "order"})),
    "space_to_depth": Op(_to_channels, frozenset({"block", "order"})),
    "pad": Op(_pad, frozenset({"padding", "mode", "value", "multiple"})),
    "crop": Op(_crop, frozenset({"padding", "scale"})),
    "picture_mean": Op(lambda layer: GlobalMean()),
    "channel_mean": Op(lambda layer: ChannelMean()),
    "mean_pool": Op(_pool("mean"), _WINDOWS | {"counts_padding"}),
    "max_pool": Op(_pool("max"), _WINDOWS),
}
"""Readers by "op"."""
