"""Functions of an ONNX file, put in place of their calls, and the order of nodes."""

from __future__ import annotations

from typing import Any

from tconv.errors import FileError
from tconv.models.readers.onnx_graph.nodes import inner_graphs


def inlined(model: Any, most: int) -> tuple[Any, tuple[str, ...]]:
    """Return the model with its functions in place of their calls, and limitations as sentences.

    Raises FileError for more than `most` nodes, and for functions that call themselves.
    """
    from onnx_ir.passes.common import InlinePass

    sizes: dict[Any, int] = {}
    if not model.functions:
        _count(model.graph, model.functions, sizes, set(), most)
        return model, ()
    for function in model.functions.values():
        _count(function, model.functions, sizes, set(), most)
    _count(model.graph, model.functions, sizes, set(), most)
    result = InlinePass()(model)
    return result.model, ("its functions are read in place of their calls; nodes are counted so",)


def sort_nodes(model: Any) -> tuple[str, ...]:
    """Put nodes behind those that compute their inputs; return limitations. Raises FileError for a circle."""
    known: set[Any] = set()
    for node in model.graph:
        if any(each is not None and each.producer() is not None and each not in known for each in node.inputs):
            break
        known.update(node.outputs)
    else:
        return ()
    try:
        model.graph.sort()
    except ValueError:
        raise FileError("its nodes read each other's outputs in a circle, so that none can be the first") from None
    return ("its nodes are not in the order in which they can run; they are counted in that order",)


def _count(graph: Any, functions: Any, sizes: dict[Any, int], calls: set[Any], most: int) -> int:
    """Return the number of nodes that a graph or function has once all calls are replaced."""
    total = 0
    for node in graph:
        total += 1
        key = node.op_identifier()
        if key in functions:
            if key in calls or len(calls) > 100:
                raise FileError(f"its function {node.op_type!r} calls itself, or calls are nested too deeply")
            if key not in sizes:
                sizes[key] = _count(functions[key], functions, sizes, calls | {key}, most)
            total += sizes[key]
        for _, each in inner_graphs(node):
            total += _count(each, functions, sizes, calls, most)
        if total > most:
            raise FileError(f"it has more than {most} nodes, the most that are read. Write a part of the model")
    return total
