"""Machine code of a call: it finds or packs the weight, fills a frame, and runs the tiles."""

from __future__ import annotations

from llvmlite import ir

from tconv.kernels.simd.call_frame import FRAME
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.native_call import places
from tconv.kernels.simd.native_call.places import (
    ADDRESS,
    BIASES,
    CONVERT,
    DIRECT,
    DONE,
    FRAME_INTEGERS,
    FRAME_PLACE,
    HELPERS,
    IS_DIRECT,
    LINE,
    NEEDS_OTHER,
    NO_MEMORY,
    PLAN,
    POOL,
    SCRATCH,
    SHARED,
    TAKE,
    THREADS,
    UNFIT,
)
from tconv.kernels.simd.native_call.scratch import address_in, give_back
from tconv.kernels.simd.native_call.slots import find, fingerprint, release, request
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I64, Value


def write_call() -> str:
    """Write the function of a call: `(record, x, weight, bias, out)`; returns `DONE`, or why it failed."""
    f = ThreadFunction("native_call", 5, returns=True)
    record, *arrays = f.arguments
    run = f.load(f.load(record, SHARED, I64), places.RUN, I64)
    result = f.var(f.call(run, record, *arrays, returns=True))
    with f.when(result.value.equals(NEEDS_OTHER)):
        with f.when(f.load(record, IS_DIRECT, I64).equals(0)):
            direct = f.var(f.atomic_load(record, DIRECT))
            with f.when(direct.value.equals(0)):
                request(f, record, places.MAKE_DIRECT, 0, 0, 0, 0)
                direct.set(f.atomic_load(record, DIRECT))
            with f.when(direct.value.differs(0)):
                result.set(f.call(run, direct.value, *arrays, returns=True))
        with f.when(result.value.equals(NEEDS_OTHER)):
            result.set(request(f, record, places.COMPUTE, *arrays))
    return f.finish(result.value)


def write_run() -> str:
    """Write the function of a call in the form of its record, with the arguments of `write_call`.

    It returns `NEEDS_OTHER` for numbers that the form cannot compute with.
    """
    f = ThreadFunction("native_run", 5, returns=True)
    record, _, weight, _, _ = f.arguments
    shared = f.load(record, SHARED, I64)
    plan = _plan(f, record, shared)
    pool = f.atomic_load(shared, POOL)
    helpers = f.select(f.load(plan, places.PLAN_POOL, I64).equals(pool), f.load(plan, HELPERS, I64), 0)
    scratch = f.call(f.load(shared, TAKE, I64), shared, f.load(plan, SCRATCH, I64), returns=True)
    result = f.var(NO_MEMORY)
    with f.when(scratch.differs(0)):
        results = address_in(f, scratch, f.load(plan, places.HASH_PLACE, I64))
        known = fingerprint(f, record, weight, results, pool, helpers)
        slot = f.var(find(f, record, known))
        with f.when(slot.value.equals(0)):
            miss = f.load(shared, places.MISS, I64)
            local = f.load(scratch, places.SCRATCH_ADDRESS, I64)
            slot.set(f.call(miss, record, weight, known, results, local, pool, helpers, returns=True))

        def unfit() -> None:
            result.set(NEEDS_OTHER)

        def fit() -> None:
            result.set(_run_tiles(f, plan, scratch, slot.value, pool, helpers))

        def use() -> None:
            f.cases(f.load(slot.value, UNFIT, I64).equals(1), unfit, fit)
            release(f, shared, slot.value)

        f.cases(slot.value > 0, use, lambda: result.set(0 - slot.value))
        give_back(f, scratch)
    return f.finish(result.value)


def _plan(f: ThreadFunction, record: Value, shared: Value) -> Value:
    """Return the address of the plan for the present number of threads and the present pool."""
    plan = f.var(f.atomic_load(record, PLAN))
    old = f.load(plan.value, places.REQUESTED, I64).differs(f.atomic_load(shared, THREADS))
    foreign = f.load(plan.value, places.PLAN_POOL, I64).differs(f.atomic_load(shared, POOL))
    without = f.both(f.load(plan.value, HELPERS, I64) > 0, foreign)
    with f.when(Value(f, f.b.or_(old.ir, without.ir))):
        request(f, record, places.MAKE_PLAN, 0, 0, 0, 0)
        plan.set(f.atomic_load(record, PLAN))
    return plan.value


def _run_tiles(f: ThreadFunction, plan: Value, scratch: Value, slot: Value, pool: Value, helpers: Value) -> Value:
    """Run the tiles of a plan, and return the result."""
    record, x, _, bias, out = f.arguments
    shared, frame = f.load(record, SHARED, I64), f.integers(FRAME_INTEGERS)
    line = ir.VectorType(I64, LINE)
    for place in range(0, FRAME_INTEGERS, LINE):
        f.store(f.load(plan, FRAME_PLACE + place, line), frame, place)
    flat, convert = f.var(bias), f.load(record, CONVERT, I64)
    with f.when(f.both(bias.differs(0), convert.differs(0))):
        flat.set(address_in(f, scratch, f.load(plan, places.BIAS_PLACE, I64)))
        f.call(convert, bias, flat.value, f.load(record, BIASES, I64))
    arrays = {"x": x, "weights": f.load(slot, ADDRESS, I64), "bias": flat.value, "out": out}
    for name, value in arrays.items():
        f.store(value, frame, FRAME[name], I64)
    tile, tiles = (f.load(plan, place, I64) for place in (places.TILE_FUNCTION, places.TILES))
    local, launch = f.load(scratch, places.SCRATCH_ADDRESS, I64), f.load(shared, places.LAUNCH, I64)
    f.run_tiles_of(tile, frame, local, tiles, launch, pool, helpers)
    return f.select(f.atomic_load(frame, FRAME["not_finite"]).equals(0), DONE, NEEDS_OTHER)


def write_convert(name: str, elements: Elements) -> str:
    """Write the function that widens numbers: `(source, target, count)`."""
    f = ThreadFunction(name, 3, elements)
    source, target, count = f.arguments
    with f.loop(count) as i:
        f.store(f.load_stored_number(source, i), target, i)
    return f.finish()
