"""Numbers of elements that a node's outputs will have, told from its inputs before anything is computed.

What a file says about the shapes of its constants is not trusted: a few bytes can ask for terabytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.readers.onnx_graph.nodes import attributes_of

Inputs = Sequence[Array | None]


def result_elements(node: Any, inputs: Inputs) -> int:
    """Return the most elements that the outputs of a node have together.

    Raises LookupError, TypeError or ValueError for inputs that do not fit the operator.
    """
    rule = _GROWING.get(node.op_type)
    if rule is not None:
        return int(rule(node, inputs))
    shapes = [each.shape for each in inputs if each is not None]
    total = sum(map(math.prod, shapes))
    try:
        return max(total, math.prod(np.broadcast_shapes(*shapes)))
    except ValueError:  # no operator that broadcasts
        return total


def _present(inputs: Inputs, number: int) -> Array | None:
    return inputs[number] if number < len(inputs) else None


def _numbers(node: Any, inputs: Inputs, number: int, name: str) -> list[Any]:
    """Return the entries of an input, in older operators of an attribute."""
    given = _present(inputs, number)
    found: list[Any] = list(attributes_of(node).get(name, ())) if given is None else given.ravel().tolist()
    return found


def _first(inputs: Inputs) -> Array:
    if not inputs or inputs[0] is None:
        raise ValueError("an input is absent")
    return inputs[0]


def _filled(node: Any, inputs: Inputs) -> int:
    return math.prod(_first(inputs).ravel().tolist())


def _expanded(node: Any, inputs: Inputs) -> int:
    wanted = [int(size) for size in _numbers(node, inputs, 1, "shape")]
    shape = _first(inputs).shape
    rank = max(len(wanted), len(shape))
    padded = ([1] * (rank - len(each)) + list(each) for each in (wanted, shape))
    return math.prod(max(pair) for pair in zip(*padded, strict=True))


def _tiled(node: Any, inputs: Inputs) -> int:
    return _first(inputs).size * math.prod(int(each) for each in _numbers(node, inputs, 1, "repeats"))


def _counted(node: Any, inputs: Inputs) -> int:
    start, limit, delta = (float(each.ravel()[0]) for each in inputs if each is not None)
    return max(0, math.ceil((limit - start) / delta)) if delta else 0


def _padded(node: Any, inputs: Inputs) -> int:
    shape, pads = list(_first(inputs).shape), [int(each) for each in _numbers(node, inputs, 1, "pads")]
    axes = [int(axis) for axis in _numbers(node, inputs, 3, "axes")] or range(len(shape))
    half = len(pads) // 2
    for axis, lo, hi in zip(axes, pads[:half], pads[half:], strict=False):
        shape[axis] += max(lo, 0) + max(hi, 0)
    return math.prod(shape)


def _resized(node: Any, inputs: Inputs) -> int:
    shape, older = _first(inputs).shape, node.op_type == "Upsample" or len(inputs) == 2
    scales = _numbers(node, inputs, 1 if older else 2, "scales")
    sizes = [int(each) for each in _numbers(node, inputs, 3, "sizes")]
    axes = attributes_of(node).get("axes") or range(len(shape))
    large = list(shape)
    for at, axis in enumerate(axes):
        large[axis] = sizes[at] if sizes else math.ceil(shape[axis] * scales[at])
    return math.prod(large)


def _multiplied(node: Any, inputs: Inputs) -> int:
    first, second = (each for each in inputs if each is not None)
    batch = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    return int(math.prod(batch) * math.prod(first.shape[-2:-1]) * math.prod(second.shape[-1:]))


def _gathered(node: Any, inputs: Inputs) -> int:
    x, places = _first(inputs), _present(inputs, 1)
    size = x.shape[attributes_of(node).get("axis", 0)]
    return int(x.size // max(size, 1) * (1 if places is None else places.size))


_GROWING: dict[str, Callable[[Any, Inputs], int]] = {
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "Tile": _tiled,
    "Range": _counted,
    "Pad": _padded,
    "Resize": _resized,
    "Upsample": _resized,
    "MatMul": _multiplied,
    "Gather": _gathered,
}
"""Rules of the operators whose outputs can have more elements than their inputs have after broadcasting."""
