"""Machine code of a tile: all blocks of channels and taps, for some rows of one picture.

The sums of a block lie in the thread's memory, as vectors, until the lanes are added at the end of the tile.
"""

from __future__ import annotations

from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import Function
from tconv.kernels.simd.weight_gradient.places import ENTRY, FRAME, fields

_INTEGER = 8


def address(elements: Elements) -> int:
    """Return the address of the function `(frame, scratch, number of the tile)`."""
    name = f"weight_gradient_tile{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, elements))


def _write(name: str, elements: Elements) -> str:
    f = Function(name, 3, elements)
    base, sums, tile = f.arguments
    frame = fields(f, base, FRAME)
    picture, number = tile // frame.picture_tiles, tile % frame.picture_tiles
    first = number * frame.tile_rows
    last = f.least(first + frame.tile_rows, frame.rows)
    a, b = (
        start + picture * step * f.stored_size for start, step in ((frame.a, frame.a_batch), (frame.b, frame.b_batch))
    )
    out = frame.parts + tile * frame.part * f.size
    with f.loop(frame.entry_count) as index:
        entry_base = frame.entries + index * (8 * len(ENTRY))
        entry = fields(f, entry_base, ENTRY)
        function, a_first, b_first, near = entry.function, a + entry.a, b + entry.b, entry.near_rows
        block_sums = entry.taps * entry.a_count * entry.b_count
        with f.loop(block_sums * frame.outer_taps) as vector:
            f.store(f.zero(), sums, vector * f.lanes, f.vector)
        # rows that fit into the nearest cache are read at all taps
        with f.loop(first, last, near) as row, f.loop(frame.outer_taps) as tap:
            rows = frame.b_rows + tap * frame.rows * _INTEGER
            place = sums + tap * block_sums * (f.size * f.lanes)
            f.call(function, base, entry_base, a_first, b_first, rows, row, f.least(row + near, last), place)
        done = f.var(0)
        loops = f.loop(frame.outer_taps), f.loop(entry.taps), f.loop(entry.a_count), f.loop(entry.b_count)
        with loops[0] as tap, loops[1] as t, loops[2] as i, loops[3] as j:
            total = f.total(f.load(sums, done.value * f.lanes, f.vector))
            f.store(total, out + entry.out, tap * frame.kernel + t + i * frame.out_a + j * frame.out_b)
            done.set(done.value + 1)
    return f.finish()
