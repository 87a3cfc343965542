"""Machine code of a tile: a group of four output rows and a segment of their columns.

Its inputs are transformed into a panel, `[plane][channel][columns]`, as they are read. Then, for a block of output
channels and a few vectors of columns, the microkernel runs once for each plane; its sums are transformed, bias,
activation and skips are applied, and the outputs are written. While the microkernel multiplies, the memory that is
needed next is brought to the core: the lines that the outputs are written to, and the inputs of the thread's next tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.epilogue_lines import apply_activation
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value
from tconv.kernels.simd.winograd_f43.algebra import OUTPUTS, PLANES, inputs, outputs
from tconv.kernels.simd.winograd_f43.interface import MOST_SKIPS

_LINE = 64
"""Bytes of a cache line."""

CALL = ["x", "out", "first", "begin", "end", "x_begin", "x_end", "x_anchor", "out_anchor", "left", "threads", "tiles"]
"""Integers that each call has of its own, at the front of the frame."""
SKIP = ["skip", "skip_anchor", "skip_period", "skip_channel", "skip_row", "skip_scale"]
"""Integers of the first skip; those of the second follow. The scale is the bits of a float32."""
_SKIPS = [name if number == 0 else f"{name}_{number}" for number in range(MOST_SKIPS) for name in SKIP]
_FRAME = """
    not_finite weights bias slopes limits
    x_row x_channel x_period x_columns out_row out_channel out_period columns top
    segments width channels out_channels block terms plane pitch taps most
    functions steps counts parts zeros panel_place sums_place ahead_place
"""
PLACES = {name: place for place, name in enumerate([*CALL, *_SKIPS, *_FRAME.split()])}
"""Places of the integers in the frame."""


class _Skip(NamedTuple):
    """A skip in the machine code: the addresses of the group's rows, numbers per channel, and the scale."""

    rows: list[Value]
    channel: Value
    scale: Value


def address(activated: bool, skips: int) -> int:
    """Return the address of the function `(frame, local, number of the tile)`."""
    name = f"winograd_f43_tile{'_activated' if activated else ''}{f'_skips_{skips}' if skips else ''}"
    return OBJECT_CACHE.address(name, lambda: _write(name, activated, skips))


def _write(name: str, activated: bool, skip_count: int) -> str:
    f = Function(name, 3)
    base, local, tile = f.arguments
    frame = Fields(f, base, PLACES)
    column, row = _place(frame, tile)
    count = f.least(frame.width, frame.columns - column)
    panel, sums = local + frame.panel_place, local + frame.sums_place
    _pack(f, frame, panel, row, column, count)
    ahead, lines = local + frame.ahead_place, _list_next_inputs(f, frame, local + frame.ahead_place, tile)
    vectors, most, block, terms = (count + (f.lanes - 1)) // f.lanes, frame.most, frame.block, frame.terms
    steps, counts, parts = frame.steps, frame.counts, frame.parts
    pitch, plane, functions, channels = frame.pitch, frame.plane, frame.functions, frame.out_channels
    x_step, per_call = frame.x_channel * f.size, parts * frame.taps
    line = most * f.lanes
    starts = _rows(f, row, frame.out, frame.out_anchor, frame.out_period, frame.out_row)
    skips = [_skip(f, frame, base, row, number) for number in range(skip_count)]
    not_finite = f.var(f.zero())  # NaN in a lane after an output that is not finite
    cursor = f.var(0)
    calls = (vectors + (most - 1)) // most
    with f.loop(0, channels, block) as channel, f.loop(calls) as call:
        # as equal as possible: calls of few vectors load more than they multiply
        vector = vectors * call // calls
        size = vectors * (call + 1) // calls - vector
        number_of_rows = f.least(block, channels - channel)
        function = f.load(functions, size, I64)
        with f.loop(number_of_rows) as number:
            _prefetch(f, frame, starts, skips, channel + number, column + vector * f.lanes, size)
        with f.loop(PLANES) as number:
            x = panel + (number * plane + vector * f.lanes) * f.size
            w = frame.weights + (channel * PLANES + number * block) * terms * f.size
            y = sums + number * block * line * f.size
            left = cursor.value < lines
            place = f.select(left, cursor.value, lines)
            next_inputs = ahead + place * 8
            f.call(function, steps, counts, parts, x, w, pitch, y, line, 0, next_inputs, f.select(left, x_step, 0))
            cursor.set(cursor.value + per_call)
        with f.loop(number_of_rows) as number:
            bias = f.splat(f.load(frame.bias, channel + number))
            activate = _activation(f, frame, channel + number, activated)
            here = ((channel + number) * frame.out_channel + column) * f.size
            targets = [start + here for start in starts]
            added = [
                _Skip([start + ((channel + number) * skip.channel + column) * f.size for start in skip.rows], *skip[1:])
                for skip in skips
            ]
            with f.loop(size) as place:
                source = sums + (number * line + place * f.lanes) * f.size
                products = [f.load(source, k * block * line, f.vector) for k in range(PLANES)]
                results = []
                for total in (value + bias for value in outputs(f, products)):
                    not_finite.set(f.fma(total, f.zero(), not_finite.value))  # 0 x inf is NaN
                    results.append(activate(total))
                _store(f, frame, results, targets, added, (vector + place) * f.lanes, count, row)
    with f.when(f.any(not_finite.value.differs(0.0))):
        frame.put("not_finite", 1)
    return f.finish()


def _place(frame: Fields, tile: Value) -> tuple[Value, Value]:
    """Return the first column and the first row of a tile."""
    return tile % frame.segments * frame.width, tile // frame.segments * OUTPUTS + frame.first


def _rows(f: Function, row: Value, start: Value, anchor: Value, period: Value, step: Value) -> list[Value]:
    """Return the addresses of a group's rows in a window of them."""
    return [start + (row + number - anchor) % period * step * f.size for number in range(OUTPUTS)]


def _skip(f: Function, frame: Fields, base: Value, row: Value, number: int) -> _Skip:
    names = _SKIPS[number * len(SKIP) : (number + 1) * len(SKIP)]
    start, anchor, period, channel, step = (getattr(frame, name) for name in names[:-1])
    scale = f.splat(f.load(base + 8 * PLACES[names[-1]], 0))
    return _Skip(_rows(f, row, start, anchor, period, step), channel, scale)


def _input_rows(f: Function, frame: Fields, row: Value) -> list[tuple[Value, Value]]:
    """Return, for the input rows of a group, the condition that the row counts and the address of its first channel."""
    rows = []
    for number in range(PLANES):
        place = frame.top + row + number
        inside = f.both(place >= frame.x_begin, place < frame.x_end)
        rows.append((inside, frame.x + (place - frame.x_anchor) % frame.x_period * frame.x_row * f.size))
    return rows


def _list_next_inputs(f: Function, frame: Fields, table: Value, tile: Value) -> Value:
    """List the cache lines of the inputs of the tile that this thread will take next, and return how many they are.

    The microkernel prefetches each line in all channels; a call takes one entry of the table for each tap. Zeros at the
    end are for calls after the last entry.
    """
    following = tile + frame.threads
    column, row = _place(frame, following)
    begin = f.most(column + frame.left, 0)
    end = f.least(column + frame.left + frame.width + frame.taps - 1, frame.x_columns)
    cursor = f.var(0)
    with f.when(f.both(following < frame.tiles, begin < end)):
        for inside, start in _input_rows(f, frame, row):
            first, last = start + begin * f.size, start + end * f.size
            with f.when(inside), f.loop(first & -_LINE, last, _LINE) as line:
                f.store(line, table, cursor.value, I64)
                cursor.set(cursor.value + 1)
    with f.loop(frame.parts * frame.taps) as number:
        f.store(frame.zeros, table, cursor.value + number, I64)
    return cursor.value


def _pack(f: Function, frame: Fields, panel: Value, row: Value, column: Value, count: Value) -> None:
    """Transform the inputs of a group into the panel."""
    sources, steps = [], []
    for inside, source in _input_rows(f, frame, row):
        sources.append(f.select(inside, source, frame.zeros))
        steps.append(f.select(inside, frame.x_channel * f.size, 0))
    plane, pitch, begin, length = frame.plane, frame.pitch, column + frame.left, frame.x_columns
    # all that the last vector reads is written: what an earlier call has left there may be infinite
    read = (count + (f.lanes - 1)) // f.lanes * f.lanes + (frame.taps - 1)
    with f.loop(frame.channels) as channel:
        rows = [source + channel * step for source, step in zip(sources, steps, strict=True)]
        to = panel + channel * pitch * f.size
        with f.loop(0, read, f.lanes) as place:
            start = begin + place

            def transform(loaded: list[Value]) -> None:
                for number, vector in enumerate(inputs(f, loaded)):
                    f.store(vector, to, number * plane + place)

            def masked() -> None:
                mask = f.mask(0 - start, length - start)
                transform([f.masked_load(source, start, mask) for source in rows])

            inside = f.both(start >= 0, start + f.lanes <= length)
            f.cases(inside, lambda: transform([f.load(source, start, f.vector) for source in rows]), masked)


def _prefetch(
    f: Function, frame: Fields, starts: list[Value], skips: list[_Skip], channel: Value, column: Value, vectors: Value
) -> None:
    """Prefetch the memory of some vectors of an output channel, to write it, and that of its skips."""
    windows = [(starts, frame.out_channel, True), *((skip.rows, skip.channel, False) for skip in skips)]
    for rows, step, write in windows:
        here = (channel * step + column) * f.size
        with f.loop(0, vectors * (f.lanes * f.size), _LINE) as place:
            for start in rows:
                f.prefetch(start + here + place, write)


def _activation(f: Function, frame: Fields, channel: Value, activated: bool) -> Callable[[Value], Value]:
    """Return the activation of an output channel, a function of a vector."""
    if not activated:
        return lambda total: total
    slope = f.splat(f.load(frame.slopes, channel))
    low, high = (f.splat(f.load(frame.limits, number)) for number in (0, 1))
    return lambda total: apply_activation(f, total, slope, low, high)


def _store(
    f: Function,
    frame: Fields,
    lines: list[Value],
    to: list[Value],
    skips: list[_Skip],
    place: Value,
    count: Value,
    row: Value,
) -> None:
    """Write lines of outputs from `row` and column `place` on: those in the requested rows and `count` columns."""
    begin, end = frame.begin, frame.end

    def added(number: int, load: Callable[[Value], Value]) -> Value:
        line = lines[number]
        for skip in skips:
            line = f.fma(line, skip.scale, load(skip.rows[number]))
        return line

    def whole() -> None:
        results = [added(number, lambda start: f.load(start, place, f.vector)) for number in range(OUTPUTS)]
        for result, start in zip(results, to, strict=True):
            f.store(result, start, place)

    def partial() -> None:
        mask = f.mask(0, count - place)
        for number, start in enumerate(to):
            with f.when(f.both(row + number >= begin, row + number < end)):
                f.masked_store(added(number, lambda start: f.masked_load(start, place, mask)), start, place, mask)

    inside = f.both(row >= begin, row + len(lines) <= end)
    f.cases(f.both(inside, place + f.lanes <= count), whole, partial)
