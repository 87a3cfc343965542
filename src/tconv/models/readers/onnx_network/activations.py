"""Activations and functions of one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.broadcasting import to_channels
from tconv.models.readers.onnx_network.builder import GraphPicture
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.arithmetic import Affine, Combination
from tconv.models.steps.pointwise import Pointwise

Operator = Callable[[NodeReader, Any], GraphPicture]


def appended(reader: NodeReader, picture: GraphPicture, activation: Any) -> GraphPicture:
    """Append an activation behind a picture of any axes."""
    return picture._replace(place=reader.builder.add(Pointwise(activation), picture.place))


def scaled(reader: NodeReader, picture: GraphPicture, scale: Any = 1.0, shift: Any = 0.0) -> GraphPicture:
    """Append a product with a number or with numbers per channel, and a sum."""
    arrays = [np.atleast_1d(np.asarray(each, np.float32)) for each in (scale, shift)]
    if (arrays[0] == 1).all() and (arrays[1] == 0).all() and arrays[0].size == arrays[1].size == 1:
        return picture
    return picture._replace(place=reader.builder.add(Affine(*arrays), picture.place))


def _plain(name: str) -> Operator:
    return lambda reader, node: appended(reader, reader.picture(node), name)


def _leaky_relu(reader: NodeReader, node: Any) -> GraphPicture:
    slope = reader.attributes(node).get("alpha", 0.01)
    return appended(reader, reader.picture(node), ("leaky_relu", slope))


def _prelu(reader: NodeReader, node: Any) -> GraphPicture:
    picture, slopes = reader.picture(node), reader.floats(node, 1)
    if slopes.size == 1:
        return appended(reader, picture, ("prelu", slopes.ravel()))
    by_channel = to_channels(reader, node, picture, slopes)
    if by_channel.ndim == 3 and by_channel.shape[1:] != (1, 1):
        raise FileError(f"{label(node)} has slopes of {slopes.shape}; one, or (channels, 1, 1) are needed")
    return appended(reader, picture, ("prelu", by_channel.ravel()))


def _clip(reader: NodeReader, node: Any) -> GraphPicture:
    attributes = reader.attributes(node)
    limits = [attributes.get("min", -np.inf), attributes.get("max", np.inf)]
    for number in (1, 2):
        if reader.has(node, number):
            limit = reader.floats(node, number)
            if limit.size != 1:
                raise FileError(f"{label(node)} has limits of shape {limit.shape}; one number each is needed")
            limits[number - 1] = float(limit.item())
    if limits[0] > limits[1]:
        raise FileError(f"{label(node)} has the limits {limits}; the lower one first is needed")
    return appended(reader, reader.picture(node), ("clamp", *map(float, limits)))


def _with(name: str, **usual: float) -> Operator:
    """Return the operator of an activation with numbers: attributes, and the values that they usually have."""

    def read(reader: NodeReader, node: Any) -> GraphPicture:
        attributes = reader.attributes(node)
        numbers = [float(attributes.get(key, number)) for key, number in usual.items()]
        return appended(reader, reader.picture(node), (name, *numbers))

    return read


def _gelu(reader: NodeReader, node: Any) -> GraphPicture:
    mode = reader.attributes(node).get("approximate", "none")
    if mode not in ("none", "tanh"):
        raise FileError(f"{label(node)} has approximate={mode!r}; none or tanh is needed")
    return appended(reader, reader.picture(node), "gelu" if mode == "none" else "gelu_tanh")


def _swish(reader: NodeReader, node: Any) -> GraphPicture:
    picture, alpha = reader.picture(node), float(reader.attributes(node).get("alpha", 1.0))
    if alpha == 1:
        return appended(reader, picture, "silu")
    gate = appended(reader, scaled(reader, picture, alpha), "sigmoid")
    return picture._replace(place=reader.builder.add(Combination("multiply"), picture.place, gate.place))


def _negated(reader: NodeReader, node: Any) -> GraphPicture:
    return scaled(reader, reader.picture(node), -1.0)


def _pow(reader: NodeReader, node: Any) -> GraphPicture:
    picture, power = reader.picture(node), reader.constant(node, 1)
    if power.size != 1:
        raise FileError(f"{label(node)} has powers of shape {power.shape}; one number is needed")
    exponent = float(power.item())
    square = Combination("multiply")
    if exponent == 1:
        return picture
    if exponent in (2, 3, 4):
        place = reader.builder.add(square, picture.place, picture.place)
        if exponent > 2:
            place = reader.builder.add(square, place, picture.place if exponent == 3 else place)
        return picture._replace(place=place)
    if exponent in (0.5, -0.5, -1):
        result = picture if exponent == -1 else appended(reader, picture, "sqrt")
        return result if exponent == 0.5 else appended(reader, result, "reciprocal")
    raise FileError(f"{label(node)} has the power {exponent:g}; 2, 3, 4, 1, 0.5, -0.5 and -1 are read")


OPERATORS: dict[str, Operator] = {
    "Relu": _plain("relu"),
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Sigmoid": _plain("sigmoid"),
    "Tanh": _plain("tanh"),
    "HardSigmoid": _with("hard_sigmoid", alpha=0.2, beta=0.5),
    "HardSwish": _plain("hard_swish"),
    "Elu": _with("elu", alpha=1.0),
    "Selu": _with("selu", alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Softplus": _plain("softplus"),
    "Softsign": _plain("softsign"),
    "Gelu": _gelu,
    "Mish": _plain("mish"),
    "Swish": _swish,
    "Erf": _plain("erf"),
    "Exp": _plain("exp"),
    "Log": _plain("log"),
    "Sqrt": _plain("sqrt"),
    "Sin": _plain("sin"),
    "Cos": _plain("cos"),
    "Abs": _plain("abs"),
    "Reciprocal": _plain("reciprocal"),
    "Neg": _negated,
    "Pow": _pow,
}
"""Operators of this family."""
