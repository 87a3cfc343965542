"""Packing: a tile's inputs into its panel, zeros where there is no input. Nothing outside of x is ever read."""

from __future__ import annotations

from tconv.kernels.simd.code import I64, Function, Value
from tconv.kernels.simd.fields import FRAME, HEAD, LOCAL, Fields
from tconv.kernels.simd.library import LIBRARY
from tconv.kernels.simd.shuffle import interleave
from tconv.kernels.simd.target import target


def address(x_fast: int, x_channel: int) -> int:
    """The function `(frame, local)` for an x with these strides of its fastest axis and of its channels."""
    name = "pack" if x_fast == 1 else "pack_channels_last" if x_channel == 1 else "pack_strided"
    return LIBRARY.address(name, lambda: _write_last(name) if x_channel == 1 != x_fast else _write(name, x_fast == 1))


def _write(name: str, contiguous: bool) -> str:
    """Channel after channel, so that neighbouring rows of x are read after each other."""
    f = Function(name, 2, target().lanes)
    base, local = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    panel = local + frame.panel_place
    first, channels = mine.first, frame.group_in
    slots, pitch, width, length = frame.slots, frame.slot_pitch, frame.pack_width, frame.x_length
    filled = mine.line_count + frame.extra
    with f.loop(channels) as channel:
        shift = (mine.group * channels + channel) * frame.x_channel * 4
        to_channel = panel + channel * frame.channel_pitch * 4
        with f.loop(frame.blocks) as block, f.loop(frame.copies) as copy:
            start = first - f.load(frame.copy_table, copy, I64)
            to_block = to_channel + (block * frame.copies + copy) * slots * pitch * 4
            with f.loop(filled) as slot:
                source = f.load(local, block * slots + slot + HEAD, I64)
                to = to_block + slot * pitch * 4
                f.cases(
                    source.equals(0),
                    lambda: _clear(f, to, width),
                    lambda: _copy(f, source + shift, to, start, width, length, None if contiguous else frame.x_fast),
                )
    return f.finish()


def _write_last(name: str) -> str:
    """Channels last: blocks of positions x channels are transposed in registers."""
    f = Function(name, 2, target().lanes)
    base, local = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    channels, slots, pitch, width = frame.group_in, frame.slots, frame.slot_pitch, frame.pack_width
    filled = mine.line_count + frame.extra
    channel_pitch, length, step = frame.channel_pitch, frame.x_length, frame.x_fast
    with f.loop(frame.blocks) as block, f.loop(frame.copies) as copy, f.loop(filled) as slot:
        start = mine.first - f.load(frame.copy_table, copy, I64)
        row = f.load(local, block * slots + slot + HEAD, I64)
        there = row.differs(0)
        source = row + mine.group * channels * 4
        to = local + frame.panel_place + ((block * frame.copies + copy) * slots + slot) * pitch * 4
        with f.loop(0, channels, f.lanes) as channel, f.loop(0, width, f.lanes) as place:
            rows = []
            for lane in range(f.lanes):
                position = start + place + lane
                inside = f.both(there, f.both(position >= 0, position < length))
                mask = f.mask(0, f.choose(inside, channels - channel, 0))
                rows.append(f.masked_load(source, position * step + channel, mask))
            for number, vector in enumerate(interleave(f, rows)):
                with f.when(channel + number < channels):
                    f.store(vector, to, (channel + number) * channel_pitch + place)
    return f.finish()


def _clear(f: Function, to: Value, width: Value) -> None:
    with f.loop(0, width, f.lanes) as place:
        f.store(f.zero(), to, place)


def _copy(f: Function, source: Value, to: Value, start: Value, width: Value, length: Value, step: Value | None) -> None:
    """to[place] = source[start + place] where that lies in [0, length), else 0; whole vectors are written."""
    with f.loop(0, width, f.lanes) as place:
        begin = start + place

        def inside() -> None:
            if step is None:
                f.store(f.load(source, begin, f.vector), to, place)
            else:
                for lane in range(f.lanes):
                    f.store(f.load(source, (begin + lane) * step), to, place + lane)

        def border() -> None:
            if step is None:
                mask = f.mask(0 - begin, length - begin)
                f.store(f.masked_load(source, begin, mask), to, place)
            else:
                f.store(f.zero(), to, place)
                low, high = f.most(0 - begin, 0), f.least(length - begin, f.lanes)
                with f.loop(low, high) as lane:
                    f.store(f.load(source, (begin + lane) * step), to, place + lane)

        f.cases(f.both(begin >= 0, begin + f.lanes <= length), inside, border)
