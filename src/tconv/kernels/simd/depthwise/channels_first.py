"""Row function with lanes over the positions of a row: x and the output are contiguous along the fastest axis.

The phases of a row are interleaved in registers. Vectors of positions whose columns are all inside of x are loaded as
they are; those at the ends of a row are loaded with masks.
"""

from __future__ import annotations

from tconv.kernels.simd.depthwise.row_pass import RowPass, Rows
from tconv.kernels.simd.depthwise.schedule import Columns
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import store_first
from tconv.kernels.simd.interleave import interleave_lanes
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import Value


def address(columns: Columns, rows: Rows, activated: bool, elements: Elements) -> int:
    """Return the address of the function; the weights are those of one output channel."""
    suffix = ("_activated" if activated else "") + elements.suffix
    name = f"depthwise_positions_{columns.name}_{rows.outer}x{rows.last}{suffix}"
    return OBJECT_CACHE.address(name, lambda: _PositionLanes(name, columns, rows, activated, elements).build())


class _PositionLanes(RowPass):
    """Builder of the function."""

    def build(self) -> str:
        """Return the LLVM text."""
        f, shifts, stride, lanes = self.f, self.columns.shifts, self.columns.stride, self.f.lanes
        mine, length = self.mine, self.length
        channel, first, end = mine.channel, mine.first, mine.first + mine.width
        self.channel_constants = self.constants(lambda table: f.splat(f.load(table, channel)))
        if self.unrolled:
            self.splats = [f.splat(f.load(self.weights, n)) for n in range(self.row_counts.total * self.columns.taps)]
        # vectors of which the first and the last column are inside of x, and all outputs inside of the row
        complete = f.least(length + shifts[0], self.out_length // stride) - first
        vectors = (end - first + (lanes - 1)) // lanes
        before = f.least(f.most(shifts[-1] - first + (lanes - 1), 0) // lanes, vectors)
        after = f.most(f.least(f.most(complete, 0) // lanes, vectors), before)
        # vectors at the ends: all rows of one after all rows of the other, so that the masks stay in registers
        with f.loop(before + vectors - after) as number:
            vector = f.select(number < before, number, number - before + after)
            # the last vector ends where the row ends, rather than beyond: masked stores are slow on some chips
            latest = f.select(end * stride <= self.out_length, f.most(end - lanes, first), end)
            position = f.least(first + vector * lanes, latest)
            masks = [f.mask(shift - position, length + shift - position) for shift in shifts]
            left = f.least(self.out_length, end * stride) - position * stride
            with self.rows() as (sources, to):
                written = self._vectors(sources, position, masks)
                f.cases(
                    left >= stride * lanes,
                    lambda: self._store(written, to, position * stride),
                    lambda: self._store_partly(written, to, position * stride, left),
                )
        with f.when(before < after), self.rows() as (sources, to):
            from_position, to_position = first + before * lanes, first + after * lanes

            def interior(streamed: bool) -> None:
                with f.loop(from_position, to_position, lanes) as position:
                    written = self._vectors(sources, position, None)
                    store = f.stream_stored if streamed else f.store_stored
                    for place, vector in enumerate(written):
                        store(vector, to, position * stride + place * lanes)

            f.cases(self._streams(to, from_position * stride), lambda: interior(True), lambda: interior(False))
        return f.finish()

    def _streams(self, to: Value, place: Value) -> Value:
        """Return the condition that whole vectors from this place on go past the caches."""
        f = self.f
        start = to + place * f.stored_size
        return f.both(self.stream > 0, (start & (f.lanes * f.stored_size - 1)).equals(0))

    def _store(self, written: list[Value], to: Value, start: Value) -> None:
        f = self.f

        def write(streamed: bool) -> None:
            for place, vector in enumerate(written):
                (f.stream_stored if streamed else f.store_stored)(vector, to, start + place * f.lanes)

        f.cases(self._streams(to, start), lambda: write(True), lambda: write(False))

    def _store_partly(self, written: list[Value], to: Value, start: Value, left: Value) -> None:
        """Store the first `left` outputs."""
        for number, vector in enumerate(written):
            before = number * self.f.lanes
            store_first(self.f, vector, to, start + before, left - before)

    def _vectors(self, sources: list[tuple[Value, Value]], position: Value, masks: list[Value] | None) -> list[Value]:
        """Return the outputs of a vector of positions, phases interleaved."""
        f, shifts = self.f, self.columns.shifts

        def column(row: int | Value, address: Value, there: Value, number: int) -> Value:
            return f.load_stored(address, position - shifts[number], None if masks is None else masks[number])

        def weight(number: int | Value) -> Value:
            return self.splats[number] if isinstance(number, int) else f.splat(f.load(self.weights, number))

        sums = self.sums(sources, 1, column, weight)
        return interleave_lanes(f, [self.channel_constants.outputs(of_phase[0]) for of_phase in sums])
