"""Values of TensorFlow's graphs: what a reference in a function leads to, through calls, copies and captures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tconv.models.readers.saved_model import GraphFunction, GraphNode, SavedModelGraph

_COPIES = frozenset(("Identity", "ReadVariableOp", "EnsureShape", "StopGradient", "PreventGradient", "Snapshot"))
_CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
_LONGEST = 200
_DEEPEST = 60


@dataclass(eq=False)
class Scope:
    """One call of a function, or the graph itself."""

    prefix: str
    nodes: Mapping[str, GraphNode]
    function: GraphFunction | None = None
    bound: Mapping[str, BoundValue] = field(default_factory=dict)
    """Values of arguments."""
    calls: dict[str, Scope] = field(default_factory=dict)
    """Calls within it, by the names of their nodes."""

    @property
    def title(self) -> str:
        """Place for a reader."""
        return "" if self.function is None else f", in the function {self.function.name!r}"


class BoundValue(NamedTuple):
    """A reference as a scope has it, or an object that a function captures."""

    scope: Scope | None
    reference: str
    captured: int = -1


class Found(NamedTuple):
    """The value that a reference leads to: a node, a captured object, or an argument."""

    key: str
    """Name that is unique in the model."""
    node: GraphNode | None = None
    scope: Scope | None = None
    captured: int = -1
    shape: tuple[int, ...] | None = None
    """Shape that the argument states."""


class TensorflowGraph:
    """Functions of a SavedModel, each body once, from the ones that are called from outside."""

    def __init__(self, model: SavedModelGraph) -> None:
        self._model = model
        self._visited: set[str] = set()
        self.scopes: list[Scope] = []
        """The graph and all calls."""
        signatures = [name for name in model.captures if "signature_wrapper" in name]
        roots = signatures or list(model.captures)  # other traces of the same functions are those of training
        for name in roots:
            if (function := model.functions.get(name)) and name not in self._visited:
                captured = model.captures[name]
                first = max(len(function.arguments) - len(captured), 0)
                bound = {
                    argument: BoundValue(None, "", number)
                    for argument, number in zip(function.arguments[first:], captured, strict=False)
                }
                self._enter(function, bound, f"{name}/", 0)
        if not roots:
            scope = Scope("", {node.name: node for node in model.nodes})
            self.scopes.append(scope)
            self._scan(scope, 0)

    def _enter(self, function: GraphFunction, bound: Mapping[str, BoundValue], prefix: str, depth: int) -> Scope:
        self._visited.add(function.name)
        scope = Scope(prefix, {node.name: node for node in function.nodes}, function, bound)
        self.scopes.append(scope)
        self._scan(scope, depth)
        return scope

    def _scan(self, scope: Scope, depth: int) -> None:
        """Enter the functions that a scope names: calls, with the values of their arguments, and bodies of loops."""
        for node in scope.nodes.values():
            for name, attribute in node.attributes.items():
                function = self._model.functions.get(attribute.message(10).text(1)) if 10 in attribute else None
                if function is None or function.name in self._visited or depth > _DEEPEST:
                    continue
                called = node.op in _CALLS and name == "f"
                given = zip(function.arguments, node.inputs, strict=False) if called else ()
                bound = {argument: BoundValue(scope, reference) for argument, reference in given}
                inner = self._enter(function, bound, f"{scope.prefix}{node.name}/", depth + 1)
                if called:
                    scope.calls[node.name] = inner

    def find(self, scope: Scope, reference: str) -> Found:
        """Return what a reference leads to."""
        value = BoundValue(scope, reference)
        for _ in range(_LONGEST):
            if value.captured >= 0:
                return Found(f"object {value.captured}", captured=value.captured)
            within = value.scope
            if within is None:
                break
            head, _, rest = value.reference.partition(":")
            node = within.nodes.get(head)
            if node is None:
                if head in within.bound:
                    value = within.bound[head]
                    continue
                return Found(f"{within.prefix}{head}", shape=_argument_shape(within, head))
            if node.name in within.calls:
                inner = within.calls[node.name]
                results = inner.function.results if inner.function else ()
                at = rest.rpartition(":")[2]
                number = int(at) if at.isdecimal() and len(at) < 9 else 0
                if number < len(results):
                    value = BoundValue(inner, results[number])
                    continue
            elif node.op in _COPIES and node.inputs:
                value = BoundValue(within, node.inputs[0])
                continue
            return Found(f"{within.prefix}{node.name}", node, within)
        return Found(f"{scope.prefix}{reference}")

    def operations(self) -> Iterator[tuple[Scope, int, GraphNode]]:
        """Yield the nodes that compute, with their numbers in their functions."""
        for scope in self.scopes:
            for at, node in enumerate(scope.nodes.values()):
                if node.op not in _COPIES and node.name not in scope.calls and node.op not in ("Const", "NoOp"):
                    yield scope, at, node


def _argument_shape(scope: Scope, name: str) -> tuple[int, ...] | None:
    if scope.function is None or name not in scope.function.arguments:
        return None
    return scope.function.shapes.get(scope.function.arguments.index(name))
