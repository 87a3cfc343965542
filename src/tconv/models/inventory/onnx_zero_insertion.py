"""Convolutions on an input with zeros between its elements in ONNX graphs: transposed convolutions in another form.

The operations before a Conv that only move numbers (reshape, pad, concatenate, scatter, nearest resize times a mask)
are run on a small array of different numbers. If that puts zeros between them, in whatever way it is written, the Conv
is a transposed convolution. No pattern of nodes has to be known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import TconvError
from tconv.models.inventory.model_layer import ModelLayer, Size
from tconv.models.inventory.onnx_neighbours import after, before
from tconv.models.inventory.onnx_pixel_shuffle import computed_bias, ordinary_convolution
from tconv.models.inventory.other_forms import of_zero_insertion
from tconv.models.readers.onnx_graph import OnnxGraph, PlacedNode, is_onnx, transposed_shape
from tconv.models.readers.onnx_graph.constants import MemoryLimit, evaluated
from tconv.models.readers.onnx_graph.nodes import names_in

_MOVING = names_in(
    "Add Cast Concat ConstantOfShape Div Expand Flatten Gather Identity Mul Pad Reshape Resize ScatterElements "
    "ScatterND Shape Slice Split Squeeze Sub Tile Transpose Unsqueeze Upsample Where"
)
_MAKES_ZEROS = ("Pad", "Concat", "ScatterND", "ScatterElements", "Mul", "Where")
_MOST_NODES, _MOST_ELEMENTS = 40, 1 << 21
_MOST_BYTES = 1 << 28  # of the arrays of a trial
MOST_TRIALS = 1 << 26
"""Most elements of all trial arrays of a model, those between included."""
_TRIAL_SIZES = (5, 3, 4)
"""Sizes of the small array along axes that may have any size."""


class Insertion(NamedTuple):
    """Zeros between the elements of a value."""

    value: Any
    stride: tuple[int, ...]
    margins: tuple[tuple[int, int], ...]
    """Zeros before the first and behind the last element, per axis."""
    nodes: tuple[Any, ...]
    folded: bool
    """True if channels are counted with the batch."""


def convolution_on_zeros(graph: OnnxGraph, placed: PlacedNode) -> ModelLayer | None:
    """Return a Conv node on a zero-inserted input as a layer; None for any other Conv."""
    node = placed.node
    conv = ordinary_convolution(graph, node) if node.outputs else None
    if conv is None:
        return None
    found = _insertion(graph, node.inputs[0], len(conv.dilation))
    if found is None:
        return None
    layer = of_zero_insertion(conv, found.stride, found.margins)
    shape, limitations = graph.shape(found.value), computed_bias(graph, node)
    if found.folded:
        limitations += ("its channels are counted with the batch, so that it has one channel",)
        shape = None if shape is None else (None, 1, *shape[2:])
    y = node.outputs[0]
    return ModelLayer(
        node.name or str(y.name),
        placed.place,
        " + ".join([*(each.op_type for each in found.nodes), node.op_type]),
        "torch",
        layer.arguments,
        layer.weight,
        layer.bias,
        "zero insertion and convolution",
        shape,
        transposed_shape("torch", layer.arguments, shape, layer.weight.shape) or graph.shape(y),
        graph.dtype(y) or conv.weight.dtype,
        "",
        before(graph, found.value),
        after(graph, y),
        "pads of the convolution and zeros around the input",
        (*limitations, *layer.limitations),
        {"node": placed.number, "graph": placed.graph, "input": str(found.value.name)},
    )


def _insertion(graph: OnnxGraph, value: Any, ndim: int) -> Insertion | None:
    """Return the zeros that the operations before a value put between the elements of the earliest one possible."""
    last = None  # one axis after the other may get its zeros
    for source, nodes in _sources(graph, value):
        kinds = {node.op_type for node in nodes}
        if not kinds & {*_MAKES_ZEROS} or kinds <= {"Pad", "Concat", "Mul", "Where"}:
            continue
        try:
            last = _measured(graph, value, source, nodes, ndim) or last
        except (TconvError, ArithmeticError, LookupError, TypeError, ValueError):
            continue
    return last


def _sources(graph: OnnxGraph, value: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield values from which alone another follows by moving numbers, the nearest first, with the nodes between."""
    nodes: dict[Any, None] = {}
    frontier = {value: None}
    while len(nodes) < _MOST_NODES:
        order = graph.constants.order
        open_ends = [each for each in frontier if each.producer() in order]
        if not open_ends:
            return
        latest = max(open_ends, key=lambda each: order[each.producer()])
        node = latest.producer()
        if node.op_type not in _MOVING or not is_onnx(node, node.op_type) or not _moves(graph, node):
            return
        nodes[node] = None
        for output in node.outputs:
            frontier.pop(output, None)
        frontier |= {each: None for each in node.inputs if each is not None and graph.constant(each) is None}
        if len(frontier) == 1:
            (source,) = frontier
            yield source, tuple(sorted(nodes, key=order.__getitem__))


def _moves(graph: OnnxGraph, node: Any) -> bool:
    """Return True unless a node computes new numbers: sums of sizes and masks do not."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return True
    if graph.dtype(node.outputs[0]).startswith("int"):
        return True
    return node.op_type == "Mul" and any(graph.constant(each) is not None for each in node.inputs)


def _measured(graph: OnnxGraph, value: Any, source: Any, nodes: tuple[Any, ...], ndim: int) -> Insertion | None:
    """Return the zeros between the numbers of a trial array, or None for any other rearrangement of it."""
    shape = graph.shape(source)
    if shape is None or len(shape) != ndim + 2:
        return None
    results = []
    for extra in (0, 2):
        trial = _trial(shape, extra)
        if trial is None or graph.trial_elements > MOST_TRIALS:
            return None
        z = _run(graph, value, source, nodes, trial)
        found = _zeros_between(trial, z, ndim)
        if found is None:
            return None
        results.append(found)
        if all(isinstance(size, int) for size in shape):
            break
    if len(set(results)) > 1:
        return None
    (stride, margins, folded) = results[0]
    return Insertion(source, stride, margins, nodes, folded) if max(stride) > 1 else None


def _trial(shape: tuple[Size, ...], extra: int) -> Array | None:
    """Return an array of different numbers, none 0, of this shape."""
    sizes = [
        size if isinstance(size, int) else 1 if axis == 0 else _TRIAL_SIZES[axis % 3] + extra
        for axis, size in enumerate(shape)
    ]
    if min(sizes) < 1 or math.prod(sizes) > _MOST_ELEMENTS or min(sizes[2:]) < 2:
        return None
    return np.arange(1, math.prod(sizes) + 1, dtype=np.float32).reshape(sizes)


def _run(graph: OnnxGraph, value: Any, source: Any, nodes: tuple[Any, ...], trial: Array) -> Array:
    """Return a value for this source, by ONNX's own evaluator."""
    made: dict[Any, Array] = {source: trial}
    read: Callable[[Any], Array | None] = lambda each: None if each is None else made.get(each, _constant(graph, each))  # noqa: E731
    limit = MemoryLimit(_MOST_BYTES)
    for node in nodes:
        outputs = evaluated(node, [read(each) for each in node.inputs], graph.constants.opset(node), limit)
        graph.trial_elements += sum(array.size for array in outputs)
        made.update(zip(node.outputs, outputs, strict=False))
    return made[value]


def _constant(graph: OnnxGraph, value: Any) -> Array | None:
    found = graph.constant(value)
    return None if found is None or math.prod(found.shape) * 8 > _MOST_BYTES else found.read()


def _zeros_between(
    trial: Array, z: Array, ndim: int
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], bool] | None:
    """Return stride, margins and folding if z is the trial array with zeros between and around its numbers."""
    if z.ndim != ndim + 2:
        return None
    folded = z.shape[:2] != trial.shape[:2]
    if folded:
        if z.shape[0] * z.shape[1] != trial.shape[0] * trial.shape[1] or z.shape[1] != 1:
            return None
        trial = trial.reshape(*z.shape[:2], *trial.shape[2:])
    places = np.nonzero(z[0, 0])
    stride, margins, cut = [], [], []
    for axis in range(ndim):
        found, count = np.unique(places[axis]), trial.shape[axis + 2]
        if found.size != count:
            return None
        step = int(found[1] - found[0]) if count > 1 else 1
        stride.append(step)
        margins.append((int(found[0]), int(z.shape[axis + 2] - 1 - found[-1])))
        cut.append(slice(int(found[0]), int(found[-1]) + 1, step))
    if np.count_nonzero(z) != trial.size or not np.array_equal(z[:, :, *cut], trial):
        return None
    return tuple(stride), tuple(margins), folded
