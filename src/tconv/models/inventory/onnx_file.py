"""Inventory of ONNX files: every ConvTranspose, and other forms of it, with weights, shapes and neighbours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tconv.errors import TconvError
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer, Size
from tconv.models.inventory.onnx_neighbours import after, before
from tconv.models.inventory.onnx_pixel_shuffle import convolution_and_shuffle
from tconv.models.inventory.onnx_zero_insertion import convolution_on_zeros
from tconv.models.readers.onnx_graph import OnnxGraph, PlacedNode, attributes_of, damaged, input_of, is_onnx, open_graph


def read(source: Path) -> ModelInventory:
    """Return the transposed convolutions of a .onnx file. Raises FileError, MissingExtraError."""
    graph = open_graph(source)
    try:
        layers = [layer for placed in graph.nodes if (layer := _layer(graph, placed)) is not None]
    except TconvError:
        raise
    except Exception as error:  # protobuf and onnx meet some damage only when they come to it
        raise damaged(source, error) from None
    model = graph.model
    return ModelInventory(
        source.name,
        "ONNX",
        tuple(layers),
        " ".join(filter(None, (model.producer_name, model.producer_version))),
        f"opset {graph.opset}, IR {model.ir_version}",
        graph.inputs,
        graph.outputs,
        Counter(_operation(placed.node) for placed in graph.nodes),
        graph.limitations,
    )


def _operation(node: Any) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _layer(graph: OnnxGraph, placed: PlacedNode) -> ModelLayer | None:
    if is_onnx(placed.node, "ConvTranspose"):
        return conv_transpose(graph, placed)
    if is_onnx(placed.node, "Conv"):
        return convolution_and_shuffle(graph, placed) or convolution_on_zeros(graph, placed)
    return None


def conv_transpose(graph: OnnxGraph, placed: PlacedNode) -> ModelLayer:
    """Return a ConvTranspose node as a layer."""
    node, limitations = placed.node, []
    x, w, b = (input_of(node, number) for number in range(3))
    arguments = attributes_of(node)
    weight, bias = graph.constant(w), graph.constant(b)
    if weight is None:
        limitations.append(_computed("weight", w))
    if b is not None and bias is None:
        limitations.append(_computed("bias", b))
    input_shape, output_shape = graph.shape(x), graph.shape(node.outputs[0]) if node.outputs else None
    return ModelLayer(
        node.name or (node.outputs[0].name if node.outputs else "") or "",
        placed.place,
        node.op_type,
        "onnx",
        arguments,
        weight,
        bias,
        "transposed convolution",
        input_shape,
        output_shape,
        graph.dtype(x) or (weight.dtype if weight is not None else "float32"),
        "",
        before(graph, x),
        after(graph, node.outputs[0]) if node.outputs else (),
        crop_origin(arguments, input_shape),
        tuple(limitations),
        {"node": placed.number, "graph": placed.graph},
    )


def _computed(role: str, value: Any) -> str:
    name = "" if value is None else value.name
    return f"its {role} {name!r} is computed from the model's inputs while it runs, so its numbers are not known"


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
