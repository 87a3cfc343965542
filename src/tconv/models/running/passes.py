"""Passes over a picture: those that find means over the whole of it, then the one that computes the output.

A mean is known when all rows of its input have been added. So a network with means reads its picture several times.
What later passes need again is kept whole, as far as the memory allows, and computed again otherwise.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tconv.models.layers import Node
from tconv.models.running.plan import Graph
from tconv.models.running.work import ancestors, task_work
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.step import Shape

_FEW = 150
"""Nodes of networks in which every one may be kept; in larger ones those that later passes read."""


class Pass(NamedTuple):
    """One pass: means that it finds, places that it keeps whole for later ones, places that are there already."""

    means: tuple[int, ...]
    keeps: tuple[int, ...]
    given: frozenset[int]


def mean_levels(nodes: tuple[Node, ...]) -> dict[int, int]:
    """Return the pass that finds each mean that the output depends on; the first is 1.

    A mean that is the output itself is computed in the last pass.
    """
    levels = [0]
    for node in nodes[:-1]:
        levels.append(max(levels[place] for place in node.inputs) + isinstance(node.step, GlobalMean))
    needed = ancestors(nodes, [len(nodes)])
    return {
        number: levels[number]
        for number, node in enumerate(nodes[:-1], 1)
        if number in needed and isinstance(node.step, GlobalMean)
    }


class Passes:
    """Passes for a picture, the last one among them; `room` are the bytes that whole places may take."""

    def __init__(self, graph: Graph, sizes: list[Shape], room: int) -> None:
        self._graph, self._sizes = graph, sizes
        levels = mean_levels(graph.nodes)
        self._targets = [
            [graph.nodes[number - 1].inputs[0] for number, level in levels.items() if level == turn]
            for turn in range(1, max(levels.values(), default=0) + 1)
        ]
        self._targets.append([len(graph.nodes)])
        self._work = [0] + [
            task_work(node.step, graph.channels[number], sizes[number]) for number, node in enumerate(graph.nodes, 1)
        ]
        self.passes: list[Pass] = []
        kept: set[int] = set()
        known: set[int] = set()
        for turn in range(len(self._targets)):
            means = tuple(number for number, level in levels.items() if level == turn + 1)
            given = frozenset(known | kept)
            after = self._kept(turn, kept, known | {*means}, room) if means else set()
            self.passes.append(Pass(means, tuple(sorted(after - kept)), given))
            kept, known = after, known | {*means}

    @property
    def work(self) -> int:
        """Multiply-adds of all passes."""
        return sum(self._pass_work(turn, each.given, each.keeps) for turn, each in enumerate(self.passes))

    @property
    def single_work(self) -> int:
        """Multiply-adds of each node once."""
        return sum(self._work[number] for number in ancestors(self._graph.nodes, [len(self._graph.nodes)]))

    @property
    def kept_bytes(self) -> int:
        """Bytes of the most places that are kept at a time."""
        return max(sum(map(self.bytes, {*each.keeps} | self._whole(each.given))) for each in self.passes)

    def _whole(self, given: Collection[int]) -> set[int]:
        return {place for place in given if not isinstance(self._graph.nodes[place - 1].step, GlobalMean)}

    def bytes(self, place: int) -> int:
        """Return the bytes of a whole place."""
        height, width = self._sizes[place]
        return 4 * self._graph.channels[place] * height * width

    def work_of(self, number: int) -> int:
        """Return the multiply-adds of a node."""
        return self._work[number]

    def pass_work(self, turn: int) -> int:
        """Return the multiply-adds of a pass."""
        each = self.passes[turn]
        return self._pass_work(turn, each.given, each.keeps)

    def _pass_work(self, turn: int, given: Collection[int], keeps: Collection[int] = ()) -> int:
        return sum(self._work[n] for n in ancestors(self._graph.nodes, [*self._targets[turn], *keeps], given))

    def _later(self, turn: int, kept: set[int], known: set[int]) -> int:
        """Return the work of the next pass and of the last one, with what is kept."""
        turns = {turn + 1, len(self._targets) - 1}
        given = kept | known
        return sum(self._pass_work(later, given) for later in turns)

    def _kept(self, turn: int, before: set[int], known: set[int], room: int) -> set[int]:
        """Return the places that are kept after a pass: those that save the most work for their bytes."""
        nodes, channels = self._graph.nodes, self._graph.channels
        computed = ancestors(nodes, self._targets[turn], before | known)
        away = {number for fusion in self._graph.fusions.values() for number in fusion.nodes[:-1]}
        candidates = {*before, *computed} - away - known
        if len(nodes) > _FEW:
            rest = ancestors(nodes, [len(nodes)], known) - computed
            candidates &= {place for number in rest for place in nodes[number - 1].inputs} | before
        candidates = {place for place in candidates if channels[place] and self._sizes[place] != (1, 1)}
        kept: set[int] = set()
        left = self._later(turn, kept, known)
        while True:
            gains = []
            for place in sorted(candidates - kept):
                size = self.bytes(place)
                if size > room:
                    continue
                later = self._later(turn, kept | {place}, known)
                if later < left:
                    gains.append(((left - later) / size, -place, later))
            if not gains:
                break
            _, place, left = max(gains)
            kept.add(-place)
            room -= self.bytes(-place)
        for place in sorted(kept):  # what others make needless
            if self._later(turn, kept - {place}, known) == left:
                kept.discard(place)
        return kept
