"""Machine code of one tile of a depthwise call: for each channel and each row of the output, the row functions.

Threads call it with the number of a tile.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function

CALL = 3
"""Integers of a call: address of the row function, its first weight, address of the table of the last slow axis."""


def address(elements: Elements) -> int:
    """Return the address of the function `(frame, local, number of the tile)`."""
    name = f"depthwise_tile{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, elements))


def _write(name: str, elements: Elements) -> str:
    f = Function(name, 3, elements)
    base, local, tile = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    segment, rest = tile % frame.segments, tile // frame.segments
    row_tile, rest = rest % frame.row_tiles, rest // frame.row_tiles
    outer_tile, rest = rest % frame.outer_tiles, rest // frame.outer_tiles
    split, image = rest % frame.splits, rest // frame.splits
    first, begin = segment * frame.width, row_tile * frame.rows
    mine.put("first", first)
    mine.put("width", f.least(frame.width, frame.width_total - first))
    end = f.least(begin + frame.rows, frame.last_rows)
    first_outer = outer_tile * frame.outer_size
    last_outer = f.least(first_outer + frame.outer_size, frame.outer_rows)
    first_channel = split * frame.unit_size
    last_channel = f.least(first_channel + frame.unit_size, frame.group_in)
    with f.loop(first_channel, last_channel, frame.unit_step) as channel:
        x = frame.x + (image * frame.x_batch + channel * frame.x_channel) * f.stored_size
        mine.put("channels", f.least(frame.unit_step, last_channel - channel))
        with f.loop(frame.repeats) as number:
            out_channel = channel * frame.multiplier + number
            mine.put("channel", out_channel)
            weights = frame.weights + (channel * frame.channel_weights + number * frame.repeat_weights) * f.size
            out = frame.out + (image * frame.out_batch + out_channel * frame.out_channel) * f.stored_size
            with f.loop(first_outer, last_outer) as outer:
                entry = frame.outer_table + outer * frame.outer_entry
                phase = f.load(entry, 1, I64)
                with f.when(f.load(entry, 0, I64) > NO_ROW), f.loop(frame.row_phases) as row_phase:
                    call = frame.call_table + (phase * frame.row_phases + row_phase) * (CALL * 8)
                    function, start, table = (f.load(call, place, I64) for place in range(CALL))
                    f.call(function, base, local, entry, table, begin, end, x, weights + start * f.size, out)
    return f.finish()
