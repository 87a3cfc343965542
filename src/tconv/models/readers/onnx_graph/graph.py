"""Graph of an ONNX file: its nodes with their places, attributes, constants and shapes.

>>> import numpy as np, onnx
>>> from onnx import TensorProto, helper, numpy_helper
>>> node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2])
>>> values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8, "h", "w"]) for name in "xy"]
>>> weight = numpy_helper.from_array(np.ones((8, 4, 2, 2), np.float32), "w")
>>> model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [weight]))
>>> path = getfixture("tmp_path") / "up.onnx"
>>> onnx.save(model, path)
>>> graph = open_graph(path)
>>> [(each.node.op_type, each.place) for each in graph.nodes]
[('ConvTranspose', 'node 1 of 1')]
>>> graph.constant(graph.nodes[0].node.inputs[1]).shape
(8, 4, 2, 2)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tconv._cached_property import cached_property
from tconv.models.inventory.model_layer import ModelInput, Size, StoredArray
from tconv.models.readers.onnx_graph.constants import Constants
from tconv.models.readers.onnx_graph.loading import load
from tconv.models.readers.onnx_graph.shapes import Shapes, sizes_of
from tconv.models.readers.onnx_graph.stored import dtype_name


@dataclass(frozen=True, eq=False)
class PlacedNode:
    """Node of a graph, and its place in the file."""

    node: Any
    """Node of onnx_ir."""
    number: int
    """Number in its graph, from 0."""
    graph: str
    """Way to its graph: "" for the main one, "3.then_branch" for a graph inside of its node 3."""
    place: str
    """Place in words: "node 4 of 40", or "node 1 of 3 in the then_branch of If 'choose'"."""


class OnnxGraph:
    """ONNX file that is opened for reading; weights stay on the disk until they are asked for."""

    def __init__(self, path: Path, model: Any, limitations: tuple[str, ...] = ()) -> None:
        self.path, self.model, self.limitations = path, model, limitations
        self.constants = Constants(path, model)
        self.shapes = Shapes(model, self.constants)

    @cached_property
    def nodes(self) -> tuple[PlacedNode, ...]:
        """All nodes, those of inner graphs behind the node that has them."""
        return tuple(_nodes(self.model.graph))

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators."""
        return int(self.model.opset_imports.get("", 1))

    def constant(self, value: Any) -> StoredArray | None:
        """Return a value that is stored, or computed from stored ones alone; None for any other."""
        return self.constants.of(value)

    def shape(self, value: Any) -> tuple[Size, ...] | None:
        """Return the sizes of a value; None if they are not known."""
        return self.shapes.of(value)

    def dtype(self, value: Any) -> str:
        """Return the type of a value's numbers, "" if it is not known."""
        return self.shapes.dtype(value)

    @cached_property
    def inputs(self) -> tuple[ModelInput, ...]:
        """Inputs that are not stored in the file."""
        stored = self.model.graph.initializers
        return tuple(_ends(each for each in self.model.graph.inputs if each.name not in stored))

    @cached_property
    def outputs(self) -> tuple[ModelInput, ...]:
        """Outputs, with the sizes that the file gives them."""
        return tuple(_ends(self.model.graph.outputs))


def open_graph(path: Path) -> OnnxGraph:
    """Return the graph of a .onnx file. Raises FileError, MissingExtraError."""
    model, limitations = load(path)
    return OnnxGraph(path, model, limitations)


def attributes_of(node: Any) -> dict[str, Any]:
    """Return a node's attributes as numbers, lists and texts; tensors and graphs are left out."""
    values: dict[str, Any] = {}
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            continue
        kind = attribute.type.name
        if kind in ("INT", "FLOAT", "STRING"):
            values[name] = attribute.value
        elif kind in ("INTS", "FLOATS", "STRINGS"):
            values[name] = list(attribute.value)
    return values


def label(node: Any) -> str:
    """Return a node as text for messages: its type, and its name or that of its output."""
    first = next((each.name for each in node.outputs if each.name), "")
    return f"{node.op_type} {node.name or first!r}"


def is_onnx(node: Any, *types: str) -> bool:
    """Return True for a node of ONNX's own operators, of one of these types."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type in types


def input_of(node: Any, number: int) -> Any:
    """Return an input of a node; None if it has none of this number."""
    return node.inputs[number] if number < len(node.inputs) else None


def _nodes(graph: Any, way: str = "", words: str = "") -> Iterator[PlacedNode]:
    count = len(graph)
    for number, node in enumerate(graph):
        yield PlacedNode(node, number, way, f"node {number + 1} of {count}{words}")
        for name, attribute in node.attributes.items():
            inner: Any = ()
            if not attribute.is_ref() and attribute.type.name == "GRAPH":
                inner = (attribute.value,)
            elif not attribute.is_ref() and attribute.type.name == "GRAPHS":
                inner = attribute.value
            for each in inner:
                step = f"{number}.{name}"
                yield from _nodes(each, f"{way}/{step}" if way else step, f" in the {name} of {label(node)}{words}")


def _ends(values: Any) -> Iterator[ModelInput]:
    for value in values:
        yield ModelInput(value.name or "", sizes_of(value.shape), dtype_name(value.dtype))
