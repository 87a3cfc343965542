"""What every form of the kernel makes of a problem: tables, functions and a frame. A call brings six addresses."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd.call_frame import FRAME
from tconv.kernels.simd.thread_pool import OpenMPThreads, pool

STREAM_FROM = 8 << 20
"""Bytes of output from which on it is written past the caches: they could not hold it for the next reader."""
_STRETCH = 2e10
"""Operations after which Python may look whether it is to stop: a fraction of a second."""


class Ready:
    """Items of work, ready to run on a number of threads. Whoever makes it sets `frame` and `item`."""

    frame: Array
    """`fields.frame`"""
    item: int
    """the function `(frame, local, item)`"""

    def __init__(self, p: Problem, items: int, threads: int, scratch: int, asked: int) -> None:
        self.items, self.threads, self.scratch, self.asked = items, threads, scratch, asked
        # between two stretches of this many items Python may be interrupted
        self.stretch = max(threads, round(_STRETCH * items / max(1, 2 * p.products)))
        self._kept: list[Array] = []

    def keep(self, table: Any) -> int:
        """The address of a table of integers, which is there as long as this is."""
        kept = np.ascontiguousarray(table, np.int64)
        self._kept.append(kept)
        return int(kept.ctypes.data)

    def run(
        self,
        x: int,
        weights: int,
        bias: int,
        out: int,
        slopes: int = 0,
        limits: int = 0,
        team: OpenMPThreads | None = None,
    ) -> bool:
        """The call itself, with the addresses of its arrays; `limits` holds a lowest and a highest output.

        False if a number in x is not for this form; what is in `out` then says nothing.
        """
        told = _Frame.from_buffer_copy(self.frame.data)
        told[_X], told[_WEIGHTS], told[_BIAS], told[_OUT] = x, weights, bias, out
        told[_SLOPES], told[_LIMITS] = slopes, limits
        threads = pool()
        for begin in range(0, self.items, self.stretch):
            end = min(begin + self.stretch, self.items)
            threads.run(self.item, ctypes.addressof(told), self.scratch, begin, end, self.threads, team)
            if told[_SPOILED]:
                return False
        return True


_Frame = ctypes.c_int64 * len(FRAME)
_X, _WEIGHTS, _BIAS, _OUT, _SLOPES, _LIMITS, _SPOILED = (
    FRAME[name] for name in ("x", "weights", "bias", "out", "slopes", "limits", "spoiled")
)
