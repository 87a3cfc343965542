"""Reader of TensorFlow's SavedModels: the graph, its functions, and the variables of its checkpoint.

TensorFlow is not needed: the messages are those of protobuf, and nothing of a model is run.
Sources: tensorflow/core/protobuf/{saved_model, meta_graph, saved_object_graph, trackable_object_graph}.proto,
tensorflow/core/framework/{graph, function, node_def, attr_value, tensor}.proto
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.readers.flatbuffer import mapped
from tconv.models.readers.number_types import from_bfloat16
from tconv.models.readers.protobuf import Message
from tconv.models.readers.tensorflow_checkpoint import DTYPES, Checkpoint, array_of, shape_of

_MOST_NODES = 200_000
_VALUES = {5: "<f4", 6: "<f8"}
_INTEGERS = (7, 10, 11, 16, 17)  # fields of 32 and 64 bits, of bool, uint32 and uint64
_HALVES = 13
_MOST_REPEATED = 1 << 26  # elements that one number stands for


@dataclass(frozen=True, eq=False)
class ConstantTensor:
    """A constant in the graph, whose numbers are decoded when they are asked for."""

    dtype: str
    shape: tuple[int, ...]
    _message: Message

    def read(self) -> Array:
        """Return the numbers; bfloat16 as float32. Raises FileError."""
        message, count = self._message, math.prod(self.shape)
        if 4 in message:
            return array_of(message.bytes(4), self.dtype, self.shape, "a constant")
        if self.dtype in ("float16", "bfloat16"):
            bits: Array = np.array(message.integers(_HALVES), np.uint16)
            values = bits.view(np.float16) if self.dtype == "float16" else from_bfloat16(bits)
        elif self.dtype in ("float32", "float64"):
            number = 5 if self.dtype == "float32" else 6
            values = message.packed(number, _VALUES[number])
        else:
            numbers = next((found for each in _INTEGERS if (found := message.integers(each))), [])
            values = np.array(numbers, object).astype(self.dtype)
        if not len(values):
            values = np.zeros(1, values.dtype)
        if len(values) < count:  # the last number stands for all others
            if count > _MOST_REPEATED:
                raise FileError(f"a constant of shape {self.shape} has {len(values)} numbers")
            values = np.concatenate([values, np.repeat(values[-1:], count - len(values))])
        return values[:count].reshape(self.shape)


@dataclass(frozen=True, eq=False)
class GraphNode:
    """A node of the graph or of a function."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """References to its inputs, without those that only order the nodes."""
    attributes: Mapping[str, Message]

    def integers(self, name: str) -> list[int]:
        """Return a list of integers, or one integer as a list; empty without the attribute."""
        found = self.attributes.get(name)
        if found is None:
            return []
        return found.message(1).integers(3) if 1 in found else [found.integer(3)] if 3 in found else []

    def text(self, name: str) -> str:
        """Return a text, "" without the attribute."""
        found = self.attributes.get(name)
        return "" if found is None else found.text(2)

    def output_shape(self) -> tuple[int, ...] | None:
        """Return the shape that the node states of its first output, -1 for sizes that vary."""
        found = self.attributes.get("_output_shapes")
        for shape in found.message(1).messages(7) if found is not None else ():
            return shape_of(shape)
        return None

    def constant(self) -> ConstantTensor | None:
        """Return the value of a Const; None for any other node."""
        if self.op != "Const" or "value" not in self.attributes:
            return None
        message = self.attributes["value"].message(8)
        shape, number = shape_of(message.message(2)) or (), message.integer(1)
        kind = DTYPES.get(number, "")
        if kind in ("", "string", "resource") or any(size < 0 for size in shape) or len(shape) > 16:
            return None
        return ConstantTensor(kind, shape, message)


@dataclass(frozen=True, eq=False)
class GraphFunction:
    """A function of the library."""

    name: str
    arguments: tuple[str, ...]
    shapes: Mapping[int, tuple[int, ...] | None]
    """Shapes of the arguments, by their numbers."""
    nodes: tuple[GraphNode, ...]
    results: tuple[str, ...]
    """References to the results in their order."""


@dataclass(frozen=True, eq=False)
class SavedModelGraph:
    """Graph, functions, and what the functions capture."""

    version: str
    nodes: tuple[GraphNode, ...]
    functions: Mapping[str, GraphFunction]
    captures: Mapping[str, tuple[int, ...]]
    """Numbers of the objects that functions capture, by the functions' names."""
    variables: Mapping[int, str]
    """Keys of the checkpoint by the numbers of variables."""
    constants: Mapping[int, str]
    """Names of nodes of the graph by the numbers of captured constants."""
    signatures: Mapping[str, tuple[tuple[str, str, tuple[int, ...] | None, bool], ...]]
    """(name, type, shape, True for an input) of the inputs and outputs, by signature."""
    checkpoint: Checkpoint | None = None
    limitations: tuple[str, ...] = field(default=())


def read(folder: Path) -> SavedModelGraph:
    """Return the SavedModel in a folder. Raises FileError."""
    path = folder / "saved_model.pb"
    if not path.is_file():
        text = " (a .pbtxt is not read)" if (folder / "saved_model.pbtxt").exists() else ""
        raise FileError(f"{folder} has no saved_model.pb{text}. Write the folder of a SavedModel")
    try:
        return _read(folder, Message(memoryview(mapped(path))))
    except FileError as error:
        raise FileError(f"{folder} is not a SavedModel that can be read: {error}. Write it again") from None
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read: {error.strerror}") from None


def _read(folder: Path, root: Message) -> SavedModelGraph:
    graphs = list(root.messages(2))
    if not graphs:
        raise FileError("it has no graph")
    info = [graph.message(1) for graph in graphs]
    chosen = next((at for at, each in enumerate(info) if "serve" in each.texts(4)), 0)
    graph, limitations = graphs[chosen], []
    content = graph.message(2)
    nodes = _nodes(content, 1)
    functions = {}
    for each in content.message(2).messages(1):
        made = _function(each)
        functions[made.name] = made
    if sum(len(each.nodes) for each in functions.values()) + len(nodes) > _MOST_NODES:
        raise FileError(f"it has more than {_MOST_NODES} nodes")
    checkpoint = None
    prefix = folder / "variables" / "variables"
    if prefix.with_name("variables.index").is_file():
        checkpoint = Checkpoint(prefix)
    else:
        limitations.append("There is no variables/variables.index, so the numbers of variables are not read")
    objects = graph.message(7)
    captures = {}
    for name, concrete in objects.entries(2):
        captures[name] = tuple(concrete.integers(2))
    saved = list(objects.messages(1))
    return SavedModelGraph(
        info[chosen].text(5),
        nodes,
        functions,
        captures,
        _keys(saved, checkpoint),
        {at: each.message(9).text(1) for at, each in enumerate(saved) if 9 in each},
        _signatures(graph),
        checkpoint,
        tuple(limitations),
    )


def _nodes(message: Message, number: int) -> tuple[GraphNode, ...]:
    return tuple(
        GraphNode(
            each.text(1),
            each.text(2),
            tuple(name for name in each.texts(3) if not name.startswith("^")),
            dict(each.entries(5)),
        )
        for each in message.messages(number)
    )


def _function(message: Message) -> GraphFunction:
    signature = message.message(1)
    arguments = tuple(each.text(1) for each in signature.messages(2))
    order = [each.text(1) for each in signature.messages(3)]
    results = {entry.text(1): entry.text(2) for entry in message.messages(4)}
    shapes = {}
    for entry in message.messages(7):
        stated = dict(entry.message(2).entries(1)).get("_output_shapes")
        for shape in stated.message(1).messages(7) if stated is not None else ():
            shapes[entry.integer(1)] = shape_of(shape)
            break
    return GraphFunction(
        signature.text(1), arguments, shapes, _nodes(message, 3), tuple(results.get(name, "") for name in order)
    )


def _keys(saved: list[Message], checkpoint: Checkpoint | None) -> dict[int, str]:
    """Return the checkpoint's keys of variables: the objects of both are the same, by their names from the root on."""
    objects = None if checkpoint is None else checkpoint.objects()
    if objects is None:
        return {}
    stored = list(objects.messages(1))
    keys, known, waiting = {}, {0}, [(0, 0)]
    while waiting:
        at, other = waiting.pop()
        if at >= len(saved) or other >= len(stored):
            continue
        if 7 in saved[at]:
            for attribute in stored[other].messages(2):
                keys[at] = attribute.text(3)
        children = {each.text(2): each.integer(1) for each in stored[other].messages(1)}
        for child in saved[at].messages(1):
            number, name = child.integer(1), child.text(2)
            if name in children and number not in known:
                known.add(number)
                waiting.append((number, children[name]))
    return keys


def _signatures(graph: Message) -> dict[str, tuple[tuple[str, str, tuple[int, ...] | None, bool], ...]]:
    found = {}
    for name, signature in graph.entries(5):
        ends: list[tuple[str, str, tuple[int, ...] | None, bool]] = []
        for number in (1, 2):
            for key, tensor in signature.entries(number):
                kind = DTYPES.get(tensor.integer(2), "")
                ends.append((key, kind, shape_of(tensor.message(3)), number == 1))
        found[name] = tuple(ends)
    return found
