"""Epilogue of the kernel: bias, activation, interleaving of the phases, and the writing of the output.

It runs for a part of a tile as soon as its sums are complete, and writes every output element once.
"""

from __future__ import annotations

from tconv.kernels.simd import epilogue_channels_last
from tconv.kernels.simd.call_frame import FRAME, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import Epilogue
from tconv.kernels.simd.interleave import interleave_lanes
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function


def most_phases(stride: int, elements: Elements) -> int:
    """Return the number of phases of the fastest axis that are written at a time."""
    return stride if interleaves(stride, elements) else elements.lanes


def interleaves(stride: int, elements: Elements) -> bool:
    """Return True if all phases of the fastest axis are interleaved in registers."""
    return stride <= 8 or stride == elements.lanes


def writes_channels_last(out_fast: int, out_channel: int) -> bool:
    """Return True if channels are neighbours in the output, and its positions follow each other in ascending order."""
    return out_channel == 1 and out_fast > 1


def address(
    stride: int,
    out_fast: int,
    out_channel: int,
    channels: int,
    all_channels: bool,
    activated: bool,
    elements: Elements,
) -> int:
    """Return the address of the function that writes outputs with these strides of fastest axis and channels.

    `channels` are those of a group; a call writes `all_channels` together, or some of them. The function's arguments
    are `(frame, local, table of rows, first phase, phases, sums, lines from, to, positions from, to)`.
    """
    ending = f"{'_activated' if activated else ''}{elements.suffix}"
    if writes_channels_last(out_fast, out_channel):
        form = epilogue_channels_last.writing_form(
            stride, out_fast, channels, all_channels, interleaves(stride, elements), elements
        )
        name = f"write_{form.name}{ending}"
        return OBJECT_CACHE.address(name, lambda: form.builder(name, activated, elements).build())
    builder = _Strided if out_fast != 1 else _Interleaved if interleaves(stride, elements) else _Across
    name = f"write_{builder.kind}{f'_{stride}' if builder is _Interleaved else ''}{ending}"
    return OBJECT_CACHE.address(name, lambda: builder(name, activated, elements, stride).build())


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


class _ChannelsFirst(Epilogue):
    kind = ""

    def __init__(self, name: str, activated: bool, elements: Elements, phases: int) -> None:
        super().__init__(name, activated, elements)
        self.all_phases = phases


class _Interleaved(_ChannelsFirst):
    """Writer of all phases interleaved: a line of phases x positions, cut off at the end of the row."""

    kind = "interleave"

    def write(self) -> None:
        """Write a line."""
        phases = range(self.all_phases)
        total = self.f.least(self.width * self.all_phases, self.length)
        self.interleaved(self.all_phases, lambda place: [self.value(phase, place) for phase in phases], total)


class _Across(_ChannelsFirst):
    """Writer of some phases of many: for each position a run of neighbours, by transposing blocks of vectors."""

    kind = "across"

    def write(self) -> None:
        """Write a line."""
        f, stride = self.f, self.stride
        with f.loop(0, self.width, f.lanes) as place:
            rows = [self.value(f.least(self.phases - 1, phase), place) for phase in range(f.lanes)]
            for lane, vector in enumerate(interleave_lanes(f, rows)):
                position = place + lane
                left = f.least(self.phases, self.length - self.phase - position * stride)
                with f.when(position < self.width):
                    f.store_stored(vector, self.to, position * stride, f.mask(0, left))


class _Strided(_ChannelsFirst):
    """Writer of an output whose fastest axis is not contiguous, number by number."""

    kind = "strided"

    def write(self) -> None:
        """Write a line."""
        f, stride, step = self.f, self.stride, self.frame.out_fast
        with f.loop(self.phases) as phase:
            # positions whose output lies before the end of the row
            left = self.length - self.phase - phase + stride - 1
            count = f.least(self.width, f.select(left > 0, left, 0) // stride)
            with f.loop(count) as place:
                f.store_stored_number(self.value(phase, place), self.to, (place * stride + phase) * step)
