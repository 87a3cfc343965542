"""Facts of every value of an ONNX graph, found when they are asked for, from its sources on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tconv.errors import FileError, TconvError
from tconv.models.inventory.model_layer import Size
from tconv.models.readers.onnx_graph.constants import GraphConstants, MemoryLimit, evaluated
from tconv.models.readers.onnx_graph.facts import SMALL, UNKNOWN, Fact, count, declared, merged, of_numbers, sizes_of
from tconv.models.readers.onnx_graph.nodes import OWN, inner_graphs
from tconv.models.readers.onnx_graph.shape_rules import RULES
from tconv.models.readers.onnx_graph.stored import dtype_name, numbers, shape_of

_MOST_BYTES = 1 << 20  # far above those of a small constant


class Values:
    """Shapes and types of a graph's values."""

    def __init__(self, path: Any, constants: GraphConstants, inputs: Iterable[Any]) -> None:
        self._path, self._constants = path, constants
        shapes = [sizes_of(each.shape) or () for each in inputs]
        self._names = {name for shape in shapes for size in shape if isinstance(size, str) for name in _words(size)}
        """Names of sizes of the model's inputs; exporters invent others for what they could not infer."""
        self._facts: dict[Any, Fact] = {}

    def of(self, value: Any) -> Fact:
        """Return what is known of a value without running the model."""
        if value is None:
            return UNKNOWN
        if value in self._facts:
            return self._facts[value]
        for node in self._unknown_sources(value):
            self._visit(node)
        return self._source(value) if value not in self._facts else self._facts[value]

    def _unknown_sources(self, value: Any) -> list[Any]:
        """Return the nodes whose outputs have no facts yet and that a value needs, in order."""
        nodes: set[Any] = set()
        waiting = [value]
        while waiting:
            each = waiting.pop()
            node = None if each is None or each in self._facts else each.producer()
            if node is None or node in nodes or node not in self._constants.order or self._complete(each):
                continue
            nodes.add(node)
            waiting.extend(node.inputs)
        return sorted(nodes, key=self._constants.order.__getitem__)

    def _complete(self, value: Any) -> bool:
        """Return True for a value that the file itself describes in full, and that contains no sizes."""
        fact = declared(value)
        known = fact.dtype and fact.shape is not None and len(fact.shape) > 1 and all(map(self._is_known, fact.shape))
        node = value.producer()
        # the output of a ConvTranspose is computed anew: files contain what ONNX's inference got wrong
        if not known or value in self._constants or node.op_type == "ConvTranspose":
            return False
        self._facts[value] = fact
        return True

    def _is_known(self, size: Size) -> bool:
        return isinstance(size, int) or (size is not None and self._names.issuperset(_words(size)))

    def _source(self, value: Any) -> Fact:
        """Return the fact of a value that no node computes."""
        if value in self._facts:
            return self._facts[value]
        tensor = self._constants.tensor(value)
        if tensor is None:
            fact = declared(value)
        else:
            fact = Fact(shape_of(tensor), dtype_name(tensor.dtype))
            total = count(fact)
            if total is not None and total <= SMALL:
                with contextlib.suppress(FileError):  # damaged numbers are an error where they are needed
                    fact = of_numbers(numbers(self._path, tensor))
        self._facts[value] = fact
        return fact

    def _visit(self, node: Any) -> None:
        facts = [UNKNOWN if each is None else self._source(each) for each in node.inputs]
        found = self._found(node, facts)
        for number, value in enumerate(node.outputs):
            if value in self._facts:
                continue
            fact = found[number] if number < len(found) else UNKNOWN
            own = declared(value)
            self._facts[value] = merged(fact, own) if fact.dtype in ("", own.dtype) or not own.dtype else own

    def _found(self, node: Any, facts: Sequence[Fact]) -> list[Fact]:
        tensor = self._constants.tensor(node.outputs[0]) if node.outputs else None
        if tensor is not None:
            return [self._source(node.outputs[0])]
        if next(inner_graphs(node), None) is not None:
            return []
        constant = bool(node.outputs) and node.outputs[0] in self._constants
        try:
            rule = RULES.get(node.op_type) if node.domain in OWN or node.op_type.endswith("eLinear") else None
            found = _by_rule(rule, node, facts)
            if found is None:
                found = self._inferred(node, facts)
            small = all(n is not None and n <= SMALL for n in map(count, found)) and len(found) > 0
            absent = [each is None for each in node.inputs]
            if (
                constant
                and small
                and all(none or fact.numbers is not None for none, fact in zip(absent, facts, strict=True))
            ):
                arrays, opset = [fact.numbers for fact in facts], self._constants.opset(node)
                found = [of_numbers(each) for each in evaluated(node, arrays, opset, MemoryLimit(_MOST_BYTES))]
        except (TconvError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            return []
        return found

    def _inferred(self, node: Any, facts: Sequence[Fact]) -> list[Fact]:
        """Return what ONNX's own inference knows of one node's outputs."""
        from tconv.models.readers.onnx_graph.schema_inference import inferred

        return inferred(node, facts, self._constants.opset(node))


def _words(size: str) -> list[str]:
    """Return the names in a size."""
    return re.findall(r"[^\W\d][\w.]*", size)


def _by_rule(rule: Any, node: Any, facts: Sequence[Fact]) -> list[Fact] | None:
    if rule is None:
        return None
    try:
        found: list[Fact] = rule(node, facts)
    except NotImplementedError:
        return None
    return found
