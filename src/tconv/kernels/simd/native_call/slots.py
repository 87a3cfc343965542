"""Packed weights of a record, in machine code: they are found by the fingerprint of the weight's bytes.

A slot counts the calls that use it, and is replaced only while there are none. A thread that writes it makes the count
negative, so that no other uses it meanwhile. A weight that is new takes the place of one that was never found again,
as in training, where each weight is used once; a weight that comes back takes an empty slot, or the one that was not
used for longest. If all are in use, or if no more memory may be kept, the packed weight is released with the call.
"""

from __future__ import annotations

from tconv.kernels.simd.native_call.places import (
    ADDRESS,
    CALLBACK,
    CLOCK,
    DONE,
    ENDED,
    ENDED_EARLY,
    FINGERPRINT,
    FORGOTTEN,
    FOUND,
    FREE,
    HASH,
    HASH_CHUNK,
    KEPT,
    LAUNCH,
    LIMIT,
    LINE,
    MAKE_ROOM,
    MOST_FORGOTTEN,
    NEEDS_OTHER,
    NO_MEMORY,
    PACK,
    PACK_WEIGHT,
    PACKED_BYTES,
    PART_COUNT,
    PARTS,
    RAW,
    READERS,
    SECRET,
    SHARED,
    SLOT_COUNT,
    SLOTS,
    TEMPORARY,
    UNFIT,
    USED,
    WEIGHT_BYTES,
    WRITING,
)
from tconv.kernels.simd.native_call.scratch import allocate
from tconv.kernels.simd.native_call.weight_gather import PARTS as PARTS_PLACE
from tconv.kernels.simd.native_call.weight_gather import SOURCE, TARGET
from tconv.kernels.simd.native_call.weight_gather import UNFIT as GATHER_UNFIT
from tconv.kernels.simd.native_call.weight_hash import chunk_bytes_of
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I64, Operand, Value

_LONG_AGO, _EMPTY, _ONCE = 2 << 56, 1 << 56, 0
"""Order in which slots are replaced, before the time of their last use."""
_TRIES = 4


def fingerprint(f: ThreadFunction, record: Value, weight: Value, results: Value, pool: Value, helpers: Value) -> Value:
    """Return the fingerprint of a record's weight. `results` is memory for the hashes of its chunks."""
    shared, size = f.load(record, SHARED, I64), f.load(record, WEIGHT_BYTES, I64)
    tile, launch = f.load(shared, HASH_CHUNK, I64), f.load(shared, LAUNCH, I64)
    more = chunk_bytes_of(f, size), results, shared + SECRET * 8, tile, launch, pool, helpers
    return f.call(f.load(shared, HASH, I64), weight, size, *more, returns=True)


def _slot(record: Value, number: Operand) -> Value:
    return record + (number * LINE + SLOTS) * 8 if isinstance(number, Value) else record + (SLOTS + number * LINE) * 8


def find(f: ThreadFunction, record: Value, wanted: Value) -> Value:
    """Return the address of the slot with this fingerprint, now in use by this call; 0 if there is none."""
    found = f.var(0)
    with f.loop(f.load(record, SLOT_COUNT, I64)) as number:
        slot = _slot(record, number)
        with f.when(f.both(f.atomic_load(slot, FINGERPRINT).equals(wanted), found.value.equals(0))):
            readers = f.atomic_add(slot, READERS, 1)

            def use(slot: Value = slot) -> None:
                f.atomic_store(f.atomic_add(record, CLOCK, 1), slot, USED)
                f.atomic_add(slot, FOUND, 1)
                found.set(slot)

            def leave(slot: Value = slot) -> None:
                f.atomic_add(slot, READERS, -1)

            same = f.atomic_load(slot, FINGERPRINT).equals(wanted)
            f.cases(f.both(readers >= 0, same), use, leave)
    return found.value


def write_miss() -> str:
    """Write the function that packs a weight: `(record, weight, fingerprint, results, local, pool, helpers)`.

    It returns the address of a slot that is in use by this call, or the negative of a result.
    """
    f = ThreadFunction("native_miss", 7, returns=True)
    record, weight, known, results, local, pool, helpers = f.arguments
    shared, size = f.load(record, SHARED, I64), f.load(record, PACKED_BYTES, I64)
    slot, failed = f.var(_chosen(f, record, known)), f.var(DONE)
    with f.when(slot.value.differs(0)), f.when(f.load(slot.value, RAW, I64).equals(0)):
        kept = f.var(_reserved(f, shared, size))
        with f.when(f.both(kept.value.equals(0), f.atomic_load(shared, ENDED).equals(0))):
            f.call(f.load(shared, CALLBACK, I64), record, MAKE_ROOM, size, 0, 0, 0, returns=True)
            kept.set(_reserved(f, shared, size))

        def fill() -> None:
            raw, aligned = allocate(f, shared, size)
            f.store(aligned, slot.value, ADDRESS, I64)
            f.atomic_store(raw, slot.value, RAW)  # last: a child that is forked meanwhile takes it for complete
            with f.when(raw.equals(0)):
                f.atomic_add(shared, KEPT, 0 - size)

        f.cases(kept.value.equals(1), fill, lambda: None)
        with f.when(f.load(slot.value, RAW, I64).equals(0)):
            f.atomic_add(slot.value, READERS, WRITING)
            slot.set(0)
    with f.when(slot.value.equals(0)):
        raw, aligned = allocate(f, shared, size + LINE * 8)
        failed.set(f.select(raw.equals(0), NO_MEMORY, DONE))
        with f.when(raw.differs(0)):
            f.store(raw, aligned, RAW, I64)
            f.store(aligned + LINE * 8, aligned, ADDRESS, I64)
            f.store(1, aligned, TEMPORARY, I64)
            f.store(-WRITING, aligned, READERS, I64)
            slot.set(aligned)
    with f.when(slot.value.differs(0)):
        taken = slot.value
        result = _packed(f, record, weight, f.load(taken, ADDRESS, I64), (local, pool, helpers))
        # another thread may have written the weight meanwhile: then it has another fingerprint, and is not found
        after = fingerprint(f, record, weight, results, pool, helpers)
        usable = f.select(result.equals(DONE), 1, f.select(result.equals(NEEDS_OTHER), 1, 0))
        f.store(f.select(result.equals(NEEDS_OTHER), 1, 0), taken, UNFIT, I64)
        f.store(0, taken, FOUND, I64)
        f.store(f.atomic_add(record, CLOCK, 1), taken, USED, I64)
        f.atomic_store(f.select(f.both(usable.equals(1), after.equals(known)), known, 0), taken, FINGERPRINT)
        f.atomic_add(taken, READERS, WRITING + 1)
        with f.when(usable.equals(0)):
            release(f, shared, taken)
            failed.set(result)
    return f.finish(f.select(failed.value.equals(DONE), slot.value, 0 - failed.value))


def _chosen(f: ThreadFunction, record: Value, known: Value) -> Value:
    """Return the address of a slot that this call may write, its last fingerprint forgotten; 0 if all are in use."""
    returns = f.var(0)
    for place in range(FORGOTTEN, FORGOTTEN + MOST_FORGOTTEN):
        returns.set(f.select(f.atomic_load(record, place).equals(known), 1, returns.value))
    chosen, tries = f.var(0), f.var(0)
    with f.repeat() as leave:
        best, least = f.var(0), f.var(1 << 62)
        with f.loop(f.load(record, SLOT_COUNT, I64)) as number:
            slot = _slot(record, number)
            empty = f.load(slot, RAW, I64).equals(0)
            once = f.both(f.atomic_load(slot, FOUND).equals(0), returns.value.equals(0))
            order = f.select(empty, _EMPTY, f.select(once, _ONCE, _LONG_AGO)) + f.atomic_load(slot, USED)
            better = f.both(f.atomic_load(slot, READERS).equals(0), order < least.value)
            best.set(f.select(better, slot, best.value))
            least.set(f.select(better, order, least.value))
        leave(best.value.equals(0))
        with f.when(f.atomic_swap(best.value, READERS, 0, -WRITING)):
            chosen.set(best.value)
        leave(chosen.value.differs(0))
        tries.set(tries.value + 1)
        leave(tries.value >= _TRIES)
    with f.when(chosen.value.differs(0)):
        before = f.atomic_load(chosen.value, FINGERPRINT)
        with f.when(before.differs(0)):
            last = f.atomic_load(record, CLOCK) % MOST_FORGOTTEN
            f.atomic_store(before, record + last * 8, FORGOTTEN)
        f.atomic_store(0, chosen.value, FINGERPRINT)
    return chosen.value


def _reserved(f: ThreadFunction, shared: Value, size: Value) -> Value:
    """Return 1 if this many bytes more may be kept, and count them; else 0."""
    kept = f.atomic_add(shared, KEPT, size) + size
    fits = f.var(1)
    with f.when(kept > f.load(shared, LIMIT, I64)):
        f.atomic_add(shared, KEPT, 0 - size)
        fits.set(0)
    return fits.value


def _packed(
    f: ThreadFunction, record: Value, weight: Value, target: Value, threads: tuple[Value, Value, Value]
) -> Value:
    """Pack a weight, and return the result: `NEEDS_OTHER` for numbers that the form cannot compute with."""
    shared, pack = f.load(record, SHARED, I64), f.atomic_load(record, PACK)
    local, pool, helpers = threads
    result = f.var(DONE)

    def gathered() -> None:
        frame = f.integers(LINE)
        for place, value in ((PARTS_PLACE, f.load(record, PARTS, I64)), (SOURCE, weight), (TARGET, target)):
            f.store(value, frame, place, I64)
        f.store(0, frame, GATHER_UNFIT, I64)
        parts, launch = f.load(record, PART_COUNT, I64), f.load(shared, LAUNCH, I64)
        f.run_tiles_of(pack, frame, local, parts, launch, pool, f.select(parts > 1, helpers, 0))
        result.set(f.select(f.atomic_load(frame, GATHER_UNFIT).equals(0), DONE, NEEDS_OTHER))

    def asked() -> None:
        result.set(request(f, record, PACK_WEIGHT, weight, target, 0, 0))

    f.cases(pack.differs(0), gathered, asked)
    return result.value


def request(f: ThreadFunction, record: Value, kind: int, *arguments: Operand) -> Value:
    """Ask Python, and return its result; `ENDED_EARLY` if the interpreter has ended."""
    shared, result = f.load(record, SHARED, I64), f.var(ENDED_EARLY)
    with f.when(f.atomic_load(shared, ENDED).equals(0)):
        result.set(f.call(f.load(shared, CALLBACK, I64), record, kind, *arguments, returns=True))
    return result.value


def release(f: ThreadFunction, shared: Value, slot: Value) -> None:
    """End the use of a slot by this call."""

    def temporary() -> None:
        f.call(f.load(shared, FREE, I64), f.load(slot, RAW, I64))

    def kept() -> None:
        f.atomic_add(slot, READERS, -1)

    f.cases(f.load(slot, TEMPORARY, I64).equals(1), temporary, kept)


def write_drop() -> str:
    """Write the function that releases the memory of a slot, `(shared, slot, bytes)`; returns them, or 0."""
    f = ThreadFunction("native_drop", 3, returns=True)
    shared, slot, size = f.arguments
    freed = f.var(0)
    with f.when(f.atomic_swap(slot, READERS, 0, -WRITING)):
        raw = f.load(slot, RAW, I64)
        f.atomic_store(0, slot, FINGERPRINT)
        with f.when(raw.differs(0)):
            f.store(0, slot, RAW, I64)
            f.call(f.load(shared, FREE, I64), raw)
            f.atomic_add(shared, KEPT, 0 - size)
            freed.set(size)
        f.atomic_add(slot, READERS, WRITING)
    return f.finish(freed.value)


def write_store() -> str:
    """Write the function that stores an integer for other threads: `(address, value)`."""
    f = ThreadFunction("native_store", 2)
    address, value = f.arguments
    f.atomic_store(value, address, 0)
    return f.finish()
