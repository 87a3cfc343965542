"""Convolutions with a pixel shuffle behind them in ONNX graphs, as the transposed convolutions that they are.

Conv and DepthToSpace (DCR and CRD) are recognised, and Conv with the Reshape, Transpose and Reshape that older
exporters write for PyTorch's PixelShuffle. An activation may lie between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.models.inventory.model_layer import ModelLayer, Size, StoredArray
from tconv.models.inventory.onnx_neighbours import after, before
from tconv.models.readers.onnx_graph import OnnxGraph, PlacedNode, attributes_of, input_of, is_onnx
from tconv.weights.artifacts.pixel_shuffle import as_transposed, with_dilation

ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Elu", "HardSigmoid", "HardSwish", "Softplus", "Selu")
"""Activations that act on every number alone, so that they can come before or after a pixel shuffle."""


class Shuffle(NamedTuple):
    """Nodes from a convolution to the end of its pixel shuffle."""

    blocks: tuple[int, ...]
    order: str
    nodes: tuple[Any, ...]
    """Nodes of the shuffle, the last one last."""
    activation: str


def convolution_and_shuffle(graph: OnnxGraph, placed: PlacedNode) -> ModelLayer | None:
    """Return a Conv node and the pixel shuffle behind it as one layer; None for a Conv without one."""
    node = placed.node
    if not is_onnx(node, "Conv") or not node.outputs:
        return None
    found = _shuffle(graph, node.outputs[0])
    given = attributes_of(node)
    weight, bias = graph.constant(input_of(node, 1)), graph.constant(input_of(node, 2))
    if found is None or weight is None or len(weight.shape) != len(found.blocks) + 2:
        return None
    ndim, kernel = len(found.blocks), weight.shape[2:]
    phases, groups = math.prod(found.blocks), int(given.get("group", 1))
    if weight.shape[0] % phases or set(given.get("strides") or [1]) != {1} or groups < 1:
        return None
    dilations = [int(d) for d in given.get("dilations") or [1] * ndim]
    pads = convolution_pads(given, kernel, dilations)
    if pads is None or weight.shape[0] % groups or len(dilations) != ndim or min(dilations) < 1:
        return None
    kept = groups if found.order == "CRD" and weight.shape[0] // groups % phases == 0 else 1
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    crop = [(r * (far - lo), r * (far - hi)) for r, far, (lo, hi) in zip(found.blocks, reach, pads, strict=True)]
    arguments = {
        "strides": list(found.blocks),
        "pads": [lo for lo, _ in crop] + [hi for _, hi in crop],
        "group": kept,
    }
    c_out, c_in = weight.shape[0] // phases, weight.shape[1] * groups
    whole = [r * (far + 1) for r, far in zip(found.blocks, reach, strict=True)]
    inner = {"dilations": dilations, "group": groups}
    limitations: list[str] = []
    if kept != groups:
        limitations.append(f"its {groups} groups are written with zeros between them, because the shuffle mixes them")
    x, end = node.inputs[0], found.nodes[-1].outputs[0]
    return ModelLayer(
        node.name or str(node.outputs[0].name),
        placed.place,
        " + ".join([node.op_type, *(each.op_type for each in found.nodes)]),
        "onnx",
        arguments,
        derived(
            weight,
            (c_in, c_out // kept, *whole),
            lambda: _transposed(weight.read(), found, inner, kept),
            f"a convolution's weight and a pixel shuffle by {found.blocks}, channels in the order {found.order}",
        ),
        _bias(bias, input_of(node, 2), found, limitations),
        "convolution and depth to space",
        graph.shape(x),
        _output_shape(graph, x, end, c_out),
        graph.dtype(x) or weight.dtype,
        found.activation,
        before(graph, x),
        after(graph, end),
        "pads of the convolution" if given.get("auto_pad", "NOTSET") == "NOTSET" else f"auto_pad={given['auto_pad']}",
        tuple(limitations),
        {"node": placed.number, "graph": placed.graph, "output": str(end.name)},
    )


def _output_shape(graph: OnnxGraph, x: Any, end: Any, channels: int) -> tuple[Size, ...] | None:
    shape, given = graph.shape(end), graph.shape(x)
    if shape is None or given is None or len(shape) < 3:
        return shape
    return (given[0], channels, *shape[2:])


def derived(source: StoredArray, shape: tuple[int, ...], read: Any, origin: str) -> StoredArray:
    """Return an array that is another form of a stored one."""
    if source.origin != "constant":
        origin = f"{origin}; {source.origin}"
    return StoredArray(shape, source.dtype, read, origin, source.nbytes, None, source.stored_dtype)


def convolution_pads(
    given: dict[str, Any], kernel: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]] | None:
    """Return the pads of a convolution of stride 1 per axis; None if they cannot be read."""
    ndim, rule = len(kernel), given.get("auto_pad", "NOTSET")
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
        return pairs if rule == "SAME_UPPER" else [(hi, lo) for lo, hi in pairs]
    pads = [int(n) for n in given.get("pads") or [0] * 2 * ndim] if rule == "NOTSET" else [0] * 2 * ndim
    return list(zip(pads[:ndim], pads[ndim:], strict=True)) if len(pads) == 2 * ndim else None


def _transposed(weight: Array, found: Shuffle, inner: dict[str, Any], kept: int) -> Array:
    """Return the transposed convolution's weight [C_in, C_out/groups, *kernel]."""
    speaker = dialect("onnx")
    native = {**inner, "group": inner["group"] // kept}
    parts = [
        with_dilation(as_transposed(part, found.blocks, found.order, speaker, native))[0]
        for part in np.split(weight, kept)
    ]
    return np.ascontiguousarray(np.concatenate(parts))


def _bias(bias: StoredArray | None, value: Any, found: Shuffle, limitations: list[str]) -> StoredArray | None:
    """Return the bias per output channel of the shuffle; None if the phases have different ones."""
    if bias is None:
        if value is not None:
            limitations.append(f"its bias {value.name!r} is computed from the model's inputs, so it is not known")
        return None
    phases = math.prod(found.blocks)
    if bias.shape == () or bias.shape[0] % phases:
        return None
    numbers = bias.read()
    by_phase = numbers.reshape(-1, phases) if found.order == "CRD" else numbers.reshape(phases, -1).T
    spread = float(np.abs(by_phase - by_phase[:, :1]).max(initial=0))
    if spread > 0:
        limitations.append(
            f"its bias differs between the {phases} phases by up to {spread:.3g}, so that it adds a pattern to the "
            "output; a transposed convolution has one bias per channel"
        )
        return None
    own = np.ascontiguousarray(by_phase[:, 0])
    return derived(bias, own.shape, lambda: own, "a convolution's bias, the same in all phases")


def _shuffle(graph: OnnxGraph, value: Any) -> Shuffle | None:
    """Return the pixel shuffle that reads a value, alone or behind an activation."""
    activation = ""
    for _ in range(3):
        readers = list(dict.fromkeys(use.node for use in value.uses()))
        if len(readers) != 1 or value.is_graph_output() or len(readers[0].outputs) != 1:
            return None
        (node,) = readers
        if is_onnx(node, "DepthToSpace"):
            given = attributes_of(node)
            block, order = given.get("blocksize", 0), given.get("mode", "DCR")
            usable = isinstance(block, int) and block > 0 and order in ("DCR", "CRD")
            return Shuffle((block, block), order, (node,), activation) if usable else None
        if is_onnx(node, "Reshape"):
            return _written_out(graph, node, activation)
        if is_onnx(node, *ACTIVATIONS) and not activation:
            activation = node.op_type
        elif not is_onnx(node, "Identity"):
            return None
        value = node.outputs[0]
    return None


def _written_out(graph: OnnxGraph, first: Any, activation: str) -> Shuffle | None:
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
    return Shuffle(factors, kind, tuple(nodes), activation) if known and sizes else None
