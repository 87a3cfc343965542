"""Helper threads of Linux: they wait in machine code, and never need Python's lock.

They poll for a while, then sleep in the system (a futex). They avoid the core of the caller: Linux may wake them on it,
and they wait there for the caller while another core idles (on two cores, calls of 3 ms took 5.5 for seconds on end).
"""

from __future__ import annotations

import platform
import sys

from tconv._arrays import Array
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.tile_tickets import (
    AVOIDED_CORE,
    CORES,
    CORES_INTEGERS,
    GENERATION,
    HELPERS,
    POLLS,
    SLEEPERS,
    STARTED,
    THREAD_IDS,
    close_call,
    describe_call,
    enter_call,
    machine_function,
    open_call,
    poll,
    run_alone,
    run_tiles,
    run_together,
)
from tconv.kernels.simd.vector_ir import I64, Value

_SYSTEM_CALLS = {"x86_64": (202, 186), "aarch64": (98, 178)}
_FUTEX, _GETTID = _SYSTEM_CALLS.get(platform.machine(), (0, 0)) if sys.platform == "linux" else (0, 0)
_WAIT, _WAKE = 128, 129  # for threads of this process only
_ALL = (1 << 31) - 1
AVAILABLE = _FUTEX > 0
"""True where a futex can be called by its number."""


def write_helper() -> str:
    """Write the function of a helper thread, `(pool, number of the helper)`. It never returns."""
    f = ThreadFunction("helper", 2)
    pool, number = f.arguments
    f.store(f.external("syscall", _GETTID, *[0] * 6), pool, number + THREAD_IDS, I64)
    seen = f.var(0)  # the last call
    with f.repeat():
        with f.when(poll(f, pool, seen.value) >= POLLS):
            f.atomic_add(pool, SLEEPERS, 1)
            f.external("syscall", _FUTEX, pool + GENERATION * 8, _WAIT, seen.value & 0xFFFFFFFF, 0, 0, 0)
            f.atomic_add(pool, SLEEPERS, -1)
        seen.set(f.atomic_load(pool, GENERATION))
        enter_call(f, pool, number)
    return f.finish()


def write_launch() -> str:
    """Write the function of a call with helpers: `(pool, tile function, frame, scratch, begin, end, helpers)`.

    It returns 1 if it had them, 0 if another call did.
    """
    f = ThreadFunction("launch", 7, returns=True)
    pool, function, frame, scratch, begin, end, helpers = f.arguments

    def together() -> None:
        f.store(helpers, pool, HELPERS, I64)
        core = f.external("sched_getcpu") & 0xFFFFFFFF
        with f.when(core.differs(f.load(pool, AVOIDED_CORE, I64))):
            _avoid_core(f, pool, core)
        describe_call(f, pool, function, frame, begin, end)
        open_call(f, pool)
        with f.when(f.atomic_load(pool, SLEEPERS) > 0):
            f.external("syscall", _FUTEX, pool + GENERATION * 8, _WAKE, _ALL, 0, 0, 0)
        run_tiles(f, pool, scratch)
        close_call(f, pool)

    return f.finish(run_together(f, pool, together, lambda: run_alone(f, function, frame, scratch, begin, end)))


def _avoid_core(f: ThreadFunction, pool: Value, core: Value) -> None:
    """Let all helpers run where the caller may run, except on this core, which it is on, if there is another."""
    size, cores = CORES_INTEGERS * 8, pool + CORES * 8
    failed = f.external("sched_getaffinity", 0, size, cores) & 0xFFFFFFFF
    known = f.var(1)
    with f.when(f.both(failed.equals(0), core < CORES_INTEGERS * 64)):
        bits = f.load(cores, core >> 6, I64)
        f.store(bits - (bits & (f.value(1) << (core & 63))), cores, core >> 6, I64)
        others = f.var(0)
        with f.loop(CORES_INTEGERS) as number:
            others.set(f.select(f.load(cores, number, I64).differs(0), 1, others.value))
        with f.when(others.value > 0), f.loop(f.load(pool, STARTED, I64)) as number:
            thread = f.load(pool, number + THREAD_IDS, I64)
            known.set(f.select(thread.equals(0), 0, known.value))
            with f.when(thread > 0):
                f.external("sched_setaffinity", thread, size, cores)
    f.store(f.select(known.value > 0, core, -1), pool, AVOIDED_CORE, I64)


class FutexThreads:
    """Helpers that sleep in a futex."""

    def __init__(self, state: Array) -> None:
        self._state, self._base = state, state.ctypes.data
        self._helper = machine_function("helper", write_helper, 2)
        self._launch = machine_function("launch", write_launch, 7, returns=True)

    def work(self, number: int) -> None:
        """Be the helper with this number, for ever."""
        self._helper(self._base, number)

    def count(self, helpers: int) -> None:
        """Take note that there are, or will soon be, this many helpers."""
        self._state[AVOIDED_CORE], self._state[STARTED] = -1, helpers

    def run(self, tile_function: int, frame: int, scratch: int, begin: int, end: int, helpers: int) -> bool:
        """Run the tiles in [begin, end) on the caller's thread and this many helpers; False if those were busy."""
        return bool(self._launch(self._base, tile_function, frame, scratch, begin, end, helpers))
