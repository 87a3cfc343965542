"""Threads that run the tiles of a call: they wait in machine code, and take tiles by tickets.

`Pool.run` gives a call its threads: helpers of the pool, or threads of an OpenMP runtime (`OpenMPThreads`), which
already wait on the cores. Only one call at a time has helpers. A call that comes while they are busy runs on its own
thread alone, which is best for many callers on few cores.

Helpers wait without Python's lock: they poll for a while, then sleep in the system (a futex). They avoid the core of
the caller: Linux may wake them on it, and they wait there for the caller while another core idles (on two cores, calls
of 3 ms took 5.5 for seconds on end). After a fork the child starts helpers of its own, and touches nothing of the
parent's pool. Without a futex (outside Linux) there are no helpers.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import aligned, mapped
from tconv.kernels.num_threads import POOL_CAPACITY
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I64, Value

_SYSTEM_CALLS = {"x86_64": (202, 186), "aarch64": (98, 178)}
_FUTEX, _GETTID = _SYSTEM_CALLS.get(platform.machine(), (0, 0)) if sys.platform == "linux" else (0, 0)
_WAIT, _WAKE = 128, 129  # for threads of this process only
_ALL = (1 << 31) - 1
_POLLS = 1500  # pauses before a helper sleeps: some tens of microseconds
_OPEN, _CALL = 1 << 15, 1 << 16  # bits of _STATE: helpers may enter; one call

# places of the integers that the threads share; those that change during a call have a cache line of their own
_STATE = 0  # number of the call x _CALL, _OPEN while helpers may enter, and the number of helpers in it
_TICKET = 8  # number of the next tile
_GENERATION = 16  # number of the call: helpers wait until it changes
_SLEEPERS = 24
_END, _TILE_FUNCTION, _FRAME, _HELPERS, _FLOAT_MODE = 32, 33, 34, 35, 36  # of the present call
_AVOIDED_CORE, _STARTED = 37, 38  # the core that helpers avoid, and how many helpers there are
_CALLER_SCRATCH, _GET_THREAD_NUM = 39, 40  # with OpenMP: scratch memory of the caller, address of omp_get_thread_num
_SCRATCHES = 64  # addresses of the helpers' scratch memory
_THREAD_IDS = _SCRATCHES + POOL_CAPACITY  # the system's numbers of the helpers; 0 until they have written them
_CORES = _THREAD_IDS + POOL_CAPACITY  # a set of cores, one bit each
_CORES_INTEGERS = 16
_OWN_FLOAT_MODES = _CORES + _CORES_INTEGERS  # float modes of OpenMP threads outside of the call

_EMPTY: Array = np.zeros(0, np.uint8)


class OpenMPThreads(NamedTuple):
    """Threads of an OpenMP runtime. They poll for work, and helpers beside them would share the cores with them.

    `parallel` is the address of `GOMP_parallel`, `get_thread_num` that of `omp_get_thread_num`. `threads` is the number
    of threads that the runtime has: if it is asked for fewer, it ends the others.
    """

    parallel: int
    get_thread_num: int
    threads: int


def _write_helper() -> str:
    """Write the function of a helper thread, `(pool, number of the helper)`. It never returns."""
    f = ThreadFunction("helper", 2)
    pool, number = f.arguments
    f.store(f.external("syscall", _GETTID, *[0] * 6), pool, number + _THREAD_IDS, I64)
    seen = f.var(0)  # the last call
    with f.repeat():
        polls = f.var(0)
        with f.repeat() as leave:
            leave(f.atomic_load(pool, _GENERATION).differs(seen.value))
            leave(polls.value >= _POLLS)
            f.pause()
            polls.set(polls.value + 1)
        with f.when(polls.value >= _POLLS):
            f.atomic_add(pool, _SLEEPERS, 1)
            f.external("syscall", _FUTEX, pool + _GENERATION * 8, _WAIT, seen.value & 0xFFFFFFFF, 0, 0, 0)
            f.atomic_add(pool, _SLEEPERS, -1)
        seen.set(f.atomic_load(pool, _GENERATION))
        with f.repeat() as leave:
            state = f.atomic_load(pool, _STATE)
            leave((state & _OPEN).equals(0))
            entered = f.var(0)
            with f.when(f.atomic_swap(pool, _STATE, state, state + 1)):
                entered.set(1)
                with f.when(number < f.load(pool, _HELPERS, I64)):
                    f.restore_float_mode(pool, _FLOAT_MODE)  # the caller's: the same bits on every thread
                    _run_tiles(f, pool, f.load(pool, number + _SCRATCHES, I64))
                f.atomic_add(pool, _STATE, -1)
            leave(entered.value.equals(1))
    return f.finish()


def _run_tiles(f: ThreadFunction, pool: Value, scratch: Value) -> None:
    """Take tiles and run them until none is left."""
    function, frame, end = (f.load(pool, place, I64) for place in (_TILE_FUNCTION, _FRAME, _END))
    with f.repeat() as leave:
        ticket = f.atomic_add(pool, _TICKET, 1)
        leave(ticket >= end)
        f.call(function, frame, scratch, ticket)


def _write_launch() -> str:
    """Write the function of a call with helpers: `(pool, tile function, frame, scratch, begin, end, helpers)`."""
    f = ThreadFunction("launch", 7)
    pool, function, frame, scratch, begin, end, helpers = f.arguments
    for place, value in ((_END, end), (_TILE_FUNCTION, function), (_FRAME, frame), (_HELPERS, helpers)):
        f.store(value, pool, place, I64)
    f.save_float_mode(pool, _FLOAT_MODE)
    core = f.external("sched_getcpu") & 0xFFFFFFFF
    with f.when(core.differs(f.load(pool, _AVOIDED_CORE, I64))):
        _avoid_core(f, pool, core)
    f.atomic_store(begin, pool, _TICKET)
    call = f.atomic_load(pool, _GENERATION) + 1
    f.atomic_store(call * _CALL + _OPEN, pool, _STATE)
    f.atomic_store(call, pool, _GENERATION)
    with f.when(f.atomic_load(pool, _SLEEPERS) > 0):
        f.external("syscall", _FUTEX, pool + _GENERATION * 8, _WAKE, _ALL, 0, 0, 0)
    _run_tiles(f, pool, scratch)
    f.atomic_add(pool, _STATE, -_OPEN)
    polls = f.var(0)
    with f.repeat() as leave:  # until the helpers have finished their last tiles
        leave((f.atomic_load(pool, _STATE) & (_OPEN - 1)).equals(0))
        f.pause()
        polls.set(polls.value + 1)
        with f.when(polls.value > _POLLS):
            f.external("sched_yield")
    return f.finish()


def _write_openmp_thread() -> str:
    """Write the function that each thread of an OpenMP runtime runs: `(pool)`."""
    f = ThreadFunction("openmp_thread", 1)
    pool = f.arguments[0]
    number = f.call(f.load(pool, _GET_THREAD_NUM, I64), returns=True) & 0xFFFFFFFF

    def help_caller() -> None:
        with f.when(number <= f.load(pool, _HELPERS, I64)):
            f.save_float_mode(pool, number + _OWN_FLOAT_MODES)
            f.restore_float_mode(pool, _FLOAT_MODE)
            _run_tiles(f, pool, f.load(pool, number + (_SCRATCHES - 1), I64))
            f.restore_float_mode(pool, number + _OWN_FLOAT_MODES)  # the thread belongs to the runtime

    f.cases(number.equals(0), lambda: _run_tiles(f, pool, f.load(pool, _CALLER_SCRATCH, I64)), help_caller)
    return f.finish()


def _write_openmp_launch() -> str:
    """Write the function that runs a call on the threads of an OpenMP runtime.

    Its arguments are `(pool, tile function, frame, scratch, begin, end, helpers, thread function, parallel, threads)`.
    """
    f = ThreadFunction("openmp_launch", 10)
    pool, function, frame, scratch, begin, end, helpers, thread_function, parallel, threads = f.arguments
    values = ((_END, end), (_TILE_FUNCTION, function), (_FRAME, frame), (_HELPERS, helpers), (_CALLER_SCRATCH, scratch))
    for place, value in values:
        f.store(value, pool, place, I64)
    f.save_float_mode(pool, _FLOAT_MODE)
    f.atomic_store(begin, pool, _TICKET)
    f.call(parallel, thread_function, pool, threads, 0)
    return f.finish()


def _avoid_core(f: ThreadFunction, pool: Value, core: Value) -> None:
    """Let all helpers run where the caller may run, except on this core, which it is on, if there is another."""
    size, cores = _CORES_INTEGERS * 8, pool + _CORES * 8
    failed = f.external("sched_getaffinity", 0, size, cores) & 0xFFFFFFFF
    known = f.var(1)
    with f.when(f.both(failed.equals(0), core < _CORES_INTEGERS * 64)):
        bits = f.load(cores, core >> 6, I64)
        f.store(bits - (bits & (f.value(1) << (core & 63))), cores, core >> 6, I64)
        others = f.var(0)
        with f.loop(_CORES_INTEGERS) as number:
            others.set(f.select(f.load(cores, number, I64).differs(0), 1, others.value))
        with f.when(others.value > 0), f.loop(f.load(pool, _STARTED, I64)) as number:
            thread = f.load(pool, number + _THREAD_IDS, I64)
            known.set(f.select(thread.equals(0), 0, known.value))
            with f.when(thread > 0):
                f.external("sched_setaffinity", thread, size, cores)
    f.store(f.select(known.value > 0, core, -1), pool, _AVOIDED_CORE, I64)


def _write_serial() -> str:
    """Write the function of a call on the caller's thread alone: `(tile function, frame, scratch, begin, end)`."""
    f = ThreadFunction("serial", 5)
    function, frame, scratch, begin, end = f.arguments
    with f.loop(begin, end) as tile:
        f.call(function, frame, scratch, tile)
    return f.finish()


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
        self._shared = mapped((_OWN_FLOAT_MODES + POOL_CAPACITY) * 8)
        # helpers read it until the process ends, while the interpreter shuts down, too
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shared))
        self._state = np.frombuffer(self._shared, np.int64)
        self._base = self._state.ctypes.data
        self._helper_scratches: list[Array] = []
        self._started = 0
        self._scratch = _Scratch()
        self._serial = _function("serial", _write_serial, 5)
        self._launch = _function("launch", _write_launch, 7) if _FUTEX else None
        self._openmp_launch: Any = None

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
        if helpers > 0 and (openmp or self._launch) is not None and not self._lock.locked():
            with self._lock:
                self._allocate_scratch(helpers, scratch)
                if openmp is not None:
                    self._run_openmp(openmp, tile_function, frame, address, begin, end, helpers)
                elif self._launch is not None:
                    started = self._start_helpers(helpers)
                    self._launch(self._base, tile_function, frame, address, begin, end, started)
        else:
            self._serial(tile_function, frame, address, begin, end)

    def _run_openmp(
        self, openmp: OpenMPThreads, tile_function: int, frame: int, scratch: int, begin: int, end: int, helpers: int
    ) -> None:
        if self._openmp_launch is None:
            launch = _function("openmp_launch", _write_openmp_launch, 10)
            self._openmp_launch = launch, OBJECT_CACHE.address("openmp_thread", _write_openmp_thread)
        launch, thread_function = self._openmp_launch
        self._state[_GET_THREAD_NUM] = openmp.get_thread_num
        tiles = tile_function, frame, scratch, begin, end, helpers
        launch(self._base, *tiles, thread_function, openmp.parallel, openmp.threads)

    def _allocate_scratch(self, helpers: int, size: int) -> None:
        """Give each helper at least this many bytes of scratch memory."""
        for number in range(helpers):
            if number == len(self._helper_scratches):
                self._helper_scratches.append(_EMPTY)
            if self._helper_scratches[number].size < size:
                self._helper_scratches[number] = _EMPTY  # if an interrupt comes now, the next call allocates it again
                memory = aligned(size)
                self._state[_SCRATCHES + number] = memory.ctypes.data
                self._helper_scratches[number] = memory

    def _start_helpers(self, helpers: int) -> int:
        """Start helpers until there are this many, and return how many of them there are."""
        while self._started < helpers:
            function = _function("helper", _write_helper, 2)
            helper = threading.Thread(target=function, args=(self._base, self._started), daemon=True, name="tconv")
            self._started += 1  # first: no interrupt can make two helpers with one number
            try:
                helper.start()
            except RuntimeError:  # the system has no more threads, or the interpreter is about to exit
                self._started -= 1
                return self._started
            self._state[_AVOIDED_CORE], self._state[_STARTED] = -1, self._started
        return helpers


def _function(name: str, write: Any, arguments: int) -> Any:
    """Return a machine function of this many integers as a function of ctypes, which runs without Python's lock."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)
    return kind(OBJECT_CACHE.address(name, write))


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
