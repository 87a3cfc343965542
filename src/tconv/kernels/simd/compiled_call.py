"""Compiled call: tables, functions and a frame, for a problem and the strides of its arrays.

The forms of the kernel derive their calls from `CompiledCall`. To run it, a call adds the addresses of its arrays.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.call_frame import FRAME
from tconv.kernels.simd.openmp_threads import OpenMPThreads
from tconv.kernels.simd.thread_pool import pool

STREAM_FROM = 8 << 20
"""Bytes of output from which on it is written past the caches: they are too small for the next reader to find it."""
_STRETCH = 2e10
"""Operations between two moments at which Python can handle an interrupt: a fraction of a second."""


class CompiledCall:
    """Tiles of a problem, for a number of threads. A subclass sets `frame` and `tile_function`."""

    frame: Array
    """`call_frame.new_frame`"""
    tile_function: int
    """address of the function `(frame, local, number of the tile)`"""

    def __init__(self, p: Problem, tiles: int, threads: int, scratch: int, requested_threads: int) -> None:
        self.tiles, self.threads, self.scratch = tiles, threads, scratch
        self.requested_threads = requested_threads
        # tiles between two interrupts
        self.stretch = max(threads, round(_STRETCH * tiles / max(1, 2 * p.products)))
        self._tables: list[Array] = []

    def table_address(self, table: Any) -> int:
        """Return the address of a table of integers, which stays in memory as long as this object."""
        integers = np.ascontiguousarray(table, np.int64)
        self._tables.append(integers)
        return int(integers.ctypes.data)

    def run(
        self,
        x: int,
        weights: int,
        bias: int,
        out: int,
        slopes: int = 0,
        limits: int = 0,
        *,
        openmp: OpenMPThreads | None = None,
    ) -> bool:
        """Run the call with these addresses of its arrays; `limits` has the lowest and the highest output.

        Returns False if x has a number that this form cannot compute with; the contents of `out` are then invalid.
        """
        frame = _Frame.from_buffer_copy(self.frame.data)
        frame[_X], frame[_WEIGHTS], frame[_BIAS], frame[_OUT] = x, weights, bias, out
        frame[_SLOPES], frame[_LIMITS] = slopes, limits
        threads = pool()
        for begin in range(0, self.tiles, self.stretch):
            end = min(begin + self.stretch, self.tiles)
            address = ctypes.addressof(frame)
            threads.run(self.tile_function, address, self.scratch, begin, end, self.threads, openmp)
            if frame[_NOT_FINITE]:
                return False
        return True


_Frame = ctypes.c_int64 * len(FRAME)
_X, _WEIGHTS, _BIAS, _OUT, _SLOPES, _LIMITS, _NOT_FINITE = (
    FRAME[name] for name in ("x", "weights", "bias", "out", "slopes", "limits", "not_finite")
)
