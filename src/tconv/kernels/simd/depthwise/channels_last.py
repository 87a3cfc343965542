"""Row function with lanes over channels: the channels of a position are contiguous in x and in the output.

The weights of a vector of channels are loaded once for a block of positions. Where the columns of a position fit the
registers, they move on from position to position, and each vector of x is loaded once per row.
"""

from __future__ import annotations

from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.depthwise.row_pass import RowPass, Rows
from tconv.kernels.simd.depthwise.schedule import Columns
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import Constants
from tconv.kernels.simd.interleave import interleave_lanes
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import Value, Var

BLOCK = 4 << 10
"""Bytes of x that a block of positions has, about: with more, lines whose addresses differ by powers of two compete for
the nearest cache (256 to 512 channels took up to 1.6 times as long with 16 KiB)."""
_LINE = 64
"""Bytes of a cache line. Stores past the caches write whole lines."""


def address(columns: Columns, rows: Rows, multiplier: int, activated: bool, elements: Elements) -> int:
    """Return the address of the function; the weights are those of one input channel, for all its outputs."""
    suffix = ("_activated" if activated else "") + elements.suffix
    name = f"depthwise_channels_{columns.name}_{rows.outer}x{rows.last}_{multiplier}{suffix}"

    def write() -> str:
        return _ChannelLanes(name, columns, rows, activated, elements).build(multiplier)

    return OBJECT_CACHE.address(name, write)


class _ChannelLanes(RowPass):
    """Builder of the function."""

    def build(self, multiplier: int) -> str:
        """Return the LLVM text."""
        f, frame, mine, lanes = self.f, self.frame, self.mine, self.f.lanes
        self.multiplier, stride = multiplier, self.columns.stride
        self.x_step, self.out_step = frame.x_fast * f.stored_size, frame.out_fast * f.stored_size
        self.weight_pitch, self.position_block = frame.weight_pitch, frame.position_block
        self.channel, channels = mine.channel, mine.channels
        first, end = mine.first, mine.first + mine.width
        complete = f.most(f.least(end, self.out_length // stride), first)  # positions with all their outputs
        whole_lines = (lanes * f.stored_size) % _LINE == 0
        full = channels // lanes * lanes
        with self.rows() as (sources, to):
            steps = [f.select(there, self.x_step, 0) for _, there in sources]
            aligned = f.both((to & (_LINE - 1)).equals(0), (self.out_step & (_LINE - 1)).equals(0))
            streams = f.both(self.stream > 0, aligned)
            with f.loop(first, end, self.position_block) as start:
                stop = f.least(start + self.position_block, end)
                inner = f.least(stop, complete)

                def block(channel: Value, mask: Value | None, streamed: bool) -> None:
                    self._block(channel, mask, streamed, sources, steps, to, start, inner, stop)

                def vectors(streamed: bool) -> None:
                    with f.loop(0, full, lanes) as channel:
                        block(channel, None, streamed)

                if whole_lines:
                    f.cases(streams, lambda: vectors(True), lambda: vectors(False))
                else:
                    vectors(False)
                with f.when(full < channels):
                    block(full, f.mask(0, channels - full), False)
        return f.finish()

    def _block(
        self,
        channel: Value,
        mask: Value | None,
        streamed: bool,
        sources: list[tuple[Value, Value]],
        steps: list[Value],
        to: Value,
        start: Value,
        inner: Value,
        stop: Value,
    ) -> None:
        """Write the outputs of a vector of channels for the positions [start, stop).

        All of those below `inner` have all their outputs; the one behind has some.
        """
        f, m = self.f, self.multiplier
        own = self.channel + channel * m  # the first output channel
        out_masks: list[Value | None] = [None] * m
        if mask is not None:
            left = (self.mine.channels - channel) * m
            out_masks = [f.mask(0, left - number * f.lanes) for number in range(m)]

        def read(table: Value, index: Value, mask: Value | None) -> Value:
            return f.load(table, index, f.vector) if mask is None else f.masked_load(table, index, mask)

        def constants_of(number: int) -> Constants:
            return self.constants(lambda table: read(table, own + number * f.lanes, out_masks[number]))

        constants = [constants_of(number) for number in range(m)]
        here = self.weights + channel * f.size
        count = self.row_counts.total * self.columns.taps * m
        weights = [read(here, self.weight_pitch * n, mask) for n in range(count)] if self.unrolled else []

        def weight(number: int | Value) -> Value:
            return weights[number] if isinstance(number, int) else read(here, self.weight_pitch * number, mask)

        columns = _Columns(self, sources, steps, channel, mask, start)

        def position(place: Value, whole: bool) -> None:
            columns.enter(place)
            sums = self.sums(sources, m, columns.column, weight)
            for phase, of_phase in enumerate(sums):
                output = place * self.columns.stride + phase
                written = to + output * self.out_step + channel * (m * f.stored_size)

                def store(written: Value = written, of_phase: list[Value] = of_phase) -> None:
                    for number, vector in enumerate(interleave_lanes(f, of_phase)):
                        values = constants[number].outputs(vector)
                        if streamed:
                            f.stream_stored(values, written, number * f.lanes)
                        else:
                            f.store_stored(values, written, number * f.lanes, out_masks[number])

                if whole:
                    store()
                else:
                    with f.when(output < self.out_length):
                        store()
            columns.leave()

        with f.loop(start, inner) as place:
            position(place, True)
        with f.when(f.most(start, inner) < stop):
            position(f.most(start, inner), False)


class _Columns:
    """Vectors of x of the columns of a position, for one vector of channels.

    `sliding` ones stay in registers: a position loads the last column of each row, and the others move on.
    """

    def __init__(
        self,
        rows: RowPass,
        sources: list[tuple[Value, Value]],
        steps: list[Value],
        channel: Value,
        mask: Value | None,
        start: Value,
    ) -> None:
        self._rows, self._f, self._mask = rows, rows.f, mask
        self._sources, self._steps, self._offset = sources, steps, channel * rows.f.stored_size
        self._step = rows.frame.x_fast * rows.f.stored_size
        shifts = rows.columns.shifts
        self._shifts, self._span = shifts, shifts[-1] - shifts[0]
        self.sliding = rows.unrolled and len(sources) * (self._span + 1) <= max(4, target().registers * 3 // 8)
        self._place: Value | None = None
        if self.sliding:
            # the window of the position before the first: its last column is loaded by the first
            self._window: list[list[Var]] = [
                [self._f.var(self._load(row, start - shifts[-1] + column)) for column in range(self._span)]
                for row in range(len(sources))
            ]
            self._now: list[list[Value]] = []

    def _load(self, row: int, position: Value) -> Value:
        """Return the vector of a position of a row; zeros outside of x."""
        address, _ = self._sources[row]
        return self._read(address + position * self._steps[row], position)

    def _read(self, address: Value, position: Value) -> Value:
        f = self._f
        inside = f.both(position >= 0, position < self._rows.length)
        source = f.select(inside, address, self._rows.zeros) + self._offset
        return f.load_stored(source, 0, self._mask)

    def enter(self, place: Value) -> None:
        """Load what the position needs."""
        self._place = place
        if self.sliding:
            self._now = [
                [*(var.value for var in window), self._load(row, place - self._shifts[0])]
                for row, window in enumerate(self._window)
            ]

    def leave(self) -> None:
        """Move the columns on by one position."""
        if self.sliding:
            for window, now in zip(self._window, self._now, strict=True):
                for var, value in zip(window, now[1:], strict=True):
                    var.set(value)

    def column(self, row: int | Value, address: Value, there: Value, number: int) -> Value:
        """Return the vector of the column with this number, of a row of x."""
        assert self._place is not None
        if self.sliding and isinstance(row, int):
            return self._now[row][self._shifts[-1] - self._shifts[number]]
        position = self._place - self._shifts[number]
        return self._read(address + position * self._f.select(there, self._step, 0), position)
