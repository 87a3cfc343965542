"""Machine code of one tile of the filtered form: a tile of positions and a range of output channels.

A product runs for all channels of a range before the next one: its plane stays in the nearest cache, and its weights
are read once. The products are added up in the rows of sums of a chunk, which are written when all are complete.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, LOCAL, Fields
from tconv.kernels.simd.direct.tile_loop import WRITE, enter
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function

CHUNK = 4
"""Integers of a chunk: first and last product, first and last write."""
PRODUCT = 5
"""Integers of a product: steps, parts, part count, plane, weights."""


def address(elements: Elements) -> int:
    """Return the address of the function `(frame, local, number of the tile)`."""
    name = f"winograd_f22_tile{elements.sums.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, elements.sums))


def _write(name: str, elements: Elements) -> str:
    f = Function(name, 3, elements)
    base, local, tile = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    split = tile % frame.splits
    _, _, line_count, _, width = enter(f, frame, mine, tile)
    f.call(frame.pack, base, local)
    vectors = (f.select(frame.whole.equals(1), line_count, 1) * width + (f.lanes - 1)) // f.lanes
    begin, end = split * frame.blocks_out // frame.splits, (split + 1) * frame.blocks_out // frame.splits
    panel, sums = local + frame.panel_place, local + frame.sums_place
    most, wide, length, channels = frame.most, frame.wide, frame.sum_row, frame.group_in
    groups = (vectors + most - 1) // most
    least, more = vectors // groups, vectors % groups
    with f.loop(begin, end, frame.range_blocks) as first:
        last = f.least(first + frame.range_blocks, end)
        channel = first * wide
        mine.put("channel", channel)
        mine.put("channels", f.least(frame.group_out, last * wide) - channel)
        mine.put("channel_pitch", frame.channel_pitch)
        pitch = frame.channel_pitch
        with f.loop(frame.chunks) as chunk:
            entry = frame.chunk_table + chunk * (CHUNK * 8)
            first_product, last_product, first_write, last_write = (f.load(entry, at, I64) for at in range(CHUNK))
            with f.loop(first_product, last_product) as number:
                product = frame.call_table + number * (PRODUCT * 8)
                steps, parts, count, plane, weights = (f.load(product, at, I64) for at in range(PRODUCT))
                x = panel + plane * frame.plane_size * f.size
                with f.loop(first, last) as block:
                    w = frame.weights + (weights + block * wide * channels) * f.size
                    y = sums + (block - first) * wide * pitch * f.size
                    vectors_before = f.var(0)
                    with f.loop(groups) as group:
                        size = least + f.select(group < more, 1, 0)
                        lane = vectors_before.value * (f.size * f.lanes)
                        vectors_before.set(vectors_before.value + size)
                        function = f.load(frame.functions, size, I64)
                        f.call(function, steps, parts, count, x + lane, w, length, y + lane, pitch, 0, frame.zeros, 0)
            with f.loop(first_write, last_write) as number:
                write = frame.write_table + number * (WRITE * 8)
                table, phase, count, row = (f.load(write, at, I64) for at in range(WRITE))
                source = sums + row * length * f.size
                f.call(frame.write, base, local, table, phase, count, source, 0, line_count, 0, width)
    return f.finish()
