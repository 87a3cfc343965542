"""Helper threads of any system: each waits for a lock of Python, and runs the machine code without Python's own lock.

A helper polls for the next call in machine code for a while, then returns to Python and sleeps in its lock. The caller
opens a call in machine code, releases the locks, and runs tiles. It never waits for a helper to wake, only for tiles
that a helper has taken, so a helper that Python's lock delays costs nothing but its help.

A lock is released at most once before its helper takes it. If the helper is awake then, it finds the lock free when it
next goes to sleep, polls once more, and sleeps.
"""

from __future__ import annotations

import threading

from tconv._arrays import Array
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.tile_tickets import (
    GENERATION,
    HELPERS,
    POLLS,
    close_call,
    describe_call,
    enter_call,
    is_open,
    machine_function,
    open_call,
    poll,
    run_tiles,
)
from tconv.kernels.simd.vector_ir import I64


def write_work() -> str:
    """Write the function of a helper that is awake, `(pool, number of the helper, last call)`; returns the last call.

    It runs tiles of every call that comes, until none comes for a while.
    """
    f = ThreadFunction("python_helper", 3, returns=True)
    pool, number, last = f.arguments
    seen = f.var(last)
    with f.repeat() as leave:
        leave(poll(f, pool, seen.value) >= POLLS)
        seen.set(f.atomic_load(pool, GENERATION))
        enter_call(f, pool, number)
    return f.finish(seen.value)


def write_open() -> str:
    """Write the function that opens a call: `(pool, tile function, frame, begin, end, helpers)`."""
    f = ThreadFunction("python_open", 6)
    pool, function, frame, begin, end, helpers = f.arguments
    f.store(helpers, pool, HELPERS, I64)
    describe_call(f, pool, function, frame, begin, end)
    open_call(f, pool)
    return f.finish()


def write_finish() -> str:
    """Write the function that runs an open call to its end: `(pool, scratch)`. If none is open it does nothing."""
    f = ThreadFunction("python_finish", 2)
    pool, scratch = f.arguments
    with f.when(is_open(f, pool)):
        run_tiles(f, pool, scratch)
        close_call(f, pool)
    return f.finish()


class PythonThreads:
    """Helpers that sleep in locks of Python."""

    def __init__(self, state: Array) -> None:
        self._base = state.ctypes.data
        self._work = machine_function("python_helper", write_work, 3, returns=True)
        self._open = machine_function("python_open", write_open, 6, keeps_lock=True)
        self._finish = machine_function("python_finish", write_finish, 2)
        self._locks: list[threading.Lock] = []

    def work(self, number: int) -> None:
        """Be the helper with this number, for ever."""
        work, base, sleep, last = self._work, self._base, self._locks[number].acquire, 0
        while True:
            last = work(base, number, last)
            sleep()

    def count(self, helpers: int) -> None:
        """Take note that there are, or will soon be, this many helpers."""
        while len(self._locks) < helpers:
            lock = threading.Lock()
            lock.acquire()
            self._locks.append(lock)

    def run(self, tile_function: int, frame: int, scratch: int, begin: int, end: int, helpers: int) -> bool:
        """Run the tiles in [begin, end) on the caller's thread and this many helpers. Returns True."""
        open_call, finish, base = self._open, self._finish, self._base
        try:  # an interrupt must not leave the call open: its arrays are about to be deleted
            open_call(base, tile_function, frame, begin, end, helpers)
            for lock in self._locks[:helpers]:
                if lock.locked():  # only this thread releases it
                    lock.release()
        finally:
            finish(base, scratch)
        return True
