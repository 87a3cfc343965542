"""The threads: a few that wait in machine code, and take items of work by tickets.

One call at a time has the helpers; a call that comes while they are busy runs on its own thread alone, which is what
many callers on few cores want. Somebody else's threads may help instead (`Team`): those that already wait on the cores.
Helpers wait by looking for a while, then by sleeping in the kernel (a futex), without
Python's lock. They keep off the core that the caller is on: Linux may wake them right there, and they wait for it to
finish while another core idles (on two cores, calls of 3 ms took 5.5 for seconds on end). After a fork the child
starts helpers of its own; nothing of the parent's pool is touched. Where there is no futex (outside Linux) there are
no helpers.
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
from tconv.kernels.num_threads import PLACES
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.object_cache import LIBRARY
from tconv.kernels.simd.vector_ir import I64, Function, Value

_CALLS = {"x86_64": (202, 186), "aarch64": (98, 178)}
_FUTEX, _GETTID = _CALLS.get(platform.machine(), (0, 0)) if sys.platform == "linux" else (0, 0)
_WAIT, _WAKE = 128, 129  # private to the process
_ALL = (1 << 31) - 1
_LOOKS = 1500  # pauses before a helper sleeps: some tens of microseconds
_OPEN, _JOB = 1 << 15, 1 << 16

# the integers of a pool
_STATE = 0  # number of the job, whether it is open, and how many helpers are in it
_TICKET = 8  # the next item; each of these has a cache line of its own
_GENERATION = 16  # number of the job, again: what helpers wait for
_SLEEPERS = 24
_END, _ITEM, _FRAME, _WANTED, _MODE = 32, 33, 34, 35, 36
_CORE, _STARTED = 37, 38  # the core that helpers keep off, and how many there are
_CALLER, _NUMBER = 39, 40  # of a team: the caller's memory, and the function that says which thread one is
_LOCALS = 64
_THREADS = _LOCALS + PLACES  # what the system calls them; 0 until they say it
_CORES = _THREADS + PLACES  # a set of cores, a bit each
_WORDS = 16
_MODES = _CORES + _WORDS  # how the threads of a team round for others

_NOTHING: Array = np.zeros(0, np.uint8)


class Team(NamedTuple):
    """The threads of an OpenMP runtime, which wait for work by looking for it, and would be in the way of others.

    `parallel` is the address of its `GOMP_parallel`, `number` that of `omp_get_thread_num`, `threads` how many it has:
    a runtime that is asked for fewer ends the others.
    """

    parallel: int
    number: int
    threads: int


def _write_serve() -> str:
    """A helper's life: `(pool, its number)`."""
    f = Function("serve", 2, target().lanes)
    pool, number = f.arguments
    f.store(f.external("syscall", _GETTID, *[0] * 6), pool, number + _THREADS, I64)
    seen = f.var(0)
    with f.repeat():
        looks = f.var(0)
        with f.repeat() as leave:
            leave(f.atomic_load(pool, _GENERATION).differs(seen.value))
            leave(looks.value >= _LOOKS)
            f.pause()
            looks.set(looks.value + 1)
        with f.when(looks.value >= _LOOKS):
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
                with f.when(number < f.load(pool, _WANTED, I64)):
                    f.take_float_mode(pool, _MODE)  # the same bits, whichever thread computes them
                    _take(f, pool, f.load(pool, number + _LOCALS, I64))
                f.atomic_add(pool, _STATE, -1)
            leave(entered.value.equals(1))
    return f.finish()


def _take(f: Function, pool: Value, local: Value) -> None:
    """Items until none is left."""
    item, frame, end = (f.load(pool, place, I64) for place in (_ITEM, _FRAME, _END))
    with f.repeat() as leave:
        ticket = f.atomic_add(pool, _TICKET, 1)
        leave(ticket >= end)
        f.call(item, frame, local, ticket)


def _write_launch() -> str:
    """One call with helpers: `(pool, item function, frame, local, begin, end, helpers)`."""
    f = Function("launch", 7, target().lanes)
    pool, item, frame, local, begin, end, wanted = f.arguments
    for place, value in ((_END, end), (_ITEM, item), (_FRAME, frame), (_WANTED, wanted)):
        f.store(value, pool, place, I64)
    f.keep_float_mode(pool, _MODE)
    core = f.external("sched_getcpu") & 0xFFFFFFFF
    with f.when(core.differs(f.load(pool, _CORE, I64))):
        _keep_off(f, pool, core)
    f.atomic_store(begin, pool, _TICKET)
    job = f.atomic_load(pool, _GENERATION) + 1
    f.atomic_store(job * _JOB + _OPEN, pool, _STATE)
    f.atomic_store(job, pool, _GENERATION)
    with f.when(f.atomic_load(pool, _SLEEPERS) > 0):
        f.external("syscall", _FUTEX, pool + _GENERATION * 8, _WAKE, _ALL, 0, 0, 0)
    _take(f, pool, local)
    f.atomic_add(pool, _STATE, -_OPEN)
    waited = f.var(0)
    with f.repeat() as leave:  # for helpers that are still at an item
        leave((f.atomic_load(pool, _STATE) & (_OPEN - 1)).equals(0))
        f.pause()
        waited.set(waited.value + 1)
        with f.when(waited.value > _LOOKS):
            f.external("sched_yield")
    return f.finish()


def _write_join() -> str:
    """One thread of a team: `(pool)`."""
    f = Function("join", 1, target().lanes)
    pool = f.arguments[0]
    number = f.call(f.load(pool, _NUMBER, I64), returns=True) & 0xFFFFFFFF

    def help_() -> None:
        with f.when(number <= f.load(pool, _WANTED, I64)):
            f.keep_float_mode(pool, number + _MODES)
            f.take_float_mode(pool, _MODE)
            _take(f, pool, f.load(pool, number + (_LOCALS - 1), I64))
            f.take_float_mode(pool, number + _MODES)  # the thread is somebody else's

    f.cases(number.equals(0), lambda: _take(f, pool, f.load(pool, _CALLER, I64)), help_)
    return f.finish()


def _write_gather() -> str:
    """One call with a team: `(pool, item function, frame, local, begin, end, helpers, join, parallel, threads)`."""
    f = Function("gather", 10, target().lanes)
    pool, item, frame, local, begin, end, wanted, join, parallel, threads = f.arguments
    for place, value in ((_END, end), (_ITEM, item), (_FRAME, frame), (_WANTED, wanted), (_CALLER, local)):
        f.store(value, pool, place, I64)
    f.keep_float_mode(pool, _MODE)
    f.atomic_store(begin, pool, _TICKET)
    f.call(parallel, join, pool, threads, 0)
    return f.finish()


def _keep_off(f: Function, pool: Value, core: Value) -> None:
    """Let all helpers run where the caller may run, but not on the core where it is now, if there is another."""
    size, cores = _WORDS * 8, pool + _CORES * 8
    failed = f.external("sched_getaffinity", 0, size, cores) & 0xFFFFFFFF
    known = f.var(1)
    with f.when(f.both(failed.equals(0), core < _WORDS * 64)):
        word = f.load(cores, core >> 6, I64)
        f.store(word - (word & (f.value(1) << (core & 63))), cores, core >> 6, I64)
        others = f.var(0)
        with f.loop(_WORDS) as number:
            others.set(f.choose(f.load(cores, number, I64).differs(0), 1, others.value))
        with f.when(others.value > 0), f.loop(f.load(pool, _STARTED, I64)) as number:
            thread = f.load(pool, number + _THREADS, I64)
            known.set(f.choose(thread.equals(0), 0, known.value))
            with f.when(thread > 0):
                f.external("sched_setaffinity", thread, size, cores)
    f.store(f.choose(known.value > 0, core, -1), pool, _CORE, I64)


def _write_alone() -> str:
    """One call on the caller's thread: `(item function, frame, local, begin, end)`."""
    f = Function("alone", 5, target().lanes)
    item, frame, local, begin, end = f.arguments
    with f.loop(begin, end) as ticket:
        f.call(item, frame, local, ticket)
    return f.finish()


class _Scratch(threading.local):
    """A thread's own memory: zeros at first, so that no lane holds a number that is slow to compute with."""

    def __init__(self) -> None:
        self.memory = _NOTHING

    def of(self, size: int) -> Array:
        """At least so many bytes."""
        if self.memory.size < size:
            self.memory = aligned(size)
        return self.memory


class Pool:
    """The helpers of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared = mapped((_MODES + PLACES) * 8)
        # helpers look at it until the process ends, whatever the interpreter has taken apart by then
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shared))
        self._state = np.frombuffer(self._shared, np.int64)
        self._base = self._state.ctypes.data
        self._memories: list[Array] = []
        self._started = 0
        self._scratch = _Scratch()
        self._alone = _function("alone", _write_alone, 5)
        self._launch = _function("launch", _write_launch, 7) if _FUTEX else None
        self._gather: Any = None

    def run(
        self, item: int, frame: int, scratch: int, begin: int, end: int, threads: int, team: Team | None = None
    ) -> None:
        """All items in [begin, end), on at most this many threads, each with this many bytes of scratch memory.

        The helpers are a team's threads, if there is one, else the pool's own.
        """
        # held by this frame: at exit a daemon thread loses what is its own, while machine code still uses it
        memory = self._scratch.of(scratch)
        local = memory.ctypes.data
        wanted = min(threads, end - begin, PLACES) - 1
        # not acquire(blocking=False): an interrupt between it and a `try` would leave it locked for ever
        if wanted > 0 and (team or self._launch) is not None and not self._lock.locked():
            with self._lock:
                self._lend(wanted, scratch)
                if team is not None:
                    self._with_team(team, item, frame, local, begin, end, wanted)
                elif self._launch is not None:
                    self._launch(self._base, item, frame, local, begin, end, self._start(wanted))
        else:
            self._alone(item, frame, local, begin, end)

    def _with_team(self, team: Team, item: int, frame: int, local: int, begin: int, end: int, wanted: int) -> None:
        if self._gather is None:
            self._gather = _function("gather", _write_gather, 10), LIBRARY.address("join", _write_join)
        gather, join = self._gather
        self._state[_NUMBER] = team.number
        gather(self._base, item, frame, local, begin, end, wanted, join, team.parallel, team.threads)

    def _lend(self, wanted: int, scratch: int) -> None:
        """Give each helper its memory."""
        for number in range(wanted):
            if number == len(self._memories):
                self._memories.append(_NOTHING)
            if self._memories[number].size < scratch:
                self._memories[number] = _NOTHING  # whatever interrupts this, the next call does it again
                memory = aligned(scratch)
                self._state[_LOCALS + number] = memory.ctypes.data
                self._memories[number] = memory

    def _start(self, wanted: int) -> int:
        """Start the helpers that are missing; how many there are, at most `wanted`."""
        while self._started < wanted:
            serve = _function("serve", _write_serve, 2)
            helper = threading.Thread(target=serve, args=(self._base, self._started), daemon=True, name="tconv")
            self._started += 1  # first: no interrupt can make two helpers with one number
            try:
                helper.start()
            except RuntimeError:  # the system has no more threads, or the interpreter is about to exit
                self._started -= 1
                return self._started
            self._state[_CORE], self._state[_STARTED] = -1, self._started
        return wanted


def _function(name: str, write: Any, arguments: int) -> Any:
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)
    return kind(LIBRARY.address(name, write))


_pool: Pool | None = None
_making = threading.RLock()


def pool() -> Pool:
    """The pool of this process."""
    global _pool
    if _pool is None:
        with _making:
            _pool = _pool or Pool()
    return _pool


def _after_fork() -> None:
    global _pool, _making
    _pool, _making = None, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
