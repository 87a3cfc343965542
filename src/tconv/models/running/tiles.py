"""Plans of tiles: rectangles of the output, computed from rectangles of the input.

Groups of rows and columns are anchored at absolute places, so a tile of any size has the bits of the whole. Tiles that
lie a whole number of periods apart, away from the borders, do the same: they share the plan of the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tconv.errors import ShapeError
from tconv.models.layers import Convolution, Node
from tconv.models.running.plan import Graph, Plan, TargetSpan
from tconv.models.running.spans import moved, needed
from tconv.models.running.work import ancestors
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.padding import Padding
from tconv.models.steps.resizing import Resize
from tconv.models.steps.step import Shape

TILE_STRIP = 1 << 21
"""Bytes of the largest rows of a strip of a tile: measured, 2^20 to 2^23 differ by 30%, and this is the fastest."""
_PERIODS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Periods that are tried, in pixels of the input."""
_MOST_PLANS = 64
"""Plans of tiles of one picture: more than the nine of equal tiles, their borders and corners."""
_MOST_TILES = 16
"""Tiles below each other that are planned together."""
_CHECKED = 16
"""Neighbouring outputs whose inputs are compared with those of a period further."""


class TilePlans:
    """Plans of the tiles of one place of a picture of one size: of the output, or of what a mean is taken of.

    `given` are places that are there: means over the whole picture. A place before the output has no array: its rows
    are read after each strip.
    """

    def __init__(self, graph: Graph, sizes: Sequence[Shape], given: Sequence[int] = (), place: int = -1) -> None:
        self.graph, self.sizes = graph, list(sizes)
        self.place = len(graph.nodes) if place < 0 else place
        self.delivered = frozenset({self.place} - {len(graph.nodes)})
        self.given = {*given, 0}
        """places that are there as arrays, the input among them"""
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._firsts: dict[tuple[int, int], int] = {}
        lengths = ([size[axis] for size in self.sizes] for axis in (0, 1))
        self._axes = [AxisPeriod(graph, each, axis, given, self.place) for axis, each in enumerate(lengths)]

    def plan(self, rows: slice, columns: slice, moves: bool = True) -> tuple[Plan, list[tuple[int, int]]]:
        """Return a plan, and for rows and columns how far the outputs and the inputs of the tile lie behind its own.

        Without `moves` it is that of the place itself.
        """
        found = [axis.move(span) if moves else (0, 0) for axis, span in zip(self._axes, (rows, columns), strict=True)]
        spans = [moved(span, by) for span, (by, _) in zip((rows, columns), found, strict=True)]
        key = spans[0].start, spans[0].stop, spans[1].start, spans[1].stop
        plan = self._plans.get(key)
        if plan is None:
            targets = {self.place: TargetSpan(*spans)}
            plan = Plan(self.graph, self.sizes, targets, self.given, TILE_STRIP, self.delivered)
            # no lock: of two threads that plan one tile, the later one's plan stays
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan, found

    def plan_down(self, rows: slice, columns: slice) -> tuple[Plan, list[tuple[int, int]], int] | None:
        """Return a plan of this tile and of those below it, its moves as `plan` has them, and the row where it ends.

        None where there is none: near borders, or if tiles are no whole number of periods and strips.
        """
        height, axis = rows.stop - rows.start, self._axes[0]
        own, _ = self.plan(rows, columns)
        count = min(_MOST_TILES, (axis.inside.stop - rows.start) // height)
        most = min(own.strip, height)
        strip = next(each for each in range(most, 0, -1) if height % each == 0)
        if count < 2 or rows.start < axis.inside.start or 4 * strip < most or not axis.is_dense(own.rows, height):
            return None
        if any(0 in task.reads[len(task.reads) - len(task.skips) :] for task in own.tasks):
            return None  # its address is part of the run
        end = rows.start + count * height
        found = [axis.move(slice(rows.start, end)), self._axes[1].move(columns)]
        spans = [moved(span, by) for span, (by, _) in zip((slice(rows.start, end), columns), found, strict=True)]
        key = *(each for span in spans for each in (span.start, span.stop)), height
        plan = self._plans.get(key)
        if plan is None:
            targets = {self.place: TargetSpan(*spans)}
            plan = Plan(self.graph, self.sizes, targets, self.given, TILE_STRIP, strip=strip)
            self._plans[key] = plan
        return plan, found, end

    def first_below(self, rows: slice) -> int:
        """Return the first row of the input that the tile below reads; of the lowest tile, that behind the input."""
        height, total = rows.stop - rows.start, self.sizes[self.place][0]
        if rows.stop == total:
            return self.sizes[0][0]
        key = rows.stop, height
        first = self._firsts.get(key)
        if first is None:
            wanted = {self.place: slice(rows.stop, min(rows.stop + height, total))}
            heights = [size[0] for size in self.sizes]
            first = needed(self.graph.nodes, wanted, heights, 0, self.graph.groups[0], self.given)[0].start
            if len(self._firsts) >= _MOST_PLANS:
                self._firsts.clear()
            self._firsts[key] = first
        return first


class AxisPeriod:
    """Period of a network along one axis, and the outputs between the borders, which may be moved by it."""

    def __init__(self, graph: Graph, sizes: Sequence[int], axis: int, given: Sequence[int], place: int) -> None:
        self._graph, self._sizes, self._axis, self._given = graph, sizes, axis, {*given, 0}
        self._place, self._needed = place, ancestors(graph.nodes, [place], self._given)
        self._shifts = self._found()
        self.inside = slice(0, 0) if self._shifts is None else self._between()

    def move(self, outputs: slice) -> tuple[int, int]:
        """Return how far outputs lie behind those whose plan they share, and how far their inputs do."""
        if self._shifts is None or outputs.start < self.inside.start or outputs.stop > self.inside.stop:
            return 0, 0
        count = (outputs.start - self.inside.start) // self._shifts[self._place]
        return count * self._shifts[self._place], count * self._shifts[0]

    def is_dense(self, spans: Sequence[slice], height: int) -> bool:
        """Return True if tiles of this height, one below the other, read every row of every place."""
        if self._shifts is None or height % self._shifts[self._place]:
            return False
        count = height // self._shifts[self._place]
        moving = zip(spans, self._shifts, strict=False)
        return all(span.start + count * by <= span.stop for span, by in moving if by and span.stop)

    def _found(self) -> list[int] | None:
        """Return by how much all places move with the shortest period; None without one."""
        for period in _PERIODS:
            if 4 * period > self._sizes[0]:
                return None
            shifts = self._shifts_of(period)
            if shifts is not None:
                return shifts
        return None

    def _shifts_of(self, period: int) -> list[int] | None:
        """Return by how much all places move with the input; None if they do not move by whole groups and steps."""
        nodes, groups = self._graph.nodes, self._graph.groups[self._axis]
        try:
            longer, longest = (extents(nodes, self._sizes[0] + count * period, self._axis) for count in (1, 2))
        except ShapeError:  # sizes that the network does not take
            return None
        shifts = [after - before for before, after in zip(self._sizes, longer, strict=True)]
        if shifts[self._place] <= 0 or any(b - a != d for a, b, d in zip(longer, longest, shifts, strict=True)):
            return None
        for number in sorted(self._needed):
            node = nodes[number - 1]
            unit = groups[number][1] if number in groups else 1
            given = [(self._sizes[place], shifts[place]) for place in node.inputs]
            if shifts[number] % unit or not self._moves(node, given, shifts[number], self._sizes[number]):
                return None
        return shifts

    def _moves(self, node: Node, given: Sequence[tuple[int, int]], shift: int, size: int) -> bool:
        """Return True if the outputs of a step are the same numbers when its inputs move, away from the borders."""
        step, axis = node.step, self._axis
        sizes, moved = [each for each, _ in given], [by for _, by in given]
        if isinstance(step, Convolution):
            pattern = 1 if step.bias is None or step.bias.ndim == 1 else step.bias.shape[1 + axis]
            return shift == step.geometry.stride[axis] * moved[0] and shift % pattern == 0
        if isinstance(step, Resize):
            return step.step(sizes, axis) * shift == moved[0]
        if isinstance(step, CropLike):
            return shift == moved[0]
        if max(moved) == 0:  # means over the whole picture, and what is computed of them
            return shift == 0
        start = size // 2
        for first in range(start, min(start + _CHECKED, size - shift)):
            for turn, by in enumerate(moved):
                near = step.source(turn, slice(first, first + 1), sizes, axis)
                far = step.source(turn, slice(first + shift, first + shift + 1), sizes, axis)
                if by and (far.start - near.start, far.stop - near.stop) != (by, by) and far.stop < sizes[turn]:
                    return False
        return True

    def _between(self) -> slice:
        """Return the outputs that read no border of any place, nor padding around it."""
        assert self._shifts is not None
        nodes, size, period = self._graph.nodes, self._sizes[self._place], self._shifts[self._place]
        margin = 1 + max(
            (abs(side) for node in nodes if isinstance(node.step, Padding) for side in node.step.sides[self._axis]),
            default=0,
        )
        # the first and the last output that are away from borders, by bisection: windows move with outputs
        low, high = 0, -(-size // period)
        while low < high:
            middle = (low + high) // 2
            if self._is_behind(middle * period, margin):
                high = middle
            else:
                low = middle + 1
        start = low * period
        low, high = start, size
        while low < high:
            middle = (low + high + 1) // 2
            if self._is_before(middle, margin):
                low = middle
            else:
                high = middle - 1
        return slice(start, low)

    def _spans(self, output: int) -> list[tuple[slice, int]]:
        """Return the rows of all moving places that an output needs, with their heights."""
        assert self._shifts is not None
        groups = self._graph.groups[self._axis]
        wanted = {self._place: slice(output, output + 1)}
        spans = needed(self._graph.nodes, wanted, self._sizes, self._axis, groups, self._given)
        moving = zip(spans, self._sizes, self._shifts, strict=True)
        return [(span, size) for span, size, shift in moving if shift and span.stop]

    def _is_behind(self, output: int, margin: int) -> bool:
        return output < self._sizes[self._place] and all(span.start >= margin for span, _ in self._spans(output))

    def _is_before(self, stop: int, margin: int) -> bool:
        return all(span.stop <= size - margin for span, size in self._spans(stop - 1))


def extents(nodes: Sequence[Node], size: int, axis: int) -> list[int]:
    """Return the heights (axis 1: widths) of the input and of every node's output. Raises ShapeError."""
    result = [size]
    for node in nodes:
        result.append(node.step.output_extent([result[place] for place in node.inputs], axis))
    return result
