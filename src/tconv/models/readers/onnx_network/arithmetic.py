"""Sums, products, quotients, larger and smaller ones: of pictures, and of pictures and constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.activations import appended, scaled
from tconv.models.readers.onnx_network.broadcasting import to_channels
from tconv.models.readers.onnx_network.builder import Atom, GraphPicture
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.arithmetic import Combination, Sum
from tconv.models.steps.step import NetworkStep


def combined(
    reader: NodeReader, node: Any, step: NetworkStep, first: GraphPicture, second: GraphPicture
) -> GraphPicture:
    """Append a step of two pictures with the same axes, of which sizes of 1 count for all. Raises FileError."""
    rank = max(len(first.axes), len(second.axes))
    a, b = ((*[()] * (rank - len(each.axes)), *each.axes) for each in (first, second))
    axes: list[tuple[Atom, ...]] = []
    for one, other in zip(a, b, strict=True):
        left, right = _long(one), _long(other)
        if left and right and left != right:
            raise FileError(
                f"{label(node)} combines the axes {first.shape} and {second.shape} of pictures, which differ; the same "
                "sizes in the same order are needed"
            )
        axes.append(one if left or not right else other)
    place = reader.builder.add(step, first.place, second.place)
    result = GraphPicture(place, tuple(axes))
    if result.labels or not (first.labels or second.labels):
        return result
    return reader.builder.whole(place, first.labels or second.labels)


def _long(axis: tuple[Atom, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names of the factors of an axis that are longer than 1."""
    return [(atom.kind, atom.path) for atom in axis if any(size > 1 for size in atom.sizes)]


def _constant(reader: NodeReader, node: Any, number: int, picture: GraphPicture) -> Array:
    constant = reader.floats(node, number)
    return to_channels(reader, node, picture, constant)


def _operands(reader: NodeReader, node: Any) -> tuple[int, int] | None:
    """Return the numbers of the picture and the constant; None for two pictures."""
    if len(node.inputs) != 2:
        raise FileError(f"{label(node)} has {len(node.inputs)} inputs; two are needed")
    pictures = [number for number in (0, 1) if reader.is_picture(node, number)]
    return None if len(pictures) == 2 else (pictures[0], 1 - pictures[0])


def _sum(sign: float) -> Callable[[NodeReader, Any], GraphPicture]:
    def read(reader: NodeReader, node: Any) -> GraphPicture:
        found = _operands(reader, node)
        if found is None:
            return combined(reader, node, Sum((1.0, sign)), reader.picture(node, 0), reader.picture(node, 1))
        picture = reader.picture(node, found[0])
        constant = _constant(reader, node, found[1], picture)
        if found[1] == 1:
            return _affine(reader, picture, 1.0, sign * constant)
        return _affine(reader, picture, sign, constant)

    return read


def _affine(reader: NodeReader, picture: GraphPicture, scale: Any, shift: Any) -> GraphPicture:
    """Append a product and a sum; constants with more channels, rows or columns than the picture make it larger."""
    result = scaled(reader, picture, scale, shift)
    return reader.builder.whole(result.place, picture.labels) if picture.labels else result


def _product(reader: NodeReader, node: Any) -> GraphPicture:
    found = _operands(reader, node)
    if found is None:
        return combined(reader, node, Combination("multiply"), reader.picture(node, 0), reader.picture(node, 1))
    picture = reader.picture(node, found[0])
    return _affine(reader, picture, _constant(reader, node, found[1], picture), 0.0)


def _quotient(reader: NodeReader, node: Any) -> GraphPicture:
    found = _operands(reader, node)
    if found is None:
        return combined(reader, node, Combination("divide"), reader.picture(node, 0), reader.picture(node, 1))
    picture = reader.picture(node, found[0])
    constant = _constant(reader, node, found[1], picture)
    if found[1] == 0:
        return _affine(reader, appended(reader, picture, "reciprocal"), constant, 0.0)
    if not constant.all():
        raise FileError(f"{label(node)} divides by a constant that contains 0; other numbers are needed")
    with np.errstate(over="ignore"):
        inverse = (1 / constant.astype(np.float64)).astype(np.float32)
    if not np.isfinite(inverse).all():
        raise FileError(f"{label(node)} divides by a constant of {constant.min():g}, too small for float32")
    return _affine(reader, picture, inverse, 0.0)


def _several(operation: str) -> Callable[[NodeReader, Any], GraphPicture]:
    """Return the operator of two or more inputs: Sum, Max, Min, Mean."""

    def read(reader: NodeReader, node: Any) -> GraphPicture:
        pictures = [number for number in range(len(node.inputs)) if reader.is_picture(node, number)]
        step = Sum() if operation == "sum" else Combination(operation)
        result = reader.picture(node, pictures[0])
        for number in pictures[1:]:
            result = combined(reader, node, step, result, reader.picture(node, number))
        for number in range(len(node.inputs)):
            if number in pictures:
                continue
            constant = _constant(reader, node, number, result)
            if operation == "sum":
                result = _affine(reader, result, 1.0, constant)
            elif constant.size == 1:
                limits = (
                    (float(constant.item()), np.inf) if operation == "maximum" else (-np.inf, float(constant.item()))
                )
                result = appended(reader, result, ("clamp", *limits))
            else:  # max(x, c) = relu(x - c) + c, min(x, c) = c - relu(c - x)
                sign = 1.0 if operation == "maximum" else -1.0
                rest = appended(reader, _affine(reader, result, sign, -sign * constant), "relu")
                result = _affine(reader, rest, sign, constant)
        if node.op_type == "Mean":
            result = _affine(reader, result, 1 / len(node.inputs), 0.0)
        return result

    return read


OPERATORS: dict[str, Callable[[NodeReader, Any], GraphPicture]] = {
    "Add": _sum(1.0),
    "Sub": _sum(-1.0),
    "Mul": _product,
    "Div": _quotient,
    "Sum": _several("sum"),
    "Mean": _several("sum"),
    "Max": _several("maximum"),
    "Min": _several("minimum"),
}
"""Operators of this family."""
