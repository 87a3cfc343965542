"""Graph of an ONNX file: its nodes with their places, attributes, constants and shapes.

>>> import numpy as np, onnx
>>> from onnx import TensorProto, helper, numpy_helper
>>> node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2])
>>> values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8, "h", "w"]) for name in "xy"]
>>> weight = numpy_helper.from_array(np.ones((8, 4, 2, 2), np.float32), "w")
>>> model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [weight]))
>>> import pathlib, tempfile
>>> folder = tempfile.TemporaryDirectory()
>>> path = pathlib.Path(folder.name) / "up.onnx"
>>> onnx.save(model, path)
>>> graph = open_graph(path)
>>> [(each.node.op_type, each.place) for each in graph.nodes]
[('ConvTranspose', 'node 1 of 1')]
>>> graph.constant(graph.nodes[0].node.inputs[1]).shape
(8, 4, 2, 2)
>>> graph.shape(graph.nodes[0].node.outputs[0])
('n', 4, '2*h', '2*w')
>>> folder.cleanup()
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tconv._cached_property import cached_property
from tconv.models.inventory.model_layer import ModelInput, Size, StoredArray
from tconv.models.readers.onnx_graph.constant_arrays import constant_of
from tconv.models.readers.onnx_graph.constants import GraphConstants
from tconv.models.readers.onnx_graph.loading import load
from tconv.models.readers.onnx_graph.nodes import inner_graphs, label
from tconv.models.readers.onnx_graph.stored import load_numbers
from tconv.models.readers.onnx_graph.values import Values


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
    """Place in words: "node 4 of 40", "node 1 of 3 in the then_branch of If 'choose', node 9 of 12"."""


class OnnxGraph:
    """ONNX file that is opened for reading; weights stay on the disk until they are asked for."""

    def __init__(self, path: Path, model: Any, limitations: tuple[str, ...] = ()) -> None:
        self.path, self.model, self.limitations = path, model, limitations
        self.constants = GraphConstants(path, model)
        self.values = Values(path, self.constants, model.graph.inputs)
        self._constant_arrays: dict[Any, StoredArray | None] = {}
        self.trial_elements = 0
        """Elements of the small arrays on which parts of the graph were run, to limit them."""

    @cached_property
    def nodes(self) -> tuple[PlacedNode, ...]:
        """All nodes, those of inner graphs behind the node that has them."""
        return tuple(_nodes(self.model.graph))

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators."""
        return int(self.model.opset_imports.get("", 1))

    def proto(self) -> Any:
        """Return the model as protobuf with all its numbers, for runtimes. Raises FileError for 2 GB or more."""
        import onnx_ir

        load_numbers(self.path, self.model)
        return onnx_ir.serde.serialize_model(self.model)

    def constant(self, value: Any) -> StoredArray | None:
        """Return a value that is stored, or computed from stored ones alone; None for any other."""
        if value not in self._constant_arrays:
            self._constant_arrays[value] = constant_of(self.path, value, self.constants, self.values.of)
        return self._constant_arrays[value]

    def shape(self, value: Any) -> tuple[Size, ...] | None:
        """Return the sizes of a value; None if they are not known."""
        return self.values.of(value).shape

    def dtype(self, value: Any) -> str:
        """Return the type of a value's numbers, "" if it is not known."""
        return self.values.of(value).dtype

    @cached_property
    def inputs(self) -> tuple[ModelInput, ...]:
        """Inputs that are not stored in the file."""
        stored = self.model.graph.initializers
        return tuple(self._end(each) for each in self.model.graph.inputs if each.name not in stored)

    @cached_property
    def outputs(self) -> tuple[ModelInput, ...]:
        """Outputs."""
        return tuple(self._end(each) for each in self.model.graph.outputs)

    def _end(self, value: Any) -> ModelInput:
        return ModelInput(value.name or "", self.shape(value), self.dtype(value))


def open_graph(path: Path) -> OnnxGraph:
    """Return the graph of a .onnx file. Raises FileError, MissingExtraError."""
    model, limitations = load(path)
    return OnnxGraph(path, model, limitations)


def _nodes(graph: Any, way: str = "", words: str = "") -> Iterator[PlacedNode]:
    count = len(graph)
    for number, node in enumerate(graph):
        yield PlacedNode(node, number, way, f"node {number + 1} of {count}{words}")
        for name, inner in inner_graphs(node):
            step = f"{number}.{name}"
            outer = f" in the {name} of {label(node)}, node {number + 1} of {count}{words}"
            yield from _nodes(inner, f"{way}/{step}" if way else step, outer)
