"""Tests of calls of compiled programs: they have the bits of `conv_transpose`, on any thread and without Python."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import weakref

import numpy as np
import pytest

import tconv

pytest.importorskip("llvmlite")

from dtypes import KERNEL_DTYPES, dtype_of, same_bits
from native_calls import channels_last, drawn, layout_of, native_weight, record_of
from random_calls import problems
from tconv.dialects.layouts import WeightLayout
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd.native_call import NativeCall, native_function, places, record

linux = pytest.mark.skipif(sys.platform != "linux", reason="futex and mprotect of Linux")
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def calls_of(q, x, out, w, layout=None, **more):
    """Return the record of a random call, and the function of a weight that runs it and returns the output."""
    native = record_of(q, x, out, w, layout, **more)

    def run(weight, bias=q.bias):
        out[...] = np.nan
        native(x, weight, bias, out)
        return out

    return native, run


@pytest.fixture
def asked(monkeypatch):
    """Return a list of the requests that machine code makes to Python."""
    requests, answer = [], NativeCall._answer
    monkeypatch.setattr(NativeCall, "_answer", lambda self, *each: requests.append(each[0]) or answer(self, *each))
    return requests


@pytest.fixture
def layer(threads):
    """Return record, arrays and exact outputs of a layer on two threads, for some weights."""
    threads(2)
    rng, g = np.random.default_rng(0), Geometry((4, 4), 2, 1)
    x, weights = (rng.integers(-5, 6, s).astype(np.float32) for s in ((2, 24, 20, 20), (12, 24, 40, 4, 4)))
    p = Problem(g, 2, 24, 40, (20, 20), x.dtype)
    outputs = [tconv.conv_transpose(x, w, geometry=g, method="simd") for w in weights]
    native = NativeCall(p, x.strides, outputs[0].strides, weights[0].shape)

    def right(number):
        out = np.full_like(outputs[number], np.nan)
        native(x, weights[number], None, out)
        return np.array_equal(out, outputs[number])

    return native, right


# -- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("kind", problems.KINDS)
def test_calls_have_the_bits_of_conv_transpose(kind, dtype, threads):
    threads(2)
    rng, dtype = np.random.default_rng(len(kind)), dtype_of(dtype)
    for turn in range(6):
        q = drawn(rng, kind, dtype, 1 + turn % 3)
        x, out = q.x, np.empty_like(q.y)
        if turn % 2:
            x, out = channels_last(x), channels_last(out)
        layout = None if turn == 0 else layout_of(q, turn)
        w = q.w if layout is None else native_weight(q, layout)
        _, run = calls_of(q, x, out, w, layout)
        q.check(run(w))
        for _ in range(4):  # packed by Python, then by machine code
            q = q._replace(w=rng.standard_normal(q.w.shape).astype(dtype))
            w = q.w if layout is None else native_weight(q, layout)
            expected = tconv.conv_transpose(x, q.w, q.bias, geometry=q.geometry, method=q.method)
            for _ in range(2):
                same_bits(run(w), expected)


def test_every_form_runs(threads):
    threads(2)
    rng, forms = np.random.default_rng(0), set()
    for kernel, stride, groups, c_in, c_out, method in (
        ((4, 4), 2, 1, 40, 64, "simd"),
        ((4, 4), 2, 1, 40, 64, "winograd"),
        ((3,), 2, 1, 20, 33, "winograd"),
        ((4, 4), 2, 32, 32, 32, "simd"),
        ((2, 2), 2, 1, 64, 48, "simd"),
        ((2, 3, 3), (1, 2, 2), 1, 7, 32, "winograd"),
    ):
        g = Geometry(kernel, stride, groups=groups)
        for dtype, last in itertools.product(map(dtype_of, KERNEL_DTYPES), (False, True)):
            x = rng.standard_normal((2, c_in, *(11,) * g.ndim)).astype(dtype)
            weights = rng.standard_normal((4, c_in, c_out // groups, *kernel)).astype(dtype)
            bias = rng.standard_normal(c_out).astype(dtype)
            p = Problem(g, 2, c_in, c_out, x.shape[2:], dtype)
            out = np.full((2, c_out, *p.output_shape), np.nan, dtype)
            if last:
                x, out = channels_last(x), channels_last(out)
            native = NativeCall(p, x.strides, out.strides, weights[0].shape, None, method)
            forms.add(native._form.name)
            for w in (*weights, *weights):
                native(x, w, bias, out)
                same_bits(out, tconv.conv_transpose(x, w, bias, geometry=g, method=method))
    assert forms == {
        *("direct", "channel_lanes", "depthwise", "depthwise_last", "winograd_f22", "winograd_channels"),
    }


def test_any_strides():
    """Negative ones, and arrays with gaps, as far as they are whole elements."""
    rng = np.random.default_rng(0)
    for turn, kind in enumerate(problems.KINDS * 2):
        q = drawn(rng, kind)
        x = np.zeros([3 * size for size in q.x.shape], np.float32)[tuple(slice(1, 3 * n, 3) for n in q.x.shape)]
        x[...] = q.x
        out = np.zeros_like(q.y)[..., ::-1] if turn % 2 else np.zeros((*q.y.shape, 2), np.float32)[..., 1]
        _, run = calls_of(q, x, out, q.w)
        q.check(run(q.w))


def test_numbers_that_are_not_finite():
    """In x they spread as in the definition; in the weight they need Python."""
    rng, compared = np.random.default_rng(0), 0
    for kind, bad in itertools.product(problems.KINDS, (np.nan, np.inf, 1e30)):
        q = drawn(rng, kind)
        for array in ("x", "w"):
            changed = getattr(q, array).copy()
            changed.flat[rng.integers(changed.size)] = bad
            r, out = q._replace(**{array: changed}), np.empty_like(q.y)
            _, run = calls_of(r, r.x, out, r.w)
            with np.errstate(all="ignore"):
                # where every product is finite, in the order of the direct sum
                expected = tconv.conv_transpose(r.x, r.w, r.bias, geometry=r.geometry, method="taps")
                for _ in range(3):
                    np.testing.assert_allclose(run(r.w), expected, 1e-5, 1e-5)
            q.check(calls_of(q, q.x, out, q.w)[1](q.w))
            compared += 1
    assert compared == 6 * len(problems.KINDS)


def test_a_record_recovers_from_a_weight_that_is_not_finite(layer):
    native, right = layer
    x, w = np.ones((2, 24, 20, 20), np.float32), np.ones((24, 40, 4, 4), np.float32)
    w[3, 2, 1, 0] = np.nan
    out = np.zeros((2, 40, 40, 40), np.float32)
    for number in range(6):
        native(x, w, None, out)
        assert np.isnan(out[:, 2]).any()
        assert not np.isnan(out[:, 1]).any()
        assert right(number)


# -- weights ---------------------------------------------------------------------------------------------------------


def test_training_needs_no_python(asked):
    """A weight that changes in every step: Python packs the first two, and builds a table for all others."""
    rng = np.random.default_rng(0)
    for kind in problems.KINDS:
        q = drawn(rng, kind)
        w, out = q.w.copy(), np.empty_like(q.y)
        native, run = calls_of(q, q.x, out, w)
        before = asked.count(places.PACK_WEIGHT)
        for step in range(10):
            w *= -1
            w.flat[step % w.size] += 1
            expected = tconv.conv_transpose(q.x, w, q.bias, geometry=q.geometry, method="polyphase")
            np.testing.assert_array_equal(run(w), expected)
        assert asked.count(places.PACK_WEIGHT) - before <= 2
        # a step uses its weight once, so one packed weight is kept, at most two while the next is packed
        assert len(native._slots()) <= 2
    assert {*asked} <= {places.PACK_WEIGHT, places.MAKE_PLAN}


def test_weights_that_come_back_stay_packed(layer, asked):
    native, right = layer
    for _ in range(4):
        assert all(map(right, range(4)))
    native._record[places.PACK] = 0  # from now on machine code would have to ask
    del asked[:]
    assert all(right(number) for _ in range(5) for number in range(4))
    assert not asked


def test_more_weights_than_are_kept(layer):
    native, right = layer
    for order in (range(12), range(11, -1, -1), [0, 1, 0, 2, 0, 3, 0, 4, 0, 5]):
        assert all(right(number) for _ in range(2) for number in order)
    assert len(native._slots()) == 4


def test_weights_in_use_are_not_replaced(layer):
    """While all slots are in use, the packed weight of another call is temporary."""
    native, right = layer
    for _ in range(3):
        assert all(map(right, range(4)))
    readers = native._record[places.SLOTS + places.READERS :: places.LINE]
    found = native._record[places.SLOTS + places.FINGERPRINT :: places.LINE].copy()
    assert (readers == 0).all()
    assert found.all()
    readers += 1
    kept = record.table().integers[places.KEPT]
    assert all(right(number) for _ in range(2) for number in range(12))
    assert (readers == 1).all()
    np.testing.assert_array_equal(native._record[places.SLOTS + places.FINGERPRINT :: places.LINE], found)
    assert record.table().integers[places.KEPT] == kept
    assert native.drop() == 0
    readers -= 1
    assert all(map(right, range(12)))


def test_packed_weights_are_trimmed(layer):
    native, right = layer
    tconv.trim_pool()
    kept = record.table().integers
    assert kept[places.KEPT] == 0
    assert right(0)
    assert kept[places.KEPT] == native._packed_bytes == 24 * 40 * 16 * 4
    assert tconv.trim_pool() >= native._packed_bytes
    assert kept[places.KEPT] == 0
    assert all(map(right, (0, 0, 1, 0)))


def test_packed_weights_are_bounded(layer):
    native, right = layer
    other = NativeCall(native._problem, *native._bytes, native._weight_shape)
    tconv.trim_pool()
    table, limit = record.table().integers, record.table().integers[places.LIMIT]
    try:
        table[places.LIMIT] = 2 * native._packed_bytes
        for _ in range(3):
            assert all(map(right, range(12)))
        assert 0 < table[places.KEPT] <= table[places.LIMIT]
        # a record that comes later releases weights of others
        q = problems.Problem(*(np.ones(s, np.float32) for s in ((2, 24, 20, 20), (24, 40, 4, 4))), None, None, None)
        out = np.zeros((2, 40, 40, 40), np.float32)
        other(q.x, q.w, None, out)
        assert len(other._slots()) == 1
        table[places.LIMIT] = native._packed_bytes // 2  # none at all
        tconv.trim_pool()
        assert all(map(right, range(4)))
        assert table[places.KEPT] == 0
    finally:
        table[places.LIMIT] = limit


def test_a_deleted_record_releases_its_weights(threads):
    threads(1)
    tconv.trim_pool()
    q = drawn(np.random.default_rng(0))
    native, run = calls_of(q, q.x, np.empty_like(q.y), q.w)
    run(q.w)
    kept = record.table().integers
    assert kept[places.KEPT] == native._packed_bytes
    there = weakref.ref(native)
    del native, run
    gc.collect()
    assert there() is None
    assert kept[places.KEPT] == 0


def test_a_weight_that_another_thread_writes_is_not_kept(layer, monkeypatch):
    """Its fingerprint is taken again after the packing: the packed weight does not stay under the first one."""
    native, right = layer
    x, w = np.ones((2, 24, 20, 20), np.float32), np.ones((24, 40, 4, 4), np.float32)
    out, expected = (np.zeros((2, 40, 40, 40), np.float32) for _ in range(2))
    native(x, w, None, expected)
    tconv.trim_pool()
    native._record[places.PACK] = 0
    pack = NativeCall._pack

    def overwritten(self, *addresses):
        w[...] = 2
        return pack(self, *addresses)

    with monkeypatch.context() as patch:
        patch.setattr(NativeCall, "_pack", overwritten)
        native(x, w, None, out)
    np.testing.assert_array_equal(out, 2 * expected)
    w[...] = 1
    native(x, w, None, out)
    np.testing.assert_array_equal(out, expected)
    assert right(0)


def plan_of(native):
    """Return the plan that the machine code uses at present."""
    return next(plan for plan, _ in native._plans if plan.ctypes.data == native._record[places.PLAN])


# -- threads -----------------------------------------------------------------------------------------------------------


def at_once(work, count=8):
    """Run work(number) on threads at once, and raise the first error."""
    together, errors = threading.Barrier(count), []

    def run(number):
        try:
            together.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("weights", [1, 3, 12])
def test_eight_threads_on_one_record(layer, weights):
    _, right = layer

    def work(number):
        for turn in range(30):
            assert right((number + turn) % weights)

    at_once(work)


def test_eight_threads_on_records_of_their_own_beside_python(threads):
    threads(3)
    rng, drawn_calls = np.random.default_rng(0), []
    for kind in problems.KINDS:
        q = drawn(rng, kind)
        drawn_calls.append((q, calls_of(q, q.x, np.empty_like(q.y), q.w)[1]))

    def work(number):
        q, run = drawn_calls[number]
        for turn in range(40):
            if turn % 4 == 1:
                q.check(problems.run(q))  # on the pool of Python's calls, which has the same helpers
            q.check(run(q.w if turn % 3 else q.w.copy()))

    at_once(work)


def test_threads_beside_trimming_and_other_numbers_of_threads(layer, threads):
    native, right = layer

    def work(number):
        for turn in range(40):
            if number == 0:
                tconv.trim_pool()
                native.drop()
            elif number == 1:
                threads(1 + turn % 4)
            assert right((number * turn) % 12)

    at_once(work)


def test_more_callers_than_pieces_of_scratch_memory(layer, monkeypatch):
    _, right = layer
    table = record.table().integers
    taken = table[places.SCRATCHES + places.TAKEN :: places.LINE]
    taken[3:] = 1  # all but three

    try:
        at_once(lambda number: [right(number) for _ in range(10)].index(True))
        assert (taken[:3] == 0).all()
    finally:
        taken[...] = 0


def test_set_num_threads_is_honoured(layer, threads, asked):
    native, right = layer
    for count in (1, 3, 2, 1):
        threads(count)
        assert right(0)
        plan = plan_of(native)
        assert plan[places.REQUESTED] == count
        assert plan[places.HELPERS] <= count - 1
        del asked[:]
        assert right(0)
        assert not asked
    assert len(native._plans) == 3  # a number that comes back finds its plan again


@linux
def test_helpers_run_tiles_of_compiled_programs(layer):
    native, right = layer
    plan = plan_of(native)
    assert plan[places.HELPERS] == 1
    assert plan[places.PLAN_POOL] == record.table().integers[places.POOL] > 0
    assert all(map(right, range(12)))


BEGIN = """
import os, threading
import numpy as np, tconv
from native_calls import drawn, record_of
from random_calls import problems
from tconv.kernels.simd.native_call import places, record
tconv.set_num_threads(2)
rng = np.random.default_rng(0)
calls = []
for kind in problems.KINDS:
    q = drawn(rng, kind)
    calls.append((q, record_of(q, q.x, q.y, q.w)))
def right(call):
    q, native = call
    for w, sign in ((q.w, 1), (-q.w, -1)):
        out = np.full_like(q.y, np.nan)
        native(sign * q.x, w, q.bias, out)
        q.check(out)
"""


@posix
@pytest.mark.parametrize("pool", ["futex", "python"])
def test_forked_children_run_records_of_the_parent(pool, python):
    """With helpers of their own, and although a thread of the parent was in the middle of calls."""
    if pool == "futex" and sys.platform != "linux":
        pytest.skip("there is no futex")
    python(
        BEGIN
        + """
big = np.ones((2, 64, 40, 40), np.float32), np.ones((64, 64, 4, 4), np.float32), np.empty((2, 64, 82, 82), np.float32)
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd.native_call import NativeCall
native = NativeCall(Problem(Geometry((4, 4), 2), 2, 64, 64, (40, 40), np.dtype("f4")), big[0].strides, big[2].strides, big[1].shape)
native(big[0], big[1], None, big[2])
expected, stop = big[2].copy(), False
def work():
    own = np.empty_like(expected)
    while not stop:
        native(big[0], big[1], None, own)
thread = threading.Thread(target=work)
thread.start()
for turn in range(8):
    number = os.fork()
    if number == 0:
        try:
            for call in calls:
                right(call)
            own = np.empty_like(expected)
            native(big[0], 2 * big[1], None, own)
            np.testing.assert_array_equal(own, 2 * expected)
            plan = native._plans[-1][0]
            if os.environ["TCONV_POOL"] == "futex":
                assert plan[places.HELPERS] == 1 and plan[places.PLAN_POOL] == record.table().integers[places.POOL]
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
    for call in calls:
        right(call)
stop = True
thread.join()
""",
        TCONV_POOL=pool,
    )


def test_without_futex_calls_run_on_their_own_thread(python):
    python(
        BEGIN
        + """
for call in calls:
    right(call)
    assert call[1]._plans[-1][0][places.HELPERS] == 0
threads = [threading.Thread(target=right, args=(call,)) for call in calls]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
""",
        TCONV_POOL="python",
    )


# -- failures ----------------------------------------------------------------------------------------------------------


def test_errors_of_python_have_a_text(layer, monkeypatch):
    native, right = layer

    def failing(self, *addresses):
        raise MemoryError("a text with ümlauts, " + 2000 * "long ")

    with monkeypatch.context() as patch:
        patch.setattr(NativeCall, "_pack", failing)
        with pytest.raises(RuntimeError, match="MemoryError: a text with ümlauts, long"):
            right(0)
        assert native._record[places.TEXT] == native._text.ctypes.data
    assert all(map(right, range(4)))


def test_interrupts_in_python_have_a_text(layer, monkeypatch):
    _, right = layer

    def interrupted(self, *addresses):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(NativeCall, "_pack", interrupted)
        with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
            right(0)
    assert right(0)


def test_after_the_interpreter_has_ended(layer, threads):
    """What is packed runs, what needs Python fails with a text."""
    _, right = layer
    assert right(0)
    table = record.table().integers
    try:
        table[places.ENDED] = 1
        assert right(0)
        with pytest.raises(RuntimeError, match="interpreter, which has ended"):
            right(1)
        threads(1)  # the plan for two threads still runs
        assert right(0)
    finally:
        table[places.ENDED] = 0
    for number in range(4):
        assert right(number)
    table[places.ENDED] = 1
    try:
        assert all(map(right, range(12)))  # packed by machine code
    finally:
        table[places.ENDED] = 0


def test_without_memory_a_call_fails_with_a_text(layer):
    import ctypes

    _, right = layer
    nothing = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(lambda count, size: 0)
    table = record.table().integers
    tconv.trim_pool()
    before = table[places.ALLOCATE]
    try:
        table[places.ALLOCATE] = ctypes.cast(nothing, ctypes.c_void_p).value
        with pytest.raises(RuntimeError, match="no memory left"):
            right(0)
    finally:
        table[places.ALLOCATE] = before
    assert table[places.KEPT] == 0
    assert right(0)


@posix
@pytest.mark.parametrize("turn", range(3))
def test_the_interpreter_ends_while_threads_call(turn, python):
    """Daemon threads run records, with new weights, while the interpreter shuts down."""
    python(
        BEGIN
        + f"""
import ctypes, time
from tconv.kernels.simd.native_call import native_function
function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 5)(native_function())
def work(number):
    q, native = calls[number]
    out, w = np.empty_like(q.y), q.w.copy()
    addresses = [a.ctypes.data for a in (q.x, w)] + [0, out.ctypes.data]
    while True:
        w += 1
        function(native.address, *addresses)
for number in range({turn} + 2):
    threading.Thread(target=work, args=(number,), daemon=True).start()
time.sleep(0.1)
"""
    )


def test_the_address_of_the_function_is_one_for_all():
    assert native_function() == native_function() > 0


# -- memory ------------------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("cpu", ["host", "x86-64-v3", "x86-64-v2"])
def test_nothing_outside_of_the_arrays_is_touched(cpu, python):
    """x, weight, bias, out and scratch memory end where a page begins that may not be accessed."""
    import platform

    from test_memory_safety import GUARDED

    if cpu != "host" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("name of an x86 chip")
    python(
        GUARDED
        + """
from native_calls import LAYOUTS, layout_of, native_weight, record_of
from tconv.kernels.simd.native_call import places, record
tconv.set_num_threads(3)
rng, of_strides = (np.random.default_rng(0) for _ in range(2))
regions = [Region(1 << 20) for _ in range(4)]
table, kept = record.table().integers, []
for turn in range(2 if os.environ["TCONV_CPU"] != "host" else 4):
    for ndim in (1, 2, 3):
        for number, kind in enumerate(problems.KINDS):
            dtype = dtype_of(KERNEL_DTYPES[(turn + ndim + number) % 4])
            q = problems.problem(rng, ndim, kind).converted(dtype)
            layout, at_end = layout_of(q, turn), bool(turn % 2)
            w, arrays = native_weight(q, layout), []
            for region, array in zip(regions, (q.x, w, q.bias, q.y)):
                free = array is q.x or array is q.y
                arrays.append(None)
                if array is not None:
                    strides = strides_of(of_strides, array.shape, not free)
                    arrays[-1] = region.place(array.shape, strides, at_end, dtype)
                    arrays[-1][...] = array if array is not q.y else np.array(-1, f"i{dtype.itemsize}").view(dtype)
            x, w, bias, out = arrays
            native = record_of(q, x, out, w, layout)
            for step in range(5):
                scratch = Region(int(native._plans[-1][0][places.SCRATCH]))
                scratch.numbers[:] = UNTOUCHED
                size = -(-int(native._plans[-1][0][places.SCRATCH]) // 64) * 64
                entry = places.SCRATCHES
                table[entry + places.SCRATCH_ADDRESS] = scratch.numbers.ctypes.data + scratch.numbers.size - size
                table[entry + places.SCRATCH_SIZE], table[entry + places.SCRATCH_RAW] = size, 0
                kept.append(scratch)
                native(x, w, bias, out)
                q.check(out)
                regions[3].check(out)
                w *= -1
                x *= -1
""",
        TCONV_CPU=cpu,
    )


def test_layouts_of_weights_are_the_dialects(threads):
    """A record takes the weight as the framework has it."""
    threads(1)
    rng = np.random.default_rng(0)
    x, w = rng.integers(-5, 6, (1, 6, 7, 5)).astype("f4"), rng.integers(-5, 6, (3, 3, 4, 6)).astype("f4")
    g = Geometry((3, 3), 2)
    last, shape = np.ascontiguousarray(np.moveaxis(x, 1, -1)), (1, 15, 11, 4)
    expected = tconv.conv_transpose(last, w, dialect="tensorflow", output_shape=shape, strides=2, padding="VALID")
    layout = WeightLayout.of("*OI", 2)
    out = channels_last(np.zeros(np.moveaxis(expected, -1, 1).shape, np.float32))
    p = Problem(g, 1, 6, 4, (7, 5), x.dtype)
    NativeCall(p, x.strides, out.strides, w.shape, layout)(x, w, None, out)
    np.testing.assert_array_equal(np.moveaxis(out, 1, -1), expected)
