"""Tests of memory: nothing outside of the arrays is touched, outputs in use are never reused, and caches are bounded."""

import gc
import importlib.util
import os
import platform
import sys
import threading

import numpy as np
import pytest

import tconv
from tconv import _memory

pytest.importorskip("llvmlite")

linux = pytest.mark.skipif(sys.platform != "linux", reason="mprotect and /proc of Linux")

# -- guard pages -----------------------------------------------------------------------------------------------------

GUARDED = """
import ctypes, os, signal, sys
import numpy as np, tconv
from dtypes import KERNEL_DTYPES, dtype_of
from random_calls import problems

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE, UNTOUCHED = 4096, -1  # each byte; as a float of any size, NaN

class Region:
    '''Whole pages between two that may not be accessed.'''
    def __init__(self, size):
        size = -(-size // PAGE) * PAGE
        start = libc.mmap(None, size + 2 * PAGE, 3, 0x22, -1, 0)
        for guard in (start, start + PAGE + size):
            assert libc.mprotect(guard, PAGE, 0) == 0
        self.memory = (ctypes.c_char * size).from_address(start + PAGE)
        self.numbers = np.frombuffer(self.memory, np.int8)

    def place(self, shape, strides, at_end, dtype=np.float32):
        '''An array with these strides (in elements) that ends where the pages end, or begins where they begin.'''
        size = np.dtype(dtype).itemsize
        reach = [(n - 1) * step for n, step in zip(shape, strides)]
        low, high = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)
        first = self.numbers.size // size - 1 - high if at_end else -low
        self.numbers[:] = UNTOUCHED
        steps = [size * step for step in strides]
        return np.ndarray(shape, dtype, self.memory, size * first, steps)

    def check(self, array):
        '''Assert that every element of the array was written, and nothing else.'''
        elements = array.view(f"i{array.itemsize}")
        assert not (elements == UNTOUCHED).any()
        elements[...] = UNTOUCHED
        assert (self.numbers == UNTOUCHED).all()

def strides_of(rng, shape, plain):
    '''Return strides of a contiguous array; if not plain, with axes in any order, reversed, or with gaps.'''
    order = list(range(len(shape)))
    kind = "plain" if plain else rng.choice(["channels last", "any order", "gaps", "reversed"])
    if kind == "channels last" and len(shape) > 1:
        order = [0, *range(2, len(shape)), 1]
    elif kind == "any order":
        order = list(rng.permutation(len(shape)))
    strides, step = [0] * len(shape), int(rng.integers(1, 4)) if kind == "gaps" else 1
    for axis in reversed(order):
        strides[axis] = step * (-1 if kind == "reversed" and rng.random() < 0.5 else 1)
        step = step * shape[axis] + (int(rng.integers(0, 4)) if kind == "gaps" else 0)
    return strides
"""


@linux
def test_the_guard_pages_guard(python):
    python(
        GUARDED
        + """
import faulthandler
faulthandler.disable()
for at_end in (False, True):
    array = Region(100).place((5,), [1], at_end)
    number = os.fork()
    if number == 0:
        ctypes.string_at(array.ctypes.data + (20 if at_end else -1), 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == -signal.SIGSEGV
"""
    )


@linux
@pytest.mark.parametrize("cpu", ["host", "x86-64-v3", "x86-64-v2"])
@pytest.mark.parametrize("plain", [True, False], ids=["contiguous", "any strides"])
def test_nothing_outside_of_the_arrays_is_touched(plain, cpu, python):
    """x, weight, bias and out each end where a page begins that may not be accessed, or begin where one ends."""
    if cpu != "host" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("name of an x86 chip")
    python(
        GUARDED
        + f"""
tconv.set_num_threads(3)
rng, of_strides = (np.random.default_rng(0) for _ in range(2))  # all cases have the same problems
regions = [Region(1 << 20) for _ in range(4)]
for turn in range(1 if os.environ["TCONV_CPU"] != "host" else 2):
    for ndim in (1, 2, 3):
        for number, kind in enumerate(problems.KINDS):
            dtype = dtype_of(KERNEL_DTYPES[(turn + ndim + number) % 4])
            p = problems.problem(rng, ndim, kind).converted(dtype)
            arrays = p.x, p.w, p.bias, p.y
            strides = [None if each is None else strides_of(of_strides, each.shape, {plain}) for each in arrays]
            for at_end in (False, True):  # the same machine code, which takes most of the time
                placed = []
                for region, array, steps in zip(regions, arrays, strides):
                    placed.append(None)
                    if array is not None:
                        # the numbers around them, which a wrong kernel would read, are NaN, too
                        placed[-1] = region.place(array.shape, steps, at_end, dtype)
                        placed[-1][...] = array
                *inputs, out = placed
                regions[3].numbers[:] = UNTOUCHED
                q = p._replace(x=inputs[0], w=inputs[1], bias=inputs[2])
                problems.run(q, out=out)
                p.check(out)
                regions[3].check(out)
                problems.run(q, out=out)  # again, from the cache of calls
                p.check(out)
                regions[3].check(out)
                if number % 2 and os.environ["TCONV_CPU"] != "host":
                    continue
                layer = tconv.prepare(q.w, q.bias, geometry=p.geometry, method="simd", activation=("clamp", -9, 7))
                layer(q.x, out=out)
                np.testing.assert_array_equal(out, np.clip(p.y, dtype.type(-9), dtype.type(7)))
                regions[3].check(out)
""",
        TCONV_CPU=cpu,
    )


@linux
def test_nothing_outside_of_the_threads_memory_is_touched(python):
    """It ends where a page begins that may not be accessed, and contains numbers of earlier calls."""
    python(
        GUARDED
        + """
from tconv.kernels.simd import thread_pool
allocated = []
def guarded(size):
    allocated.append(Region(size))
    allocated[-1].numbers[:] = UNTOUCHED
    return np.frombuffer(allocated[-1].memory, np.uint8)[-(-(-size // 64) * 64) :]
thread_pool.aligned = guarded
tconv.set_num_threads(2)
rng = np.random.default_rng(0)
for turn in range(2):
    for ndim in (1, 2, 3):
        for number, kind in enumerate(problems.KINDS):
            pool = thread_pool.pool()
            pool._scratch.memory = thread_pool._EMPTY
            pool._helper_scratches[:] = [thread_pool._EMPTY] * len(pool._helper_scratches)
            p = problems.problem(rng, ndim, kind).converted(dtype_of(KERNEL_DTYPES[(turn + ndim + number) % 4]))
            p.check(problems.run(p))
assert len(allocated) > 50
"""
    )


@linux
@pytest.mark.parametrize("cpu", ["host", "x86-64-v3", "x86-64-v2"])
def test_the_gradient_by_the_weight_touches_nothing_else(cpu, python):
    """Both tensors lie between pages that may not be accessed, in any strides of the slower axes; sums are exact."""
    if cpu != "host" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("name of an x86 chip")
    python(
        GUARDED
        + """
from itertools import product
from tconv.geometry import Geometry
from tconv.kernels.simd.weight_gradient.call import WeightGradientCall
rng = np.random.default_rng(1)
regions = [Region(1 << 18) for _ in range(2)]
draw = lambda low, high, count: rng.integers(low, high, count).tolist()

def expected(g, a, b):
    a, b = (each.astype(float).reshape(len(each), g.groups, -1, *each.shape[2:]) for each in (a, b))
    out = np.zeros((g.groups, a.shape[2], b.shape[2], *g.kernel))
    for tap in product(*map(range, g.kernel)):
        for p in product(*map(range, a.shape[3:])):
            at = [s * q + d * t - lo for s, q, d, t, (lo, _) in zip(g.stride, p, g.dilation, tap, g.crop)]
            if all(0 <= i < n for i, n in zip(at, b.shape[3:])):
                out[(..., *tap)] += np.einsum("ngi,ngj->gij", a[(..., *p)], b[(..., *at)])
    return out.reshape(-1, *out.shape[2:])

def steps_of(shape):
    steps, step = [0] * len(shape), 1
    for axis in [len(shape) - 1, *rng.permutation(len(shape) - 1)]:
        steps[axis] = step
        step = step * shape[axis] + int(rng.integers(0, 3)) * (rng.random() < 0.3)
    if rng.random() < 0.2:
        steps[int(rng.integers(0, len(shape) - 1))] = 0  # expanded
    return tuple(map(int, steps))

for turn in range(24):
    ndim, dtype, groups = turn % 3 + 1, dtype_of(KERNEL_DTYPES[turn % 4]), turn % 5 % 3 + 1
    kernel = (*draw(1, 4, ndim - 1), *draw(1, 14, 1))
    stride, dilation = (*draw(1, 4, ndim - 1), 1), tuple(draw(1, 4, ndim))
    g = Geometry(kernel, stride, [(lo, 0) for lo in draw(-3, 8, ndim)], dilation, groups)
    a, b = (groups * count for count in draw(1, 10 if ndim < 3 else 4, 2))
    shapes = [
        (turn % 2 + 1, count, *draw(1, 6, ndim - 1), int(rng.choice([1, 2, 7, 8, 15, 16, 17, 31, 33, 50])))
        for count in (a, b)
    ]
    steps = [steps_of(shape) for shape in shapes]
    call = WeightGradientCall(g, *shapes, *steps, dtype)
    for at_end in (False, True):
        placed = [each.place(shape, step, at_end, dtype) for each, shape, step in zip(regions, shapes, steps)]
        for each in placed:
            each[...] = rng.integers(-3, 4, each.shape)
        found = call(*(each.ctypes.data for each in placed), 1 + turn % 3)
        np.testing.assert_array_equal(found, expected(g, *placed))
""",
        TCONV_CPU=cpu,
    )


@linux
def test_streams_and_passes_touch_nothing_else(python):
    """Arrays of passes, and the workspace and the states of sessions, lie between pages that may not be accessed."""
    python(
        GUARDED
        + """
from tconv.kernels.simd import elementwise
from tconv.kernels.simd.elementwise.element_pass import PASSES
from tconv.streaming import program, session, state_blocks
from tconv.streaming.sessions import Stream
from test_stream_graph import decoder
from test_stream_sessions import recurrent_decoder
rng = np.random.default_rng(0)
regions = [Region(1 << 15) for _ in range(4)]
for at_end in (False, True):
    for length in (1, 3, 8, 17, 31, 4099):
        for name, kind in PASSES.items():
            *inputs, out = [each.place((length,), [1], at_end) for each in regions[: kind.inputs + 1]]
            for x in inputs:
                x[...] = rng.standard_normal(length)
            assert elementwise.fill(name, tuple(inputs), (0.5, -2.0, 2.0)[: kind.numbers], out)
            regions[kind.inputs].check(out)
    for units in (1, 5, 16, 37):
        shapes = (3, 4 * units), (3, 4 * units), (3, units), (3, units)
        arrays = [each.place(s, [s[1] + 2, 1], at_end) for each, s in zip(regions, shapes)]
        for x in arrays[:3]:
            x[...] = rng.standard_normal(x.shape)
        assert elementwise.lstm(*arrays)
        for each, x in list(zip(regions, arrays))[2:]:
            each.check(x)

def guarded(size):
    region = Region(size)
    kept.append(region)
    return region.numbers.view(np.uint8)[region.numbers.size - size :]

kept = []
program.aligned, program.Workspace.fits = guarded, lambda self, size: False
program.Workspace.grow = lambda self, size: setattr(self, "memory", guarded(size))
state_blocks.StateBlocks._block = lambda self, size: guarded(size)
for make in (decoder, recurrent_decoder):
    stream = Stream(make(rng), batch=3)
    x = rng.standard_normal((3, 3, 31), np.float32)
    made = [stream.push(x[:, :, a:b]) for a, b in [(0, 1), (1, 14), (14, 31)]]
    np.testing.assert_array_equal(np.concatenate([*made, stream.flush()], 2), stream(x))
assert len(kept) > 25
"""
    )


@linux
def test_large_arrays_touch_nothing_else(python):
    """Outputs that are written past the caches, and inputs that are prefetched."""
    python(
        GUARDED
        + """
from itertools import product
tconv.set_num_threads(3)
rng = np.random.default_rng(0)
regions = [Region(48 << 20) for _ in range(2)]
for number, (shape, weight, arguments) in enumerate([
    ((1, 3, 700, 701), (3, 1, 4, 4), {"stride": 2, "padding": 1}),
    ((1, 2, 1_000_003), (2, 1, 5), {"stride": 3}),
    ((1, 2, 301, 303), (2, 3, 3, 3), {"stride": 3, "crop": ((1, 0), (2, 5))}),
    ((1, 40, 97, 99), (40, 24, 3, 3), {"stride": 3}),
    ((1, 6, 61, 60), (6, 21, 16, 16), {"stride": 8, "padding": 4}),
    ((2, 5, 99, 129), (5, 12, 4, 4), {"stride": 4}),
    ((1, 2, 40, 41, 42), (2, 5, 3, 3, 3), {"stride": 2}),
]):
    x, w = (rng.integers(-5, 6, s).astype("f4") for s in (shape, weight))
    exact = tconv.conv_transpose(x, w, method="polyphase", **arguments)
    assert exact.nbytes >= 8 << 20 or x.nbytes > 1 << 20
    for at_end, lasts in product((False, True), ((False, False), (True, True), (number % 2 > 0, number % 2 < 1))):
        dtype = dtype_of(KERNEL_DTYPES[(number + at_end) % len(KERNEL_DTYPES)])
        x, w, y = (array.astype(dtype) for array in (x, w, exact))
        placed = []
        for region, s, last in zip(regions, (x.shape, y.shape), lasts):
            strides, step = [0] * len(s), 1
            for axis in reversed([0, *range(2, len(s)), 1] if last else range(len(s))):
                strides[axis], step = step, step * s[axis]
            placed.append(region.place(s, strides, at_end, dtype))
        placed[0][...] = x
        for method in ("simd", "winograd") if all(lasts) else ("simd",):
            try:
                tconv.conv_transpose(placed[0], w, out=placed[1], method=method, **arguments)
            except tconv.errors.MethodError:
                continue
            np.testing.assert_array_equal(placed[1], y)
            regions[1].check(placed[1])
"""
    )


# -- the pool of outputs ---------------------------------------------------------------------------------------------

MIB = 1 << 20
X, W = np.ones((1, 4, 256, 256), "f4"), np.ones((4, 4, 2, 2), "f4")


@pytest.fixture(scope="module")
def without_older_objects():
    """Leave what was there before out of collections: the frameworks of other tests make each of them take a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def fresh(without_older_objects):
    """Empty the pool of outputs before and after the test."""
    gc.collect()
    tconv.trim_pool()
    yield
    gc.collect()
    tconv.trim_pool()


def freed():
    """Empty the pool of outputs, and return the bytes that it had."""
    return _memory._pool.trim()


def output(fill=None):
    """Return an output of 4 MiB from the pool."""
    y = tconv.conv_transpose(X, W, stride=2)
    assert y.nbytes == 4 * MIB
    if fill is not None:
        y[...] = fill
    return y


def place(array):
    return np.asarray(array).ctypes.data


def test_memory_comes_back_and_is_freed(fresh):
    y = output()
    at = place(y)
    assert at % 64 == 0
    assert freed() == 0
    del y
    y = output()
    assert place(y) == at
    other = output()
    assert not np.shares_memory(y, other)
    del y, other
    assert freed() == 8 * MIB
    assert freed() == 0


def test_packed_weights_are_freed_too(fresh, whole):
    """Those of a prepared layer stay, and the others are packed again."""
    x, w = whole(1, 40, 8, 8), whole(40, 30, 4, 4)
    layer = tconv.prepare(w, stride=2)
    expected = layer(x)
    assert tconv.trim_pool() == 4 * w.size
    assert tconv.trim_pool() == 0
    np.testing.assert_array_equal(layer(x), expected)
    assert tconv.trim_pool() == 0
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, stride=2), expected)
    assert tconv.trim_pool() == 4 * w.size


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "c16"])
@pytest.mark.parametrize("method", ["auto", "taps"])
def test_outputs_of_every_dtype_and_method_come_from_it(dtype, method, fresh):
    y = tconv.conv_transpose(X.astype(dtype), W.astype(dtype), stride=2, method=method)
    np.testing.assert_array_equal(y, 4)
    size = -(-y.nbytes // (2 * MIB)) * 2 * MIB
    del y
    assert freed() == size


VIEWS = {
    "slice": lambda y: y[0, 1, 3:5],
    "one number": lambda y: y[0, 0, 0, :1],
    "reshape": lambda y: y.reshape(-1),
    "transpose": lambda y: y.transpose(3, 2, 1, 0)[::-1],
    "another dtype": lambda y: y.view(np.int32).view(np.float32),
    "view of a view": lambda y: y[0][1:][::2][..., ::-3],
    "asarray": lambda y: np.asarray(y, copy=False),
    "memoryview": memoryview,
    "part of a memoryview": lambda y: memoryview(y)[0:1],
    "frombuffer": lambda y: np.frombuffer(y, np.float32)[5:9],
    "ctypes": lambda y: y.ctypes,
    "flat": lambda y: y.flat,
    "broadcast": lambda y: np.broadcast_to(y[:, :, :1], (2, 4, 3, 512)),
    "windows": lambda y: np.lib.stride_tricks.sliding_window_view(y, (3, 3), (2, 3)),
    "dlpack": lambda y: np.from_dlpack(y),
    "record": lambda y: y.view([("a", "f4"), ("b", "f4")])["b"],
}


@pytest.mark.parametrize("kind", VIEWS)
def test_memory_is_not_reused_while_there_is_a_view_of_it(kind, fresh):
    view = VIEWS[kind](output(7))
    others = [output(np.nan) for _ in range(3)]
    array = view._arr if kind == "ctypes" else np.asarray(view)
    assert (array == 7).all()
    del others, array
    before = freed()
    del view
    gc.collect()
    assert freed() == 4 * MIB, before


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_memory_is_not_reused_while_a_tensor_of_torch_uses_it(python):
    python(
        """
import gc, numpy as np, torch, tconv
X, W = np.ones((1, 4, 256, 256), "f4"), np.ones((4, 4, 2, 2), "f4")
x, w = torch.from_numpy(X), torch.from_numpy(W)
layer = tconv.prepare(w, stride=2)
def output(fill):
    y = tconv.conv_transpose(X, W, stride=2)
    y[...] = fill
    return y
VIEWS = [torch.from_numpy, torch.as_tensor, torch.from_dlpack]
VIEWS = [lambda make=make: make(output(7)) for make in VIEWS] + [
    lambda: tconv.conv_transpose(x, w, stride=2).fill_(7),
    lambda: layer(x).fill_(7),
    lambda: layer(x).fill_(7)[0, 1, 3:9].t(),
    lambda: layer(x).fill_(7).numpy()[0, 1],
    lambda: torch.from_numpy(output(7))[..., 5].unsqueeze(0),
]
for make in VIEWS:
    assert tconv._memory._pool.trim() == 0
    view = make()
    others = [output(np.nan) for _ in range(3)]
    assert bool((view == 7).all())
    del others
    assert tconv._memory._pool.trim() == 3 << 22
    del view
    gc.collect()
    assert tconv._memory._pool.trim() == 1 << 22
"""
    )


def test_it_is_bounded(fresh, monkeypatch):
    monkeypatch.setattr(_memory._pool, "_limit", 9 * MIB)
    outputs = [output() for _ in range(5)]
    del outputs
    assert freed() == 8 * MIB
    monkeypatch.setattr(_memory._pool, "_limit", 3 * MIB)
    y = output()
    del y
    assert freed() == 0


def test_sizes_out_of_use_are_freed_first(fresh, monkeypatch):
    monkeypatch.setattr(_memory._pool, "_limit", 24 * MIB)
    outputs = [_memory.empty((size * MIB,), np.dtype("u1")) for size in (2, 4, 6, 8, 2, 2)]
    outputs.clear()
    used = _memory.empty((4 * MIB,), np.dtype("u1"))
    used[:] = 5
    del used
    for size in (10, 12, 14, 16, 18):
        other = _memory.empty((size * MIB,), np.dtype("u1"))
        del other
        assert size * MIB <= _memory._pool._free_bytes() <= 24 * MIB
        used = _memory.empty((4 * MIB,), np.dtype("u1"))
        assert (used == 5).all(), "a size in use stays; fresh memory would be zero"
        del used
    assert freed() == 22 * MIB


def test_small_outputs_are_numpys_own(fresh):
    y = tconv.conv_transpose(X[:, :, :8], W, stride=2)
    assert y.nbytes < MIB
    del y
    assert freed() == 0


def test_outputs_in_reference_cycles(fresh):
    """The garbage collector may run inside of any statement of the pool."""

    class Node:
        pass

    thresholds = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for number in range(200):
            node = Node()
            node.me, node.y = node, _memory.empty((MIB,), np.dtype("f4"))
            node.y[:] = number
            assert (node.y[::4096] == number).all()
            if number % 50 == 49:
                tconv.trim_pool()
    finally:
        gc.set_threshold(*thresholds)
    del node
    gc.collect()
    size = _memory._pool._free_bytes()
    assert size <= _memory._pool._limit
    assert freed() == size


def test_threads_never_share_a_block(fresh):
    wrong = []

    def work(name):
        views = []
        for turn in range(150):
            y = _memory.empty(((1 + turn % 3) * MIB,), np.dtype("u1"))
            y[::4096] = name
            views.append(y[::4096])
            if len(views) > turn % 4:
                wrong.extend(name for view in views if (view != name).any())
                views = views[1 + turn % 2 :]
            if turn % 40 == 0:
                tconv.trim_pool()

    workers = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_writes_into_its_own_copy(python):
    python(
        """
import os, numpy as np, tconv
from tconv import _memory as memory
y = memory.empty((4 << 20,), np.dtype("u1"))
freed = memory.empty((4 << 20,), np.dtype("u1"))
y[:], freed[:] = 1, 2
at = freed.ctypes.data
del freed
number = os.fork()
if number == 0:
    mine = memory.empty((4 << 20,), np.dtype("u1"))
    right = mine.ctypes.data == at
    mine[:], y[:] = 3, 4
    del mine
    os._exit(0 if right and tconv.trim_pool() == 4 << 20 else 1)
assert os.waitpid(number, 0)[1] == 0
assert (y == 1).all()
again = memory.empty((4 << 20,), np.dtype("u1"))
assert again.ctypes.data == at and (again == 2).all()
"""
    )


@linux
def test_memory_goes_back_to_the_system(python):
    python(
        """
import numpy as np, tconv
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
x, w = np.ones((1, 4, 1024, 1024), "f4"), np.ones((4, 4, 2, 2), "f4")
y = tconv.conv_transpose(x, w, stride=2)
before = resident()
del y
assert abs(resident() - before) < 8 << 20
assert 0 <= tconv.trim_pool() - (64 << 20) < 1 << 20  # the weight, too
assert resident() < before - (48 << 20)
"""
    )


@linux
def test_the_pool_is_emptied_before_a_memory_error(python):
    """Where the system has no more memory, that of the pool is given back first; then there is a MemoryError."""
    python(
        """
import resource, numpy as np, tconv
from tconv import _memory as memory
block = lambda mib: memory.empty((mib << 20,), np.dtype("u1"))
block(300)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
y = block(350)
y[:] = 1
assert tconv.trim_pool() == 0
try:
    block(400)
except MemoryError as error:
    assert str(402 << 20) in str(error), error
else:
    raise AssertionError
del y
assert tconv.trim_pool() == 350 << 20
"""
    )


# -- nothing grows ---------------------------------------------------------------------------------------------------

RESIDENT = """
import numpy as np, tconv
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
tconv.set_num_threads(2)
"""


@linux
def test_three_hundred_lengths(python):
    """A vocoder's layer: nothing is built after the first few, memory stays, caches are bounded."""
    python(
        RESIDENT
        + """
from tconv.kernels.simd import specialized_call, weight_cache
from tconv.kernels.simd.direct import schedule
from tconv.operator import call_cache, method_choice
from tconv.operator.prepared import _MOST
from tconv.kernels.simd.object_cache import OBJECT_CACHE
x, w = np.ones((1, 64, 1000), "f4"), np.ones((64, 32, 16), "f4")
prepared = tconv.prepare(w, stride=8, padding=4)
def call(length):
    y = tconv.conv_transpose(x[..., :length], w, stride=8, padding=4)
    assert y.shape == (1, 32, 8 * length) and (y[..., 9:-9] == 128).all()
    assert np.array_equal(prepared(np.ascontiguousarray(x[..., :length])), y)
lengths = np.random.default_rng(0).permutation(np.arange(100, 1000))[:600].tolist()
for length in [100, 999, *range(16, 33), *lengths[:20]]:
    call(length)
built, before = len(OBJECT_CACHE._addresses), resident()
for length in lengths[20:320]:
    call(length)
assert len(OBJECT_CACHE._addresses) <= built + 3, sorted(OBJECT_CACHE._addresses)[built:]
assert resident() - before < 32 << 20, resident() - before
for length in lengths[320:]:
    call(length)
assert len(call_cache._calls) <= call_cache._MOST and len(prepared._calls) <= _MOST
for cache in (specialized_call.compiled, schedule.layer_schedule, schedule.tile_schedule, method_choice._choose):
    assert cache.cache_info().currsize <= cache.cache_info().maxsize <= 1024
assert len(weight_cache.WEIGHT_CACHE._weights) == 1
"""
    )


@linux
@pytest.mark.parametrize("value", ["turn", "np.nan"])
def test_a_weight_that_always_changes(value, python):
    """As in training: the cache of past weights stays small."""
    python(
        RESIDENT
        + f"""
from tconv.kernels.simd import weight_cache
weight_cache.WEIGHT_CACHE._most_weights = 500
x, w = np.ones((1, 8, 16, 16), "f4"), np.ones((8, 3, 3, 3), "f4")
for turn in range(100):
    w.flat[turn] = {value}
    tconv.conv_transpose(x, w, stride=2)
before = resident()
for turn in range(1000):
    w.flat[turn % w.size] += 1
    w.flat[(turn + 1) % w.size] = {value}
    tconv.conv_transpose(x, w, stride=2)
    if turn % 50 == 0:
        assert resident() - before < 24 << 20, (turn, resident() - before)
assert len(weight_cache.WEIGHT_CACHE._weights) <= 500
"""
    )


def test_the_weight_cache_is_bounded():
    from tconv.kernels.simd.weight_cache import WeightCache

    cache = WeightCache(1000, most_weights=7)
    for number in range(50):
        cache.put(number, np.zeros(300, np.uint8))
    assert len(cache._weights) == 3
    assert cache._bytes == 900
    cache.put("large", np.zeros(2000, np.uint8))
    assert cache.get("large") is None
    assert len(cache._weights) == 3
    cache.put(49, np.zeros(100, np.uint8))
    assert cache._bytes == 700
    for number in range(50):
        cache.put(-number, np.zeros(0, np.uint8))
    assert len(cache._weights) == 7
    assert cache._bytes == 0
    used = np.zeros(3, np.uint8)
    cache.put("used", used)
    for number in range(6):
        cache.put(number, np.zeros(400, np.uint8))
        assert cache.get("used") is used, "weights in use stay"
    assert cache._bytes <= 1000


@linux
def test_threads_that_come_and_go(python):
    """The memory of a thread is freed with it."""
    python(
        RESIDENT
        + """
import threading
x, w = np.ones((1, 64, 30, 30), "f4"), np.ones((64, 8, 3, 3), "f4")
def run(count):
    for _ in range(count):
        thread = threading.Thread(target=tconv.conv_transpose, args=(x, w), kwargs={"stride": 2})
        thread.start()
        thread.join()
run(10)
before = resident()
run(100)
assert resident() - before < 24 << 20, resident() - before
"""
    )
