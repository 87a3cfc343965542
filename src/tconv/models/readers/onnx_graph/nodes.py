"""Nodes of onnx_ir: their attributes as Python numbers, their inputs, and their names in messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

OWN = ("", "ai.onnx")
"""Domain of ONNX's own operators."""


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


def inner_graphs(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the graphs inside of a node, with the names of their attributes."""
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            continue
        if attribute.type.name == "GRAPH":
            yield name, attribute.value
        elif attribute.type.name == "GRAPHS":
            for number, each in enumerate(attribute.value):
                yield f"{name}[{number}]", each


def all_nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph in order, those of inner graphs before the node that has them."""
    for node in graph:
        for _, inner in inner_graphs(node):
            yield from all_nodes(inner)
        yield node


def label(node: Any) -> str:
    """Return a node as text for messages: its type, and its name or that of its output."""
    return f"{node.op_type} {node.name or first_output(node)!r}"


def first_output(node: Any) -> str:
    """Return the name of the first output that has one; "" without any."""
    return next((str(each.name) for each in node.outputs if each.name), "")


def is_onnx(node: Any, *types: str) -> bool:
    """Return True for a node of ONNX's own operators, of one of these types."""
    return node is not None and node.domain in OWN and node.op_type in types


def input_of(node: Any, number: int) -> Any:
    """Return an input of a node; None if it has none of this number."""
    return node.inputs[number] if number < len(node.inputs) else None


def names_in(text: str) -> frozenset[str]:
    """Return the words of a text: names of operators."""
    return frozenset(text.split())
