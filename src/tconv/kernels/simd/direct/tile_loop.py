"""One item of work: a tile of positions and a range of output channels, from packing the panel to the output."""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, HEAD, LOCAL, NOWHERE, Fields
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.object_cache import LIBRARY
from tconv.kernels.simd.vector_ir import I64, Function, Value

CALL = 8  # integers of a call: steps, parts, part count, weights, terms, first row of sums, functions, taps
CHUNK = 7  # of a chunk: its calls, its writes, its phases, and how many vectors a wide and a narrow block take
WRITE = 4  # of a write: table of rows, first phase, phases, first row of sums
MOST = 8  # vectors of a function, at most


def address() -> int:
    """The function `(frame, local, item)`."""
    return LIBRARY.address("item", _write)


def _write() -> str:
    f = Function("item", 3, target().lanes)
    base, local, item = f.arguments
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    split = item % frame.splits
    _find_ahead(f, frame, mine, local, item + frame.ahead)
    place = enter(f, frame, mine, item)
    _, _, line_count, _, width = place
    _find_slots(f, frame, local, place)
    whole = frame.whole.equals(1)
    lines = f.choose(whole, 1, line_count)
    vectors = (f.choose(whole, line_count * width, width) + (f.lanes - 1)) // f.lanes
    units, blocks = frame.units, frame.blocks_out
    first_unit, last_unit = split * units // frame.splits, (split + 1) * units // frame.splits
    panel, sums = local + frame.panel_place, local + frame.sums_place
    with f.loop(first_unit // blocks, (last_unit + blocks - 1) // blocks) as group:
        mine.put("group", group)
        f.call(frame.pack, base, local)
        begin = f.most(first_unit - group * blocks, 0)
        end = f.least(last_unit - group * blocks, blocks)
        weights = frame.weights + group * frame.group_weights * 4
        with f.loop(frame.chunks) as chunk, f.loop(begin, end) as block:
            narrow = f.choose(block < frame.wide_blocks, 0, 1)
            channels = frame.wide - narrow
            # the wide blocks come first, each with one channel more
            channel = block * channels + narrow * frame.wide_blocks
            entry = frame.chunk_table + chunk * (CHUNK * 8)
            first_call, last_call, first_write, last_write, phases, wide_most, narrow_most = (
                f.load(entry, place, I64) for place in range(CHUNK)
            )
            pitch = phases * frame.sum_row
            mine.put("channel", group * frame.group_out + channel)
            mine.put("channels", channels)
            mine.put("channel_pitch", pitch)
            most = f.choose(narrow.equals(1), narrow_most, wide_most)
            parts = (vectors + most - 1) // most
            least, more = vectors // parts, vectors % parts
            with f.loop(lines) as line:
                done = f.var(0)
                with f.loop(parts) as part:
                    taken = least + f.choose(part < more, 1, 0)
                    lane = done.value * f.lanes
                    done.set(done.value + taken)
                    next_lane = done.value * f.lanes
                    # of a part of a row, its own positions are ready after it; of whole rows, those that end in it
                    from_line = f.choose(whole, lane // width, line)
                    to_line = f.choose(whole, f.least(next_lane // width, line_count), line + 1)
                    from_place = f.choose(whole, 0, lane)
                    to_place = f.choose(whole, width, f.least(next_lane, width))
                    ready = (from_line, to_line, from_place, to_place)
                    with f.when(frame.touch > 0):
                        table = f.load(frame.write_table + first_write * (WRITE * 8), 0, I64)
                        f.call(frame.touch, base, local, table, *ready)
                    with f.loop(first_call, last_call) as number:
                        call = frame.call_table + number * (CALL * 8)
                        steps, count_of, count, start, terms, sum_row, kind, taps = (
                            f.load(call, place, I64) for place in range(CALL)
                        )
                        function = f.load(frame.functions, (kind * 2 + narrow) * (MOST + 1) + taken, I64)
                        x = panel + (line * frame.slot_pitch + lane) * 4
                        w = weights + (start + channel * terms) * 4
                        y = sums + (sum_row * frame.sum_row + line * frame.sum_pitch + lane) * 4
                        cursor = f.least(mine.cursor, mine.total)
                        soon = local + frame.ahead_place + cursor * 8
                        stride = f.choose(cursor < mine.total, frame.x_channel * 4, 0)
                        sizes = (frame.channel_pitch, y, pitch, frame.sum_row, soon, stride)
                        f.call(function, steps, count_of, count, x, w, *sizes)
                        mine.put("cursor", cursor + taps)
                    with f.loop(first_write, last_write) as number:
                        write = frame.write_table + number * (WRITE * 8)
                        table, phase, count, sum_row = (f.load(write, place, I64) for place in range(WRITE))
                        f.call(
                            frame.write, base, local, table, phase, count, sums + sum_row * frame.sum_row * 4, *ready
                        )
    return f.finish()


def enter(f: Function, frame: Fields, mine: Fields, item: Value) -> tuple[Value, ...]:
    """Write down the tile of an item, and give it."""
    place = _tile(f, frame, item // frame.splits)
    for name, value in zip(("image", "row", "line_count", "first", "width"), place, strict=True):
        mine.put(name, value)
    return place


def _tile(f: Function, frame: Fields, number: Value) -> tuple[Value, ...]:
    """Image and row of the first line, number of lines, first position and number of positions."""
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


def _find_slots(f: Function, frame: Fields, local: Value, tile: tuple[Value, ...]) -> None:
    """Where each slot's row of x begins, for input channel 0; 0 for a row of zeros."""
    image, row, lines, _, _ = tile
    with f.loop(frame.blocks) as block:
        start = f.load(frame.block_table, block, I64)
        n, outer, last = f.var(image), f.var(row // frame.last_rows), f.var(row % frame.last_rows)
        with f.loop(lines + frame.extra) as slot:
            offset = f.load(frame.table, start + outer.value * frame.stretch + last.value, I64)
            place = frame.x + (n.value * frame.x_batch + offset) * 4
            f.store(f.choose(offset > NOWHERE, place, 0), local, block * frame.slots + slot + HEAD, I64)
            last.set(last.value + 1)
            with f.when(last.value >= frame.wrap):
                last.set(0)
                outer.set(outer.value + 1)
                with f.when(outer.value >= frame.outer_rows):
                    outer.set(0)
                    n.set(n.value + 1)


def _find_ahead(f: Function, frame: Fields, mine: Fields, local: Value, item: Value) -> None:
    """The cache lines, of input channel 0, that the tile needs which this thread will probably have next."""
    total = f.var(0)
    table = local + frame.ahead_place
    with f.when(f.both(frame.ahead > 0, item < frame.items)):
        place = _tile(f, frame, item // frame.splits)
        _find_slots(f, frame, local, place)
        begin = f.most(place[3] - f.load(frame.copy_table, 0, I64) - (frame.pack_width - place[4]), 0)
        end = f.least(begin + frame.pack_width, frame.x_length)
        with f.loop(frame.blocks) as block, f.loop(place[2] + frame.extra) as slot:
            source = f.load(local, block * frame.slots + slot + HEAD, I64)
            with f.when(source.differs(0)), f.loop(source + begin * 4, source + end * 4, 64) as line:
                f.store(line, table, total.value, I64)
                total.set(total.value + 1)
    with f.loop(frame.ahead_pad) as number:
        f.store(frame.x, table, total.value + number, I64)
    mine.put("cursor", 0)
    mine.put("total", total.value)
