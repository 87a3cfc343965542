"""Snake spelled out in sums, products and a sine, as one step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.models.simplification.affine import constants_per_channel
from tconv.models.simplification.graph import NodeGraph
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.snake import Snake

_SQUARES: tuple[object, ...] = "square", ("square",), ("power", 2)


class _Multiple(NamedTuple):
    """Product of a node with constants [C]."""

    place: int
    scale: Array


def spelled_snake(graph: NodeGraph, number: int) -> bool:
    """Put a snake in place of x + s sin(a x)^2, for constants a and s of each channel."""
    step, inputs = graph.step(number), graph.inputs(number)
    if not isinstance(step, Sum) or len(inputs) != 2:
        return False
    for one, other in ((0, 1), (1, 0)):
        if step.scales[one] != 1:
            continue
        outer = _multiple(graph, inputs[other])
        sine = _squared(graph, outer.place)
        if sine is None or not _is_sine(graph, sine):
            continue
        inner = _multiple(graph, graph.inputs(sine)[0])
        if inner.place == inputs[one] and graph.channels(inputs[one]) == graph.channels(number):
            scale = (step.scales[other] * outer.scale).astype(np.float32)
            graph.replace(number, Snake(inner.scale.astype(np.float32), scale), (inputs[one],))
            return True
    return False


def _multiple(graph: NodeGraph, number: int) -> _Multiple:
    """Return a node as the product of another one with constants; of itself for anything else."""
    step, channels = graph.step(number), graph.channels(number)
    if isinstance(step, Affine):
        found, (source,) = constants_per_channel(step, channels), graph.inputs(number)
        if found is not None and not found[1].any() and graph.channels(source) == channels:
            return _Multiple(source, found[0])
    return _Multiple(number, np.ones(channels))


def _squared(graph: NodeGraph, number: int) -> int | None:
    """Return the node of which this one is the square; None if it is none."""
    step = graph.step(number)
    if isinstance(step, Pointwise) and step.activation in _SQUARES:
        return graph.inputs(number)[0]
    if isinstance(step, Combination) and step.operation == "multiply" and len(set(graph.inputs(number))) == 1:
        return graph.inputs(number)[0]
    return None


def _is_sine(graph: NodeGraph, number: int) -> bool:
    step = graph.step(number)
    return isinstance(step, Pointwise) and step.activation in ("sin", ("sin",))
