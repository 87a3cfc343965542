"""Memory in machine code: scratch memory of callers' threads, and memory of packed weights.

The threads of JAX and TensorFlow are not Python's, so scratch memory belongs to no thread. A call takes the first free
piece of a list, makes it larger if it has to, and gives it back at its end: few callers always use the first pieces,
which are in the caches.
"""

from __future__ import annotations

from tconv.kernels.simd.native_call.places import (
    ADVISE,
    ALLOCATE,
    FREE,
    LINE,
    MOST_SCRATCHES,
    SCRATCH_ADDRESS,
    SCRATCH_RAW,
    SCRATCH_SIZE,
    SCRATCHES,
    TAKEN,
    YIELD,
)
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I64, Operand, Value

_CACHE_LINE, _HUGE_PAGE = 64, 2 << 20
_LARGE = 1 << 20
"""Bytes from which on memory begins at a huge page, as `_memory.aligned` has it."""
_HUGE_PAGES = 14  # MADV_HUGEPAGE of Linux


def allocate(f: ThreadFunction, shared: Value, size: Value) -> tuple[Value, Value]:
    """Return the address of zeroed memory as the system's function gave it, and aligned; (0, 0) if there is none."""
    boundary = f.select(size >= _LARGE, _HUGE_PAGE, _CACHE_LINE)
    raw = f.call(f.load(shared, ALLOCATE, I64), 1, size + boundary, returns=True)
    aligned = f.var(0)
    with f.when(raw.differs(0)):
        aligned.set((raw + boundary - 1) & (0 - boundary))
        advise = f.load(shared, ADVISE, I64)
        with f.when(f.both(size >= _LARGE, advise.differs(0))):
            f.call(advise, aligned.value, size, _HUGE_PAGES)
    return raw, aligned.value


def write_take() -> str:
    """Write the function that takes scratch memory, `(shared, bytes)`; returns the address of its entry, 0 if none."""
    f = ThreadFunction("native_take", 2, returns=True)
    shared, size = f.arguments
    entry, number = f.var(0), f.var(0)
    with f.repeat() as leave:
        place = shared + (number.value * LINE + SCRATCHES) * 8
        with f.when(f.atomic_load(place, TAKEN).equals(0)), f.when(f.atomic_swap(place, TAKEN, 0, 1)):
            entry.set(place)
        leave(entry.value.differs(0))
        number.set(number.value + 1)
        with f.when(number.value.equals(MOST_SCRATCHES)):
            number.set(0)
            f.call(f.load(shared, YIELD, I64))
    with f.when(f.load(entry.value, SCRATCH_SIZE, I64) < size):
        replaced = f.load(entry.value, SCRATCH_RAW, I64)
        f.store(0, entry.value, SCRATCH_SIZE, I64)
        f.store(0, entry.value, SCRATCH_RAW, I64)  # before it is free: a child that is forked meanwhile has it, too
        f.call(f.load(shared, FREE, I64), replaced)
        raw, aligned = allocate(f, shared, size)
        f.store(raw, entry.value, SCRATCH_RAW, I64)
        f.store(aligned, entry.value, SCRATCH_ADDRESS, I64)
        f.atomic_store(f.select(raw.equals(0), 0, size), entry.value, SCRATCH_SIZE)
        with f.when(raw.equals(0)):
            give_back(f, entry.value)
            entry.set(0)
    return f.finish(entry.value)


def give_back(f: ThreadFunction, entry: Value) -> None:
    """Let other calls take the scratch memory of an entry."""
    f.atomic_store(0, entry, TAKEN)


def address_in(f: ThreadFunction, entry: Value, place: Operand) -> Value:
    """Return the address of a place in the scratch memory of an entry."""
    return f.load(entry, SCRATCH_ADDRESS, I64) + place
