"""Constants of TensorFlow's graphs: Const nodes, variables of the checkpoint, and what is computed from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.models.inventory.model_layer import StoredArray
from tconv.models.inventory.size_arithmetic import Terms
from tconv.models.inventory.tensorflow_graph import Found, TensorflowGraph
from tconv.models.readers.saved_model import GraphNode, SavedModelGraph
from tconv.models.readers.tensorflow_checkpoint import DTYPES, Checkpoint

_DEEPEST = 24
_FEW = 64
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "AddV2": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "RealDiv": np.divide,
    "Maximum": np.maximum,
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    "Rsqrt": lambda a: (1 / np.sqrt(a)).astype(a.dtype),
    "Sqrt": np.sqrt,
    "Neg": np.negative,
    "Square": np.square,
}
_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


class TensorflowConstants:
    """Constants by what references lead to."""

    def __init__(self, model: SavedModelGraph, graph: TensorflowGraph) -> None:
        self._model, self._graph = model, graph
        self._known: dict[str, StoredArray | None] = {}
        self._top = {node.name: node for node in model.nodes}

    def find(self, found: Found, depth: int = 0) -> StoredArray | None:
        """Return a constant; None for a value that depends on the inputs, or in a way that is not evaluated."""
        if depth > _DEEPEST:
            return None
        if found.key not in self._known:
            self._known[found.key] = None  # for circles
            self._known[found.key] = self._evaluated(found, depth)
        return self._known[found.key]

    def _evaluated(self, found: Found, depth: int) -> StoredArray | None:
        if found.captured >= 0:
            return self._captured(found.captured)
        node, scope = found.node, found.scope
        if node is None or scope is None:
            return None
        if node.op == "Const":
            return _constant(node)
        if node.op in _VARIABLES:
            return self._variable(node.text("shared_name") or node.name) or self._variable(node.name)
        sources = [self.find(self._graph.find(scope, each), depth + 1) for each in node.inputs[:2]]
        return None if not sources or sources[0] is None else _computed(node, sources[0], sources[1:])

    def _captured(self, number: int) -> StoredArray | None:
        if number in self._model.variables:
            return self._variable(self._model.variables[number])
        node = self._top.get(self._model.constants.get(number, ""))
        return None if node is None else _constant(node)

    def _variable(self, key: str) -> StoredArray | None:
        checkpoint = self._model.checkpoint
        if checkpoint is None or key not in checkpoint.entries:
            return None
        return _stored(checkpoint, key)

    def integers(self, found: Found) -> list[int] | None:
        """Return the entries of a short constant of integers; None for anything else."""
        known = self.find(found)
        if known is None or math.prod(known.shape) > _FEW or not known.dtype.startswith("int"):
            return None
        return [int(each) for each in known.read().reshape(-1)]

    def terms(self, found: Found) -> Terms:
        """Return a constant as terms of sizes: a scalar, or the entries of a vector."""
        entries, known = self.integers(found), self.find(found)
        return entries[0] if entries and known is not None and not known.shape else entries  # type: ignore[return-value]


def _quietly(function: Callable[..., Array], *arrays: Array) -> Array:
    """Return a function of arrays, whose inf and NaN are those of the model."""
    with np.errstate(all="ignore"):
        return function(*arrays)


def _stored(checkpoint: Checkpoint, key: str) -> StoredArray:
    entry = checkpoint.entries[key]
    return StoredArray(
        entry.shape, entry.dtype, lambda: checkpoint.read(key), "variable", entry.size, stored_dtype=entry.dtype
    )


def _constant(node: GraphNode) -> StoredArray | None:
    found = node.constant()
    if found is None:
        return None
    size = np.dtype("uint16" if found.dtype == "bfloat16" else found.dtype).itemsize
    return StoredArray(
        found.shape, found.dtype, found.read, nbytes=size * math.prod(found.shape), stored_dtype=found.dtype
    )


def _computed(node: GraphNode, source: StoredArray, others: list[StoredArray | None]) -> StoredArray | None:
    """Return what a node computes from constants; None for other nodes."""
    op, second = node.op, others[0] if others else None
    origin = op if source.origin == "constant" else f"{source.origin}, {op}"
    if op == "Cast":
        number = node.attributes["DstT"].integer(6) if "DstT" in node.attributes else 0
        kind = DTYPES.get(number, "")
        if kind in ("", "string", "resource"):
            return None
        stored = "float32" if kind == "bfloat16" else kind
        return replace(source, dtype=kind, read=lambda: source.read().astype(stored), origin=origin)
    if op in _UNARY:
        return replace(source, read=lambda: _quietly(_UNARY[op], source.read()), origin=origin)
    if op == "Squeeze":
        axes = {axis % max(len(source.shape), 1) for axis in node.integers("squeeze_dims")}
        sizes = [size for at, size in enumerate(source.shape) if size != 1 or (axes and at not in axes)]
        return replace(source, shape=tuple(sizes), read=lambda: source.read().reshape(sizes))
    if second is None:
        return None
    if op in _BINARY:
        try:
            shape = np.broadcast_shapes(source.shape, second.shape)
        except ValueError:
            return None
        if math.prod(shape) > max(math.prod(source.shape), math.prod(second.shape)) * _FEW:
            return None
        return replace(
            source, shape=shape, read=lambda: _quietly(_BINARY[op], source.read(), second.read()), origin=origin
        )
    if math.prod(second.shape) > _FEW or not second.dtype.startswith("int"):
        return None
    numbers = [int(each) for each in second.read().reshape(-1)]
    if op == "Transpose" and sorted(numbers) == list(range(len(source.shape))):
        shape = tuple(source.shape[axis] for axis in numbers)
        read = lambda: np.ascontiguousarray(source.read().transpose(numbers))  # noqa: E731
        return replace(source, shape=shape, read=read, origin=origin)
    if op == "Reshape" and math.prod(numbers) == math.prod(source.shape) and min(numbers, default=1) >= 0:
        return replace(source, shape=tuple(numbers), read=lambda: source.read().reshape(numbers), origin=origin)
    if op == "ExpandDims" and len(numbers) == 1 and -len(source.shape) <= numbers[0] + 1 <= len(source.shape) + 1:
        at = numbers[0] if numbers[0] >= 0 else len(source.shape) + 1 + numbers[0]
        shape = (*source.shape[:at], 1, *source.shape[at:])
        return replace(source, shape=shape, read=lambda: source.read().reshape(shape), origin=source.origin)
    return None
