"""Constants of TensorFlow's graphs: Const nodes, variables of the checkpoint, and what is computed from them."""

from __future__ import annotations

import math

import numpy as np

from tconv.models.inventory.computed_arrays import cast, elementwise, reduced, reshaped, transposed
from tconv.models.inventory.model_layer import StoredArray
from tconv.models.inventory.size_arithmetic import Terms
from tconv.models.inventory.tensorflow_graph import Found, TensorflowGraph
from tconv.models.readers.saved_model import GraphNode, SavedModelGraph
from tconv.models.readers.tensorflow_checkpoint import DTYPES, Checkpoint

_DEEPEST = 24
_FEW = 64
_BINARY = {
    "Add": "add",
    "AddV2": "add",
    "Sub": "sub",
    "Mul": "mul",
    "RealDiv": "div",
    "Maximum": "maximum",
    "Minimum": "minimum",
}
_UNARY = {
    "Rsqrt": "rsqrt",
    "Sqrt": "sqrt",
    "Neg": "neg",
    "Square": "square",
    "Abs": "abs",
    "Exp": "exp",
    "Reciprocal": "reciprocal",
}
_REDUCTIONS = {"Sum": "sum", "Mean": "mean", "Max": "max"}
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
    if op == "Cast":
        kind = DTYPES.get(node.attributes["DstT"].integer(6) if "DstT" in node.attributes else 0, "")
        return None if kind in ("", "string", "resource") else cast(source, kind, op)
    if op in _UNARY:
        return elementwise(_UNARY[op], op, source)
    if op == "Squeeze":
        axes = {axis % max(len(source.shape), 1) for axis in node.integers("squeeze_dims")}
        sizes = [size for at, size in enumerate(source.shape) if size != 1 or (axes and at not in axes)]
        return reshaped(source, sizes, "")
    if second is None:
        return None
    if op in _BINARY:
        return elementwise(_BINARY[op], op, source, second)
    if math.prod(second.shape) > _FEW or not second.dtype.startswith("int"):
        return None
    numbers = [int(each) for each in second.read().reshape(-1)]
    if op in _REDUCTIONS:
        keep = "keep_dims" in node.attributes and bool(node.attributes["keep_dims"].integer(5))
        return reduced(_REDUCTIONS[op], op, source, numbers, keep)
    if op == "Transpose":
        return transposed(source, numbers, op)
    if op == "Reshape":
        return reshaped(source, numbers, op)
    if op == "ExpandDims" and len(numbers) == 1 and -len(source.shape) <= numbers[0] + 1 <= len(source.shape) + 1:
        at = numbers[0] if numbers[0] >= 0 else len(source.shape) + 1 + numbers[0]
        return reshaped(source, (*source.shape[:at], 1, *source.shape[at:]), "")
    return None
