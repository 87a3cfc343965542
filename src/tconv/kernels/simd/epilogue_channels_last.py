"""Writing of channels-last outputs: for each position and phase a run of channels.

- few channels x phases: whole lines, by interleaving their vectors in registers.
- otherwise blocks of as many rows (channels, or phases x channels where they are few) and positions as a vector has
  lanes are transposed: a position is then a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import Constants, Epilogue
from tconv.kernels.simd.transpose import columns, load_piece, piece_length
from tconv.kernels.simd.vector_ir import Value

_MOST_ROWS = 24
"""Largest number of vectors that are interleaved: they have to fit the registers, nearly."""


class WritingForm(NamedTuple):
    """Function that writes channels last: its name and its builder."""

    name: str
    builder: Callable[[str, bool, Elements], Epilogue]


def form(stride: int, out_fast: int, channels: int, all_phases: bool, elements: Elements) -> WritingForm:
    """Return the function for this many channels. `all_phases` is True if all phases are written at a time.

    Where channels lie without gaps, `out_fast` is their number, and a call writes all of them if they are fewer than
    the lanes.
    """
    dense = out_fast == channels < elements.lanes
    if dense and all_phases and stride * channels <= _MOST_ROWS:
        return WritingForm(f"{stride}x{channels}_channels_last", partial(_Interleaved, stride, channels))
    phases = min(stride, elements.lanes // channels) if dense else 1
    if phases > 1:
        return WritingForm(f"{phases}_of_{channels}_channels_last", partial(_Runs, phases, channels))
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

    def block(
        self,
        starts: list[Value],
        place: Value,
        constants: Constants,
        whole: Value,
        store: Callable[[Value, Value, bool], None],
    ) -> None:
        """Write the positions of a vector. `starts` has the address of the sums of each row.

        `store` stores the outputs of a position. It is told if all positions of the block are there, which `whole` is
        the condition of; if not, it looks.
        """
        f, length = self.f, piece_length(self.f)

        def positions(complete: bool) -> None:
            with f.loop(0, f.lanes, length, at_least_once=True) as some:
                at = place + some
                vectors = columns(f, lambda lane: load_piece(f, starts[lane], at))
                for number, vector in enumerate(vectors):
                    store(constants.outputs(vector), at + number, complete)

        f.cases(whole, lambda: positions(True), lambda: positions(False))


class _Runs(_Transposed):
    """Writer of a few phases of fewer channels than lanes: for each position a run of phases x channels."""

    def __init__(self, phases: int, channels: int, name: str, activated: bool, elements: Elements) -> None:
        super().__init__(name, activated, elements)
        self.together, self.channels = phases, channels

    def prepare(self) -> None:
        """Read the constants of all channels, again for each phase."""
        f, channels = self.f, self.channels
        mask, lanes = f.mask(0, channels), [lane % channels for lane in range(f.lanes)]

        def load(table: Value) -> Value:
            once = f.masked_load(table, self.mine.channel, mask)
            return f.shuffle(once, once, lanes)

        self.constants = Constants(f, self.frame, self.activated, load)
        self.pitch = self.mine.channel_pitch

    def write(self) -> None:
        """Write a line."""
        f, channels, count = self.f, self.channels, self.together * self.channels
        with f.loop(0, self.phases, self.together) as first:
            phases = f.least(self.phases - first, self.together)
            starts = []
            for row in range(f.lanes):
                phase, channel = divmod(min(row, count - 1), channels)
                start = self.sums_at(first + f.least(phase, phases - 1))
                starts.append(start + self.pitch * channel * f.size)
            left = self.length - self.phase - first  # outputs of this line from the first of these phases on
            run = f.mask(0, phases * channels)
            to = self.to + first * channels * f.stored_size

            def store(vector: Value, position: Value, complete: bool) -> None:
                output = position * self.stride
                mask = run if complete else f.mask(0, f.least(phases, left - output) * channels)
                if complete:
                    f.store_stored(vector, to, output * channels, mask)
                else:
                    with f.when(position < self.width):
                        f.store_stored(vector, to, output * channels, mask)

            with f.loop(0, self.width, f.lanes) as place:
                end = place + f.lanes
                whole = f.both(end <= self.width, (end - 1) * self.stride + phases <= left)
                self.block(starts, place, self.constants, whole, store)


class _Blocks(_Transposed):
    """Writer of channels in blocks of a vector. The last may overlap the one before; fewer are stored with a mask."""

    def prepare(self) -> None:
        """Read what all lines need."""
        self.pitch, self.channels, self.first = self.mine.channel_pitch, self.mine.channels, self.mine.channel
        self.step = self.frame.out_fast

    def write(self) -> None:
        """Write a line."""
        f = self.f
        f.cases(self.channels >= f.lanes, lambda: self._write(True), lambda: self._write(False))

    def _write(self, full: bool) -> None:
        f, channels, vector_size = self.f, self.channels, self.f.lanes * self.f.stored_size
        mask = None if full else f.mask(0, channels)
        distances = (self.to, self.step * f.stored_size, channels * f.stored_size)
        aligned = sum((distance & (vector_size - 1) for distance in distances), f.value(0)).equals(0)
        # only whole cache lines go past the caches
        streamed = f.both(self.stream > 0, aligned) if full and vector_size == 64 else None
        with f.loop(0, self.width, f.lanes) as place, f.loop(0, channels, f.lanes) as block:
            channel = f.least(block, channels - f.lanes) if full else block
            first = self.first + channel
            constants = Constants(
                f,
                self.frame,
                self.activated,
                lambda table: f.load(table, first, f.vector) if mask is None else f.masked_load(table, first, mask),
            )
            with f.loop(self.phases) as phase:
                rows = [channel + lane if full else f.least(lane, channels - 1) for lane in range(f.lanes)]
                starts = [self.sums_at(phase) + self.pitch * row * f.size for row in rows]
                left = self.length - self.phase - phase

                def write_with(store_vector: Callable[[Value, Value, Value], None]) -> None:
                    def store(vector: Value, position: Value, complete: bool) -> None:
                        output = position * self.stride
                        place_of = (output + phase) * self.step + channel
                        if complete:
                            store_vector(vector, self.to, place_of)
                        else:
                            with f.when(f.both(position < self.width, output < left)):
                                store_vector(vector, self.to, place_of)

                    end = place + f.lanes
                    whole = f.both(end <= self.width, (end - 1) * self.stride < left)
                    self.block(starts, place, constants, whole, store)

                def plain(vector: Value, to: Value, index: Value) -> None:
                    f.store_stored(vector, to, index, mask)

                if streamed is None:
                    write_with(plain)
                else:
                    f.cases(streamed, lambda: write_with(f.stream_stored), lambda: write_with(plain))
