"""Convolutions with a pixel shuffle behind them in ONNX graphs, as the transposed convolutions that they are.

Conv and DepthToSpace (DCR and CRD) are recognised, and Conv with the Reshape, Transpose and Reshape that older
exporters write for PyTorch's PixelShuffle. An activation may lie between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tconv.models.inventory.model_layer import ModelLayer
from tconv.models.inventory.onnx_neighbours import after, before
from tconv.models.inventory.other_forms import OrdinaryConvolution, of_depth_to_space, same_pads
from tconv.models.readers.onnx_graph import (
    OnnxGraph,
    PlacedNode,
    attributes_of,
    input_of,
    is_onnx,
    transposed_shape,
)

ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Elu", "HardSigmoid", "HardSwish", "Softplus", "Selu")
"""Activations that act on every number alone, so that they can come before or after a pixel shuffle."""


class PixelShuffle(NamedTuple):
    """Nodes from a convolution to the end of its pixel shuffle."""

    blocks: tuple[int, ...]
    order: str
    nodes: tuple[Any, ...]
    """Nodes of the shuffle, the last one last."""
    activation: str


def convolution_and_shuffle(graph: OnnxGraph, placed: PlacedNode) -> ModelLayer | None:
    """Return a Conv node and the pixel shuffle behind it as one layer; None for a Conv without one."""
    node = placed.node
    found = _shuffle(graph, node.outputs[0]) if node.outputs else None
    conv = None if found is None else ordinary_convolution(graph, node)
    if found is None or conv is None or len(conv.weight.shape) != len(found.blocks) + 2:
        return None
    layer = of_depth_to_space(conv, found.blocks, found.order)
    if layer is None:
        return None
    x, end = node.inputs[0], found.nodes[-1].outputs[0]
    shape, rule = graph.shape(x), attributes_of(node).get("auto_pad", "NOTSET")
    return ModelLayer(
        node.name or str(node.outputs[0].name),
        placed.place,
        " + ".join([node.op_type, *(each.op_type for each in found.nodes)]),
        "torch",
        layer.arguments,
        layer.weight,
        layer.bias,
        "convolution and depth to space",
        shape,
        transposed_shape("torch", layer.arguments, shape, layer.weight.shape) or graph.shape(end),
        graph.dtype(x) or conv.weight.dtype,
        found.activation,
        before(graph, x),
        after(graph, end),
        "pads of the convolution" if rule == "NOTSET" else f"auto_pad={rule} of the convolution",
        (*computed_bias(graph, node), *layer.limitations),
        {"node": placed.number, "graph": placed.graph, "output": str(end.name)},
    )


def ordinary_convolution(graph: OnnxGraph, node: Any) -> OrdinaryConvolution | None:
    """Return a Conv node of stride 1 with a constant weight; None for any other node."""
    weight = graph.constant(input_of(node, 1)) if is_onnx(node, "Conv") and input_of(node, 0) is not None else None
    if weight is None or len(weight.shape) < 3:
        return None
    given, kernel = attributes_of(node), weight.shape[2:]
    dilations = tuple(given.get("dilations") or [1] * len(kernel))
    groups = given.get("group", 1)
    if len(dilations) != len(kernel) or min(dilations) < 1 or {*(given.get("strides") or [1])} != {1}:
        return None
    if groups < 1 or weight.shape[0] % groups or 0 in weight.shape:
        return None
    pads = _pads(given, kernel, dilations)
    bias = graph.constant(input_of(node, 2))
    if pads is None or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    return OrdinaryConvolution("onnx", weight, bias, pads, dilations, groups)


def computed_bias(graph: OnnxGraph, node: Any) -> tuple[str, ...]:
    """Return a sentence about a bias that is no constant, if there is one."""
    value = input_of(node, 2)
    if value is None or graph.constant(value) is not None:
        return ()
    return (f"its bias {value.name!r} is computed from the model's inputs while it runs, so its numbers are not known",)


def _pads(given: dict[str, Any], kernel: Sequence[int], dilations: Sequence[int]) -> list[tuple[int, int]] | None:
    """Return the pads of a convolution of stride 1 per axis; None if they cannot be read."""
    ndim, rule = len(kernel), given.get("auto_pad", "NOTSET")
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        return same_pads(kernel, dilations, upper=rule == "SAME_UPPER")
    pads = list(given.get("pads") or [0] * 2 * ndim) if rule == "NOTSET" else [0] * 2 * ndim
    return list(zip(pads[:ndim], pads[ndim:], strict=True)) if len(pads) == 2 * ndim else None


def _shuffle(graph: OnnxGraph, value: Any) -> PixelShuffle | None:
    """Return the pixel shuffle that reads a value, alone or behind an activation."""
    activation = ""
    for _ in range(5):
        readers = list(dict.fromkeys(use.node for use in value.uses()))
        if len(readers) != 1 or value.is_graph_output() or len(readers[0].outputs) != 1:
            return None
        (node,) = readers
        if is_onnx(node, "DepthToSpace"):
            given = attributes_of(node)
            block, order = given.get("blocksize", 0), given.get("mode", "DCR")
            usable = isinstance(block, int) and block > 0 and order in ("DCR", "CRD")
            return PixelShuffle((block, block), order, (node,), activation) if usable else None
        if is_onnx(node, "Reshape"):
            return _written_out(graph, node, activation)
        if is_onnx(node, *ACTIVATIONS) and not activation:
            activation = node.op_type
        elif not is_onnx(node, "Identity", "QuantizeLinear", "DequantizeLinear") or not _has_one_scale(graph, node):
            return None
        value = node.outputs[0]
    return None


def _has_one_scale(graph: OnnxGraph, node: Any) -> bool:
    """Return True for an operation that treats all channels alike: not one with a scale for each."""
    return node.op_type == "Identity" or graph.shape(input_of(node, 1)) in ((), (1,))


def _written_out(graph: OnnxGraph, first: Any, activation: str) -> PixelShuffle | None:
    """Return the pixel shuffle that a Reshape, a Transpose and a Reshape are; None for any others."""
    nodes = [first]
    for kind in ("Transpose", "Reshape"):
        readers = list(dict.fromkeys(use.node for use in nodes[-1].outputs[0].uses()))
        if len(readers) != 1 or not is_onnx(readers[0], kind) or nodes[-1].outputs[0].is_graph_output():
            return None
        nodes.append(readers[0])
    split, end = graph.shape(nodes[0].outputs[0]), graph.shape(nodes[2].outputs[0])
    given = graph.shape(nodes[0].inputs[0])
    if split is None or end is None or given is None or len(split) != 2 * len(end) - 2 or len(given) != len(end):
        return None
    ndim, order = len(end) - 2, attributes_of(nodes[1]).get("perm")
    pairs = range(ndim)
    if order == [0, 1, *(axis for n in pairs for axis in (2 + ndim + n, 2 + n))]:
        kind, blocks, channels = "CRD", split[2 : 2 + ndim], split[1]
    elif order == [0, 1 + ndim, *(axis for n in pairs for axis in (2 + ndim + n, 1 + n))]:
        kind, blocks, channels = "DCR", split[1 : 1 + ndim], split[1 + ndim]
    else:
        return None
    factors = tuple(block for block in blocks if isinstance(block, int) and block > 0)
    known = isinstance(channels, int) and end[1] in (channels, None) and len(factors) == ndim
    sizes = all(
        not isinstance(small, int) or not isinstance(large, int) or large == small * block
        for small, large, block in zip(given[2:], end[2:], factors, strict=False)
    )
    return PixelShuffle(factors, kind, tuple(nodes), activation) if known and sizes else None
