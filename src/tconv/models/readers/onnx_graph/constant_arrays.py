"""Constants of an ONNX graph as arrays that say where they come from: stored, weight norm, dequantized ..."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.inventory.model_layer import Quantization, StoredArray
from tconv.models.readers.onnx_graph.constants import GraphConstants
from tconv.models.readers.onnx_graph.facts import Fact
from tconv.models.readers.onnx_graph.nodes import attributes_of, input_of
from tconv.models.readers.onnx_graph.stored import dtype_name, numbers, shape_of, stored_bytes

_PLUMBING = {"Constant", "Identity", "Shape", "ConstantOfShape", "Unsqueeze", "Squeeze"}
"""Operators that are left out of an origin where there are others."""
_NORMS = {"ReduceL2", "ReduceSumSquare", "ReduceSum"}


def constant_of(
    path: Path, value: Any, constants: GraphConstants, fact_of: Callable[[Any], Fact]
) -> StoredArray | None:
    """Return a constant of a graph as an array that is read when it is asked for; None for any other value."""
    if value is None or value not in constants:
        return None
    tensor = constants.tensor(value)
    if tensor is not None:
        name = dtype_name(tensor.dtype)
        return StoredArray(
            shape_of(tensor), name, lambda: numbers(path, tensor), nbytes=stored_bytes(tensor), stored_dtype=name
        )
    fact = fact_of(value)
    if fact.fixed is None:
        try:
            array = constants.evaluate(value)
        except FileError:
            return None
        fact = Fact(array.shape, array.dtype.name)
    nodes, sources = constants.sources(value)
    tensors = [tensor for each in sources if (tensor := constants.tensor(each)) is not None]
    largest = max(tensors, key=lambda each: math.prod(shape_of(each)), default=None)
    quantization = _quantization(value, constants, fact_of)
    shape = fact.fixed or ()

    def read() -> Array:
        found = constants.evaluate(value)
        if found.shape != shape:
            raise FileError(f"{path}: the constant {value.name!r} has the shape {found.shape}, and {shape} in the file")
        return found

    return StoredArray(
        shape,
        fact.dtype,
        read,
        origin_of(nodes, quantization),
        sum(map(stored_bytes, tensors)),
        quantization,
        "" if largest is None else dtype_name(largest.dtype),
    )


def origin_of(nodes: list[Any], quantization: Quantization | None = None) -> str:
    """Return the computation of a constant in words: its operators in order, each once."""
    kinds = list(dict.fromkeys(node.op_type for node in nodes))
    told = [kind for kind in kinds if kind not in _PLUMBING] or [kind for kind in kinds if kind != "Constant"]
    if not told or kinds == ["Identity"]:
        return "constant"
    words = ", ".join(told[:8]) + (" ..." if len(told) > 8 else "")
    if told[0] in _NORMS | {"Mul", "Pow", "Abs"} and _NORMS & {*told} and {"Div", "Reciprocal"} & {*told}:
        return f"weight norm ({words})" if nodes[-1].op_type == "Mul" else words
    if "DequantizeLinear" not in told:
        return words
    last = next(node for node in reversed(nodes) if node.op_type == "DequantizeLinear")
    blocks = attributes_of(last).get("block_size")
    axis = attributes_of(last).get("axis", 1) if quantization is None else quantization.axis
    text = (
        "DequantizeLinear"
        + (f", axis {axis}" if axis is not None else "")
        + (f", blocks of {blocks}" if blocks else "")
    )
    return f"{text} ({words})" if len(told) > 1 else text


def _quantization(value: Any, constants: GraphConstants, fact_of: Callable[[Any], Fact]) -> Quantization | None:
    """Return the integers behind a constant that is dequantized, transposed at most; None for any other."""
    order: list[int] | None = None
    node = value.producer()
    while node.op_type in ("Identity", "Transpose"):
        if node.op_type == "Transpose":
            rank = len(fact_of(node.inputs[0]).shape or ())
            perm = attributes_of(node).get("perm", list(range(rank))[::-1])
            order = list(perm) if order is None else [perm[place] for place in order]
        if constants.tensor(node.inputs[0]) is not None:
            return None
        node = node.inputs[0].producer()
    if node.op_type != "DequantizeLinear" or attributes_of(node).get("block_size"):
        return None
    x, scale, zero = (input_of(node, number) for number in range(3))
    shape = fact_of(x).shape or ()
    scales = constants.evaluate(scale)
    points: Array = np.zeros_like(scales, np.int32) if zero is None else constants.evaluate(zero)
    axis: int | None = None
    if scales.ndim == 1 and scales.size > 0 and len(shape) > 0:
        axis = attributes_of(node).get("axis", 1) % len(shape)
        axis = axis if order is None else order.index(axis)
    return Quantization(fact_of(x).dtype, axis, scales, points)
