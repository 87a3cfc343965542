"""Threads that run the tiles of a call: those of the pool, or those of an OpenMP runtime.

`Pool.run` gives a call its threads. Only one call at a time has helpers. A call that comes while they are busy runs on
its own thread alone, which is best for many callers on few cores. After a fork the child starts helpers of its own, and
touches nothing of the parent's pool.

`tile_tickets` shares the tiles of a call among its threads. How helpers wait for the next call depends on the system:
`futex_threads` on Linux, `python_threads` elsewhere, or where TCONV_POOL asks for them. `openmp_threads` runs a call on
the threads of PyTorch.
"""

from __future__ import annotations

import ctypes
import os
import threading

import numpy as np

from tconv._arrays import Array
from tconv._memory import aligned, mapped
from tconv.errors import ArgumentError
from tconv.kernels.num_threads import POOL_CAPACITY
from tconv.kernels.simd import futex_threads
from tconv.kernels.simd.futex_threads import FutexThreads
from tconv.kernels.simd.openmp_threads import OpenMPCalls, OpenMPThreads
from tconv.kernels.simd.python_threads import PythonThreads
from tconv.kernels.simd.tile_tickets import INTEGERS, SCRATCHES, YIELD, machine_function, write_serial, yield_address

_EMPTY: Array = np.zeros(0, np.uint8)


def helper_kind() -> type[FutexThreads] | type[PythonThreads]:
    """Return how helpers wait on this system, or as TCONV_POOL asks. Raises ArgumentError for another value of it."""
    given = os.environ.get("TCONV_POOL") or ""
    name = given.strip().lower() or ("futex" if futex_threads.AVAILABLE else "python")
    if name == "python":
        return PythonThreads
    if name == "futex" and futex_threads.AVAILABLE:
        return FutexThreads
    allowed = "futex or python" if futex_threads.AVAILABLE else "python (this system has no futex)"
    raise ArgumentError(f"TCONV_POOL is {given!r}; {allowed} is needed. Write TCONV_POOL=python")


class _Scratch(threading.local):
    """Scratch memory of a caller's thread. It is zero at first: denormals in unused lanes would be slow."""

    def __init__(self) -> None:
        self.memory = _EMPTY

    def at_least(self, size: int) -> Array:
        """Return at least this many bytes."""
        if self.memory.size < size:
            self.memory = aligned(size)
        return self.memory


class Pool:
    """Helper threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared = mapped(INTEGERS * 8)
        # helpers read it until the process ends, while the interpreter shuts down, too
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shared))
        self._state = np.frombuffer(self._shared, np.int64)
        self._state[YIELD] = yield_address()
        self._helper_scratches: list[Array] = []
        # all that a call of a compiled program may still use, which does not own the lock: replaced memory, too
        self._kept_scratches: list[Array] = []
        self._started = 0
        self._scratch = _Scratch()
        self._serial = machine_function("serial", write_serial, 5)
        self._helpers = helper_kind()(self._state)
        self._openmp: OpenMPCalls | None = None

    def run(
        self,
        tile_function: int,
        frame: int,
        scratch: int,
        begin: int,
        end: int,
        threads: int,
        openmp: OpenMPThreads | None = None,
    ) -> None:
        """Run the tiles in [begin, end) on at most this many threads, each with this many bytes of scratch memory.

        The threads beside the caller's are OpenMP threads if there are any, else helpers of the pool.
        """
        # in a local variable: at exit a daemon thread loses its thread-local memory, while machine code still uses it
        memory = self._scratch.at_least(scratch)
        address = memory.ctypes.data
        helpers = min(threads, end - begin, POOL_CAPACITY) - 1
        # not acquire(blocking=False): an interrupt between it and a `try` would leave it locked for ever
        if helpers > 0 and not self._lock.locked():
            with self._lock:
                self._allocate_scratch(helpers, scratch)
                if openmp is not None:
                    alone = not self._run_openmp(openmp, tile_function, frame, address, begin, end, helpers)
                else:
                    started = self._start_helpers(helpers)
                    alone = not self._helpers.run(tile_function, frame, address, begin, end, started)
                if len(self._kept_scratches) > len(self._helper_scratches) and not alone:
                    self._release_scratch()
        else:
            self._serial(tile_function, frame, address, begin, end)

    def _release_scratch(self) -> None:
        """Release replaced scratch memory, after a call had the helpers: no call that began before it has them."""
        used = {*self._state[SCRATCHES : SCRATCHES + POOL_CAPACITY].tolist()}
        self._kept_scratches = [memory for memory in self._kept_scratches if memory.ctypes.data in used]

    def prepare(self, threads: int, scratch: int) -> tuple[int, int]:
        """Start the helpers of calls of compiled programs, and allocate their scratch memory, which they never lose.

        Returns the address of the integers for the machine function `launch`, and the number of helpers: 0 where
        helpers cannot be called without Python.
        """
        if not isinstance(self._helpers, FutexThreads) or threads < 2:
            return self._state.ctypes.data, 0
        helpers = min(threads, POOL_CAPACITY) - 1
        with self._lock:
            self._allocate_scratch(helpers, scratch)
            return self._state.ctypes.data, self._start_helpers(helpers)

    def caller_scratch(self, size: int) -> Array:
        """Return at least this many bytes of scratch memory of the calling thread."""
        return self._scratch.at_least(size)

    def _run_openmp(
        self, openmp: OpenMPThreads, tile_function: int, frame: int, scratch: int, begin: int, end: int, helpers: int
    ) -> bool:
        if self._openmp is None:
            self._openmp = OpenMPCalls(self._state)
        return self._openmp.run(openmp, tile_function, frame, scratch, begin, end, helpers)

    def _allocate_scratch(self, helpers: int, size: int) -> None:
        """Give each helper at least this many bytes of scratch memory."""
        for number in range(helpers):
            if number == len(self._helper_scratches):
                self._helper_scratches.append(_EMPTY)
            if self._helper_scratches[number].size < size:
                memory = aligned(size)
                self._kept_scratches.append(memory)
                self._state[SCRATCHES + number] = memory.ctypes.data
                self._helper_scratches[number] = memory  # last: after an interrupt the next call allocates it again

    def _start_helpers(self, helpers: int) -> int:
        """Start helpers until there are this many, and return how many of them there are."""
        while self._started < helpers:
            helper = threading.Thread(target=self._helpers.work, args=(self._started,), daemon=True, name="tconv")
            self._started += 1  # first: no interrupt can make two helpers with one number
            self._helpers.count(self._started)
            try:
                helper.start()
            except RuntimeError:  # the system has no more threads, or the interpreter is about to exit
                self._started -= 1
                self._helpers.count(self._started)
                return self._started
        return helpers


_pool: Pool | None = None
_pool_lock = threading.RLock()


def pool() -> Pool:
    """Return the pool of this process."""
    global _pool
    if _pool is None:
        with _pool_lock:
            _pool = _pool or Pool()
    return _pool


def _after_fork() -> None:
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
