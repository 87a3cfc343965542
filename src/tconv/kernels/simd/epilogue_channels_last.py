"""Writing of channels-last outputs: for each position and phase a run of channels.

- few phases x channels: whole lines, by interleaving their vectors in registers.
- otherwise blocks of as many rows (phases x channels) and positions as a vector has lanes are transposed. Where other
  channels lie between those of two phases, a block has channels of one phase.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import Constants, Epilogue, read_limits
from tconv.kernels.simd.transpose import columns, load_piece, piece_length
from tconv.kernels.simd.vector_ir import Value

_MOST_ROWS = 24
"""Largest number of vectors that are interleaved: they have to fit the registers, nearly."""


class WritingForm(NamedTuple):
    """Function that writes channels last: its name and its builder."""

    name: str
    builder: Callable[[str, bool, Elements], Epilogue]


def together(channels: int, lanes: int) -> bool:
    """Return True if all channels of a position should be written together: few, and no number of vectors."""
    return channels < 2 * lanes and channels % lanes > 0


def writing_form(
    stride: int, out_fast: int, channels: int, all_channels: bool, all_phases: bool, elements: Elements
) -> WritingForm:
    """Return the function for this many channels of a group.

    `all_channels` and `all_phases` are True if a call writes all of them. Where channels lie without gaps, `out_fast`
    is their number.
    """
    if all_channels and out_fast == channels:
        if all_phases and stride * channels <= _MOST_ROWS:
            return WritingForm(f"{stride}x{channels}_channels_last", partial(_Interleaved, stride, channels))
        if channels % elements.lanes:
            return WritingForm(f"runs_of_{channels}_channels_last", partial(_Runs, channels))
    return WritingForm("channels_last", _Blocks)


class _Interleaved(Epilogue):
    """Writer of whole lines: positions x phases x channels."""

    by_channel = False

    def __init__(self, phases: int, channels: int, name: str, activated: bool, elements: Elements) -> None:
        super().__init__(name, activated, elements)
        self.rows = [(phase, channel) for phase in range(phases) for channel in range(channels)]
        self.channels = channels

    def prepare(self) -> None:
        """Read the constants of all channels."""
        self.of_channels = [self.constants_of(self.mine.channel + channel) for channel in range(self.channels)]
        self.pitch = self.mine.channel_pitch

    def write(self) -> None:
        """Write a line."""
        f, count = self.f, len(self.rows)
        starts = [self.sums_at(phase) + self.pitch * channel * f.size for phase, channel in self.rows]

        def values(place: Value) -> list[Value]:
            return [
                self.of_channels[channel].outputs(f.load(start, place, f.vector))
                for start, (_, channel) in zip(starts, self.rows, strict=True)
            ]

        self.interleaved(count, values, f.least(self.width * count, self.length * self.channels))


class _Transposed(Epilogue):
    """Base of the writers that transpose blocks of rows x positions."""

    by_channel = False

    def lines_of_cache(self, to: Value, step: Value, count: Value) -> Value | None:
        """Return the condition that all blocks go past the caches; None if blocks are no cache lines.

        `to` is the address of the first, positions are `step` numbers apart and have `count` rows.
        """
        f, vector_size = self.f, self.f.lanes * self.f.stored_size
        if vector_size != 64:
            return None
        rests = (distance & (vector_size - 1) for distance in (to, step * f.stored_size, count * f.stored_size))
        return f.both(self.stream > 0, sum(rests, f.value(0)).equals(0))

    def positions(
        self,
        starts: list[Value],
        constants: Constants,
        to: Value,
        step: Value,
        left: Value,
        fewer: Value | None,
        streams: Value | None,
    ) -> None:
        """Write rows, whose sums are at `starts`, at all positions of the line, which are `step` numbers apart.

        The outputs end `left` numbers after `to`. There are as many rows as lanes, or `fewer`.
        """
        f, length = self.f, piece_length(self.f)
        count = f.value(f.lanes) if fewer is None else fewer
        mask = None if fewer is None else f.mask(0, fewer)

        def write(begin: Value, end: Value, store: Callable[[Value, Value], None]) -> None:
            """Write positions, a piece at a time."""
            with f.loop(begin, end, length) as place:
                for number, vector in enumerate(columns(f, lambda lane: load_piece(f, starts[lane], place))):
                    store(constants.outputs(vector), place + number)

        def plain(vector: Value, position: Value) -> None:
            f.store_stored(vector, to, position * step, mask)

        def streamed(vector: Value, position: Value) -> None:
            f.stream_stored(vector, to, position * step)

        def checked(vector: Value, position: Value) -> None:
            with f.when(position < self.width):
                there = f.least(count, left - position * step)
                f.store_stored(vector, to, position * step, f.mask(0, there))

        # positions that have all rows; all before the last of an output row have
        complete = f.var(self.width)
        with f.when((self.width - 1) * step + count > left):
            complete.set(f.select(left >= count, (left - count) // step + 1, 0))
        end = complete.value // length * length
        zero = f.value(0)
        if fewer is not None or streams is None:
            write(zero, end, plain)
        else:
            f.cases(streams, lambda: write(zero, end, streamed), lambda: write(zero, end, plain))
        write(end, self.width, checked)


class _Runs(_Transposed):
    """Writer of whole runs of phases x channels, one for each position, in blocks of a vector.

    A block may begin at any channel, and the last one may overlap the one before. Where all begin at a cache line, they
    can go past the caches.
    """

    def __init__(self, channels: int, name: str, activated: bool, elements: Elements) -> None:
        super().__init__(name, activated, elements)
        self.channels = channels

    def prepare(self) -> None:
        """Copy the constants, so that a vector of them can begin at any channel and go on with the first."""
        f, frame = self.f, self.frame
        self.biases, self.slopes = (f.memory(self.channels + 2 * f.lanes) for _ in range(2))
        f.cases(frame.bias > 0, lambda: self._repeat(frame.bias, self.biases), lambda: self._repeat(None, self.biases))
        if self.activated:
            self._repeat(frame.slopes, self.slopes)
        self.pitch = self.mine.channel_pitch

    def _repeat(self, table: Value | None, to: Value) -> None:
        """Store the numbers of a table (0 if there is none), and after the last of them the first again."""
        f, channels, first = self.f, self.channels, self.mine.channel

        def load(start: int) -> Value:
            if table is None:
                return f.zero()
            return f.masked_load(table, first + start, f.mask(0, channels - start))

        if channels < f.lanes:
            once = load(0)
            repeated = f.shuffle(once, once, [lane % channels for lane in range(f.lanes)])
            for start in (0, f.lanes // channels * channels):
                f.store(repeated, to, start)
        else:
            for start in range(0, channels, f.lanes):
                f.store(load(start), to, start)
            f.store(load(0), to, channels)

    def write(self) -> None:
        """Write a line."""
        f, count = self.f, self.phases * self.channels
        f.cases(count >= f.lanes, lambda: self._write(count, True), lambda: self._write(count, False))

    def _write(self, count: Value, full: bool) -> None:
        f, channels, step = self.f, self.channels, self.stride * self.channels
        streams = self.lines_of_cache(self.to, step, count)
        limits = read_limits(f, self.frame, self.activated)
        with f.loop(0, count, f.lanes) as block:
            row = f.least(block, count - f.lanes) if full else block
            starts = [self._start(row + lane if full else f.least(lane, count - 1)) for lane in range(f.lanes)]
            first = row % channels
            slope = f.load(self.slopes, first, f.vector) if self.activated else None
            constants = Constants(f.load(self.biases, first, f.vector), slope, limits)
            left = (self.length - self.phase) * channels - row
            to = self.to + row * f.stored_size
            self.positions(starts, constants, to, step, left, None if full else count, streams)

    def _start(self, row: Value) -> Value:
        """Return the address of the sums of a row: phase * channels + channel."""
        return self.sums_at(row // self.channels) + self.pitch * (row % self.channels) * self.f.size


class _Blocks(_Transposed):
    """Writer of blocks of channels of one phase. The last may overlap the one before; fewer are stored with a mask."""

    def prepare(self) -> None:
        """Read what all lines need."""
        self.pitch, self.channels, self.first = self.mine.channel_pitch, self.mine.channels, self.mine.channel
        self.out_fast = self.frame.out_fast

    def write(self) -> None:
        """Write a line."""
        f = self.f
        f.cases(self.channels >= f.lanes, lambda: self._write(True), lambda: self._write(False))

    def _write(self, full: bool) -> None:
        f, channels, step = self.f, self.channels, self.stride * self.out_fast
        mask = None if full else f.mask(0, channels)
        streams = self.lines_of_cache(self.to, self.out_fast, channels)
        with f.loop(0, channels, f.lanes) as block:
            channel = f.least(block, channels - f.lanes) if full else block
            first = self.first + channel

            def load(table: Value, first: Value = first) -> Value:
                return f.load(table, first, f.vector) if mask is None else f.masked_load(table, first, mask)

            constants = self.read_constants(load)
            rows = [channel + lane if full else f.least(lane, channels - 1) for lane in range(f.lanes)]
            with f.loop(self.phases) as phase:
                starts = [self.sums_at(phase) + self.pitch * row * f.size for row in rows]
                left = (self.length - self.phase - phase) * self.out_fast
                to = self.to + (phase * self.out_fast + channel) * f.stored_size
                self.positions(starts, constants, to, step, left, None if full else channels, streams)
