"""Run of a plan: buffers, and the computation of one strip after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty, trim_outputs
from tconv.kernels.simd.winograd_f43.interface import Skip
from tconv.models.layers import Convolution
from tconv.models.row_buffer import RowBuffer, Storage
from tconv.models.running.plan import Plan, Task
from tconv.models.running.spans import hull
from tconv.models.running.work import task_work
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import Region
from tconv.models.watch import Watch

Load = Callable[[slice, slice], Array]
"""Function of rows and columns of the input, which returns them as float32 [C, rows, columns]."""

_LARGE = 1 << 26
"""Bytes of buffers from which the memory that runs of other sizes have left is released first: both would count."""


@dataclass
class Window:
    """Rows of a buffer as a compiled layer reads them."""

    array: Array
    anchor: int
    period: int
    address: int


class StripRun:
    """One run over the strips of a plan.

    `arrays` are those of the plan's given places, and of its targets that are not delivered strip by strip, as regions
    of their pictures. `load` returns rows of the input, if that is not given. `watch` observes the run, which is a
    `share` of all that it observes.
    """

    def __init__(
        self,
        plan: Plan,
        arrays: Mapping[int, Region],
        load: Load | None = None,
        watch: Watch | None = None,
        share: float = 1.0,
    ) -> None:
        self.plan, self._load, self._watch = plan, load, watch
        self.buffers = self._allocated(arrays)
        self._members = plan.members()
        self._calls = [(task.number, self._call(task)) for task in plan.tasks]
        self._strip = 0
        self._shares = [] if watch is None else self._shares_of_rows(share)

    def _allocated(self, arrays: Mapping[int, Region]) -> dict[int, RowBuffer]:
        """Return the buffers of all places."""
        plan = self.plan
        if plan.scratch_bytes > _LARGE:
            trim_outputs()
        # from one block: huge pages, and one allocation for a run
        memory = empty((max(1, plan.scratch_bytes // 4),), np.dtype(np.float32))
        self._storages: list[Storage] = []
        first_columns, used = [], 0
        for store, members in zip(plan.stores, plan.members(), strict=True):
            if store is None:
                region = next(arrays[place] for place in members if place in arrays)
                self._storages.append(Storage(region.values, region.rows.start))
                first_columns.append(region.columns.start)
                continue
            array = memory[used : used + store.floats].reshape(store.shape)
            used += store.floats
            array = array[:, :, : store.columns.stop - store.columns.start]
            period = {"period": store.rows} if store.ring else {}
            self._storages.append(Storage(array, store.anchor, **period))
            first_columns.append(store.columns.start)
        buffers = {}
        for number, place in plan.placement.places.items():
            channels = slice(place.offset, place.offset + plan.channels[number])
            first, span = first_columns[place.storage], plan.columns[number]
            buffers[number] = self._storages[place.storage].add(channels, slice(span.start - first, span.stop - first))
        return buffers

    def replace(self, place: int, region: Region) -> None:
        """Read or write a place in another array from now on: one of its given places, or of its targets."""
        plan, number = self.plan, self.plan.placement.places[place].storage
        storage = self._storages[number]
        storage.whole = RowBuffer(region.values, region.rows.start, region.rows.start)
        for other, where in plan.placement.places.items():
            if where.storage == number:
                span = plan.columns[other]
                channels = slice(where.offset, where.offset + plan.channels[other])
                columns = slice(span.start - region.columns.start, span.stop - region.columns.start)
                part, buffer = storage.whole.part(channels, columns), self.buffers[other]
                buffer.array, buffer.anchor, buffer.address = part.array, part.anchor, part.address

    def advance_to(self, place: int, row: int) -> None:
        """Compute strips until a place is computed up to a row."""
        while self.plan.stops[self._strip, place] < row:
            self.advance()

    # -- strips --------------------------------------------------------------------------------------------------

    def advance(self) -> tuple[list[int], list[int]]:
        """Compute the next strip. Returns the row at which each place began in it, and the row at which it ends."""
        before, after, keeps = self.plan.advances(self._strip)
        self._strip += 1
        for storage, members, keep in zip(self._storages, self._members, keeps, strict=True):
            storage.reserve(keep, max(after[place] for place in members))
        if self._load is not None and after[0] > before[0]:
            self._load_rows(slice(before[0], after[0]))
        with np.errstate(all="ignore"):  # inf and NaN are values here
            for turn, (number, call) in enumerate(self._calls):
                if after[number] > before[number]:
                    rows = slice(before[number], after[number])
                    call(rows)
                    if self._watch is not None:
                        self._observe(self._watch, self.plan.tasks[turn], self._shares[turn], rows)
        return before, after

    def _load_rows(self, rows: slice) -> None:
        assert self._load is not None
        values, buffer = self._load(rows, self.plan.columns[0]), self.buffers[0]
        for piece in buffer.pieces(rows):
            buffer.view(piece)[0] = values[:, piece.start - rows.start : piece.stop - rows.start]

    # -- observation ---------------------------------------------------------------------------------------------

    def _shares_of_rows(self, share: float) -> list[float]:
        """Return the share of all work that a row of each task is."""
        plan = self.plan
        work = [
            task_work(task.step, plan.channels[task.number], (1, span.stop - span.start))
            for task in plan.tasks
            for span in (plan.columns[task.number],)
        ]
        last = plan.stops[-1].tolist()
        total = sum(
            each * (last[task.number] - plan.first_rows[task.number])
            for each, task in zip(work, plan.tasks, strict=True)
        )
        return [each * share / max(1, total) for each in work]

    def _observe(self, watch: Watch, task: Task, share: float, rows: slice) -> None:
        """Count the work of new rows, and let some of them be checked."""
        if task.numbers:  # not a copy
            for rectangle in watch.wanted(task.number, rows, self.plan.columns[task.number]):
                given: dict[int, Region] = {}
                for turn, place in enumerate(task.reads):
                    spans = self._read(task, turn, rectangle)
                    if place in given:  # read twice
                        spans = [hull(pair) for pair in zip(spans, given[place][1:], strict=True)]
                    given[place] = self._region(place, *spans)
                watch.check(task.numbers, given, self._region(task.number, *rectangle))
        watch.advance(share * (rows.stop - rows.start))

    def _read(self, task: Task, turn: int, rectangle: tuple[slice, slice]) -> list[slice]:
        """Return the rows and columns of an input that a rectangle of a task's output reads."""
        count = len(task.reads) - len(task.skips)
        if turn >= count:
            return list(rectangle)
        sizes = [self.plan.sizes[place] for place in task.reads[:count]]
        return [
            task.step.source(turn, span, [size[axis] for size in sizes], axis) for axis, span in enumerate(rectangle)
        ]

    def _region(self, place: int, rows: slice, columns: slice) -> Region:
        """Return a rectangle of stored numbers."""
        first = self.plan.columns[place].start
        values = self.buffers[place].gathered(rows)[0][:, :, columns.start - first : columns.stop - first]
        return Region(values, rows, columns)

    # -- tasks ---------------------------------------------------------------------------------------------------

    def _call(self, task: Task) -> Callable[[slice], None]:
        """Return the function that computes rows of a task."""
        if task.anchor is not None:
            assert isinstance(task.step, Convolution)
            return self._grouped(task, task.step, task.anchor)
        return self._piecewise(task)

    def _grouped(self, task: Task, step: Convolution, anchors: tuple[int, int]) -> Callable[[slice], None]:
        """Return the function for a layer in groups of rows, with the sums behind it."""
        plan, (place, *added) = self.plan, task.reads
        target, source = self.buffers[task.number], self.buffers[place]
        heights = plan.sizes[place][0], plan.sizes[task.number][0]
        columns = plan.columns[task.number]
        crop, extent = step.geometry.crop[1][0], step.along[1].extent[0]
        anchor, column = anchors[0], columns.start - anchors[1]
        left = columns.start + crop - (extent - 1) - plan.columns[place].start
        windows = [(self._shown(other, columns), self.buffers[other]) for other in added]

        def run(rows: slice) -> None:
            skips = [
                Skip(Window(array, buffer.anchor, buffer.period, address), scale)
                for ((array, address), buffer), scale in zip(windows, task.skips, strict=True)
            ]
            step.in_groups(source, rows, target, heights, anchor, skips=skips, left=left, column=column)

        return run

    def _shown(self, place: int, columns: slice) -> tuple[Array, int]:
        """Return some columns of a buffer's array, and their address."""
        first = self.plan.columns[place].start
        array = self.buffers[place].array[:, :, columns.start - first : columns.stop - first]
        return array, int(array.ctypes.data)

    def _piecewise(self, task: Task) -> Callable[[slice], None]:
        """Return the function for a step that reads and writes contiguous rows."""
        plan, step, target = self.plan, task.step, self.buffers[task.number]
        given = [plan.sizes[place] for place in task.reads]
        heights = [height for height, _ in given]
        sources = [(self.buffers[place], plan.columns[place]) for place in task.reads]
        columns = plan.columns[task.number]
        # rows at the same place can be cut where the rings of the inputs end
        rings: Sequence[RowBuffer] = [
            buffer
            for (buffer, _), height in zip(sources, heights, strict=True)
            if isinstance(step, SamePlace) and height > 1
        ]

        def run(rows: slice) -> None:
            pieces = target.pieces(rows)
            for buffer in rings:
                pieces = [part for piece in pieces for part in buffer.pieces(piece)]
            for piece in pieces:
                parts = []
                for turn, (buffer, across) in enumerate(sources):
                    span = step.source(turn, piece, heights, 0)
                    parts.append(Region(buffer.gathered(span)[0], span, across))
                step.compute(parts, given, Region(target.view(piece)[0], piece, columns))

        return run
