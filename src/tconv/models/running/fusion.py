"""Sums that a convolution before them adds by itself: out = activation(convolution) * scale + other rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import NamedTuple

from tconv.kernels.simd.winograd_f43.interface import MOST_SKIPS
from tconv.models.layers import Node
from tconv.models.steps.arithmetic import Sum


class Fusion(NamedTuple):
    """Convolution `nodes[0]` and the sums behind it, and the places that they add, each with the scale before it."""

    nodes: tuple[int, ...]
    skips: tuple[tuple[int, float], ...]


def fusions(nodes: Sequence[Node], channels: Sequence[int], grouped: Container[int]) -> dict[int, Fusion]:
    """Return the sums that layers in groups of rows compute, by the number of the last sum.

    All that reads a convolution, and every sum but the last, is the next sum. The last node of a network stays alone,
    because callers choose its rows.
    """
    readers = Counter(place for node in nodes for place in node.inputs)
    found: dict[int, Fusion] = {}
    for number, node in enumerate(nodes[:-1], 1):
        if not isinstance(node.step, Sum) or len(set(node.inputs)) != 2:
            continue
        for turn in sorted((0, 1), key=lambda turn: -node.inputs[turn]):  # the later one: the other is there then
            place, other = node.inputs[turn], node.inputs[1 - turn]
            alike = readers[place] == 1 and channels[place] == channels[other] == channels[number]
            if not alike or node.step.scales[1 - turn] != 1:
                continue
            skip = other, float(node.step.scales[turn])
            if place in grouped:
                found[number] = Fusion((place, number), (skip,))
            elif place in found and len(found[place].skips) < MOST_SKIPS:
                before = found.pop(place)
                found[number] = Fusion((*before.nodes, number), (*before.skips, skip))
            else:
                continue
            break
    return found
