"""Integers of this process that all records share: settings, and the addresses of the functions of machine code."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import mapped, physical_memory
from tconv.kernels import num_threads
from tconv.kernels.simd import futex_threads
from tconv.kernels.simd.native_call import machine_code, places, scratch, slots, weight_hash
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.tile_tickets import yield_address

MOST_KEPT = min(1 << 30, (physical_memory() or 1 << 33) // 8)
"""Bytes of packed weights that are kept for compiled programs."""


def _c_functions() -> tuple[int, int, int]:
    """Return the addresses of calloc, free and, where there is one, madvise."""
    library: Any = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    names = "calloc", "free", "madvise"
    found = [getattr(library, name, None) if name != "madvise" or sys.platform == "linux" else None for name in names]
    calloc, free, madvise = (0 if each is None else ctypes.cast(each, ctypes.c_void_p).value or 0 for each in found)
    return calloc, free, madvise


def code_addresses() -> dict[int, int]:
    """Return the addresses of the machine functions by their places in the table."""
    address = OBJECT_CACHE.address
    return {
        places.LAUNCH: address("launch", futex_threads.write_launch) if futex_threads.AVAILABLE else 0,
        places.HASH: address("weight_hash", weight_hash.write_hash),
        places.HASH_CHUNK: address("weight_hash_chunk", weight_hash.write_chunk),
        places.TAKE: address("native_take", scratch.write_take),
        places.MISS: address("native_miss", slots.write_miss),
        places.RUN: address("native_run", machine_code.write_run),
        places.CALL: address("native_call", machine_code.write_call),
    }


class ProcessTable:
    """Integers of this process that all records refer to."""

    def __init__(self, addresses: dict[int, int], callback: int) -> None:
        self._memory = mapped(places.SHARED_INTEGERS * 8)
        self.integers: Array = np.frombuffer(self._memory, np.int64)
        self.base = int(self.integers.ctypes.data)
        self._pool: Any = None  # of `prepare_pool`: its memory is in use
        table = self.integers
        secret = np.random.default_rng(0x9E3779B9).integers(-(1 << 63), 1 << 63, places.SECRETS, np.int64)
        table[places.SECRET : places.SECRET + places.SECRETS] = secret
        table[[places.ALLOCATE, places.FREE, places.ADVISE]] = _c_functions()
        table[[*addresses]] = [*addresses.values()]
        table[places.YIELD], table[places.CALLBACK] = yield_address(), callback
        table[places.LIMIT], table[places.THREADS] = MOST_KEPT, num_threads.get_num_threads()

    def prepare_pool(self, threads: int, size: int) -> tuple[int, int]:
        """Return the address of the pool's integers, and the helpers with this many bytes of scratch memory."""
        self._pool = pool()
        base, helpers = self._pool.prepare(threads, size)
        self.integers[places.POOL] = base
        return base, helpers

    def take_note(self) -> None:
        """Take note of the number of threads that a call may use."""
        self.integers[places.THREADS] = num_threads.get_num_threads()

    def forget_parent(self) -> None:
        """Forget, in a forked child, the pool of the parent, and the calls of threads that are not there any more."""
        self._pool, self.integers[places.POOL] = None, 0
        self.integers[places.SCRATCHES + places.TAKEN :: places.LINE] = 0

    def end(self) -> None:
        """Call no function of Python any more, and keep all this in memory until the process ends."""
        self.integers[places.ENDED] = 1
        for each in (self, self._pool):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))
