"""Epilogue of the kernel: bias, activation, interleaving of the phases, and the writing of the output.

It runs for a part of a tile as soon as its sums are complete, and writes every output element once.
"""

from __future__ import annotations

from collections.abc import Callable

from tconv.kernels.simd.call_frame import FRAME, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.interleave import interleave_lanes
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value

_LONG = 256
"""Outputs from which on an unaligned line of a streamed output goes past the caches; aligned lines always do."""


def most_phases(stride: int, elements: Elements) -> int:
    """Return the number of phases of the fastest axis that are written at a time."""
    return stride if interleaves(stride, elements) else elements.lanes


def interleaves(stride: int, elements: Elements) -> bool:
    """Return True if all phases of the fastest axis are interleaved in registers."""
    return stride <= 8 or stride == elements.lanes


def address(stride: int, out_fast: int, out_channel: int, activated: bool, elements: Elements) -> int:
    """Return the address of the function that writes outputs with these strides of fastest axis and channels.

    Its arguments are `(frame, local, table of rows, first phase, phases, sums, lines from, to, positions from, to)`.
    """
    body: Callable[[_Epilogue], None]
    if out_fast == 1 and interleaves(stride, elements):
        kind, body = f"interleave_{stride}", lambda epilogue: epilogue.interleave_phases(stride)
    elif out_fast == 1:
        kind, body = "across", _Epilogue.phases_across
    elif out_channel == 1:
        kind, body = "channels_last", _Epilogue.channels_last
    else:
        kind, body = "strided", _Epilogue.strided
    name = f"write_{kind}{'_activated' if activated else ''}{elements.suffix}"
    by_channel = kind != "channels_last"
    return OBJECT_CACHE.address(name, lambda: _Epilogue(name, activated, elements).build(body, by_channel))


def address_of_prefetch(elements: Elements) -> int:
    """Return the address of the function that prefetches the cache lines a call of the epilogue will write.

    Its arguments are `(frame, local, table of rows, first line, end line, first position, end position)`.
    """
    name = f"prefetch_output{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write_prefetch(name, elements))


def _write_prefetch(name: str, elements: Elements) -> str:
    """Write the function that prefetches cache lines of the output, while the chip still computes their sums."""
    f = Function(name, 7, elements)
    base, local, table, first, end, begin, stop = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    stride, rows = frame.stride, frame.image_rows
    length = f.least((stop - begin) * stride, frame.out_length - (mine.first + begin) * stride) * f.stored_size
    with f.loop(first, end) as line:
        row = mine.row + line
        offset = f.load(table, row % rows, I64)
        with f.when(offset > NO_ROW):
            image = mine.image + row // rows
            place = image * frame.out_batch + mine.channel * frame.out_channel + offset + (mine.first + begin) * stride
            with f.loop(mine.channels) as number:
                to = frame.out + (place + number * frame.out_channel) * f.stored_size
                with f.loop(0, length, 64) as byte:
                    f.prefetch(to + byte, write=True)
    return f.finish()


def apply_activation(f: Function, y: Value, slope: Value, low: Value, high: Value) -> Value:
    """Return the activation of a vector. Comparisons with NaN are false, so NaN stays NaN."""
    leaky = f.select(y < f.zero(), y * slope, y)
    not_below = f.select(leaky < low, low, leaky)
    return f.select(not_below > high, high, not_below)


class _Epilogue:
    """Builder of an epilogue: for each row of the tile and each channel, a method of it (`body`) writes a line."""

    def __init__(self, name: str, activated: bool, elements: Elements) -> None:
        self.f = f = Function(name, 10, elements)
        base, local, self.table, self.phase, self.phases, self.sums, *self.region = f.arguments
        self.frame, self.mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
        # read once, here: LLVM cannot know that the outputs do not overwrite the frame
        self.sum_row, self.stream = self.frame.sum_row, self.frame.stream
        self.activated = activated

    def build(self, body: Callable[[_Epilogue], None], by_channel: bool) -> str:
        """Return the LLVM text. `body` uses `to`, `source`, `width` and `length`, of a channel or of a whole block."""
        f, frame, mine = self.f, self.frame, self.mine
        channel, stride, rows = mine.channel, frame.stride, frame.image_rows
        first_line, last_line, begin, end = self.region
        self.width = end - begin
        first = (mine.first + begin) * stride
        self.length = frame.out_length - first  # outputs of this line from its first on
        with f.loop(first_line, last_line) as line:
            row = mine.row + line
            offset = f.load(self.table, row % rows, I64)
            with f.when(offset > NO_ROW):
                place = (mine.image + row // rows) * frame.out_batch + channel * frame.out_channel + offset
                to = frame.out + (place + (first + self.phase) * frame.out_fast) * f.stored_size
                source = self.sums + (line * frame.sum_pitch + begin) * f.size
                with f.loop(mine.channels if by_channel else 1) as number:
                    self.to = to + number * frame.out_channel * f.stored_size
                    self.source = source + number * mine.channel_pitch * f.size
                    if by_channel:
                        self._read_constants(lambda table: f.splat(f.load(table, channel + number)))
                    body(self)
        return f.finish()

    def _read_constants(self, load: Callable[[Value], Value]) -> None:
        """Read bias and activation. `load` returns a vector from a table of one number per channel."""
        f, frame = self.f, self.frame
        bias = f.var(f.zero())
        with f.when(frame.bias > 0):
            bias.set(load(frame.bias))
        self.bias = bias.value
        if self.activated:
            self.slope = load(frame.slopes)
            self.low, self.high = (f.splat(f.load(frame.limits, number)) for number in (0, 1))

    def _sums(self, row: Value | int, place: Value | int) -> Value:
        """Return a vector of sums of one phase."""
        return self.f.load(self.source + self.sum_row * row * self.f.size, place, self.f.vector)

    def outputs(self, sums: Value) -> Value:
        """Return the outputs of a vector of sums: bias, then activation."""
        f, total = self.f, sums + self.bias
        if not self.activated:
            return total
        return apply_activation(f, total, self.slope, self.low, self.high)

    def value(self, row: Value | int, place: Value | int) -> Value:
        """Return a vector of outputs of one phase."""
        return self.outputs(self._sums(row, place))

    def interleave_phases(self, stride: int) -> None:
        """Write all phases interleaved: a line of stride * width outputs, cut off at the end of the row."""
        f = self.f
        count = f.least(self.width * stride, self.length)
        span = stride * f.lanes
        # outputs before the first whose address is a multiple of a vector's size
        size = f.stored_size
        head = f.least(((0 - self.to) & (size * f.lanes - 1)) >> (size.bit_length() - 1), count)

        def lines(begin: Value | int, store: Callable[[Value, Value, Value], None]) -> None:
            end = begin + (count - begin) // span * span
            with f.loop(begin, end, span) as start:
                for number, vector in enumerate(self._vectors(stride, start // stride)):
                    store(vector, self.to, start + number * f.lanes)
            with f.when(end < count):
                self._partial(stride, end, count)

        def streamed() -> None:
            with f.when(head > 0):
                self._partial(stride, f.value(0), head)
            lines(head, f.stream_stored)

        worthwhile = f.select(head.equals(0), 1, f.select(count >= _LONG, 1, 0)).equals(1)
        f.cases(
            f.both(f.both(self.stream > 0, worthwhile), (head % stride).equals(0)),
            streamed,
            lambda: lines(f.value(0), f.store_stored),
        )

    def _partial(self, stride: int, begin: Value, end: Value) -> None:
        """Write the outputs [begin, end), fewer than a vector of each phase."""
        for number, vector in enumerate(self._vectors(stride, begin // stride)):
            start = begin + number * self.f.lanes
            self.f.store_stored(vector, self.to, start, self.f.mask(0, end - start))

    def _vectors(self, stride: int, place: Value) -> list[Value]:
        return interleave_lanes(self.f, [self.value(phase, place) for phase in range(stride)])

    def phases_across(self) -> None:
        """Write some phases of many: for each position a run of neighbours, by transposing blocks of vectors."""
        f, stride = self.f, self.frame.stride
        with f.loop(0, self.width, f.lanes) as place:
            rows = [self.value(f.least(self.phases - 1, phase), place) for phase in range(f.lanes)]
            for lane, vector in enumerate(interleave_lanes(f, rows)):
                position = place + lane
                left = f.least(self.phases, self.length - self.phase - position * stride)
                with f.when(position < self.width):
                    f.store_stored(vector, self.to, position * stride, f.mask(0, left))

    def channels_last(self) -> None:
        """Write channels last: for each position a run of channels, by transposing blocks of vectors."""
        f, frame, mine = self.f, self.frame, self.mine
        stride, channels, block = frame.stride, mine.channels, self.source
        with f.loop(0, channels, f.lanes) as channel:
            mask = f.mask(0, channels - channel)
            self._read_constants(lambda table: f.masked_load(table, mine.channel + channel, mask))
            with f.loop(self.phases) as phase, f.loop(0, self.width, f.lanes) as place:
                rows = []
                for number in range(f.lanes):
                    self.source = block + f.least(channel + number, channels - 1) * mine.channel_pitch * f.size
                    rows.append(self._sums(phase, place))
                for lane, vector in enumerate(interleave_lanes(f, rows)):
                    position = place + lane
                    output = position * stride + phase
                    with f.when(f.both(position < self.width, output + self.phase < self.length)):
                        f.store_stored(self.outputs(vector), self.to, output * frame.out_fast + channel, mask)

    def strided(self) -> None:
        """Write an output whose fastest axis is not contiguous, number by number."""
        f, stride, step = self.f, self.frame.stride, self.frame.out_fast
        with f.loop(self.phases) as phase:
            # positions whose output lies before the end of the row
            left = self.length - self.phase - phase + stride - 1
            count = f.least(self.width, f.select(left > 0, left, 0) // stride)
            with f.loop(count) as place:
                f.store_stored_number(self.value(phase, place), self.to, (place * stride + phase) * step)
