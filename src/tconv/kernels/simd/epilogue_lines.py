"""Lines of the output: their place, bias and activation, and the writing of interleaved vectors.

The base of all epilogues. `epilogue` chooses among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tconv.kernels.simd.call_frame import FRAME, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.interleave import interleave_lanes
from tconv.kernels.simd.vector_ir import I64, Function, Value

_LONG = 1024
"""Bytes from which on an unaligned line of a streamed output goes past the caches; aligned lines always do."""
_CACHE_LINE = 64


class Constants(NamedTuple):
    """Bias and activation of a vector of outputs."""

    bias: Value
    slope: Value | None
    """None without an activation"""
    limits: list[Value]

    def outputs(self, sums: Value) -> Value:
        """Return the outputs of a vector of sums: bias, then activation."""
        total = sums + self.bias
        return total if self.slope is None else apply_activation(total.f, total, self.slope, *self.limits)


def read_constants(f: Function, frame: Fields, activated: bool, load: Callable[[Value], Value]) -> Constants:
    """Return bias and activation. `load` returns a vector from a table of one number per channel."""
    bias = f.var(f.zero())
    with f.when(frame.bias > 0):
        bias.set(load(frame.bias))
    return Constants(bias.value, load(frame.slopes) if activated else None, read_limits(f, frame, activated))


def read_limits(f: Function, frame: Fields, activated: bool) -> list[Value]:
    """Return the lowest and the highest output of an activation, in all lanes."""
    return [f.splat(f.load(frame.limits, number)) for number in (0, 1)] if activated else []


def apply_activation(f: Function, y: Value, slope: Value, low: Value, high: Value) -> Value:
    """Return the activation of a vector. Comparisons with NaN are false, so NaN stays NaN."""
    leaky = f.select(y < f.zero(), y * slope, y)
    not_below = f.select(leaky < low, low, leaky)
    return f.select(not_below > high, high, not_below)


def store_first(f: Function, vector: Value, to: Value, place: Value, count: Value) -> None:
    """Store the first `count` outputs of a vector; none for 0 or less, all if there are not so many.

    Masked stores are slow on some chips (AMD with AVX2), so only a part of a vector has one.
    """

    def partly() -> None:
        with f.when(count > 0):
            f.store_stored(vector, to, place, f.mask(0, count))

    f.cases(count >= f.lanes, lambda: f.store_stored(vector, to, place), partly)


class Epilogue:
    """Builder of an epilogue. For each line of the tile, and each channel if `by_channel`, `write` writes the outputs.

    Then `to` is the address of the line's first output, `source` that of its first sum, `width` the number of its
    positions, and `length` the outputs from its first position to the end of the row.
    """

    by_channel = True

    def __init__(self, name: str, activated: bool, elements: Elements) -> None:
        self.f = f = Function(name, 10, elements)
        base, local, self.table, self.phase, self.phases, self.sums, *self.region = f.arguments
        self.frame, self.mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
        # read once, here: LLVM cannot know that the outputs do not overwrite the frame
        self.sum_row, self.stream, self.stride = self.frame.sum_row, self.frame.stream, self.frame.stride
        self.activated = activated

    def prepare(self) -> None:
        """Write what comes before the loop over lines."""

    def write(self) -> None:
        """Write the outputs of a line."""
        raise NotImplementedError

    def build(self) -> str:
        """Return the LLVM text."""
        f, frame, mine = self.f, self.frame, self.mine
        channel, rows = mine.channel, frame.image_rows
        first_line, last_line, begin, end = self.region
        self.width = end - begin
        first = (mine.first + begin) * self.stride
        self.length = frame.out_length - first
        self.prepare()
        with f.loop(first_line, last_line) as line:
            row = mine.row + line
            offset = f.load(self.table, row % rows, I64)
            with f.when(offset > NO_ROW):
                place = (mine.image + row // rows) * frame.out_batch + channel * frame.out_channel + offset
                to = frame.out + (place + (first + self.phase) * frame.out_fast) * f.stored_size
                source = self.sums + (line * frame.sum_pitch + begin) * f.size
                with f.loop(mine.channels if self.by_channel else 1) as number:
                    self.to = to + number * frame.out_channel * f.stored_size
                    self.source = source + number * mine.channel_pitch * f.size
                    if self.by_channel:
                        self.constants = self.constants_of(channel + number)
                    self.write()
        return f.finish()

    def constants_of(self, channel: Value) -> Constants:
        """Return bias and activation of one channel, in all lanes."""
        return self.read_constants(lambda table: self.f.splat(self.f.load(table, channel)))

    def read_constants(self, load: Callable[[Value], Value]) -> Constants:
        """Return bias and activation. `load` returns a vector from a table of one number per channel."""
        return read_constants(self.f, self.frame, self.activated, load)

    def sums_at(self, row: Value | int) -> Value:
        """Return the address of the sums of a phase."""
        return self.source + self.sum_row * row * self.f.size

    def value(self, row: Value | int, place: Value | int) -> Value:
        """Return a vector of outputs of one phase."""
        return self.constants.outputs(self.f.load(self.sums_at(row), place, self.f.vector))

    def interleaved(self, count: int, values: Callable[[Value], list[Value]], total: Value) -> None:
        """Write a line of `total` outputs. `values` returns the vectors of a place, whose numbers lie in turn in it."""
        f, size = self.f, self.f.stored_size
        span = count * f.lanes
        head = self._head(count)

        def partial(begin: Value, end: Value) -> None:
            """Write the outputs [begin, end), fewer than a vector of each."""
            for number, vector in enumerate(interleave_lanes(f, values(begin // count))):
                start = begin + number * f.lanes
                store_first(f, vector, self.to, start, end - start)

        def lines(begin: Value, store: Callable[[Value, Value, Value], None]) -> None:
            end = begin + (total - begin) // span * span
            with f.loop(begin, end, span) as start:
                for number, vector in enumerate(interleave_lanes(f, values(start // count))):
                    store(vector, self.to, start + number * f.lanes)
            with f.when(end < total):
                partial(end, total)

        def streamed() -> None:
            with f.loop(0, head, span) as begin:
                partial(begin, f.least(begin + span, head))
            lines(head, f.stream_stored)

        aligned = ((self.to + head * size) & (size * self._unit - 1)).equals(0)
        worthwhile = f.select(head.equals(0), 1, f.select(total >= _LONG // size, 1, 0)).equals(1)
        f.cases(
            f.both(f.both(self.stream > 0, worthwhile), aligned),
            streamed,
            lambda: lines(f.value(0), f.store_stored),
        )

    @property
    def _unit(self) -> int:
        """Outputs at whose multiples writing past the caches begins: a vector, or a cache line if that is longer."""
        lanes, size = self.f.lanes, self.f.stored_size
        return max(lanes, _CACHE_LINE // size) if size < self.f.size else lanes

    def _head(self, count: int) -> Value:
        """Return the outputs of whole places before the first that begins at a multiple of a unit.

        If there is no such place, some number is returned.
        """
        f, size, unit = self.f, self.f.stored_size, self._unit
        before = ((0 - self.to) & (size * unit - 1)) >> (size.bit_length() - 1)
        power = count & -count  # the largest power of two that divides it
        if power >= unit:
            return f.value(0)
        places = unit // power
        return (before // power * pow(count // power, -1, places)) % places * count
