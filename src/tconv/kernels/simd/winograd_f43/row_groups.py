"""A convolution with three rows of taps by minimal filtering (`winograd.py`), as a layer of a network.

An item of work is a group of four output rows and a segment of their columns. Its inputs are transformed into a panel,
`[plane][channel][columns]`, as they are read; then, for a block of output channels and a few vectors of columns, the
multiply-adds of `micro.py` run once for each plane, and what they leave is transformed, given bias and activation, and
written. Who cuts a picture into strips says where the groups of the whole picture lie, and cuts between them: then the
numbers do not depend on the strips.

An infinite input (or NaN) would reach all outputs of its group, where the definition has a few. Outputs that are not
finite are therefore reported, and the caller computes them directly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from tconv.kernels.activation import Activation
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Array
from tconv.kernels.simd import microkernel
from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.accumulation_order import TERMS
from tconv.kernels.simd.epilogue import bent
from tconv.kernels.simd.object_cache import LIBRARY
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.vector_ir import I64, Function, Value
from tconv.kernels.simd.winograd_f43.filtering import OUTPUTS, PLANES, inputs, outputs, planes_of
from tconv.kernels.simd.winograd_f43.rows import Held

_PANEL = 192 << 10
"""Bytes of a panel: it stays in a core's own cache, beside the weights."""
_ROWS = 6
"""Output channels of a block, where there are so many."""
_MOST_FRAMES = 64

_FRAME = """
    x out first begin end x_begin x_end x_anchor out_anchor spoiled
    weights bias slopes limits
    x_row x_channel x_period x_columns out_row out_channel out_period columns top left
    segments width channels made block terms plane pitch taps most
    functions steps counts parts nothing panel_place sums_place
"""
_PLACES = {name: place for place, name in enumerate(_FRAME.split())}
_Frame, _SPOILED = ctypes.c_int64 * len(_PLACES), _PLACES["spoiled"]


class Rows:
    """The layer, with a weight [C_in, C_out, 3, kw], a bias and an activation.

    `top` and `left` are how far the first output row and column lie in the full ones (`Geometry.crop`).
    """

    def __init__(self, weight: Array, bias: Array | None, activation: Activation | None, top: int, left: int) -> None:
        self._into, self._made, rows_of_taps, self._taps = weight.shape
        self._top, self._left = top - (rows_of_taps - 1), left - (self._taps - 1)
        self._blocks = -(-self._made // _ROWS)
        self._block = -(-self._made // self._blocks)
        rows = self._blocks * self._block  # the last block may have some of zeros, which nobody writes
        biases = np.zeros(rows, np.float32)
        biases[: self._made] = 0 if bias is None else bias
        held = [self._packed(weight, rows), biases]
        held += [] if activation is None else activation.arrays(self._made)
        self._held = dict(zip(("weights", "bias", "slopes", "limits"), held, strict=False))
        self._item = address(activation is not None)
        self._frames: dict[Any, tuple[Any, int, int, list[Array]]] = {}

    def _ranges(self) -> list[tuple[int, int]]:
        """Input channels in the ranges whose sums are added to each other: with so few terms the error stays small."""
        count = -(-self._into * self._taps // TERMS)
        return [(self._into * i // count, self._into * (i + 1) // count) for i in range(count)]

    def _packed(self, weight: Array, rows: int) -> Array:
        """[block][plane][range][tap][channel][row of the block]."""
        planes = np.zeros((PLANES, self._taps, self._into, rows), np.float32)
        planes[..., : self._made] = planes_of(weight)
        cut = planes.reshape(*planes.shape[:3], self._blocks, self._block)
        ranges = [cut[:, :, slice(*one)].reshape(PLANES, -1, *cut.shape[3:]) for one in self._ranges()]
        return np.ascontiguousarray(np.moveaxis(np.concatenate(ranges, 1), 2, 0))

    def __call__(self, x: Held, reach: slice, rows: slice, out: Held, anchor: int) -> bool:
        """Put these output rows into `out`, from rows `x` of the input. Whether all are finite before the activation.

        `reach` are the input rows that the whole output reads; others count as zeros. A group begins at `anchor`, and
        so do those before and after it; what the groups in which `rows` lie read is there.
        """
        key = x.array.shape[2], x.array.strides, x.period, out.array.shape[2], out.array.strides, out.period
        known = self._frames.get(key)
        if known is None:
            if len(self._frames) >= _MOST_FRAMES:
                self._frames.clear()
            known = self._frames[key] = self._framed(x, out)
        frame, segments, scratch, _ = known
        first = (rows.start - anchor) // OUTPUTS * OUTPUTS + anchor
        told = _Frame.from_buffer_copy(frame)
        ends = rows.start, rows.stop, reach.start, reach.stop
        told[:9] = [x.address, out.address, first, *ends, x.anchor, out.anchor]
        items = segments * -(-(rows.stop - first) // OUTPUTS)
        pool().run(self._item, ctypes.addressof(told), scratch, 0, items, min(items, get_num_threads()))
        return bool(told[_SPOILED] == 0)

    def _framed(self, x: Held, out: Held) -> tuple[Any, int, int, list[Array]]:
        """What the machine code is told of arrays like these, the segments of a row, bytes of scratch, what is held."""
        lanes, most = target().lanes, microkernel.most_vectors(self._block)
        (_, _, wide), (_, _, columns) = x.array.shape, out.array.shape
        vectors = -(-columns // lanes)
        per_vector = PLANES * self._into * lanes * 4
        segments = -(-vectors // max(most, _PANEL // per_vector))
        width = -(-vectors // segments // most) * most * lanes
        # an odd number of cache lines: successive channels would else share a few places of the cache
        pitch = (-(-(width + self._taps - 1) // 16) | 1) * 16
        plane = self._into * pitch
        numbers = [
            (first * pitch + tap, last - first, 0, 0, 0) for first, last in self._ranges() for tap in range(self._taps)
        ]
        row = microkernel.Rows(self._block, 1, ((0,),))
        functions = [0, *(microkernel.address(row, taken) for taken in range(1, most + 1))]
        counts = [self._taps] * len(self._ranges())
        tables = {name: np.array(each, np.int64) for name, each in
                  (("functions", functions), ("steps", numbers), ("counts", counts))}  # fmt: skip
        tables["nothing"] = np.zeros(wide + lanes, np.float32)
        sums = (PLANES * plane + 2 * lanes) * 4
        told = {
            "x_channel": x.array.strides[0] // 4, "x_row": x.array.strides[1] // 4, "x_period": x.period,
            "x_columns": wide,
            "out_channel": out.array.strides[0] // 4, "out_row": out.array.strides[1] // 4, "out_period": out.period,
            "columns": columns, "top": self._top, "left": self._left,
            "segments": -(-columns // width), "width": width,
            "channels": self._into, "made": self._made, "block": self._block, "terms": self._taps * self._into,
            "plane": plane, "pitch": pitch, "taps": self._taps, "most": most, "parts": len(counts),
            "panel_place": 0, "sums_place": sums,
        }  # fmt: skip
        told |= {name: int(array.ctypes.data) for name, array in (self._held | tables).items()}
        frame = _Frame(*(told.get(name, 0) for name in _PLACES))
        scratch = sums + PLANES * self._block * most * lanes * 4
        return frame, told["segments"], scratch, list(tables.values())


def address(activated: bool) -> int:
    """The function `(frame, local, item)`."""
    name = f"winograd_item{'_activated' if activated else ''}"
    return LIBRARY.address(name, lambda: _write(name, activated))


def _write(name: str, activated: bool) -> str:
    f = Function(name, 3, target().lanes)
    base, local, item = f.arguments
    frame = Fields(f, base, _PLACES)
    column, row = item % frame.segments * frame.width, item // frame.segments * OUTPUTS + frame.first
    count = f.least(frame.width, frame.columns - column)
    panel, sums = local + frame.panel_place, local + frame.sums_place
    _pack(f, frame, panel, row, column, count)
    vectors, most, block, terms = (count + (f.lanes - 1)) // f.lanes, frame.most, frame.block, frame.terms
    steps, counts, parts, nothing = frame.steps, frame.counts, frame.parts, frame.nothing
    pitch, plane, functions, made = frame.pitch, frame.plane, frame.functions, frame.made
    line = most * f.lanes
    places = [(row + number - frame.out_anchor) % frame.out_period for number in range(OUTPUTS)]
    starts = [frame.out + place * frame.out_row * 4 for place in places]
    spoiled = f.var(f.zero())
    with f.loop(0, made, block) as channel, f.loop(0, vectors, most) as vector:
        taken = f.least(most, vectors - vector)
        function = f.load(functions, taken, I64)
        with f.loop(PLANES) as number:
            x = panel + (number * plane + vector * f.lanes) * 4
            w = frame.weights + (channel * PLANES + number * block) * terms * 4
            y = sums + number * block * line * 4
            f.call(function, steps, counts, parts, x, w, pitch, y, line, 0, nothing, 0)
        with f.loop(f.least(block, made - channel)) as number:
            bias, bend = f.splat(f.load(frame.bias, channel + number)), _bend(f, frame, channel + number, activated)
            here = ((channel + number) * frame.out_channel + column) * 4
            targets = [start + here for start in starts]
            with f.loop(taken) as place:
                left = sums + (number * line + place * f.lanes) * 4
                products = [f.load(left, k * block * line, f.vector) for k in range(PLANES)]
                lines = []
                for total in (value + bias for value in outputs(f, products)):
                    spoiled.set(f.fma(total, f.zero(), spoiled.value))  # 0 x inf is NaN, and stays there
                    lines.append(bend(total))
                _store(f, frame, lines, targets, (vector + place) * f.lanes, count, row)
    with f.when(f.any(spoiled.value.differs(0.0))):
        frame.put("spoiled", 1)
    return f.finish()


def _pack(f: Function, frame: Fields, panel: Value, row: Value, column: Value, count: Value) -> None:
    """The inputs of a group, transformed, into the panel."""
    sources, steps = [], []
    for number in range(PLANES):
        place = frame.top + row + number
        there = f.both(place >= frame.x_begin, place < frame.x_end)
        source = frame.x + (place - frame.x_anchor) % frame.x_period * frame.x_row * 4
        sources.append(f.choose(there, source, frame.nothing))
        steps.append(f.choose(there, frame.x_channel * 4, 0))
    plane, pitch, begin, length = frame.plane, frame.pitch, column + frame.left, frame.x_columns
    # what the last vector reads, too: what another call has left there may be infinite
    read = (count + (f.lanes - 1)) // f.lanes * f.lanes + (frame.taps - 1)
    with f.loop(frame.channels) as channel:
        rows = [source + channel * step for source, step in zip(sources, steps, strict=True)]
        to = panel + channel * pitch * 4
        with f.loop(0, read, f.lanes) as place:
            start = begin + place

            def transformed(loaded: list[Value]) -> None:
                for number, vector in enumerate(inputs(f, loaded)):
                    f.store(vector, to, number * plane + place)

            def cut() -> None:
                mask = f.mask(0 - start, length - start)
                transformed([f.masked_load(source, start, mask) for source in rows])

            inside = f.both(start >= 0, start + f.lanes <= length)
            f.cases(inside, lambda: transformed([f.load(source, start, f.vector) for source in rows]), cut)


def _bend(f: Function, frame: Fields, channel: Value, activated: bool) -> Callable[[Value], Value]:
    """The activation of an output channel."""
    if not activated:
        return lambda total: total
    slope = f.splat(f.load(frame.slopes, channel))
    low, high = (f.splat(f.load(frame.limits, number)) for number in (0, 1))
    return lambda total: bent(f, total, slope, low, high)


def _store(
    f: Function, frame: Fields, lines: list[Value], to: list[Value], place: Value, count: Value, row: Value
) -> None:
    """Lines of outputs, those of them that there are, from `row` and from column `place` of `count` on."""
    begin, end = frame.begin, frame.end

    def whole() -> None:
        for line, start in zip(lines, to, strict=True):
            f.store(line, start, place)

    def some() -> None:
        mask = f.mask(0, count - place)
        for number, (line, start) in enumerate(zip(lines, to, strict=True)):
            with f.when(f.both(row + number >= begin, row + number < end)):
                f.masked_store(line, start, place, mask)

    inside = f.both(row >= begin, row + len(lines) <= end)
    f.cases(f.both(inside, place + f.lanes <= count), whole, some)
