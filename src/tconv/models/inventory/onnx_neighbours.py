"""Operations around a layer of an ONNX graph: those that compute its input, and those that read its output."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv.models.inventory.model_layer import MOST_AFTER, MOST_BEFORE, Neighbour, StoredArray
from tconv.models.readers.onnx_graph import OnnxGraph, attributes_of

_MOST_NUMBERS = 64
_BATCHNORM = ("x", "scale", "B", "mean", "var")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu")
_JOINS = ("Concat", "Add", "Sum")
"""Operators that need the sizes of their inputs to be equal, whose shapes are recorded."""
_SETTINGS = {
    "Pad": ("", "pads", "constant_value", "axes"),
    "Clip": ("", "min", "max"),
    "Slice": ("", "starts", "ends", "axes", "steps"),
    "Resize": ("", "roi", "scales", "sizes"),
    "Upsample": ("", "scales"),
    "Reshape": ("", "shape"),
    "Squeeze": ("", "axes"),
    "Unsqueeze": ("", "axes"),
    "Expand": ("", "shape"),
    "Split": ("", "split"),
}
"""Inputs that are settings rather than data, where they are constant."""


def before(graph: OnnxGraph, value: Any) -> tuple[Neighbour, ...]:
    """Return the operations that compute a value, the nearest first, while each has one input that is no constant."""
    found: list[Neighbour] = []
    while value is not None and len(found) < MOST_BEFORE:
        node = value.producer()
        if node is None or graph.constant(value) is not None:
            break
        found.append(neighbour(graph, node))
        sources = [each for each in node.inputs if each is not None and graph.constant(each) is None]
        value = sources[0] if len(sources) == 1 else None
    return tuple(found)


def after(graph: OnnxGraph, value: Any) -> tuple[Neighbour, ...]:
    """Return the operations that read a value, then those behind them while there is one alone."""
    found: list[Neighbour] = []
    readers = readers_of(value)
    while readers and len(found) < MOST_AFTER:
        found += [neighbour(graph, node) for node in readers[: MOST_AFTER - len(found)]]
        if len(readers) > 1 or is_output(value):
            break
        (node,) = readers
        outputs = [each for each in node.outputs if each.name]
        if len(outputs) != 1:
            break
        value = outputs[0]
        readers = readers_of(value)
    return tuple(found)


def readers_of(value: Any) -> list[Any]:
    """Return the nodes that read a value, each once."""
    return list(dict.fromkeys(use.node for use in value.uses()))


def is_output(value: Any) -> bool:
    """Return True for an output of the graph."""
    return bool(value.is_graph_output())


def neighbour(graph: OnnxGraph, node: Any) -> Neighbour:
    """Return a node as a neighbour: its attributes, constant settings among them, and its constant arrays."""
    attributes, constants, inputs = attributes_of(node), {}, []
    shapes = []
    roles = _roles(node)
    for number, value in enumerate(node.inputs):
        if value is None:
            continue
        constant = graph.constant(value)
        if constant is None:
            inputs.append(str(value.name))
            shapes.append(graph.shape(value) if node.op_type in _JOINS else None)
        elif node.op_type in _SETTINGS and _fits(constant):
            role = roles[number] if number < len(roles) else f"input {number}"
            attributes[role] = _plain(constant)
        else:
            role = roles[number] if number < len(roles) else f"input {number}"
            if node.op_type in _ARITHMETIC and number == 0:
                attributes["constant_first"] = True
            constants[role] = constant
    if node.domain not in ("", "ai.onnx"):
        attributes["domain"] = node.domain
    outputs = tuple(str(each.name) for each in node.outputs if each.name)
    return Neighbour(node.op_type, node.name or "", attributes, constants, tuple(inputs), outputs, tuple(shapes))


def _roles(node: Any) -> tuple[str, ...]:
    if node.op_type == "BatchNormalization":
        return _BATCHNORM
    if node.op_type in _ARITHMETIC:
        return ("other", "other")
    if node.op_type in _SETTINGS:
        return _SETTINGS[node.op_type]
    import onnx

    try:
        return tuple(each.name for each in onnx.defs.get_schema(node.op_type, node.domain).inputs)
    except onnx.defs.SchemaError:
        return ()


def _fits(constant: StoredArray) -> bool:
    return len(constant.shape) <= 1 and int(np.prod(constant.shape)) <= _MOST_NUMBERS


def _plain(constant: StoredArray) -> Any:
    return constant.read().tolist()
