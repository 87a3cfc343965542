"""Tickets: how the threads of a call share its tiles, in machine code. Each takes the number of the next tile.

The threads of this process share one array of integers, whose places are named here. A call opens by writing itself
into the array; helpers enter it while it is open. When no tile is left, the caller closes it and waits for the last
tiles of those that entered. A helper that comes too late finds it closed, and touches nothing of it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from tconv.kernels.num_threads import POOL_CAPACITY
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I64, Value

POLLS = 1500
"""Pauses before a waiting thread sleeps: some tens of microseconds."""
_OPEN, _CALL = 1 << 15, 1 << 16  # bits of _STATE: helpers may enter; one call

# places of the integers that the threads share; those that change during a call have a cache line of their own
_STATE = 0  # number of the call x _CALL, _OPEN while helpers may enter, and the number of helpers in it
_TICKET = 8  # number of the next tile
GENERATION = 16  # number of the call: helpers wait until it changes
SLEEPERS = 24
_END, _TILE_FUNCTION, _FRAME, HELPERS, FLOAT_MODE = 32, 33, 34, 35, 36  # of the present call
YIELD = 37  # address of the system's function that gives the core to another thread
AVOIDED_CORE, STARTED = 38, 39  # the core that helpers avoid, and how many helpers there are
CALLER_SCRATCH, GET_THREAD_NUM = 40, 41  # with OpenMP: scratch memory of the caller, address of omp_get_thread_num
BUSY = 48  # 1 while a call has the helpers: calls of compiled programs take them without Python's lock
SCRATCHES = 64  # addresses of the helpers' scratch memory
THREAD_IDS = SCRATCHES + POOL_CAPACITY  # the system's numbers of the helpers; 0 until they have written them
CORES = THREAD_IDS + POOL_CAPACITY  # a set of cores, one bit each
CORES_INTEGERS = 16
OWN_FLOAT_MODES = CORES + CORES_INTEGERS  # float modes of OpenMP threads outside of the call
INTEGERS = OWN_FLOAT_MODES + POOL_CAPACITY


def describe_call(f: ThreadFunction, pool: Value, function: Value, frame: Value, begin: Value, end: Value) -> None:
    """Write the tiles of a call, and the float mode of its caller, for the threads that will run them."""
    for place, value in ((_END, end), (_TILE_FUNCTION, function), (_FRAME, frame)):
        f.store(value, pool, place, I64)
    f.save_float_mode(pool, FLOAT_MODE)
    f.atomic_store(begin, pool, _TICKET)


def open_call(f: ThreadFunction, pool: Value) -> None:
    """Let helpers enter the call, and tell those that poll."""
    call = f.atomic_load(pool, GENERATION) + 1
    f.atomic_store(call * _CALL + _OPEN, pool, _STATE)
    f.atomic_store(call, pool, GENERATION)


def run_tiles(f: ThreadFunction, pool: Value, scratch: Value) -> None:
    """Take tiles and run them until none is left."""
    function, frame, end = (f.load(pool, place, I64) for place in (_TILE_FUNCTION, _FRAME, _END))
    with f.repeat() as leave:
        ticket = f.atomic_add(pool, _TICKET, 1)
        leave(ticket >= end)
        f.call(function, frame, scratch, ticket)


def close_call(f: ThreadFunction, pool: Value) -> None:
    """Let no helper enter any more, and wait until those in the call have finished their last tiles."""
    f.atomic_add(pool, _STATE, -_OPEN)
    polls = f.var(0)
    with f.repeat() as leave:
        leave((f.atomic_load(pool, _STATE) & (_OPEN - 1)).equals(0))
        f.pause()
        polls.set(polls.value + 1)
        with f.when(polls.value > POLLS):
            f.call(f.load(pool, YIELD, I64))


def is_open(f: ThreadFunction, pool: Value) -> Value:
    """Return the condition that a call is open."""
    return (f.atomic_load(pool, _STATE) & _OPEN).differs(0)


def poll(f: ThreadFunction, pool: Value, seen: Value) -> Value:
    """Wait for a call after the one with the number `seen`; returns how often it was asked for, at most `POLLS`."""
    polls = f.var(0)
    with f.repeat() as leave:
        leave(f.atomic_load(pool, GENERATION).differs(seen))
        leave(polls.value >= POLLS)
        f.pause()
        polls.set(polls.value + 1)
    return polls.value


def enter_call(f: ThreadFunction, pool: Value, number: Value) -> None:
    """Enter the present call if it is open, and run tiles of it if it has work for the helper with this number."""
    with f.repeat() as leave:
        state = f.atomic_load(pool, _STATE)
        leave((state & _OPEN).equals(0))
        entered = f.var(0)
        with f.when(f.atomic_swap(pool, _STATE, state, state + 1)):
            entered.set(1)
            with f.when(number < f.load(pool, HELPERS, I64)):
                f.restore_float_mode(pool, FLOAT_MODE)  # the caller's: the same bits on every thread
                run_tiles(f, pool, f.load(pool, number + SCRATCHES, I64))
            f.atomic_add(pool, _STATE, -1)
        leave(entered.value.equals(1))


def run_together(f: ThreadFunction, pool: Value, together: Callable[[], None], alone: Callable[[], None]) -> Value:
    """Run a call with the helpers, or alone while another one has them; returns 1 if it had them."""
    taken = f.var(0)

    def with_helpers() -> None:
        together()
        f.atomic_store(0, pool, BUSY)
        taken.set(1)

    f.cases(f.atomic_swap(pool, BUSY, 0, 1), with_helpers, alone)
    return taken.value


def write_serial() -> str:
    """Write the function of a call on the caller's thread alone: `(tile function, frame, scratch, begin, end)`."""
    f = ThreadFunction("serial", 5)
    run_alone(f, *f.arguments)
    return f.finish()


def run_alone(f: ThreadFunction, function: Value, frame: Value, scratch: Value, begin: Value, end: Value) -> None:
    """Run the tiles in [begin, end) on this thread."""
    with f.loop(begin, end) as tile:
        f.call(function, frame, scratch, tile)


def machine_function(name: str, write: Any, arguments: int, keeps_lock: bool = False, returns: bool = False) -> Any:
    """Return a machine function of this many integers as a function of ctypes.

    It runs without Python's lock; one that `keeps_lock` has to be short.
    """
    kind = ctypes.PYFUNCTYPE if keeps_lock else ctypes.CFUNCTYPE
    result = ctypes.c_int64 if returns else None
    return kind(result, *[ctypes.c_int64] * arguments)(OBJECT_CACHE.address(name, write))


def yield_address() -> int:
    """Return the address of the system's function that gives the core to another thread."""
    if sys.platform == "win32":
        function: Any = ctypes.WinDLL("kernel32").SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0
