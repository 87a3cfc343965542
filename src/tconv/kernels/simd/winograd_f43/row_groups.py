"""Layer of a network with three rows of taps, by minimal filtering (`algebra.py`).

A tile is a group of four output rows and a segment of their columns; `tile_function` has its machine code. A caller
that cuts a picture into strips passes the first row of a group (`anchor`) and cuts between groups: then the results do
not depend on the strips.

In this form an infinite input (or NaN) changes all outputs of its group, in the definition only a few. So the layer
reports outputs that are not finite, and the caller computes them directly.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.activation import Activation
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.simd import microkernel
from tconv.kernels.simd.direct.accumulation_order import TERMS
from tconv.kernels.simd.direct.tiling import odd_cache_lines
from tconv.kernels.simd.elements import FLOAT32
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.winograd_f43 import tile_function
from tconv.kernels.simd.winograd_f43.algebra import OUTPUTS, PAIR, PLANES, planes_of, unit_columns
from tconv.kernels.simd.winograd_f43.interface import MOST_SKIPS, RowWindow, Skip
from tconv.kernels.simd.winograd_f43.tile_function import CALL, PLACES, SKIP

_PANEL = 192 << 10
"""Largest size of a panel in bytes: it stays in a core's own cache, beside the weights."""
_PAIR_TERMS = 96
"""Terms of a sum, at most, where columns are filtered, too: so errors stay small, and so does the panel."""
_MOST_ROWS = 8
"""Largest number of output channels of a block."""
_INDEPENDENT = 12
"""Sums that keep the multiply-adds of a core busy: with fewer, each waits for the one before."""
_MOST_FRAMES = 64
"""Frames that a layer caches, one for each combination of sizes and strides."""
_LINE = 64
"""Bytes of a cache line."""

_Frame, _NOT_FINITE, _CALL = ctypes.c_int64 * len(PLACES), PLACES["not_finite"], len(CALL)
_SKIPS = PLACES[SKIP[0]]


class WinogradLayer:
    """Layer with a weight [C_in, C_out, 3, kw], a bias and an activation.

    `top` and `left` are the rows and columns of the full output before the first output (`Geometry.crop`).
    """

    def __init__(self, weight: Array, bias: Array | None, activation: Activation | None, top: int, left: int) -> None:
        self._in_channels, self._out_channels, rows_of_taps, taps = weight.shape
        self.unit = unit_columns(weight)
        """output columns that are computed together"""
        self._top, self._left = top - (rows_of_taps - 1), left - (taps - 1)
        planes = planes_of(weight)
        self._planes, self._taps = planes.shape[:2]
        # sums of few terms keep the error small: those of the ranges of input channels are added
        count = -(-self._in_channels * self._taps // (_PAIR_TERMS if self.unit == PAIR else TERMS))
        self._ranges = [(self._in_channels * i // count, self._in_channels * (i + 1) // count) for i in range(count)]
        self._block = block_rows(self._out_channels)
        self._blocks = -(-self._out_channels // self._block)
        rows = self._blocks * self._block  # the last block may have rows of zeros, which are not written
        biases = np.zeros(rows, np.float32)
        biases[: self._out_channels] = 0 if bias is None else bias
        arrays = [self._packed(planes, rows), biases]
        arrays += [] if activation is None else activation.arrays(self._out_channels)
        self._arrays = dict(zip(("weights", "bias", "slopes", "limits"), arrays, strict=False))
        self._activated = activation is not None
        self._frames: dict[Any, tuple[Any, int, int, list[Array]]] = {}

    def _packed(self, planes: Array, rows: int) -> Array:
        """Return the packed weight, [range][block][plane][tap][channel][row of the block], flat."""
        wide = np.zeros((*planes.shape[:3], rows), np.float32)
        wide[..., : self._out_channels] = planes
        cut = np.moveaxis(wide.reshape(*wide.shape[:3], self._blocks, self._block), 3, 0)
        return np.concatenate([cut[..., slice(*ends), :].ravel() for ends in self._ranges])

    def __call__(
        self,
        x: RowWindow,
        reach: slice,
        rows: slice,
        out: RowWindow,
        anchor: int,
        *,
        skips: Sequence[Skip] = (),
        left: int | None = None,
        column: int = 0,
    ) -> bool:
        """Write these output rows into `out`, from rows `x` of the input.

        Returns True if all are finite before the activation. `reach` are the input rows that the whole output reads;
        others count as zeros. A group begins at row `anchor`, the next ones at every fourth row. The input rows that
        the groups of `rows` read must be in `x`.

        `skips` (two at most) are added to the output in their order. `left` is the column of `x` that the first column
        of `out` reads with its first tap, for a band of columns of a picture; columns beyond `x` count as zeros.
        `column` is the number of that first column in the picture: units of columns begin at multiples of `unit`, and
        the columns that they read must be in `x`.
        """
        phase = column % self.unit
        key = phase, x.array.shape[2], x.array.strides, x.period, out.array.shape[2], out.array.strides, out.period
        cached = self._frames.get(key)
        if cached is None:
            if len(self._frames) >= _MOST_FRAMES:
                self._frames.clear()
            cached = self._frames[key] = self._build_frame(x, out, phase)
        template, segments, scratch, _ = cached
        first = (rows.start - anchor) // OUTPUTS * OUTPUTS + anchor
        tiles = segments * -(-(rows.stop - first) // OUTPUTS)
        threads = min(tiles, get_num_threads())
        frame = _Frame.from_buffer_copy(template)
        ends = rows.start, rows.stop, reach.start, reach.stop
        begin = self._left if left is None else left
        frame[:_CALL] = [x.address, out.address, first, *ends, x.anchor, out.anchor, begin, threads, tiles]
        for number, (window, scale) in enumerate(skips):
            start = _SKIPS + number * len(SKIP)
            channel, row = (step // FLOAT32.summed_size for step in window.array.strides[:2])
            frame[start : start + len(SKIP)] = [
                window.address, window.anchor, window.period, channel, row, _bits(scale),
            ]  # fmt: skip
        function = tile_function.address(self.unit, self._activated, len(skips))
        pool().run(function, ctypes.addressof(frame), scratch, 0, tiles, threads)
        return bool(frame[_NOT_FINITE] == 0)

    def _build_frame(self, x: RowWindow, out: RowWindow, phase: int) -> tuple[Any, int, int, list[Array]]:
        """Return the frame for arrays like these, the segments of a row, bytes of scratch memory, and the tables."""
        lanes, size, most = FLOAT32.lanes, FLOAT32.summed_size, microkernel.most_vectors(self._block)
        (_, _, wide), (_, _, columns) = x.array.shape, out.array.shape
        ranges = self._ranges
        channels = max(last - first for first, last in ranges)
        vectors = -(-(columns + phase) // (lanes * self.unit))
        per_vector = self._planes * channels * lanes * size
        segments = -(-vectors // max(most, _PANEL // per_vector))
        width = -(-vectors // segments)  # of a tile, in vectors
        segments, calls = -(-vectors // width), -(-width // most)
        pitch = odd_cache_lines(width * lanes + self._taps - 1, FLOAT32)
        plane = odd_cache_lines(channels * pitch, FLOAT32)
        steps = [(tap, last - first, 0, tap, first) for first, last in ranges for tap in range(self._taps)]
        row = microkernel.Rows(self._block, 1, ((0,),))
        functions = [0, *(microkernel.address(row, count, FLOAT32, spread=True) for count in range(1, most + 1))]
        # how many steps, and one place: to store the sums of the first range there, and to add those of the others
        parts = [(self._taps, 1, 0, add, *[0] * (microkernel.PART - 4)) for add in (0, 1)]
        tables = {name: np.array(each, np.int64) for name, each in
                  (("functions", functions), ("steps", steps), ("parts", parts), ("ranges", ranges))}  # fmt: skip
        tables["zeros"] = np.zeros(wide + 3 * lanes, np.float32)
        sums = (self._planes * plane + 2 * lanes) * size
        of_block = self._planes * self._block * most * lanes
        several = len(ranges) > 1
        ahead = sums + of_block * size * (self._blocks * calls if several else 1)
        lines = PLANES * (-(-(width * lanes * self.unit + self._taps + 1) * size // _LINE) + 1)
        values = {
            "x_channel": x.array.strides[0] // size, "x_row": x.array.strides[1] // size, "x_period": x.period,
            "x_columns": wide,
            "out_channel": out.array.strides[0] // size, "out_row": out.array.strides[1] // size,
            "out_period": out.period,
            "columns": columns, "phase": phase, "top": self._top, "segments": segments, "width": width,
            "out_channels": self._out_channels, "block": self._block, "rows": self._blocks * self._block,
            "plane": plane, "pitch": pitch, "taps": self._taps, "most": most, "count": len(ranges),
            "panel_place": 0, "sums_place": sums, "ahead_place": ahead, "sums_size": of_block if several else 0,
        }  # fmt: skip
        values |= {name: int(array.ctypes.data) for name, array in (self._arrays | tables).items()}
        frame = _Frame(*(values.get(name, 0) for name in PLACES))
        scratch = ahead + 8 * (lines + self._taps)
        return frame, segments, scratch, list(tables.values())


def block_rows(channels: int) -> int:
    """Return the output channels of a block: so that few rows of the last one are zeros, and registers are full.

    The costs are multiply-adds, or loads where there are more of those, for all channels and one vector of columns.
    """

    def cost(rows: int) -> tuple[float, int]:
        vectors = microkernel.most_vectors(rows)
        cycles = max(rows * vectors, rows + vectors, _INDEPENDENT)
        return -(-channels // rows) * cycles / vectors, -rows

    return min(range(1, min(channels, _MOST_ROWS) + 1), key=cost)


def warm_up() -> None:
    """Build all machine code of such layers."""
    for unit, activated, skips in itertools.product((1, PAIR), (False, True), range(MOST_SKIPS + 1)):
        tile_function.address(unit, activated, skips)
    for rows in range(1, _MOST_ROWS + 1):
        for vectors in range(1, microkernel.most_vectors(rows) + 1):
            microkernel.address(microkernel.Rows(rows, 1, ((0,),)), vectors, FLOAT32, spread=True)


def _bits(number: float) -> int:
    """Return the bits of a float32 as an integer."""
    bits: int = struct.unpack("<I", struct.pack("<f", number))[0]
    return bits
