"""Plan of a run: what is computed, where it is stored, and which rows of it are computed in each strip.

A storage has room for the rows that are read in a strip or later, and for no others (`schedule`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tconv.kernels.simd.winograd_f43.interface import GROUP
from tconv.models.layers import Convolution, Node
from tconv.models.row_buffer import row_floats
from tconv.models.running.fusion import Fusion
from tconv.models.running.placement import Placement, placed
from tconv.models.running.schedule import Reading, Schedule
from tconv.models.running.spans import hull, needed
from tconv.models.running.work import task_work
from tconv.models.steps.channels import ChannelRange
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import NetworkStep, Shape

_WORTH = 0.7
"""Share of a storage's memory below which a copy of a value is made instead of keeping its neighbours as long."""


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


class TargetSpan(NamedTuple):
    """Rows and columns of a place that a run is for."""

    rows: slice
    columns: slice


class Plan:
    """Plan for targets, in a picture whose places have these sizes.

    `given` are places that are there as whole arrays; `delivered` are targets whose rows are read after each strip, and
    have no array of their own. A strip of the largest output has about `strip_bytes`, or `strip` rows of the target.
    """

    def __init__(
        self,
        graph: Graph,
        sizes: Sequence[Shape],
        targets: Mapping[int, TargetSpan],
        given: Collection[int],
        strip_bytes: int,
        delivered: frozenset[int] = frozenset(),
        strip: int | None = None,
    ) -> None:
        self.targets, self.given, self.delivered = dict(targets), frozenset(given), delivered
        self._graph, self._strip_bytes, self._given_strip = graph, strip_bytes, strip
        heights, widths = ([size[axis] for size in sizes] for axis in (0, 1))
        rows = {place: target.rows for place, target in targets.items()}
        columns = {place: target.columns for place, target in targets.items()}
        self._spans = [
            needed(graph.nodes, wanted, extents, axis, graph.groups[axis], self.given)
            for axis, (wanted, extents) in enumerate(((rows, heights), (columns, widths)))
        ]
        self._arrange(sizes, frozenset())
        apart = self._long_lived()
        if apart:
            self._arrange(sizes, apart)
        self.stores = self._stores()

    def _arrange(self, sizes: Sequence[Shape], apart: frozenset[int]) -> None:
        """Place the outputs, those in `apart` in storages of their own, and find the rows of each strip."""
        nodes = self._graph.nodes
        self.channels, self.sizes = list(self._graph.channels), list(sizes)
        self.rows, self.columns = (list(spans) for spans in self._spans)
        self.first_rows = [span.start for span in self.rows]
        self.tasks = self._tasks(self._graph)
        # places that the caller has arrays for; those that are delivered strip by strip are like all others
        arrays = {*self.targets} - self.delivered | self.given
        own = {number for number in arrays if self.rows[number].stop} | {0}
        computed = {task.number for task in self.tasks}
        self.placement: Placement = placed(nodes, self.channels, computed, own, apart)
        self._add_copies()
        self.strip = self._given_strip or self._strip(self._strip_bytes)
        self._schedule(self.strip)

    def _long_lived(self) -> frozenset[int]:
        """Return places that are needed so much longer than their neighbours in a storage that a copy saves memory."""
        stop = self.stops[1:]
        live = (stop - np.minimum(self.keeps, stop)).max(0).tolist()
        apart: set[int] = set()
        for members, channels in zip(self.members(), self.placement.channels, strict=True):
            if len(members) < 2:
                continue
            costs = {
                rows: rows * channels + sum(self.channels[m] * live[m] for m in members if live[m] > rows)
                for rows in {live[m] for m in members}
            }
            best = min(costs, key=lambda rows: costs[rows])
            if costs[best] < _WORTH * costs[max(costs)]:
                apart |= {m for m in members if live[m] > best}
        return frozenset(apart)

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
            # a picture of a single pixel, row or column counts for all of the other one's in a sum
            sizes = {self.sizes[place] for place in (*fusion.nodes, *(place for place, _ in fusion.skips))}
            if len(sizes) == 1 and not {*inside} & {*self.targets, *self.given}:
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

    def _add_copies(self) -> None:
        """Add the tasks of copies before the concatenations that read them; drop those of views."""
        copies: dict[int, list[Task]] = {}
        for number, (source, concats) in self.placement.copies.items():
            step = ChannelRange(0, self.channels[source])
            copies.setdefault(concats[-1], []).append(Task(number, (), step, (source,)))
            self.sizes.append(self.sizes[source])
            self.rows.append(hull(self.rows[concat] for concat in concats))
            self.columns.append(hull(self.columns[concat] for concat in concats))
            self.first_rows.append(self.rows[-1].start)
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
            if span.stop
        )
        strip: int = max(1, min(height, strip_bytes * height // max(1, most)))
        # whole groups of the layers that have the height of the input
        unit: int = GROUP * max(1, height // self.sizes[0][0])
        return max(unit, strip // unit * unit)

    def _schedule(self, strip: int) -> None:
        """Find the row up to which each place is computed after each strip, and the first row that is still read."""
        behind = {place: self.placement.behind(place, self.channels) for place in self.placement.places}
        readings = []
        for task in self.tasks:
            count = len(task.reads) - len(task.skips)
            places = [behind[place] for place in task.reads]
            heights = [self.sizes[place][0] for place in task.reads[:count]]
            anchor = None if task.anchor is None else task.anchor[0]
            height = self.sizes[task.number][0]
            readings.append(
                Reading(task.number, anchor, height, task.step.source, heights, places[:count], places[count:])
            )
        targets = {place: target.rows for place, target in self.targets.items()}
        delivered = {place: behind[place] for place in self.delivered}
        schedule = Schedule(readings, targets, delivered, self.first_rows, strip)
        self.stops, self.keeps = schedule.stops, schedule.keeps

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
            ends = self.stops[1:, members[0]]
            rows, anchor = -(-rows // usual) * usual, int(ends[np.flatnonzero(advances == usual)[0]])
        rows = max(1, min(rows, whole))
        # at or above the first row, and above groups that begin before it: compiled code divides positive numbers only
        return Store(channels, rows, columns, True, anchor - -(-(anchor - first + GROUP) // rows) * rows)

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def scratch_bytes(self) -> int:
        """Bytes of all storages of the run."""
        return 4 * sum(store.floats for store in self.stores if store is not None)

    @property
    def largest_strip(self) -> int:
        """Bytes of the largest rows that one task computes in a strip."""
        most = np.diff(self.stops, axis=0).max(0, initial=1).tolist()
        sizes = [
            4 * self.channels[n] * most[n] * row_floats(self.columns[n].stop - self.columns[n].start)
            for n in (task.number for task in self.tasks)
        ]
        return int(max(sizes, default=0))

    @property
    def work(self) -> int:
        """Multiply-adds of all tasks."""
        return sum(
            task_work(task.step, self.channels[n], (rows.stop - rows.start, columns.stop - columns.start))
            for task in self.tasks
            for n, rows, columns in [(task.number, self.rows[task.number], self.columns[task.number])]
        )

    def advances(self, number: int) -> tuple[list[int], list[int], list[int]]:
        """Return the rows at which each place begins and ends in a strip, and the first row that each storage keeps."""
        before, after = self.stops[number].tolist(), self.stops[number + 1].tolist()
        return before, after, self.storage_keeps[number].tolist()

    @property
    def strips(self) -> int:
        """Number of strips."""
        return len(self.stops) - 1
