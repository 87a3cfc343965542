"""Machine code for a layer of a network with three rows of taps, by minimal filtering (`algebra.py`).

A tile is a group of four output rows and a segment of their columns. Its inputs are transformed into a panel,
`[plane][channel][columns]`, as they are read. Then, for a block of output channels and a few vectors of columns, the
microkernel runs once for each plane; its sums are transformed, bias and activation are applied, and the outputs are
written. A caller that cuts a picture into strips passes the first row of a group (`anchor`) and cuts between groups:
then the results do not depend on the strips.

In this form an infinite input (or NaN) changes all outputs of its group, in the definition only a few. So the layer
reports outputs that are not finite, and the caller computes them directly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.activation import Activation
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.simd import microkernel
from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.direct.accumulation_order import TERMS
from tconv.kernels.simd.direct.tiling import odd_cache_lines
from tconv.kernels.simd.elements import FLOAT32
from tconv.kernels.simd.epilogue_lines import apply_activation
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.vector_ir import I64, Function, Value
from tconv.kernels.simd.winograd_f43.algebra import OUTPUTS, PLANES, inputs, outputs, planes_of
from tconv.kernels.simd.winograd_f43.interface import RowWindow

_PANEL = 192 << 10
"""Largest size of a panel in bytes: it stays in a core's own cache, beside the weights."""
_ROWS = 6
"""Largest number of output channels of a block."""
_MOST_FRAMES = 64
"""Frames that a layer caches, one for each combination of sizes and strides."""

_FRAME = """
    x out first begin end x_begin x_end x_anchor out_anchor not_finite
    weights bias slopes limits
    x_row x_channel x_period x_columns out_row out_channel out_period columns top left
    segments width channels out_channels block terms plane pitch taps most
    functions steps counts parts zeros panel_place sums_place
"""
_PLACES = {name: place for place, name in enumerate(_FRAME.split())}
_Frame, _NOT_FINITE = ctypes.c_int64 * len(_PLACES), _PLACES["not_finite"]


class WinogradLayer:
    """Layer with a weight [C_in, C_out, 3, kw], a bias and an activation.

    `top` and `left` are the rows and columns of the full output before the first output (`Geometry.crop`).
    """

    def __init__(self, weight: Array, bias: Array | None, activation: Activation | None, top: int, left: int) -> None:
        self._in_channels, self._out_channels, rows_of_taps, self._taps = weight.shape
        self._top, self._left = top - (rows_of_taps - 1), left - (self._taps - 1)
        self._blocks = -(-self._out_channels // _ROWS)
        self._block = -(-self._out_channels // self._blocks)
        rows = self._blocks * self._block  # the last block may have rows of zeros, which are not written
        biases = np.zeros(rows, np.float32)
        biases[: self._out_channels] = 0 if bias is None else bias
        arrays = [self._packed(weight, rows), biases]
        arrays += [] if activation is None else activation.arrays(self._out_channels)
        self._arrays = dict(zip(("weights", "bias", "slopes", "limits"), arrays, strict=False))
        self._tile_function = address(activation is not None)
        self._frames: dict[Any, tuple[Any, int, int, list[Array]]] = {}

    def _ranges(self) -> list[tuple[int, int]]:
        """Return ranges of input channels. The sums of the ranges are added: sums of few terms keep the error small."""
        count = -(-self._in_channels * self._taps // TERMS)
        return [(self._in_channels * i // count, self._in_channels * (i + 1) // count) for i in range(count)]

    def _packed(self, weight: Array, rows: int) -> Array:
        """Return the packed weight, [block][plane][range][tap][channel][row of the block]."""
        planes = np.zeros((PLANES, self._taps, self._in_channels, rows), np.float32)
        planes[..., : self._out_channels] = planes_of(weight)
        cut = planes.reshape(*planes.shape[:3], self._blocks, self._block)
        ranges = [cut[:, :, slice(*ends)].reshape(PLANES, -1, *cut.shape[3:]) for ends in self._ranges()]
        return np.ascontiguousarray(np.moveaxis(np.concatenate(ranges, 1), 2, 0))

    def __call__(self, x: RowWindow, reach: slice, rows: slice, out: RowWindow, anchor: int) -> bool:
        """Write these output rows into `out`, from rows `x` of the input.

        Returns True if all are finite before the activation. `reach` are the input rows that the whole output reads;
        others count as zeros. A group begins at row `anchor`, the next ones at every fourth row. The input rows that
        the groups of `rows` read must be in `x`.
        """
        key = x.array.shape[2], x.array.strides, x.period, out.array.shape[2], out.array.strides, out.period
        cached = self._frames.get(key)
        if cached is None:
            if len(self._frames) >= _MOST_FRAMES:
                self._frames.clear()
            cached = self._frames[key] = self._build_frame(x, out)
        template, segments, scratch, _ = cached
        first = (rows.start - anchor) // OUTPUTS * OUTPUTS + anchor
        frame = _Frame.from_buffer_copy(template)
        ends = rows.start, rows.stop, reach.start, reach.stop
        frame[:9] = [x.address, out.address, first, *ends, x.anchor, out.anchor]
        tiles = segments * -(-(rows.stop - first) // OUTPUTS)
        pool().run(self._tile_function, ctypes.addressof(frame), scratch, 0, tiles, min(tiles, get_num_threads()))
        return bool(frame[_NOT_FINITE] == 0)

    def _build_frame(self, x: RowWindow, out: RowWindow) -> tuple[Any, int, int, list[Array]]:
        """Return the frame for arrays like these, the segments of a row, bytes of scratch memory, and the tables."""
        lanes, size, most = FLOAT32.lanes, FLOAT32.summed_size, microkernel.most_vectors(self._block)
        (_, _, wide), (_, _, columns) = x.array.shape, out.array.shape
        vectors = -(-columns // lanes)
        per_vector = PLANES * self._in_channels * lanes * size
        segments = -(-vectors // max(most, _PANEL // per_vector))
        width = -(-vectors // segments // most) * most * lanes
        pitch = odd_cache_lines(width + self._taps - 1, FLOAT32)
        plane = self._in_channels * pitch
        steps = [
            (first * pitch + tap, last - first, 0, 0, 0) for first, last in self._ranges() for tap in range(self._taps)
        ]
        row = microkernel.Rows(self._block, 1, ((0,),))
        functions = [0, *(microkernel.address(row, count, FLOAT32) for count in range(1, most + 1))]
        counts = [self._taps] * len(self._ranges())
        tables = {name: np.array(each, np.int64) for name, each in
                  (("functions", functions), ("steps", steps), ("counts", counts))}  # fmt: skip
        tables["zeros"] = np.zeros(wide + lanes, np.float32)
        sums = (PLANES * plane + 2 * lanes) * size
        values = {
            "x_channel": x.array.strides[0] // size, "x_row": x.array.strides[1] // size, "x_period": x.period,
            "x_columns": wide,
            "out_channel": out.array.strides[0] // size, "out_row": out.array.strides[1] // size,
            "out_period": out.period,
            "columns": columns, "top": self._top, "left": self._left,
            "segments": -(-columns // width), "width": width,
            "channels": self._in_channels, "out_channels": self._out_channels,
            "block": self._block, "terms": self._taps * self._in_channels,
            "plane": plane, "pitch": pitch, "taps": self._taps, "most": most, "parts": len(counts),
            "panel_place": 0, "sums_place": sums,
        }  # fmt: skip
        values |= {name: int(array.ctypes.data) for name, array in (self._arrays | tables).items()}
        frame = _Frame(*(values.get(name, 0) for name in _PLACES))
        scratch = sums + PLANES * self._block * most * lanes * size
        return frame, values["segments"], scratch, list(tables.values())


def address(activated: bool) -> int:
    """Return the address of the function `(frame, local, number of the tile)`."""
    name = f"winograd_f43_tile{'_activated' if activated else ''}"
    return OBJECT_CACHE.address(name, lambda: _write(name, activated))


def _write(name: str, activated: bool) -> str:
    f = Function(name, 3)
    base, local, tile = f.arguments
    frame = Fields(f, base, _PLACES)
    column, row = tile % frame.segments * frame.width, tile // frame.segments * OUTPUTS + frame.first
    count = f.least(frame.width, frame.columns - column)
    panel, sums = local + frame.panel_place, local + frame.sums_place
    _pack(f, frame, panel, row, column, count)
    vectors, most, block, terms = (count + (f.lanes - 1)) // f.lanes, frame.most, frame.block, frame.terms
    steps, counts, parts, zeros = frame.steps, frame.counts, frame.parts, frame.zeros
    pitch, plane, functions, channels = frame.pitch, frame.plane, frame.functions, frame.out_channels
    line = most * f.lanes
    places = [(row + number - frame.out_anchor) % frame.out_period for number in range(OUTPUTS)]
    starts = [frame.out + place * frame.out_row * f.size for place in places]
    not_finite = f.var(f.zero())  # NaN in a lane after an output that is not finite
    with f.loop(0, channels, block) as channel, f.loop(0, vectors, most) as vector:
        size = f.least(most, vectors - vector)
        function = f.load(functions, size, I64)
        with f.loop(PLANES) as number:
            x = panel + (number * plane + vector * f.lanes) * f.size
            w = frame.weights + (channel * PLANES + number * block) * terms * f.size
            y = sums + number * block * line * f.size
            f.call(function, steps, counts, parts, x, w, pitch, y, line, 0, zeros, 0)
        with f.loop(f.least(block, channels - channel)) as number:
            bias = f.splat(f.load(frame.bias, channel + number))
            activate = _activation(f, frame, channel + number, activated)
            here = ((channel + number) * frame.out_channel + column) * f.size
            targets = [start + here for start in starts]
            with f.loop(size) as place:
                source = sums + (number * line + place * f.lanes) * f.size
                products = [f.load(source, k * block * line, f.vector) for k in range(PLANES)]
                lines = []
                for total in (value + bias for value in outputs(f, products)):
                    not_finite.set(f.fma(total, f.zero(), not_finite.value))  # 0 x inf is NaN
                    lines.append(activate(total))
                _store(f, frame, lines, targets, (vector + place) * f.lanes, count, row)
    with f.when(f.any(not_finite.value.differs(0.0))):
        frame.put("not_finite", 1)
    return f.finish()


def _pack(f: Function, frame: Fields, panel: Value, row: Value, column: Value, count: Value) -> None:
    """Transform the inputs of a group into the panel."""
    sources, steps = [], []
    for number in range(PLANES):
        place = frame.top + row + number
        inside = f.both(place >= frame.x_begin, place < frame.x_end)
        source = frame.x + (place - frame.x_anchor) % frame.x_period * frame.x_row * f.size
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


def _activation(f: Function, frame: Fields, channel: Value, activated: bool) -> Callable[[Value], Value]:
    """Return the activation of an output channel, a function of a vector."""
    if not activated:
        return lambda total: total
    slope = f.splat(f.load(frame.slopes, channel))
    low, high = (f.splat(f.load(frame.limits, number)) for number in (0, 1))
    return lambda total: apply_activation(f, total, slope, low, high)


def _store(
    f: Function, frame: Fields, lines: list[Value], to: list[Value], place: Value, count: Value, row: Value
) -> None:
    """Write lines of outputs from `row` and column `place` on: those in the requested rows and `count` columns."""
    begin, end = frame.begin, frame.end

    def whole() -> None:
        for line, start in zip(lines, to, strict=True):
            f.store(line, start, place)

    def partial() -> None:
        mask = f.mask(0, count - place)
        for number, (line, start) in enumerate(zip(lines, to, strict=True)):
            with f.when(f.both(row + number >= begin, row + number < end)):
                f.masked_store(line, start, place, mask)

    inside = f.both(row >= begin, row + len(lines) <= end)
    f.cases(f.both(inside, place + f.lanes <= count), whole, partial)
