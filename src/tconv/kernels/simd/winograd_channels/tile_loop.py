"""Machine code of one tile: its planes, then for each block of output channels the products and the writing."""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME, LOCAL, NO_ROW, Fields
from tconv.kernels.simd.channel_lanes.microkernel import MOST_POSITIONS
from tconv.kernels.simd.channel_lanes.tile_loop import copy_constants
from tconv.kernels.simd.direct.tile_loop import WRITE, enter
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.epilogue_lines import apply_activation
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value
from tconv.kernels.simd.winograd_f22.tile_loop import CHUNK

BLOCK = 3
"""Integers of a block of output channels: weights, first channel, vectors."""
PRODUCT = 3
"""Integers of a product: entries, plane, its number."""


def address(elements: Elements) -> int:
    """Return the address of the function `(frame, local, number of the tile)`."""
    name = f"winograd_channels_tile{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write(name, elements))


def _write(name: str, elements: Elements) -> str:
    f = Function(name, 3, elements)
    base, local, tile = f.arguments
    frame, mine, size = Fields(f, base, FRAME), Fields(f, local, LOCAL), f.size
    split = tile % frame.splits
    _, _, line_count, _, width = enter(f, frame, mine, tile)
    f.call(frame.pack, base, local)
    biases = local + frame.constants_place
    slopes = biases + frame.constants_size * size
    copy_constants(f, frame, f.value(0), frame.bias, biases)
    copy_constants(f, frame, f.value(0), frame.slopes, slopes)
    positions, panel, sums = line_count * width, local + frame.panel_place, local + frame.sums_place
    pitch, channels = frame.pitch * size, frame.group_in
    begin, end = split * frame.blocks_out // frame.splits, (split + 1) * frame.blocks_out // frame.splits
    with f.loop(begin, end) as block:
        weights, first_column, vectors = (
            f.load(frame.block_table + block * (BLOCK * 8), at, I64) for at in range(BLOCK)
        )
        functions = frame.functions + vectors * ((MOST_POSITIONS + 1) * 8)
        vector_bytes = vectors * (f.lanes * size)  # of a position
        calls = (positions + f.load(functions, 0, I64) - 1) // f.load(functions, 0, I64)
        least, more = positions // calls, positions % calls
        with f.loop(frame.chunks) as chunk:
            entry = frame.chunk_table + chunk * (CHUNK * 8)
            first_product, last_product, first_write, last_write = (f.load(entry, at, I64) for at in range(CHUNK))
            with f.loop(first_product, last_product) as number:
                product = frame.call_table + number * (PRODUCT * 8)
                entries, plane = (f.load(product, at, I64) for at in range(2))
                x = panel + plane * frame.plane_size * size
                w = frame.weights + weights * size + number * channels * vector_bytes

                def compute(first: Value, size_of: Value, many: Value) -> None:
                    f.call(
                        f.load(functions, size_of, I64),
                        *(frame.parts, entries, frame.part_count, x + first * pitch, w, pitch),
                        *(sums + first * vector_bytes, positions * vector_bytes, many),
                    )

                with f.when(more > 0):
                    compute(f.value(0), least + 1, more)
                compute(more * (least + 1), least, calls - more)
            with f.loop(first_write, last_write) as number:
                write = frame.write_table + number * (WRITE * 8)
                table, _, phases, row = (f.load(write, at, I64) for at in range(WRITE))
                source = sums + row * positions * vector_bytes
                constants = (biases + first_column * size, slopes + first_column * size)
                f.call(frame.write, base, local, table, phases, source, first_column, vector_bytes, *constants)
    return f.finish()


def writing_address(activated: bool, elements: Elements) -> int:
    """Return the address of the function that writes the rows of sums of a block.

    Its arguments are `(frame, local, table of rows, phases, sums, first channel, bytes of a position's sums, biases,
    slopes)`.
    """
    name = f"winograd_channels_write{'_activated' if activated else ''}{elements.suffix}"
    return OBJECT_CACHE.address(name, lambda: _write_rows(name, activated, elements))


def _write_rows(name: str, activated: bool, elements: Elements) -> str:
    f = Function(name, 9, elements)
    base, local, table, phases, sums, first_column, vector_bytes, biases, slopes = f.arguments
    frame, mine, lanes = Fields(f, base, FRAME), Fields(f, local, LOCAL), f.lanes
    rows, width, out_fast, stream = frame.image_rows, mine.width, frame.out_fast, frame.stream
    columns = f.least(frame.group_out - first_column, vector_bytes // f.size)
    whole = columns // lanes * lanes
    out_length = frame.out_length
    low, high = (f.splat(f.load(frame.limits, at)) for at in (0, 1)) if activated else (f.zero(), f.zero())
    row_bytes = mine.line_count * width * vector_bytes

    def output(source: Value, column: Value) -> Value:
        total = f.load(source, column, f.vector) + f.load(biases, column, f.vector)
        return apply_activation(f, total, f.load(slopes, column, f.vector), low, high) if activated else total

    with f.loop(mine.line_count) as line:
        row = mine.row + line
        offset = f.load(table, row % rows, I64)
        with f.when(offset > NO_ROW):
            place = (mine.image + row // rows) * frame.out_batch + offset + first_column
            with f.loop(width) as number, f.loop(phases) as phase:
                position = (mine.first + number) * phases + phase
                with f.when(position < out_length):
                    to = frame.out + (place + position * out_fast) * f.stored_size
                    source = sums + phase * row_bytes + (line * width + number) * vector_bytes
                    aligned = (to & (f.stored_size * lanes - 1)).equals(0)

                    def streamed() -> None:
                        with f.loop(0, whole, lanes) as column:
                            f.stream_stored(output(source, column), to, column)

                    def stored() -> None:
                        with f.loop(0, whole, lanes) as column:
                            f.store_stored(output(source, column), to, column)

                    f.cases(f.both(aligned, stream > 0), streamed, stored)
                    with f.when(whole < columns):
                        f.store_stored(output(source, whole), to, whole, f.mask(0, columns - whole))
    return f.finish()
