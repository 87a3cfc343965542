"""One item of work of `pairs.py`: a tile of positions and a range of output channels.

A product is done for all channels of a range before the next one: its plane stays in the nearest cache, while weights
pass by once. What the products leave is added up in the rows of sums of a chunk, and written when all are done.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, LOCAL, Fields
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.tile_loop import WRITE, enter
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function

CHUNK = 4  # integers of a chunk: its products and its writes
PRODUCT = 5  # of a product: steps, parts, part count, plane, weights


def address() -> int:
    """The function `(frame, local, item)`."""
    return OBJECT_CACHE.address("pairs_item", _write)


def _write() -> str:
    f = Function("pairs_item", 3, target().lanes)
    base, local, item = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    split = item % frame.splits
    _, _, line_count, _, width = enter(f, frame, mine, item)
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
                x = panel + plane * frame.plane_size * 4
                with f.loop(first, last) as block:
                    w = frame.weights + (weights + block * wide * channels) * 4
                    y = sums + (block - first) * wide * pitch * 4
                    done = f.var(0)
                    with f.loop(groups) as group:
                        taken = least + f.select(group < more, 1, 0)
                        lane = done.value * (4 * f.lanes)
                        done.set(done.value + taken)
                        function = f.load(frame.functions, taken, I64)
                        f.call(function, steps, parts, count, x + lane, w, length, y + lane, pitch, 0, frame.nothing, 0)
            with f.loop(first_write, last_write) as number:
                write = frame.write_table + number * (WRITE * 8)
                table, phase, count, row = (f.load(write, at, I64) for at in range(WRITE))
                f.call(frame.write, base, local, table, phase, count, sums + row * length * 4, 0, line_count, 0, width)
    return f.finish()
