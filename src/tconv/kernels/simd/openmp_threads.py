"""Threads of an OpenMP runtime as helpers: PyTorch's own already wait on the cores.

They poll for work, and other helpers beside them would share the cores with them.
"""

from __future__ import annotations

from typing import NamedTuple

from tconv._arrays import Array
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.tile_tickets import (
    CALLER_SCRATCH,
    FLOAT_MODE,
    GET_THREAD_NUM,
    HELPERS,
    OWN_FLOAT_MODES,
    SCRATCHES,
    describe_call,
    machine_function,
    run_alone,
    run_tiles,
    run_together,
)
from tconv.kernels.simd.vector_ir import I64


class OpenMPThreads(NamedTuple):
    """Threads of an OpenMP runtime.

    `parallel` is the address of `GOMP_parallel`, `get_thread_num` that of `omp_get_thread_num`. `threads` is the number
    of threads that the runtime has: if it is asked for fewer, it ends the others.
    """

    parallel: int
    get_thread_num: int
    threads: int


def write_thread() -> str:
    """Write the function that each thread of the runtime runs: `(pool)`."""
    f = ThreadFunction("openmp_thread", 1)
    pool = f.arguments[0]
    number = f.call(f.load(pool, GET_THREAD_NUM, I64), returns=True) & 0xFFFFFFFF

    def help_caller() -> None:
        with f.when(number <= f.load(pool, HELPERS, I64)):
            f.save_float_mode(pool, number + OWN_FLOAT_MODES)
            f.restore_float_mode(pool, FLOAT_MODE)
            run_tiles(f, pool, f.load(pool, number + (SCRATCHES - 1), I64))
            f.restore_float_mode(pool, number + OWN_FLOAT_MODES)  # the thread belongs to the runtime

    f.cases(number.equals(0), lambda: run_tiles(f, pool, f.load(pool, CALLER_SCRATCH, I64)), help_caller)
    return f.finish()


def write_launch() -> str:
    """Write the function of a call on the threads of the runtime.

    Its arguments are `(pool, tile function, frame, scratch, begin, end, helpers, thread function, parallel, threads)`.
    """
    f = ThreadFunction("openmp_launch", 10, returns=True)
    pool, function, frame, scratch, begin, end, helpers, thread_function, parallel, threads = f.arguments

    def together() -> None:
        f.store(helpers, pool, HELPERS, I64)
        f.store(scratch, pool, CALLER_SCRATCH, I64)
        describe_call(f, pool, function, frame, begin, end)
        f.call(parallel, thread_function, pool, threads, 0)

    return f.finish(run_together(f, pool, together, lambda: run_alone(f, function, frame, scratch, begin, end)))


class OpenMPCalls:
    """Calls on the threads of an OpenMP runtime."""

    def __init__(self, state: Array) -> None:
        self._state, self._base = state, state.ctypes.data
        self._launch = machine_function("openmp_launch", write_launch, 10, returns=True)
        self._thread = OBJECT_CACHE.address("openmp_thread", write_thread)

    def run(
        self, openmp: OpenMPThreads, tile_function: int, frame: int, scratch: int, begin: int, end: int, helpers: int
    ) -> bool:
        """Run the tiles in [begin, end) on the caller's thread and this many others; False if those were busy."""
        self._state[GET_THREAD_NUM] = openmp.get_thread_num
        tiles = tile_function, frame, scratch, begin, end, helpers
        return bool(self._launch(self._base, *tiles, self._thread, openmp.parallel, openmp.threads))
