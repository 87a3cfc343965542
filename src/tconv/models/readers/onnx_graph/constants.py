"""Constants of an ONNX graph: stored numbers, and those that are computed from stored ones alone.

They are computed when they are asked for, node by node, by the onnx package's evaluator, within a limit of bytes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import si
from tconv.errors import FileError
from tconv.models.readers.onnx_graph.nodes import (
    OWN,
    all_nodes,
    attributes_of,
    first_output,
    inner_graphs,
    label,
    names_in,
)
from tconv.models.readers.onnx_graph.result_sizes import result_elements
from tconv.models.readers.onnx_graph.stored import numbers

EVALUATED = names_in(
    "Abs Add And Cast CastLike Clip Concat Constant ConstantOfShape DequantizeLinear Div Equal Exp Expand "
    "Flatten Floor Gather Greater Identity Less Log MatMul Max Min Mul Neg Not Pad Pow QuantizeLinear Range "
    "Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Reshape Shape "
    "Sigmoid Sign Size Slice Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where"
)
"""Operators that are evaluated where all their inputs are constants: those by which exporters compute weights."""

MOST_BYTES = 1 << 30
"""Most bytes of arrays at one time while a constant is computed."""
MOST_STEPS = 10_000
"""Most nodes that compute one constant."""
_MOST_TIMES = 16  # of those bytes in all
_WIDEST = 8  # bytes of an element


class GraphConstants:
    """Constants of a graph by value of onnx_ir."""

    def __init__(self, path: Path, model: Any) -> None:
        self._path, self._opsets = path, dict(model.opset_imports)
        self.order: dict[Any, int] = {}
        """Places of all nodes in an order in which they can run."""
        self._known: set[Any] = set()
        for number, node in enumerate(all_nodes(model.graph)):
            self.order[node] = number
            if self._is_computed(node):
                self._known.update(node.outputs)

    def _is_computed(self, node: Any) -> bool:
        evaluated = node.op_type in EVALUATED and (node.domain in OWN or _is_quantization(node))
        if not evaluated or next(inner_graphs(node), None) is not None:
            return False
        if any(attribute.is_ref() for attribute in node.attributes.values()):
            return False
        return all(each is None or each in self._known or self.tensor(each) is not None for each in node.inputs)

    def __contains__(self, value: Any) -> bool:
        return value in self._known or self.tensor(value) is not None

    def tensor(self, value: Any) -> Any:
        """Return the tensor of onnx_ir that a value is stored as; None for any other value."""
        if value is None:
            return None
        node = value.producer()
        if node is None:
            return value.const_value
        if node.op_type != "Constant" or node.domain not in OWN:
            return None
        given = node.attributes.get("value")
        return given.value if given is not None and given.type.name == "TENSOR" else None

    def opset(self, node: Any) -> int:
        """Return the version of a node's operators."""
        if node.version is not None:
            return int(node.version)
        return int(next((self._opsets[name] for name in OWN if name in self._opsets), 1))

    def sources(self, value: Any) -> tuple[list[Any], list[Any]]:
        """Return the nodes that compute a constant, in order, and the values that they begin with."""
        nodes: set[Any] = set()
        stored: dict[Any, None] = {}
        waiting = [value]
        while waiting:
            each = waiting.pop()
            node = None if each is None or self.tensor(each) is not None else each.producer()
            if node is not None and node not in nodes:
                nodes.add(node)
                waiting.extend(node.inputs)
            elif node is None and each is not None:
                stored[each] = None
        return sorted(nodes, key=self.order.__getitem__), list(stored)

    def evaluate(self, value: Any) -> Array:
        """Return the numbers of a constant. Raises FileError, also for one that needs too much memory or time."""
        if (tensor := self.tensor(value)) is not None:
            return numbers(self._path, tensor)
        nodes, _ = self.sources(value)
        if len(nodes) > MOST_STEPS:
            raise FileError(f"{self._path}: a constant is computed by {len(nodes)} nodes; {MOST_STEPS} are followed")
        uses = Counter(each for node in nodes for each in node.inputs if each is not None)
        uses[value] += 1
        made: dict[Any, Array] = {}
        limit = MemoryLimit(MOST_BYTES)
        for node in nodes:
            arrays = []
            for each in node.inputs:
                if each is not None and each not in made:
                    made[each] = numbers(self._path, self.tensor(each))
                arrays.append(None if each is None else made[each])
            try:
                limit.present = sum(array.nbytes for array in made.values())
                results = evaluated(node, arrays, self.opset(node), limit)
            except FileError as error:
                raise FileError(f"{self._path}: {error}") from None
            made.update(zip(node.outputs, results, strict=False))
            for each in node.inputs:
                if each is not None:
                    uses[each] -= 1
                    if not uses[each]:
                        made.pop(each, None)
        return made[value]


class MemoryLimit:
    """Bytes that arrays may have at one time while nodes are evaluated, and in all."""

    def __init__(self, most: int) -> None:
        self._most, self._left, self.present = most, _MOST_TIMES * most, 0

    def spend(self, node: Any, arrays: list[Array | None]) -> None:
        """Count the outputs of a node before they are computed. Raises FileError if they are too large."""
        try:
            needed = result_elements(node, arrays) * _WIDEST
        except (LookupError, TypeError, ValueError, OverflowError):
            return  # its evaluator has the words for inputs that do not fit
        self._left -= needed
        if self.present + needed > self._most or self._left < 0:
            raise FileError(
                f"{label(node)} needs {si(self.present + needed, 'B')} to compute a constant; at most "
                f"{si(self._most, 'B')} are used at one time, and {_MOST_TIMES} times that in all. Write a file with "
                "that constant computed"
            )


def _is_quantization(node: Any) -> bool:
    return node.domain == "com.microsoft" and node.op_type in ("DequantizeLinear", "QuantizeLinear")


def evaluated(node: Any, arrays: list[Array | None], opset: int, limit: MemoryLimit) -> list[Array]:
    """Return a node's outputs for these inputs. Raises FileError, also for outputs that are larger than allowed."""
    limit.spend(node, arrays)
    if node.op_type == "Identity" and arrays and arrays[0] is not None:
        return [arrays[0]]
    import onnx_ir
    from onnx.reference import ReferenceEvaluator

    try:
        if (direct := _older(node, arrays)) is not None:
            return [direct]
        arrays = _cropped(node, arrays) if node.op_type == "Pad" else arrays
        proto = onnx_ir.serde.serialize_node(node)
        proto.domain = ""
        feeds = {each.name: array for each, array in zip(node.inputs, arrays, strict=True) if each is not None}
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(proto, opsets={"": opset}).run(None, feeds)
    except Exception as error:  # the evaluator has many kinds
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(f"{label(node)}, a constant, cannot be computed: {text}") from None
    if not all(isinstance(array, (np.ndarray, np.generic)) for array in results):
        raise FileError(f"{label(node)} {first_output(node)!r} is not an array")
    return [np.asarray(array) for array in results]


def _older(node: Any, arrays: list[Array | None]) -> Array | None:
    """Return the output of operators of old opsets that onnx 1.23.2's evaluator does not run alone; None for others."""
    x, given = arrays[0] if len(arrays) == 1 else None, attributes_of(node)
    if x is None:
        return None
    if node.op_type == "Unsqueeze" and "axes" in given:
        return np.expand_dims(x, tuple(given["axes"]))
    if node.op_type == "Clip":
        lo, hi = (np.asarray(given.get(name, usual), x.dtype) for name, usual in (("min", -np.inf), ("max", np.inf)))
        clipped: Array = np.minimum(np.maximum(x, lo), hi)
        return clipped
    return None


def _cropped(node: Any, arrays: list[Array | None]) -> list[Array | None]:
    """Return the inputs of an equal Pad without negative pads, which onnx 1.23.2's evaluator does not have."""
    x, pads = arrays[0], arrays[1] if len(arrays) > 1 else None
    if x is None or pads is None or pads.min(initial=0) >= 0:
        return arrays
    axes = range(x.ndim) if len(arrays) < 4 or arrays[3] is None else [int(axis) for axis in arrays[3].ravel()]
    cut = [slice(None)] * x.ndim
    for axis, lo, hi in zip(axes, *pads.reshape(2, -1).tolist(), strict=True):
        cut[axis] = slice(max(0, -lo), x.shape[axis] - max(0, -hi))
    return [x[tuple(cut)], np.maximum(pads, 0), *arrays[2:]]
