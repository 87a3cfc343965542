"""Runs over a picture of one size: its passes, its bands of columns, and the memory of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty, si
from tconv.models.running.column_sums import BLOCK, ColumnSums
from tconv.models.running.passes import Passes
from tconv.models.running.plan import Graph, Plan, TargetSpan
from tconv.models.running.run import Load, StripRun
from tconv.models.running.spans import needed
from tconv.models.running.work import ancestors
from tconv.models.steps.step import Region, Shape
from tconv.models.watch import Watch

MEMORY = 320_000_000
"""Bytes of buffers that a run may use, unless that would double its work."""
_MOST_WORK = 2.0
"""Work of all bands together, as a multiple of that of the whole width."""
_MOST_KEPT = 0.9
"""Share of the memory that kept places may take."""
_SAMPLE = 32
"""Strips at the top of a picture whose buffers show how large those of the whole are."""
_LEAST_STRIP = 1 << 16
"""Bytes of the largest rows of a strip below which strips are not made shorter."""
_MOST_PLANS = 8

_FLOAT32 = np.dtype(np.float32)


class Means(NamedTuple):
    """Means over a whole picture, and the places that are kept for the last pass, as `Network.means` returns them."""

    shape: Shape
    regions: Mapping[int, Region]


class PicturePlan:
    """All that is planned for pictures of one size; `memory` are the bytes that buffers and kept places may take."""

    def __init__(self, graph: Graph, shape: Shape, sizes: Sequence[Shape], memory: int, strip_bytes: int) -> None:
        self.graph, self.shape, self.sizes, self._strip_bytes = graph, shape, list(sizes), strip_bytes
        self.last = len(graph.nodes)
        self._plans: dict[tuple[int, ...], Plan] = {}
        room = memory * 2 // 3
        self.passes = Passes(graph, self.sizes, room)
        while room and self.passes.kept_bytes > _MOST_KEPT * memory:  # of two passes at a time
            room = room * 3 // 4
            self.passes = Passes(graph, self.sizes, room)
        self.known = self.passes.passes[-1].given
        self._memory = max(memory // 4, memory - self.passes.kept_bytes)
        self.bands = self._bands()

    # -- bands ---------------------------------------------------------------------------------------------------

    def _bands(self) -> list[slice]:
        """Return the columns of the output of each band, the fewest whose buffers fit into the memory.

        Where no number of bands fits at `_MOST_WORK`, the fewest that take at most twice the least memory.
        """
        width = self.sizes[-1][1]
        whole = slice(0, width)
        # shorter strips before bands: those repeat no work
        while self.sample(whole).scratch_bytes > self._memory and self._strip_bytes > _LEAST_STRIP:
            self._strip_bytes //= 2
            self._plans.clear()
        tried: list[tuple[int, list[slice]]] = []
        count = 1
        while count <= width:
            bands = [slice(width * n // count, width * (n + 1) // count) for n in range(count)]
            if tried and self.repeated(bands) > _MOST_WORK:
                break
            size = max(self.sample(band).scratch_bytes for band in (bands[0], bands[count // 2]))
            tried.append((size, bands))
            if size <= self._memory:
                return bands
            count = max(count + 1, min(2 * count, math.ceil(count * size / self._memory)))
        least = min(size for size, _ in tried)
        return next(bands for size, bands in tried if size <= 2 * least)

    def repeated(self, bands: Sequence[slice]) -> float:
        """Return the work of bands as a multiple of that of the whole width."""
        widths = [width for _, width in self.sizes]
        work = 0.0
        for band in bands:
            spans = needed(self.graph.nodes, {self.last: band}, widths, 1, self.graph.groups[1], self.known)
            work += sum(
                self.passes.work_of(number) * (spans[number].stop - spans[number].start) / widths[number]
                for number in ancestors(self.graph.nodes, [self.last], self.known)
            )
        return work / max(1, self.passes.pass_work(len(self.passes.passes) - 1))

    def sample(self, columns: slice) -> Plan:
        """Return the plan of a stream over columns of the output, for rows at the top; its buffers are those of all."""
        height = self.sizes[-1][0]
        rows = min(height, _SAMPLE * max(1, self._strip_bytes * height // self._largest(columns)))
        return self.stream_plan(columns, slice(0, max(rows, height // max(1, self.shape[0]) * 64, 64)))

    def _largest(self, columns: slice) -> int:
        """Return the bytes of these columns of the largest output of a node that is computed."""
        share = (columns.stop - columns.start) / self.sizes[-1][1]
        computed = ancestors(self.graph.nodes, [self.last], self.known)
        sizes = (4 * self.graph.channels[number] * math.prod(self.sizes[number]) for number in computed)
        return max(1, int(max(sizes, default=0) * share))

    # -- plans ---------------------------------------------------------------------------------------------------

    def stream_plan(self, columns: slice, rows: slice | None = None) -> Plan:
        """Return the plan of a stream over columns of the output."""
        height = self.sizes[-1][0]
        rows = rows or slice(0, height)
        key = columns.start, columns.stop, 0, min(rows.stop, height)
        if key not in self._plans:
            target = TargetSpan(slice(rows.start, min(rows.stop, height)), columns)
            delivered = frozenset((self.last,))
            plan = Plan(self.graph, self.sizes, {self.last: target}, self.known, self._strip_bytes, delivered)
            self._store(key, plan)
        return self._plans[key]

    def array_plan(self, rows: slice, columns: slice) -> Plan:
        """Return the plan for rows and columns of an output array, from an input array."""
        key = columns.start, columns.stop, rows.start, rows.stop, 1
        if key not in self._plans:
            targets = {self.last: TargetSpan(rows, columns)}
            self._store(key, Plan(self.graph, self.sizes, targets, {*self.known, 0}, self._strip_bytes))
        return self._plans[key]

    def _store(self, key: tuple[int, ...], plan: Plan) -> None:
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[key] = plan

    # -- means ---------------------------------------------------------------------------------------------------

    def means(self, load: Load, watch: Watch | None = None) -> Means | None:
        """Return the means over a picture, from the passes before the last one; None if there are none."""
        regions: dict[int, Region] = {}
        total = sum(self.passes.pass_work(turn) for turn in range(len(self.passes.passes) - 1))
        for turn, each in enumerate(self.passes.passes[:-1]):
            regions = {place: region for place, region in regions.items() if place in each.given}
            for place in each.keeps:
                height, width = self.sizes[place]
                array = empty((self.graph.channels[place], height, width), _FLOAT32)
                regions[place] = Region(array, slice(0, height), slice(0, width))
            read = {number: self.graph.nodes[number - 1].inputs[0] for number in each.means}
            sums = {place: ColumnSums(self.graph.channels[place], self.sizes[place][1]) for place in read.values()}
            count = self._mean_bands(turn, list(sums))
            for band in range(count):
                share = self.passes.pass_work(turn) / max(1, total) / count
                self._add(sums, self._mean_plan(turn, list(sums), band, count), regions, load, watch, share)
            for number, place in read.items():
                height, width = self.sizes[place]
                with np.errstate(all="ignore"):
                    mean = (sums[place].total() / (height * width)).astype(np.float32)[:, None, None]
                regions[number] = Region(mean, slice(0, 1), slice(0, 1))
                if watch is not None:
                    watch.check_mean(number, mean)
        last = self.passes.passes[-1].given
        regions = {place: region for place, region in regions.items() if place in last}
        return Means(self.shape, regions) if regions else None

    def _mean_plan(self, turn: int, places: list[int], band: int, count: int, sample: bool = False) -> Plan:
        """Return the plan of a band of a pass that finds means: whole blocks of columns of their inputs."""
        each, targets = self.passes.passes[turn], {}
        delivered = frozenset(places) - {*each.keeps}
        for place in {*places, *each.keeps}:
            height, width = self.sizes[place]
            unit = BLOCK if place in places else 1
            blocks = -(-width // unit)
            columns = slice(blocks * band // count * unit, min(width, blocks * (band + 1) // count * unit))
            rows = slice(0, min(height, 64 * max(1, height // self.shape[0])) if sample else height)
            if columns.start < columns.stop:
                targets[place] = TargetSpan(rows, columns)
        return Plan(self.graph, self.sizes, targets, each.given, self._strip_bytes, delivered)

    def _mean_bands(self, turn: int, places: list[int]) -> int:
        """Return the number of bands of a pass that finds means."""
        most, count = min(-(-self.sizes[place][1] // BLOCK) for place in places), 1
        while count < most:
            size = self._mean_plan(turn, places, count // 2, count, True).scratch_bytes
            if size <= self._memory:
                break
            count = min(most, max(count + 1, math.ceil(count * size / self._memory)))
        return count

    def _add(
        self,
        sums: Mapping[int, ColumnSums],
        plan: Plan,
        regions: Mapping[int, Region],
        load: Load,
        watch: Watch | None,
        share: float,
    ) -> None:
        """Run one band of a pass, and add the rows of the means' inputs."""
        run = StripRun(plan, regions, load, watch, share)
        for _ in range(plan.strips):
            before, after = run.advance()
            for place, added in sums.items():
                if place not in plan.targets:
                    continue
                buffer, columns = run.buffers[place], plan.targets[place].columns
                first = plan.columns[place].start
                for piece in buffer.pieces(slice(before[place], after[place])):
                    values = buffer.view(piece)[0][:, :, columns.start - first : columns.stop - first]
                    with np.errstate(all="ignore"):
                        added.add(values, columns.start)
                        if watch is not None:
                            watch.add_to_mean(place, values)

    # -- facts ---------------------------------------------------------------------------------------------------

    def scratch_bytes(self) -> int:
        """Return the bytes of buffers and kept places: the most of any pass."""
        sizes = [max(self.sample(band).scratch_bytes for band in (self.bands[0], self.bands[len(self.bands) // 2]))]
        for turn, each in enumerate(self.passes.passes[:-1]):
            places = [self.graph.nodes[number - 1].inputs[0] for number in each.means]
            count = self._mean_bands(turn, places)
            sizes.append(self._mean_plan(turn, places, count // 2, count, True).scratch_bytes)
        return max(sizes) + self.passes.kept_bytes

    def text(self) -> str:
        """Return the plan in lines: strips, bands, passes, what is kept, and work that is repeated."""
        plan = self.sample(self.bands[0])
        rows = int(np.diff(plan.stops[:, self.last]).max())
        bands = len(self.bands)
        lines = [
            f"strips    {rows} rows of the output at a time",
            f"bands     {bands} of {-(-self.sizes[-1][1] // bands)} columns",
            f"memory    {si(self.scratch_bytes(), 'B')}",
        ]
        if len(self.passes.passes) > 1:
            kept = si(self.passes.kept_bytes, "B")
            lines.insert(
                2, f"passes    {len(self.passes.passes)}, for means over the whole picture; {kept} kept for later ones"
            )
        share = self.passes.work / max(1, self.passes.single_work) * self.repeated(self.bands) - 1
        lines.append(f"repeated  {share:.0%} of the work")
        return "\n".join(lines)


class RowStream:
    """Rows of the output, from the top down, whose buffers live between calls: `Network.stream` returns it."""

    def __init__(
        self, picture: PicturePlan, columns: slice, load: Load, means: Means | None, watch: Watch | None
    ) -> None:
        self._plan, self._last = picture.stream_plan(columns), picture.last
        self._run = StripRun(self._plan, {} if means is None else means.regions, load, watch)
        self._shape = picture.graph.channels[-1], columns.stop - columns.start
        self._strip = slice(0, 0)

    def rows(self, wanted: slice, out: Array | None = None) -> Array:
        """Return output rows [C', rows, columns], float32; later calls may not go back above the rows of this one."""
        channels, width = self._shape
        if out is None:
            out = empty((channels, wanted.stop - wanted.start, width), _FLOAT32)
        self._copy(wanted, out)
        while self._strip.stop < wanted.stop:
            before, after = self._run.advance()
            self._strip = slice(before[self._last], after[self._last])
            self._copy(wanted, out)
        return out

    def _copy(self, wanted: slice, out: Array) -> None:
        """Copy the rows of the last strip that are wanted."""
        rows = slice(max(wanted.start, self._strip.start), min(wanted.stop, self._strip.stop))
        if rows.start < rows.stop:
            buffer = self._run.buffers[self._last]
            for piece in buffer.pieces(rows):
                out[:, piece.start - wanted.start : piece.stop - wanted.start] = buffer.view(piece)[0]
