"""Lengths that must be multiples of a stride: padding that depends on the length of the whole input.

A node `WholeBlocks` marks such a value while a model is read; `without_marks` takes the marks away again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tconv.models.layers import Node
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region, Shape, single, taken


class Blocks(NamedTuple):
    """Value of a graph whose length must be a multiple of `size`, and the layer that needs it."""

    place: int
    size: int
    layer: str


@dataclass(frozen=True)
class WholeBlocks(SamePlace):
    """Mark of a value for a layer whose first outputs depend on the length of the whole, modulo its stride.

    The first outputs of a stream leave before that length is known; so it is that of whole blocks.
    """

    size: int
    layer: str
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input."""
        return single(given)

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Copy a part."""
        out.values[...] = taken(given[0], out.rows, out.columns)


def without_marks(nodes: Sequence[Node]) -> tuple[list[Node], tuple[Blocks, ...]]:
    """Return the nodes without marks, and what was marked."""
    places, left, blocks = [0], list[Node](), list[Blocks]()
    for node in nodes:
        inputs = tuple(places[place] for place in node.inputs)
        if isinstance(node.step, WholeBlocks):
            blocks.append(Blocks(inputs[0], node.step.size, node.step.layer))
            places.append(inputs[0])
        else:
            left.append(Node(node.step, inputs))
            places.append(len(left))
    return left, tuple(blocks)
