"""Plan of a run: what is computed, where it is stored, and which rows of it are computed in each strip.

A strip begins with rows of the targets. From the last node to the first, each asks its inputs for the rows that its new
rows read and that are not computed yet. A storage has room for the rows that are read in a strip or later, and for no
others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tconv.kernels.simd.winograd_f43.interface import GROUP
from tconv.models.layers import Convolution, Node
from tconv.models.row_buffer import row_floats
from tconv.models.running.fusion import Fusion
from tconv.models.running.placement import Placement, placement
from tconv.models.running.spans import group_end, hull, needed
from tconv.models.steps.channels import ChannelRange
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import NetworkStep, Shape

_NEVER = 1 << 30


class Graph(NamedTuple):
    """Nodes of a network with all that is known before the size of a picture.

    `groups` has the place and the size of groups of rows, and of columns, for nodes that compute rows in groups.
    """

    nodes: tuple[Node, ...]
    channels: Sequence[int]
    groups: tuple[Mapping[int, tuple[int, int]], Mapping[int, tuple[int, int]]]
    fusions: Mapping[int, Fusion]


class Task(NamedTuple):
    """Computation of one place: a node, a convolution with sums behind it, or the copy of a value.

    `reads` are the inputs of the step, then the values that are added (`skips` has their scales). `anchor` is a row
    and a column at which groups begin; None for tasks that do not compute rows in groups.
    """

    number: int
    numbers: tuple[int, ...]
    step: NetworkStep
    reads: tuple[int, ...]
    skips: tuple[float, ...] = ()
    anchor: tuple[int, int] | None = None


class Store(NamedTuple):
    """Room of a storage: channels, rows and columns [start, stop); a ring, or rows that move to the front."""

    channels: int
    rows: int
    columns: slice
    ring: bool
    anchor: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array, with the space between its rows."""
        return self.channels, self.rows, row_floats(self.columns.stop - self.columns.start)

    @property
    def floats(self) -> int:
        """Numbers in the array."""
        channels, rows, width = self.shape
        return channels * rows * width


class Target(NamedTuple):
    """Rows and columns of a place that a run is for."""

    rows: slice
    columns: slice


class Plan:
    """Plan for targets, in a picture whose places have these sizes.

    `given` are places that are there as whole arrays; `delivered` are targets whose rows are read after each strip, and
    have no array of their own. A strip of the largest output has about `strip_bytes`.
    """

    def __init__(
        self,
        graph: Graph,
        sizes: Sequence[Shape],
        targets: Mapping[int, Target],
        given: Collection[int],
        strip_bytes: int,
        delivered: frozenset[int] = frozenset(),
    ) -> None:
        self.targets, self.given, self.delivered = dict(targets), frozenset(given), delivered
        self.channels, self.sizes = list(graph.channels), list(sizes)
        nodes = graph.nodes
        heights, widths = ([size[axis] for size in sizes] for axis in (0, 1))
        rows = {place: target.rows for place, target in targets.items()}
        columns = {place: target.columns for place, target in targets.items()}
        self.rows = needed(nodes, rows, heights, 0, graph.groups[0], self.given)
        self.columns = needed(nodes, columns, widths, 1, graph.groups[1], self.given)
        self.first_rows = [span.start for span in self.rows]
        self.tasks = self._tasks(graph)
        # places that the caller has arrays for; those that are delivered strip by strip are like all others
        own = ({*targets} - delivered | self.given) & {number for number, span in enumerate(self.rows) if span.stop}
        own.add(0)
        computed = {task.number for task in self.tasks}
        self.placement: Placement = placement(nodes, self.channels, computed, own)
        self._add_copies(nodes)
        self._schedule(self._strip(strip_bytes))
        self.stores = self._stores()

    # -- tasks ---------------------------------------------------------------------------------------------------

    def _tasks(self, graph: Graph) -> list[Task]:
        """Return the computations in order, with concatenations."""
        wanted = [number for number, span in enumerate(self.rows) if span.stop and number and number not in self.given]
        fused: dict[int, Fusion] = {}
        for number in wanted:
            fusion = graph.fusions.get(number)
            if fusion is None:
                continue
            inside = fusion.nodes[:-1]
            size = self.sizes[number]
            if all(self.sizes[place] == size for place, _ in fusion.skips) and not {*inside} & {
                *self.targets,
                *self.given,
            }:
                fused[number] = fusion
        away = {number for fusion in fused.values() for number in fusion.nodes[:-1]}

        def anchors(number: int) -> tuple[int, int]:
            return graph.groups[0][number][0], graph.groups[1][number][0]

        tasks = []
        for number in wanted:
            if number in away:
                continue
            node = graph.nodes[number - 1]
            if number in fused:
                places, scales = zip(*fused[number].skips, strict=True)
                first = fused[number].nodes[0]
                step, inputs = graph.nodes[first - 1]
                tasks.append(Task(number, fused[number].nodes, step, (*inputs, *places), scales, anchors(number)))
            else:
                grouped = number in graph.groups[0] and isinstance(node.step, Convolution)
                anchor = anchors(number) if grouped else None
                tasks.append(Task(number, (number,), node.step, node.inputs, (), anchor))
        return tasks

    def _add_copies(self, nodes: Sequence[Node]) -> None:
        """Add the tasks of copies before the concatenations that read them; drop those of views."""
        copies: dict[int, list[Task]] = {}
        for number, source, concat in self.placement.copies:
            step = ChannelRange(0, self.channels[source])
            copies.setdefault(concat, []).append(Task(number, (), step, (source,)))
            self.sizes.append(self.sizes[source])
            self.rows.append(self.rows[concat])
            self.columns.append(self.columns[concat])
            self.first_rows.append(self.rows[concat].start)
        tasks = []
        for task in self.tasks:
            tasks += copies.get(task.number, [])
            if task.number not in self.placement.views:
                tasks.append(task)
        self.tasks = tasks

    # -- rows ----------------------------------------------------------------------------------------------------

    def _strip(self, strip_bytes: int) -> int:
        """Return the rows of one strip of the target with the most rows."""
        place = max(self.targets, key=lambda place: self.targets[place].rows.stop - self.targets[place].rows.start)
        height = self.sizes[place][0]
        most = max(
            self.channels[n] * 4 * self.sizes[n][0] * (self.columns[n].stop - self.columns[n].start)
            for n, span in enumerate(self.rows)
            if span.stop and (n or len(self.rows) == 1)
        )
        strip: int = max(1, min(height, strip_bytes * height // max(1, most)))
        # whole groups of the layers that have the height of the input
        unit: int = GROUP * max(1, height // self.sizes[0][0])
        return strip // unit * unit or strip

    def _schedule(self, strip: int) -> None:
        """Find the row up to which each place is computed after each strip, and the first row that is still read."""
        lengths = {place: target.rows.stop - target.rows.start for place, target in self.targets.items()}
        count = max(-(-length // strip) for length in lengths.values())
        behind = {place: self.placement.behind(place, self.channels) for place in self.placement.places}
        heights = [height for height, _ in self.sizes]
        # (number, anchor, height, step, its inputs' heights, its inputs, the places that are added)
        backward = [
            (
                task.number,
                task.anchor,
                heights[task.number],
                task.step.source,
                [heights[place] for place in task.reads[: len(task.reads) - len(task.skips)]],
                [behind[place] for place in task.reads[: len(task.reads) - len(task.skips)]],
                [behind[place] for place in task.reads[len(task.reads) - len(task.skips) :]],
            )
            for task in reversed(self.tasks)
        ]
        stop = list(self.first_rows)
        self.stops = np.zeros((count + 1, len(stop)), np.int32)
        self.stops[0] = stop
        lows = np.full((count, len(stop)), _NEVER, np.int32)
        for number in range(count):
            low: list[int] = [_NEVER] * len(stop)
            before = list(stop)
            for place, target in self.targets.items():
                length = lengths[place]
                part = -(-length * (number + 1) // count) if length != max(lengths.values()) else strip * (number + 1)
                end = target.rows.start + min(part, length)
                stop[place] = max(stop[place], end)
                for other in behind[place]:
                    stop[other] = max(stop[other], end)
                    if place in self.delivered:  # read by the caller in this strip
                        low[other] = min(low[other], before[place])
            for place, anchor, height, source, extents, inputs, skips in backward:
                end = stop[place]
                if end == before[place]:
                    continue
                if anchor is not None:
                    end = stop[place] = group_end(end, anchor[0], GROUP, height)
                rows = slice(before[place], end)
                for turn, places in enumerate(inputs):
                    span = source(turn, rows, extents, 0)
                    for other in places:
                        if span.stop > stop[other]:
                            stop[other] = span.stop
                        if span.start < low[other]:
                            low[other] = span.start
                for places in skips:
                    for other in places:
                        if end > stop[other]:
                            stop[other] = end
                        if rows.start < low[other]:
                            low[other] = rows.start
            self.stops[number + 1] = stop
            # new rows have room until the strip is done, even those of a group that nothing reads
            lows[number] = [
                min(at, start) if end > start else at for at, start, end in zip(low, before, stop, strict=True)
            ]
        self.keeps = np.minimum.accumulate(lows[::-1], 0)[::-1]

    # -- room ----------------------------------------------------------------------------------------------------

    def members(self) -> list[list[int]]:
        """Return the computed places and copies of each storage."""
        members: list[list[int]] = [[] for _ in self.placement.channels]
        for number, place in self.placement.places.items():
            if number not in self.placement.views:
                members[place.storage].append(number)
        return members

    def _stores(self) -> list[Store | None]:
        """Return the room of each storage; None for arrays of their own."""
        direct = {  # places that are read as contiguous rows
            other
            for task in self.tasks
            if task.anchor is None and not isinstance(task.step, SamePlace)
            for place in task.reads
            for other in self.placement.behind(place, self.channels)
        }
        grouped = {task.number for task in self.tasks if task.anchor is not None}
        stores: list[Store | None] = []
        self.storage_keeps = np.zeros((len(self.keeps), len(self.placement.channels)), np.int32)
        for number, members in enumerate(self.members()):
            shown = [*members, *(n for n in self.placement.views if self.placement.places[n].storage == number)]
            columns = hull(self.columns[n] for n in shown if self.rows[n].stop)
            stop = self.stops[1:, members].max(1)
            keep = np.minimum(self.keeps[:, members].min(1), stop)
            self.storage_keeps[:, number] = keep
            if any(n in self.given or (n in self.targets and n not in self.delivered) for n in members):
                stores.append(None)
                continue
            first = min(self.first_rows[n] for n in members)
            rows = int((stop - keep).max(initial=1))
            stores.append(self._store(number, rows, columns, first, members, direct, grouped))
        return stores

    def _store(
        self,
        number: int,
        rows: int,
        columns: slice,
        first: int,
        members: list[int],
        direct: set[int],
        grouped: set[int],
    ) -> Store:
        """Return the room for these rows of a storage: more where rows are read, or written, as contiguous ones."""
        advances = np.diff(self.stops[:, members[0]])
        counts = np.bincount(advances[advances > 0])
        usual = int(counts.argmax()) if counts.size else 1
        channels, whole = self.placement.channels[number], int(self.stops[-1, members].max()) - first
        if direct & {*members}:
            rows = min(whole, rows + max(usual, (rows - usual) // 2))
            return Store(channels, rows, columns, False, first)
        anchor = first
        if not grouped >= {*members} and usual > 1:  # strips are written in one piece
            rows, anchor = -(-rows // usual) * usual, int(self.stops[1, members[0]])
        rows = max(1, min(rows, whole))
        # at or above the first row, and above groups that begin before it: compiled code divides positive numbers only
        return Store(channels, rows, columns, True, anchor - -(-(anchor - first + GROUP) // rows) * rows)

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def scratch_bytes(self) -> int:
        """Bytes of all storages of the run."""
        return 4 * sum(store.floats for store in self.stores if store is not None)

    def advances(self, number: int) -> tuple[list[int], list[int], list[int]]:
        """Return the rows at which each place begins and ends in a strip, and the first row that each storage keeps."""
        before, after = self.stops[number].tolist(), self.stops[number + 1].tolist()
        return before, after, self.storage_keeps[number].tolist()

    @property
    def strips(self) -> int:
        """Number of strips."""
        return len(self.stops) - 1
