"""Machine code of one tile, positions x output channels: packing, multiply-adds and the writing of the output.

Threads call it with the number of a tile.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value

CALL = 8
"""Integers of a call of the microkernel: steps, parts, part count, weights, terms, row of sums, functions, taps."""
CHUNK = 7
"""Integers of a chunk: first and last call, first and last write, phases, vectors of a wide and of a narrow block."""
WRITE = 4
"""Integers of a call of the epilogue: table of rows, first phase, phases, first row of sums."""
PLACE = 5
"""Integers of a block of channels: 1 if it is narrow, its first channel in all groups of a panel and in its own group,
and the place in the panel and in the weights where its group begins."""
MOST = 8
"""Largest number of vectors of a function."""


def address(elements: Elements) -> int:
    """Return the address of the function `(frame, local, number of the tile)`."""
    name = f"direct_tile{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, elements))


def _write(name: str, elements: Elements) -> str:
    f = Function(name, 3, elements)
    base, local, tile = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    split = tile % frame.splits
    _list_prefetches(f, frame, mine, local, tile + frame.ahead)
    positions = enter(f, frame, mine, tile)
    _, _, line_count, _, width = positions
    find_rows(f, frame, local, positions)
    whole = frame.whole.equals(1)
    lines = f.select(whole, 1, line_count)
    vectors = (f.select(whole, line_count * width, width) + (f.lanes - 1)) // f.lanes
    units, blocks = frame.units, frame.blocks_out
    first_unit, last_unit = split * units // frame.splits, (split + 1) * units // frame.splits
    panel, sums = local + frame.panel_place, local + frame.sums_place
    with f.loop(first_unit // blocks, (last_unit + blocks - 1) // blocks) as group:
        mine.put("group", group)
        f.call(frame.pack, base, local)
        begin = f.most(first_unit - group * blocks, 0) * frame.unit_blocks
        end = f.least(last_unit - group * blocks, blocks) * frame.unit_blocks
        weights = frame.weights + group * frame.group_weights * f.size
        with f.loop(frame.chunks) as chunk, f.loop(begin, end, frame.range_blocks) as first_block:
            # a range of blocks, whose outputs are written together
            last_block = f.least(first_block + frame.range_blocks, end)
            narrow, first_channel, *_ = _place(f, frame, first_block)
            entry = frame.chunk_table + chunk * (CHUNK * 8)
            first_call, last_call, first_write, last_write, phases, wide_most, narrow_most = (
                f.load(entry, place, I64) for place in range(CHUNK)
            )
            pitch = phases * frame.sum_row
            mine.put("channel", group * frame.group_out + first_channel)
            mine.put("channels", _place(f, frame, last_block)[1] - first_channel)
            mine.put("channel_pitch", pitch)
            most = f.select(narrow.equals(1), narrow_most, wide_most)
            parts = (vectors + most - 1) // most
            least, more = vectors // parts, vectors % parts
            with f.loop(lines) as line:
                vectors_before = f.var(0)
                with f.loop(parts) as part:
                    size = least + f.select(part < more, 1, 0)
                    lane = vectors_before.value * f.lanes
                    vectors_before.set(vectors_before.value + size)
                    next_lane = vectors_before.value * f.lanes
                    # outputs that are complete after this part: its own positions, or the rows that end in it
                    from_line = f.select(whole, lane // width, line)
                    to_line = f.select(whole, f.least(next_lane // width, line_count), line + 1)
                    from_place = f.select(whole, 0, lane)
                    to_place = f.select(whole, width, f.least(next_lane, width))
                    region = (from_line, to_line, from_place, to_place)
                    with f.when(frame.prefetch > 0):
                        table = f.load(frame.write_table + first_write * (WRITE * 8), 0, I64)
                        f.call(frame.prefetch, base, local, table, *region)
                    with f.loop(first_block, last_block) as block, f.loop(first_call, last_call) as number:
                        narrow, channel, own_channel, inputs, first_weight = _place(f, frame, block)
                        to = sums + (channel - first_channel) * pitch * f.size
                        call = frame.call_table + number * (CALL * 8)
                        steps, count_of, count, start, terms, sum_row, kind, taps = (
                            f.load(call, place, I64) for place in range(CALL)
                        )
                        function = f.load(frame.functions, (kind * 2 + narrow) * (MOST + 1) + size, I64)
                        x = panel + (inputs + line * frame.slot_pitch + lane) * f.size
                        w = weights + (first_weight + start + own_channel * terms) * f.size
                        y = to + (sum_row * frame.sum_row + line * frame.sum_pitch + lane) * f.size
                        cursor = f.least(mine.cursor, mine.total)
                        ahead = local + frame.ahead_place + cursor * 8
                        stride = f.select(cursor < mine.total, frame.ahead_step, 0)
                        sizes = (frame.channel_pitch, y, pitch, frame.sum_row, ahead, stride)
                        f.call(function, steps, count_of, count, x, w, *sizes)
                        mine.put("cursor", cursor + taps)
                    with f.loop(first_write, last_write) as number:
                        write = frame.write_table + number * (WRITE * 8)
                        table, phase, count, sum_row = (f.load(write, place, I64) for place in range(WRITE))
                        source = sums + sum_row * frame.sum_row * f.size
                        f.call(frame.write, base, local, table, phase, count, source, *region)
    return f.finish()


def _place(f: Function, frame: Fields, block: Value) -> list[Value]:
    """Return the integers of a block of channels, of all groups of a panel."""
    return [f.load(frame.block_places, block * PLACE + number, I64) for number in range(PLACE)]


def enter(f: Function, frame: Fields, mine: Fields, tile: Value) -> tuple[Value, ...]:
    """Store the positions of a tile in the local array, and return them: see `_positions`."""
    positions = _positions(f, frame, tile // frame.splits)
    for name, value in zip(("image", "row", "line_count", "first", "width"), positions, strict=True):
        mine.put(name, value)
    return positions


def _positions(f: Function, frame: Fields, number: Value) -> tuple[Value, ...]:
    """Return image and row of the first line, number of lines, first position and number of positions."""
    segment, rest = number % frame.segments, number // frame.segments
    in_run = rest % frame.row_tiles * frame.rows
    row = rest // frame.row_tiles * frame.run + in_run
    first = segment * frame.width
    return (
        row // frame.image_rows,
        row % frame.image_rows,
        f.least(frame.rows, frame.run - in_run),
        first,
        f.least(frame.width, frame.width_total - first),
    )


def find_rows(f: Function, frame: Fields, local: Value, positions: tuple[Value, ...]) -> None:
    """Store the address of each slot's row of x, for input channel 0; 0 for a row of zeros."""
    image, row, lines, _, _ = positions
    with f.loop(frame.blocks) as block:
        start = f.load(frame.block_table, block, I64)
        n, outer, last = f.var(image), f.var(row // frame.last_rows), f.var(row % frame.last_rows)
        with f.loop(lines + frame.extra) as slot:
            offset = f.load(frame.table, start + outer.value * frame.stretch + last.value, I64)
            place = frame.x + (n.value * frame.x_batch + offset) * f.stored_size
            f.store(f.select(offset > NO_ROW, place, 0), local, block * frame.slots + slot + HEAD, I64)
            last.set(last.value + 1)
            with f.when(last.value >= frame.wrap):
                last.set(0)
                outer.set(outer.value + 1)
                with f.when(outer.value >= frame.outer_rows):
                    outer.set(0)
                    n.set(n.value + 1)


def _list_prefetches(f: Function, frame: Fields, mine: Fields, local: Value, tile: Value) -> None:
    """Store the addresses of the cache lines, of input channel 0, that the thread's next tile probably reads."""
    total = f.var(0)
    table = local + frame.ahead_place
    with f.when(f.both(frame.ahead > 0, tile < frame.tiles)):
        positions = _positions(f, frame, tile // frame.splits)
        find_rows(f, frame, local, positions)
        begin = f.most(positions[3] - f.load(frame.copy_table, 0, I64) - (frame.pack_width - positions[4]), 0)
        end = f.least(begin + frame.pack_width, frame.x_length)
        with f.loop(frame.blocks) as block, f.loop(positions[2] + frame.extra) as slot:
            source = f.load(local, block * frame.slots + slot + HEAD, I64)
            first_byte, end_byte = (source + place * frame.x_fast * f.stored_size for place in (begin, end))
            with f.when(source.differs(0)), f.loop(first_byte, end_byte, frame.ahead_entry) as line:
                f.store(line, table, total.value, I64)
                total.set(total.value + 1)
    with f.loop(frame.ahead_pad) as number:
        f.store(frame.x, table, total.value + number, I64)
    mine.put("cursor", 0)
    mine.put("total", total.value)
