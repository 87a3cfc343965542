"""Sequence of compiled calls, one after another in machine code, for one call from Python.

Short calls cost more in Python than on the cores. A sequence knows the addresses of all arrays in advance; arrays that
differ from run to run are found by tables of addresses (`add_copies`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.simd import futex_threads
from tconv.kernels.simd.call_frame import FRAME
from tconv.kernels.simd.compiled_call import CompiledCall
from tconv.kernels.simd.elementwise import element_pass, lstm_pass
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.thread_pool import Pool, pool
from tconv.kernels.simd.tile_tickets import machine_function
from tconv.kernels.simd.vector_ir import I64

_ENTRY = 4
"""Integers of a call: function of its tiles, frame, number of tiles, helpers."""


class CallSequence:
    """Calls in the order in which they run."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, Array, int, int]] = []
        self._kept: list[Any] = []  # arrays and tables whose addresses the frames have
        self._scratch = 0
        self._pool: Pool | None = None
        self._table: Array = np.zeros((0, _ENTRY), np.int64)
        self._arguments: tuple[int, int, int] = 0, 0, 0
        self._function = machine_function("call_sequence", _write_sequence, 5)
        self._alone = False

    def add(
        self,
        call: CompiledCall,
        x: Array,
        weights: Array,
        bias: Array | None,
        out: Array,
        activation: tuple[Array, ...],
    ) -> None:
        """Add a call with its arrays, which stay in memory as long as the sequence; slopes and limits if activated."""
        frame = call.frame.copy()
        names = ("x", x), ("weights", weights), ("bias", bias), ("out", out)
        for name, array in (*names, *zip(("slopes", "limits"), activation, strict=False)):
            frame[FRAME[name]] = 0 if array is None else array.ctypes.data
        self._kept.append((call, x, weights, bias, out, activation))
        self._scratch = max(self._scratch, call.scratch)
        self._add(call.tile_function, frame, call.tiles, call.threads)

    def add_copies(self, table: Array, offset: int, array: Array, size: int, into: bool) -> None:
        """Add copies of `size` bytes between array[b] and the address table[b] + offset, for every b.

        With `into` they are written into the array, else read from it.
        """
        pitch = array.strides[0] if len(array) > 1 else 0
        numbers = table.ctypes.data, offset, array.ctypes.data, pitch, size, len(table)
        name = f"copies_{'into' if into else 'out_of'}"
        self._kept.append((table, array))
        self._add(OBJECT_CACHE.address(name, lambda: _write_copies(name, into)), np.array(numbers, np.int64), 1, 1)

    def add_pass(self, name: str, inputs: tuple[Array, ...], numbers: tuple[float, ...], out: Array) -> None:
        """Add a pass of `elementwise.element_pass` over rows [rows, ...] of one shape, each in C order."""
        self._kept.append((inputs, out))
        self._add(element_pass.address(name), *element_pass.frame_of(inputs, numbers, out))

    def add_lstm(self, inputs: Array, sums: Array, cell: Array, out: Array) -> None:
        """Add `elementwise.lstm`."""
        self._kept.append((inputs, sums, cell, out))
        self._add(lstm_pass.address(), lstm_pass.frame_of(inputs, sums, cell, out), len(out), 1)

    def _add(self, function: int, frame: Array, tiles: int, threads: int) -> None:
        self._calls.append((function, frame, tiles, threads))
        self._pool = None

    def run(self) -> None:
        """Run all calls."""
        threads = pool()
        if threads is not self._pool:
            self._bind(threads)
        if self._alone:  # helpers that only Python can call
            for function, frame, tiles, count in self._calls:
                threads.run(function, frame.ctypes.data, self._scratch, 0, tiles, count)
            return
        memory = threads.caller_scratch(self._scratch)  # in a variable: it is in use until the calls end
        self._function(self._arguments[0], len(self._calls), memory.ctypes.data, *self._arguments[1:])

    def _bind(self, threads: Pool) -> None:
        """Write the table of the calls, for the helpers of this process."""
        most = max((min(count, tiles) for _, _, tiles, count in self._calls), default=1)
        base, helpers = threads.prepare(most, self._scratch)
        self._alone = most > 1 and helpers == 0
        rows = [
            (function, frame.ctypes.data, tiles, min(count - 1, tiles - 1, helpers))
            for function, frame, tiles, count in self._calls
        ]
        self._table = np.array(rows, np.int64).reshape(-1, _ENTRY)
        launch = OBJECT_CACHE.address("launch", futex_threads.write_launch) if helpers else 0
        self._arguments = self._table.ctypes.data, launch, base
        self._pool = threads


def _write_sequence() -> str:
    """Write the function `(table, number of calls, scratch of the caller, launch, pool)`."""
    f = ThreadFunction("call_sequence", 5)
    table, count, scratch, launch, pool = f.arguments
    with f.loop(count) as number:
        tile, frame, tiles, helpers = (f.load(table, number * _ENTRY + place, I64) for place in range(_ENTRY))
        f.run_tiles_of(tile, frame, scratch, tiles, launch, pool, helpers)
    return f.finish()


def _write_copies(name: str, into: bool) -> str:
    """Write the tile of copies: `(frame, local, number)`."""
    f = ThreadFunction(name, 3)
    table, offset, array, pitch, size, count = (f.load(f.arguments[0], place, I64) for place in range(6))
    with f.loop(count) as number:
        ours, theirs = array + number * pitch, f.load(table, number, I64) + offset
        f.external("memcpy", *((ours, theirs) if into else (theirs, ours)), size)
    return f.finish()
