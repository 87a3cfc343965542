"""A call of the gradient by the weight for arrays of given shapes and strides: its tables, and the run."""

from __future__ import annotations

import ctypes
import math
from itertools import product
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.simd.call_frame import NO_ROW
from tconv.kernels.simd.elements import Elements, elements_of
from tconv.kernels.simd.openmp_threads import OpenMPThreads
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.weight_gradient import block, tile_loop
from tconv.kernels.simd.weight_gradient.places import ENTRY, FRAME
from tconv.kernels.simd.weight_gradient.tiles import tiles_of

_NEAR_BYTES = 1 << 14
"""Bytes of a and b that a block reads at all taps, from the nearest cache."""
_Frame = ctypes.c_int64 * len(FRAME)


class WeightGradientCall:
    """Function of the addresses of a [N, A, *n] and b [N, B, *L] that returns [A, B/groups, *kernel].

    The result has the dtype of the sums. Strides are counted in elements. `reasons_against` has to be empty.
    """

    def __init__(
        self,
        g: Geometry,
        a_shape: tuple[int, ...],
        b_shape: tuple[int, ...],
        a_strides: tuple[int, ...],
        b_strides: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        elements = elements_of(dtype)
        batch, channels, *sizes = a_shape
        group_b = b_shape[1] // g.groups
        rows, width = math.prod(sizes[:-1]), sizes[-1]
        self._shape = channels, group_b, *g.kernel
        self._dtype = np.dtype(elements.summed)
        # tables of offsets are used as long as this object lives
        self._a_rows = _row_offsets(sizes[:-1], a_strides[2:-1])
        self._b_rows = _shifted_rows(g, sizes[:-1], b_shape[2:-1], b_strides[2:-1])
        self._masks: list[Array] = []
        entries = self._entries(g, channels // g.groups, group_b, width, b_shape[-1], (a_strides, b_strides), elements)
        self._table = np.array(entries, np.int64)
        row_bytes = (channels * width + b_shape[1] * b_shape[-1]) * elements.stored_size
        tiles = tiles_of(batch, rows, row_bytes, math.prod(self._shape) * self._dtype.itemsize)
        self._tiles = tiles.of_call
        self._function = tile_loop.address(elements)
        most = max(math.prod(entry[-3:]) for entry in entries)
        self._scratch = most * math.prod(g.kernel[:-1]) * elements.lanes * elements.summed_size
        self._frame = {
            "a_batch": a_strides[0],
            "a_channel": a_strides[1],
            "b_batch": b_strides[0],
            "b_channel": b_strides[1],
            "a_rows": self._a_rows.ctypes.data,
            "b_rows": self._b_rows.ctypes.data,
            "rows": rows,
            "tile_rows": tiles.rows,
            "picture_tiles": tiles.of_picture,
            "vectors": -(-width // elements.lanes),
            "entries": self._table.ctypes.data,
            "entry_count": len(entries),
            "outer_taps": math.prod(g.kernel[:-1]),
            "kernel": g.kernel[-1],
            "out_a": group_b * math.prod(g.kernel),
            "out_b": math.prod(g.kernel),
            "part": math.prod(self._shape),
        }

    def _entries(
        self, g: Geometry, group_a: int, group_b: int, width: int, length: int, strides: Any, elements: Elements
    ) -> list[list[int]]:
        """Return the integers of all blocks."""
        entries = []
        (a_strides, b_strides), (lo, _), dilation, size = strides, g.crop[-1], g.dilation[-1], elements.stored_size
        count = math.prod(g.kernel)
        for first, taps in block.pieces(g.kernel[-1]):
            shift = first * dilation - lo
            masks, begin, end = _masks(width, length, [shift + t * dilation for t in range(taps)], elements.lanes)
            self._masks.append(masks)
            most = block.channels_of(taps, group_a, group_b)
            for group, a, b in product(range(g.groups), range(0, group_a, most[0]), range(0, group_b, most[1])):
                sums = block.SumBlock(min(most[0], group_a - a), min(most[1], group_b - b), taps, dilation)
                place = (group * group_a + a) * group_b + b
                entry = {
                    "function": block.address(sums, elements),
                    "a": (group * group_a + a) * a_strides[1] * size,
                    "b": ((group * group_b + b) * b_strides[1] + shift) * size,
                    "out": (place * count + first) * elements.summed_size,
                    "masks": masks.ctypes.data,
                    "fast_begin": begin,
                    "fast_end": end,
                    "near_rows": max(1, _NEAR_BYTES // ((sums.a * width + sums.b * length) * size)),
                    "taps": taps,
                    "a_count": sums.a,
                    "b_count": sums.b,
                }
                entries.append([entry[name] for name in ENTRY])
        return entries

    def __call__(self, a: int, b: int, threads: int, openmp: OpenMPThreads | None = None) -> Array:
        """Return the gradient for arrays at these addresses."""
        parts = np.empty((self._tiles, *self._shape), self._dtype)
        values = {"a": a, "b": b, "parts": parts.ctypes.data, **self._frame}
        frame = _Frame(*(values[name] for name in FRAME))
        pool().run(self._function, ctypes.addressof(frame), self._scratch, 0, self._tiles, threads, openmp)
        total: Array = parts[0] if self._tiles == 1 else np.add.reduce(parts, axis=0)
        return total


def _row_offsets(sizes: list[int], strides: tuple[int, ...]) -> Array:
    """Return the offset of each row."""
    offsets = np.zeros((), np.int64)
    for size, step in zip(sizes, strides, strict=True):
        offsets = offsets[..., None] + np.arange(size) * step
    return np.ascontiguousarray(offsets.reshape(-1))


def _shifted_rows(g: Geometry, sizes: list[int], lengths: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """Return the offset of the row of b that meets each row of a at each tap [taps, rows]; NO_ROW outside of b."""
    offsets, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    axes = zip(g.kernel, g.stride, g.dilation, g.crop, sizes, lengths, strides, strict=False)  # all but the last
    for k, s, d, (lo, _), size, length, step in axes:
        rows = d * np.arange(k)[:, None] + s * np.arange(size) - lo
        offsets = (offsets[:, None, :, None] + rows[None, :, None] * step).reshape(len(offsets) * k, -1)
        there = (rows >= 0) & (rows < length)
        inside = (inside[:, None, :, None] & there[None, :, None]).reshape(len(inside) * k, -1)
    return np.where(inside, offsets, NO_ROW)


def _masks(width: int, length: int, shifts: list[int], lanes: int) -> tuple[Array, int, int]:
    """Return the lanes inside of a and of b at each shift, and the range of vectors that have all of them.

    The lanes are bits of an integer for each vector of a row.
    """
    places = np.arange(-(-width // lanes) * lanes)
    inside = [places < width]
    inside += [(places + shift >= 0) & (places + shift < length) & inside[0] for shift in shifts]
    bits = np.stack(inside).reshape(1 + len(shifts), -1, lanes)
    full = np.flatnonzero(bits.all(axis=(0, 2)))
    masks = (bits * (1 << np.arange(lanes))).sum(axis=2).T.astype(np.int64)
    # without gaps these are one after another
    begin, end = (int(full[0]), int(full[-1]) + 1) if full.size else (0, 0)
    return np.ascontiguousarray(masks), begin, end
