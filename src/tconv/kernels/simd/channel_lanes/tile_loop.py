"""Machine code of one tile of the form with lanes over output channels: positions x columns.

Threads call it with the number of a tile. The weights of a block of columns are used for all positions of the tile,
one after another, before those of the next.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.channel_lanes.microkernel import MOST_POSITIONS, PLACE
from tconv.kernels.simd.direct.tile_loop import enter, find_rows
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value

BLOCK = 9
"""Integers of a block of columns: steps, parts, part count, weights, slow phase, place of its first column in the
outputs of a position, number of its columns, its first column in the run, vectors."""


def address(elements: Elements) -> int:
    """Return the address of the function `(frame, local, number of the tile)`."""
    name = f"channel_lanes_tile{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, elements))


def _write(name: str, elements: Elements) -> str:
    f = Function(name, 3, elements)
    base, local, tile = f.arguments
    size = f.size
    frame, mine = Fields(f, base, FRAME), Fields(f, local, LOCAL)
    split = tile % frame.splits
    positions = enter(f, frame, mine, tile)
    _, _, line_count, _, width = positions
    find_rows(f, frame, local, positions)
    places = local + frame.places_place
    _list_places(f, frame, mine, places)
    flat = frame.flat.equals(1)
    lines, line = f.select(flat, 1, line_count), f.select(flat, line_count * width, width)
    slot_pitch = f.select(flat, width * frame.pitch, frame.slot_pitch)
    all_places = line_count * width
    units, blocks = frame.units, frame.blocks_out
    first_unit, last_unit = split * units // frame.splits, (split + 1) * units // frame.splits
    panel, sums = local + frame.panel_place, local + frame.sums_place
    biases = local + frame.constants_place
    slopes = biases + frame.constants_size * size
    with f.loop(first_unit // blocks, (last_unit + blocks - 1) // blocks) as group:
        mine.put("group", group)
        f.call(frame.pack, base, local, slot_pitch)
        copy_constants(f, frame, group, frame.bias, biases)
        copy_constants(f, frame, group, frame.slopes, slopes)
        begin = f.most(first_unit - group * blocks, 0)
        end = f.least(last_unit - group * blocks, blocks)
        weights = frame.weights + group * frame.group_weights * size
        with f.loop(begin, end) as block:
            entry = frame.call_table + block * (BLOCK * 8)
            steps, parts, count, start, slow, column, columns, in_run, vectors = (
                f.load(entry, at, I64) for at in range(BLOCK)
            )
            functions = frame.functions + vectors * ((MOST_POSITIONS + 1) * 8)
            most = f.load(functions, 0, I64)
            calls = (line + most - 1) // most
            least, more = line // calls, line % calls
            pitch = frame.pitch * size
            with f.loop(lines) as number:
                x = panel + number * slot_pitch * size
                place = places + (slow * all_places + number * line) * (PLACE * 8)

                def compute(first: Value | int, size_of: Value, many: Value) -> None:
                    f.call(
                        f.load(functions, size_of, I64),
                        *(steps, parts, count, x + first * pitch, weights + start * size, pitch, sums),
                        *(place + first * (PLACE * 8), column + group * frame.group_out, columns),
                        *(biases + in_run * size, slopes + in_run * size, frame.limits, frame.stream, many),
                    )

                with f.when(more > 0):
                    compute(f.value(0), least + 1, more)
                compute(more * (least + 1), least, calls - more)
    return f.finish()


def _list_places(f: Function, frame: Fields, mine: Fields, places: Value) -> None:
    """Store, for each slow phase and position of the tile, the address of its outputs and the end of its columns."""
    stride, width, rows = frame.stride, mine.width, frame.image_rows
    to = f.var(places)
    first = mine.first * stride
    with f.loop(frame.slow_phases) as slow, f.loop(mine.line_count) as line:
        row = mine.row + line
        offset = f.load(frame.output_table, slow * rows + row % rows, I64)
        there = offset > NO_ROW
        place = (mine.image + row // rows) * frame.out_batch + f.select(there, offset, 0) + first * frame.out_fast
        address, left = (
            f.var(frame.out + place * f.stored_size),
            f.var(f.select(there, frame.out_length - first, 0) * frame.out_fast),
        )
        step = stride * frame.out_fast
        with f.loop(width):
            f.store(address.value, to.value, 0, I64)
            f.store(left.value, to.value, 1, I64)
            address.set(address.value + step * f.stored_size)
            left.set(f.most(left.value - step, 0))
            to.set(to.value + PLACE * 8)


def copy_constants(f: Function, frame: Fields, group: Value, source: Value, to: Value) -> None:
    """Store a constant of each output channel as one of each column: once per phase; zeros if there is none."""
    channels = frame.group_out

    def copy() -> None:
        with f.loop(0, frame.columns, channels) as column, f.loop(0, channels, f.lanes) as channel:
            vector = f.masked_load(source, group * channels + channel, f.mask(0, channels - channel))
            f.store(vector, to, column + channel)

    def clear() -> None:
        with f.loop(0, frame.constants_size - f.lanes, f.lanes) as column:
            f.store(f.zero(), to, column)

    f.cases(source.equals(0), clear, copy)
