"""Multiply-adds of the nodes of a network, and the work of a part of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from tconv.models.layers import Convolution, Node
from tconv.models.steps.step import NetworkStep, Shape
from tconv.models.steps.strided_convolution import StridedConvolution

_SIMPLE = 4
"""Multiply-adds that a number of a simple step costs, about: it is read from memory and written."""


def task_work(step: NetworkStep, channels: int, size: Shape) -> int:
    """Return the multiply-adds of a step with an output of these channels and this size."""
    count = channels * math.prod(size)
    if isinstance(step, Convolution):
        g = step.geometry
        return count * (step.channels[0] // g.groups) * math.prod(g.kernel) // math.prod(g.stride)
    if isinstance(step, StridedConvolution):
        return count * int(step.weight[0].size)
    return count * _SIMPLE


def ancestors(nodes: Sequence[Node], targets: Collection[int], given: Collection[int] = ()) -> set[int]:
    """Return the nodes that are computed for some, and those themselves, where `given` are there."""
    found, waiting = set[int](), [place for place in targets if place and place not in given]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += [place for place in nodes[number - 1].inputs if place and place not in given]
    return found
