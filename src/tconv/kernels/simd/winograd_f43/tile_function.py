"""Machine code of a tile: a group of four output rows and a segment of their columns.

For each range of input channels, the inputs are transformed into a panel, `[plane][channel][unit of columns]`, as they
are read. Then, for a block of output channels and a few vectors of units, the microkernel runs once for each plane.
After the last range, the sums are transformed, bias, activation and skips are applied, and the outputs are written.
While the microkernel multiplies, the memory that is needed next is brought to the core: the lines that the outputs are
written to, and the inputs of the thread's next tile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

from tconv.kernels.simd import microkernel
from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.epilogue_lines import apply_activation
from tconv.kernels.simd.interleave import interleave_lanes
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import I64, Function, Value
from tconv.kernels.simd.winograd_f43 import algebra
from tconv.kernels.simd.winograd_f43.algebra import OUTPUTS, PAIR, PLANES
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
    x_row x_channel x_period x_columns out_row out_channel out_period columns phase top
    segments width out_channels block rows plane pitch taps most count
    functions steps parts ranges zeros panel_place sums_place sums_size ahead_place
"""
PLACES = {name: place for place, name in enumerate([*CALL, *_SKIPS, *_FRAME.split()])}
"""Places of the integers in the frame."""


class _GroupRows(NamedTuple):
    """Rows of a group in a window: addresses at column 0 of channel 0, and the numbers from channel to channel."""

    starts: list[Value]
    channel: Value

    def at(self, channel: Value, column: Value) -> _GroupRows:
        """Return the rows from a channel and a column on."""
        size = self.channel.f.size
        return _GroupRows([start + (channel * self.channel + column) * size for start in self.starts], self.channel)


class _Tile(NamedTuple):
    """A tile: first row, first column (-1 if only the second of a pair is an output), columns from there on."""

    row: Value
    column: Value
    columns: Value


def address(unit: int, activated: bool, skips: int) -> int:
    """Return the address of the function `(frame, local, number of the tile)`, for units of so many columns."""
    name = f"winograd_f43_tile_{unit}{'_activated' if activated else ''}{f'_skips_{skips}' if skips else ''}"
    return OBJECT_CACHE.address(name, lambda: _write(name, unit, activated, skips))


def _write(name: str, unit: int, activated: bool, skip_count: int) -> str:
    f = Function(name, 3)
    base, local, number = f.arguments
    frame = Fields(f, base, PLACES)
    tile = _tile(f, frame, number, unit)
    panel, ahead = local + frame.panel_place, local + frame.ahead_place
    lines = _list_next_inputs(f, frame, ahead, number + frame.threads, unit)
    span, planes = f.lanes * unit, PLANES * (4 if unit == PAIR else 1)
    vectors, most, block, channels = (tile.columns + (span - 1)) // span, frame.most, frame.block, frame.out_channels
    pitch, plane, functions, taps, count = frame.pitch, frame.plane, frame.functions, frame.taps, frame.count
    line, x_step, calls = most * f.lanes, frame.x_channel * f.size, (vectors + (most - 1)) // most
    out = _GroupRows(
        _addresses(f, frame.out, frame.out_row, tile.row, frame.out_anchor, frame.out_period), frame.out_channel
    )
    skips, scales = _skips(f, frame, base, tile.row, skip_count)
    not_finite = f.var(f.zero())  # NaN in a lane after an output that is not finite
    with f.loop(count) as part:
        entry = frame.ranges + part * 16
        first_channel = f.load(entry, 0, I64)
        last_channel = f.load(entry, 1, I64)
        terms = (last_channel - first_channel) * taps
        (_pack_pairs if unit == PAIR else _pack)(f, frame, panel, tile, first_channel, last_channel)
        steps, weights = frame.steps + part * taps * (8 * microkernel.STEP), first_channel * taps * planes * frame.rows
        parts = frame.parts + f.least(part, 1) * (8 * microkernel.PART)
        is_last = (part + 1).equals(count)
        cursor = f.var(0)
        with f.loop(0, channels, block) as channel, f.loop(calls) as call:
            # as equal as possible: calls of few vectors load more than they multiply
            vector = vectors * call // calls
            size = vectors * (call + 1) // calls - vector
            number_of_rows, column = f.least(block, channels - channel), tile.column + vector * span
            function = f.load(functions, size, I64)
            sums = local + frame.sums_place + (channel // block * calls + call) * frame.sums_size * f.size
            with f.when(is_last), f.loop(number_of_rows) as number:
                _prefetch(f, out.at(channel + number, column), size * (span * f.size), True)
                for skip in skips:
                    _prefetch(f, skip.at(channel + number, column), size * (span * f.size), False)
            with f.loop(planes) as number:
                x = panel + (number * plane + vector * f.lanes) * f.size
                w = frame.weights + (weights + (channel * planes + number * block) * terms) * f.size
                y = sums + number * block * line * f.size
                left = cursor.value < lines
                next_inputs = ahead + f.select(left, cursor.value, lines) * 8
                stride = f.select(left, x_step, 0)
                f.call(function, steps, parts, 1, x, w, pitch, y, line, 0, next_inputs, stride)
                cursor.set(cursor.value + taps)
            with f.when(is_last), f.loop(number_of_rows) as number:
                at = channel + number
                bias, activate = f.splat(f.load(frame.bias, at)), _activation(f, frame, at, activated)
                to, added = out.at(at, tile.column), [skip.at(at, tile.column) for skip in skips]
                with f.loop(size) as place:
                    source = sums + (number * line + place * f.lanes) * f.size
                    totals = _totals(f, source, block * line, unit, bias)
                    for total in itertools.chain(*totals):
                        not_finite.set(f.fma(total, f.zero(), not_finite.value))  # 0 x inf is NaN
                    rows = [interleave_lanes(f, [activate(total) for total in row]) for row in totals]
                    _store(f, frame, rows, to, list(zip(added, scales, strict=True)), (vector + place) * span, tile)
    with f.when(f.any(not_finite.value.differs(0.0))):
        frame.put("not_finite", 1)
    return f.finish()


def _tile(f: Function, frame: Fields, number: Value, unit: int) -> _Tile:
    columns = frame.width * (f.lanes * unit)
    column = number % frame.segments * columns - frame.phase
    return _Tile(number // frame.segments * OUTPUTS + frame.first, column, f.least(columns, frame.columns - column))


def _addresses(f: Function, start: Value, step: Value, row: Value, anchor: Value, period: Value) -> list[Value]:
    """Return the addresses of a group's rows in a window of rows."""
    return [start + (row + number - anchor) % period * step * f.size for number in range(OUTPUTS)]


def _skips(f: Function, frame: Fields, base: Value, row: Value, count: int) -> tuple[list[_GroupRows], list[Value]]:
    """Return the rows of the skips, and their scales in all lanes."""
    rows, scales = [], []
    for number in range(count):
        names = _SKIPS[number * len(SKIP) : (number + 1) * len(SKIP)]
        start, anchor, period, channel, step = (getattr(frame, name) for name in names[:-1])
        rows.append(_GroupRows(_addresses(f, start, step, row, anchor, period), channel))
        scales.append(f.splat(f.load(base + 8 * PLACES[names[-1]], 0)))
    return rows, scales


def _input_rows(f: Function, frame: Fields, row: Value) -> list[tuple[Value, Value]]:
    """Return, for the input rows of a group, the condition that the row counts and the address of its first channel."""
    rows = []
    for number in range(PLANES):
        place = frame.top + row + number
        inside = f.both(place >= frame.x_begin, place < frame.x_end)
        rows.append((inside, frame.x + (place - frame.x_anchor) % frame.x_period * frame.x_row * f.size))
    return rows


def _list_next_inputs(f: Function, frame: Fields, table: Value, number: Value, unit: int) -> Value:
    """List the cache lines of the inputs of the tile that this thread will take next, and return how many they are.

    The microkernel prefetches each line in all channels; a call takes one entry of the table for each tap. Zeros at the
    end are for calls after the last entry.
    """
    tile = _tile(f, frame, number, unit)
    begin = f.most(tile.column + frame.left, 0)
    read = tile.column + frame.left + frame.width * (f.lanes * unit) + (frame.taps - 1 if unit == 1 else 2)
    end = f.least(read, frame.x_columns)
    cursor = f.var(0)
    with f.when(f.both(number < frame.tiles, begin < end)):
        for inside, start in _input_rows(f, frame, tile.row):
            first, last = start + begin * f.size, start + end * f.size
            with f.when(inside), f.loop(first & -_LINE, last, _LINE) as line:
                f.store(line, table, cursor.value, I64)
                cursor.set(cursor.value + 1)
    with f.loop(frame.taps) as tap:
        f.store(frame.zeros, table, cursor.value + tap, I64)
    return cursor.value


def _sources(f: Function, frame: Fields, row: Value) -> Callable[[Value], list[Value]]:
    """Return the function from a channel to the addresses of the input rows of a group: zeros for rows that are not."""
    rows = _input_rows(f, frame, row)
    starts = [f.select(inside, source, frame.zeros) for inside, source in rows]
    steps = [f.select(inside, frame.x_channel * f.size, 0) for inside, _ in rows]
    return lambda channel: [start + channel * step for start, step in zip(starts, steps, strict=True)]


def _loaded(
    f: Function,
    sources: list[Value],
    start: Value,
    length: Value,
    vectors: int,
    use: Callable[[list[list[Value]]], None],
) -> None:
    """Load vectors that follow each other, from a column of each row on, and use them; zeros beyond the row."""

    def whole() -> None:
        use([[f.load(source, start + n * f.lanes, f.vector) for n in range(vectors)] for source in sources])

    def masked() -> None:
        masks = [f.mask(0 - (start + n * f.lanes), length - (start + n * f.lanes)) for n in range(vectors)]
        use([[f.masked_load(source, start + n * f.lanes, mask) for n, mask in enumerate(masks)] for source in sources])

    f.cases(f.both(start >= 0, start + vectors * f.lanes <= length), whole, masked)


def _pack(f: Function, frame: Fields, panel: Value, tile: _Tile, first: Value, last: Value) -> None:
    """Transform the inputs of a group into the panel, for a range of channels."""
    sources = _sources(f, frame, tile.row)
    plane, pitch, begin, length = frame.plane, frame.pitch, tile.column + frame.left, frame.x_columns
    # all that the last vector reads is written: what an earlier call has left there may be infinite
    read = (tile.columns + (f.lanes - 1)) // f.lanes * f.lanes + (frame.taps - 1)
    with f.loop(first, last) as channel:
        rows, to = sources(channel), panel + (channel - first) * pitch * f.size
        with f.loop(0, read, f.lanes) as place:

            def transform(loaded: list[list[Value]]) -> None:
                for number, vector in enumerate(algebra.inputs(f, [row[0] for row in loaded])):
                    f.store(vector, to, number * plane + place)

            _loaded(f, rows, begin + place, length, 1, transform)


def _pack_pairs(f: Function, frame: Fields, panel: Value, tile: _Tile, first: Value, last: Value) -> None:
    """Transform the inputs of a group into the panel, pairs of columns, for a range of channels."""
    sources = _sources(f, frame, tile.row)
    plane, pitch, begin, length = frame.plane, frame.pitch, tile.column + frame.left, frame.x_columns
    even, odd = ([2 * lane + n for lane in range(f.lanes)] for n in (0, 1))
    after = list(range(1, f.lanes))
    with f.loop(first, last) as channel:
        rows, to = sources(channel), panel + (channel - first) * pitch * f.size
        with f.loop(0, (tile.columns + (PAIR * f.lanes - 1)) // (PAIR * f.lanes)) as vector:

            def transform(loaded: list[list[Value]]) -> None:
                filtered = [algebra.inputs(f, [row[n] for row in loaded]) for n in range(3)]
                for number, (a, b, following) in enumerate(zip(*filtered, strict=True)):
                    d = [f.shuffle(a, b, even), f.shuffle(a, b, odd)]
                    d += [f.shuffle(d[n], following, [*after, f.lanes + n]) for n in (0, 1)]
                    for n, each in enumerate(algebra.pair_inputs(d)):
                        f.store(each, to, (number * 4 + n) * plane + vector * f.lanes)

            _loaded(f, rows, begin + vector * (PAIR * f.lanes), length, 3, transform)


def _totals(f: Function, sums: Value, plane: Value, unit: int, bias: Value) -> list[list[Value]]:
    """Return the outputs of each row before the activation: `unit` vectors, one for each column of a unit."""
    columns = 4 if unit == PAIR else 1
    products = []
    for m in range(PLANES):
        loaded = [f.load(sums, (m * columns + n) * plane, f.vector) for n in range(columns)]
        products.append(algebra.pair_outputs(loaded) if unit == PAIR else loaded)
    totals = [[total + bias for total in algebra.outputs(f, list(each))] for each in zip(*products, strict=True)]
    return [list(row) for row in zip(*totals, strict=True)]


def _prefetch(f: Function, rows: _GroupRows, size: Value, write: bool) -> None:
    """Prefetch so many bytes of some rows, to read or to write them."""
    with f.loop(0, size, _LINE) as place:
        for start in rows.starts:
            f.prefetch(start + place, write)


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
    rows: list[list[Value]],
    to: _GroupRows,
    skips: list[tuple[_GroupRows, Value]],
    place: Value,
    tile: _Tile,
) -> None:
    """Write rows of outputs, each of some vectors, from column `place` of a tile on: those that were asked for."""
    begin, end = frame.begin, frame.end

    def added(number: int, n: int, at: Value, mask: Value | None) -> Value:
        result = rows[number][n]
        for skip, scale in skips:
            start = skip.starts[number]
            other = f.load(start, at, f.vector) if mask is None else f.masked_load(start, at, mask)
            result = f.fma(result, scale, other)
        return result

    def whole() -> None:
        for number, start in enumerate(to.starts):
            for n in range(len(rows[number])):
                at = place + n * f.lanes
                f.store(added(number, n, at, None), start, at)

    def partial() -> None:
        for n in range(len(rows[0])):
            at = place + n * f.lanes
            mask = f.mask(0 - (tile.column + at), tile.columns - at)
            for number, start in enumerate(to.starts):
                with f.when(f.both(tile.row + number >= begin, tile.row + number < end)):
                    f.masked_store(added(number, n, at, mask), start, at, mask)

    inside = f.both(tile.row >= begin, tile.row + OUTPUTS <= end)
    columns = f.both(tile.column + place >= 0, place + len(rows[0]) * f.lanes <= tile.columns)
    f.cases(f.both(inside, columns), whole, partial)
