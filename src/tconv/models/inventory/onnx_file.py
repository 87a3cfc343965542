"""Inventory of ONNX files: every ConvTranspose, and other forms of it, with weights, shapes and neighbours."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import TconvError
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer, Quantization, Size, StoredArray
from tconv.models.inventory.onnx_neighbours import after, before, readers_of
from tconv.models.inventory.onnx_pixel_shuffle import ACTIVATIONS, convolution_and_shuffle
from tconv.models.inventory.onnx_zero_insertion import MOST_TRIALS, convolution_on_zeros
from tconv.models.readers.number_types import dequantized
from tconv.models.readers.onnx_graph import (
    OnnxGraph,
    PlacedNode,
    attributes_of,
    damaged,
    input_of,
    is_onnx,
    open_graph,
    transposed_shape,
)


class _Inputs(NamedTuple):
    """Numbers of an operator's inputs."""

    weight: int = 1
    bias: int = 2
    pads: int | None = None
    scales: tuple[int, int] | None = None
    """Scale and zero point of the weight."""


_OPERATORS = {
    "ConvTranspose": _Inputs(),
    "com.microsoft::ConvTransposeWithDynamicPads": _Inputs(bias=3, pads=2),
    "com.microsoft::QLinearConvTranspose": _Inputs(weight=3, bias=8, scales=(4, 5)),
    "com.ms.internal.nhwc::QLinearConvTranspose": _Inputs(weight=3, bias=8, scales=(4, 5)),
    "com.ms.internal.nhwc::ConvTranspose": _Inputs(),
}
"""Operators that are transposed convolutions: ONNX's own, and those of ONNX Runtime."""


def read(source: Path) -> ModelInventory:
    """Return the transposed convolutions of a .onnx file. Raises FileError, MissingExtraError."""
    graph = open_graph(source)
    try:
        return _inventory(graph)
    except TconvError:
        raise
    except Exception as error:  # protobuf and onnx meet some damage only when they come to it
        raise damaged(source, error) from None


def _inventory(graph: OnnxGraph) -> ModelInventory:
    model = graph.model
    layers = tuple(layer for placed in graph.nodes if (layer := _layer(graph, placed)) is not None)
    limitations = graph.limitations
    if graph.trial_elements > MOST_TRIALS:
        limitations += ("only the first of its many convolutions were tried for zeros between the elements of x",)
    return ModelInventory(
        graph.path.name,
        "ONNX",
        layers,
        " ".join(filter(None, (model.producer_name, model.producer_version))),
        f"opset {graph.opset}, IR {model.ir_version}",
        graph.inputs,
        graph.outputs,
        Counter(_operation(placed.node) for placed in graph.nodes),
        limitations,
    )


def _operation(node: Any) -> str:
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _layer(graph: OnnxGraph, placed: PlacedNode) -> ModelLayer | None:
    if is_onnx(placed.node, "Conv"):
        return convolution_and_shuffle(graph, placed) or convolution_on_zeros(graph, placed)
    inputs = _OPERATORS.get(_operation(placed.node))
    return None if inputs is None or not placed.node.outputs else _conv_transpose(graph, placed, inputs)


def _conv_transpose(graph: OnnxGraph, placed: PlacedNode, inputs: _Inputs) -> ModelLayer:
    """Return a node that is a transposed convolution as a layer."""
    node, limitations = placed.node, []
    x, w, b = (input_of(node, number) for number in (0, inputs.weight, inputs.bias))
    y, arguments = node.outputs[0], attributes_of(node)
    weight, bias = graph.constant(w), graph.constant(b)
    if inputs.scales is not None and weight is not None:
        weight = _dequantized(weight, *(graph.constant(input_of(node, number)) for number in inputs.scales))
        if bias is not None:
            limitations.append("its bias is in whole numbers, in units of the scales of x and of the weight")
    if inputs.pads is not None:
        pads = graph.constant(input_of(node, inputs.pads))
        if pads is None:
            limitations.append("its pads are computed from the model's inputs while it runs, so they are not known")
        else:
            arguments["pads"] = pads.read().ravel().tolist()
    if weight is None:
        limitations.append(_computed("weight", w))
    if b is not None and bias is None:
        limitations.append(_computed("bias", b))
    input_shape = graph.shape(x)
    output_shape = graph.shape(y) or _output_shape(arguments, input_shape, weight)
    if node.domain == "com.ms.internal.nhwc":
        limitations.append("it is written for channels last inside of ONNX Runtime; its sizes are not told")
        input_shape = output_shape = None
    return ModelLayer(
        node.name or str(y.name or ""),
        placed.place,
        _operation(node),
        "onnx",
        arguments,
        weight,
        bias,
        "transposed convolution",
        input_shape,
        output_shape,
        _dtype(graph, x, weight, y, inputs),
        "",
        before(graph, x),
        after(graph, y),
        crop_origin(arguments, input_shape),
        tuple(limitations),
        {"node": placed.number, "graph": placed.graph},
    )


def _output_shape(
    arguments: dict[str, Any], x: tuple[Size, ...] | None, weight: StoredArray | None
) -> tuple[Size, ...] | None:
    """Return the shape of y by the dialect's rules; None for arguments that they refuse."""
    try:
        return transposed_shape("onnx", arguments, x, None if weight is None else weight.shape)
    except TconvError:
        return None


def _computed(role: str, value: Any) -> str:
    name = "" if value is None else value.name
    return f"its {role} {name!r} is computed from the model's inputs while it runs, so its numbers are not known"


def _dtype(graph: OnnxGraph, x: Any, weight: StoredArray | None, y: Any, inputs: _Inputs) -> str:
    """Return the type in which a layer computes: that of the integers if x, weight and y are integers."""
    own = graph.dtype(x) or (weight.dtype if weight is not None else "float32")
    if inputs.scales is not None:
        return _signed(own)
    node, readers = None if x is None else x.producer(), readers_of(y)
    if weight is None or weight.quantization is None or node is None or node.op_type != "DequantizeLinear":
        return own
    if len(readers) == 1 and readers[0].op_type in ACTIVATIONS and readers[0].outputs:
        readers = readers_of(readers[0].outputs[0])
    if not readers or any(reader.op_type != "QuantizeLinear" for reader in readers):
        return own
    return _signed(graph.dtype(node.inputs[0]) or weight.quantization.dtype)


def _signed(name: str) -> str:
    """Return "int8" for "uint8": the sign of x is a matter of its zero point."""
    return name.removeprefix("u") if name.startswith("uint") else name


def _dequantized(weight: StoredArray, scales: StoredArray | None, points: StoredArray | None) -> StoredArray:
    """Return an integer weight as the numbers that it stands for."""
    if scales is None:
        return weight
    scale = scales.read()
    zero = np.zeros(1, np.int32) if points is None else points.read()
    axis = 1 if scale.size > 1 else None

    def read() -> Array:
        return dequantized(weight.read(), scale, zero, axis).astype(scale.dtype)

    found = Quantization(weight.dtype, axis, scale.ravel(), zero.ravel())
    origin = "scales of the operator" + (", axis 1" if axis else "")
    return replace(weight, dtype=scale.dtype.name, read=read, origin=origin, quantization=found)


def crop_origin(arguments: dict[str, Any], input_shape: tuple[Size, ...] | None) -> str:
    """Return the source of the crop in words."""
    rule = arguments.get("auto_pad", "NOTSET")
    if arguments.get("output_shape"):
        return f"output_shape and auto_pad={rule}" if rule.startswith("SAME") else "output_shape"
    source = "pads" if rule == "NOTSET" else f"auto_pad={rule}"
    extra = arguments.get("output_padding") or ()
    if not any(extra):
        return source
    sizes = (None,) * len(extra) if input_shape is None else input_shape[2:]
    varies = any(op and not isinstance(size, int) for op, size in zip(extra, sizes, strict=False))
    return f"{source} and a frozen output_padding" if varies else f"{source} and output_padding"
