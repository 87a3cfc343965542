"""Tests of threads: results do not depend on them, callers do not disturb each other; forks, exits and signals."""

import importlib.util
import os
import re
import threading

import numpy as np
import pytest

import tconv
from tconv._memory import physical_memory

pytest.importorskip("llvmlite")

from tconv.kernels import num_threads
from tconv.kernels.simd import futex_threads, thread_pool, tile_tickets

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

# each is large enough to wake a helper; sizes are no multiples of a vector
LAYERS = {
    "picture": ((2, 33, 29, 37), (33, 21, 4, 4), {"stride": 2, "padding": 1}),
    "one channel": ((1, 56, 40, 51), (56, 1, 9, 9), {"stride": 2, "padding": 4, "output_padding": 1}),
    "three channels": ((1, 64, 40, 40), (64, 3, 4, 4), {"stride": 2, "padding": 1}),
    "groups": ((2, 24, 40, 41), (24, 9, 3, 3), {"stride": 2, "groups": 4}),
    "depthwise": ((1, 64, 60, 61), (64, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 64}),
    "signal": ((3, 40, 301), (40, 33, 16), {"stride": 8, "padding": 4}),
    "long stride": ((2, 40, 70), (40, 3, 64), {"stride": 32}),
    "volume": ((1, 12, 9, 10, 11), (12, 17, 3, 3, 3), {"stride": 2}),
    "many channels": ((1, 700, 5, 6), (700, 70, 2, 2), {"stride": 2}),
    "ordinary": ((1, 20, 31, 41), (20, 23, 5, 5), {"padding": 2}),
    "dilation": ((1, 20, 31, 25), (20, 18, 3, 4), {"stride": 2, "dilation": (3, 2)}),
}


def arrays(name, whole=False):
    rng = np.random.default_rng(len(name))
    shape, weight, arguments = LAYERS[name]
    draw = (lambda *s: rng.integers(-5, 6, s)) if whole else lambda *s: rng.standard_normal(s)
    bias = draw(weight[1] * arguments.get("groups", 1))
    return [np.asarray(a, np.float32) for a in (draw(*shape), draw(*weight), bias)]


def run(x, w, bias, arguments):
    out = np.full(tconv.plan(x, w, bias, **arguments).problem.output_shape, np.nan, np.float32)
    out = np.full((len(x), w.shape[1] * arguments.get("groups", 1), *out.shape), np.nan, np.float32)
    return tconv.conv_transpose(x, w, bias, out=out, method="simd", **arguments)


def same_bits(a, b):
    np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


KINDS = [
    pytest.param("futex", marks=pytest.mark.skipif(not futex_threads.AVAILABLE, reason="this system has no futex")),
    "python",
]
"""Ways in which helpers wait; the second is the one outside of Linux."""


@pytest.fixture(params=KINDS)
def own_pool(request, monkeypatch, threads):
    """Return a pool without helpers, for this test alone."""
    threads(3)
    monkeypatch.setenv("TCONV_POOL", request.param)
    pool = thread_pool.Pool()
    monkeypatch.setattr(thread_pool, "_pool", pool)
    return pool


@pytest.mark.parametrize("name", LAYERS)
def test_the_number_of_threads_does_not_change_the_bits(name, threads, own_pool):
    inputs, arguments = arrays(name), LAYERS[name][2]
    threads(1)
    expected = run(*inputs, arguments)
    for count in (2, 3, 7, 300, 2):
        threads(count)
        same_bits(run(*inputs, arguments), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_neighbours_in_the_batch_do_not_change_the_bits(name):
    (x, w, bias), arguments = arrays(name), LAYERS[name][2]
    alone = run(x[:1], w, bias, arguments)
    for size, at in ((2, 1), (5, 3), (16, 7)):
        batch = np.random.default_rng(size).standard_normal((size, *x.shape[1:])).astype(np.float32)
        batch[at] = x[0]
        same_bits(run(batch, w, bias, arguments)[at : at + 1], alone)


@pytest.mark.parametrize("name", LAYERS)
def test_tiles_and_crops_do_not_change_the_bits(name):
    """A window of the output is computed from all of x by a crop, and from the part of x that it needs."""
    (x, w, bias), arguments = arrays(name), LAYERS[name][2]
    g = tconv.plan(x, w, bias, **arguments).problem.geometry
    n, ndim = x.shape[2:], x.ndim - 2
    whole = run(x, w, bias, arguments)
    lo = [s * (size // 4) for s, size in zip(g.stride, n, strict=True)]
    hi = [s * (size // 3) for s, size in zip(g.stride, n, strict=True)]
    crop = tuple((a + more, b + rest) for (a, b), more, rest in zip(g.crop, lo, hi, strict=True))
    window = [slice(more, size - rest) for more, rest, size in zip(lo, hi, whole.shape[2:], strict=True)]
    part = tconv.conv_transpose(x, w, bias, geometry=tconv.Geometry(g.kernel, g.stride, crop, g.dilation, g.groups))
    same_bits(part, whole[:, :, *window])
    reach = [-(-e // s) for e, s in zip(g.extent, g.stride, strict=True)]
    front = [slice(0, size - size // 3) for size in n]
    safe = [
        slice(0, max(0, s * (k.stop - r) - lo)) for s, k, r, (lo, _) in zip(g.stride, front, reach, g.crop, strict=True)
    ]
    tile = run(x[:, :, *front], w, bias, arguments)[:, :, *safe]
    assert tile.size or ndim == 3
    same_bits(tile, whole[:, :, *safe])


def test_runs_repeat_their_bits(own_pool):
    inputs, arguments = arrays("picture"), LAYERS["picture"][2]
    expected = run(*inputs, arguments)
    for _ in range(50):
        same_bits(run(*inputs, arguments), expected)


@pytest.mark.parametrize("same", [False, True], ids=["different problems", "the same problem"])
def test_eight_threads_at_once(same, own_pool):
    names = ["three channels"] * 8 if same else list(LAYERS)[:8]
    problems = [(*arrays(name, whole=True), LAYERS[name][2]) for name in names]
    expected = [tconv.conv_transpose(x, w, b, method="polyphase", **arguments) for x, w, b, arguments in problems]
    together, wrong = threading.Barrier(8), []

    def work(number):
        *inputs, arguments = problems[number]
        together.wait()
        for _ in range(40):
            y = tconv.conv_transpose(*inputs, method="simd", **arguments)
            if not np.array_equal(y, expected[number]):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_system_without_more_threads(own_pool, monkeypatch):
    inputs, arguments = arrays("picture", whole=True), LAYERS["picture"][2]
    expected = tconv.conv_transpose(*inputs, method="polyphase", **arguments)
    begin, started = threading.Thread.start, []

    def start(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(3):
        np.testing.assert_array_equal(run(*inputs, arguments), expected)
    assert own_pool._started == 1
    monkeypatch.undo()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_interrupt_while_helpers_are_started(place, own_pool, monkeypatch):
    """Afterwards the pool is free again, and each helper has memory of its own."""
    inputs, arguments = arrays("picture", whole=True), LAYERS["picture"][2]
    expected = tconv.conv_transpose(*inputs, method="polyphase", **arguments)
    np.testing.assert_array_equal(run(*inputs, arguments), expected)
    aligned, begin, calls = thread_pool.aligned, threading.Thread.start, []

    def interrupted(size):
        calls.append(size)
        memory = aligned(size)
        if len(calls) == place + 1:
            raise KeyboardInterrupt
        return memory

    def started(thread):
        begin(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if place:
            own_pool._scratch.memory = thread_pool._EMPTY
            own_pool._helper_scratches[:] = [thread_pool._EMPTY] * len(own_pool._helper_scratches)
            patched.setattr(thread_pool, "aligned", interrupted)
        else:
            patched.setattr(threading.Thread, "start", started)
            tconv.set_num_threads(4)
        with pytest.raises(KeyboardInterrupt):
            run(*inputs, arguments)
    assert not own_pool._lock.locked()
    for _ in range(5):
        np.testing.assert_array_equal(run(*inputs, arguments), expected)
    scratches = own_pool._helper_scratches
    addresses = [own_pool._state[tile_tickets.SCRATCHES + number] for number in range(len(scratches))]
    assert addresses == [memory.ctypes.data for memory in scratches]
    assert len(set(addresses)) == len(addresses) >= 2


# -- processes: forks, exits, signals --------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def pooled(request, python):
    """Run Python text in a process of its own, with helpers that wait in one way."""
    return lambda text, *arguments: python(text, *arguments, TCONV_POOL=request.param)


BEGIN = """
import os, sys, threading, time
import numpy as np, tconv
tconv.set_num_threads(3)
rng = np.random.default_rng(0)
def problem(shape, weight, **arguments):
    x, w = (rng.integers(-5, 6, s).astype("f4") for s in (shape, weight))
    return x, w, arguments, tconv.conv_transpose(x, w, method="polyphase", **arguments)
small = problem((1, 33, 29, 37), (33, 21, 4, 4), stride=2)
large = problem((2, 64, 40, 50), (64, 64, 4, 4), stride=2)  # its output comes from the pool
def right(p):
    x, w, arguments, y = p
    return np.array_equal(tconv.conv_transpose(x, w, method="simd", **arguments), y)
assert right(small) and right(large)
"""

FORKS = """
import multiprocessing, signal
def child():
    signal.alarm(100)  # a child that waits for ever is killed, which its exit code shows
    ok = all(right(p) for p in (small, large, small, problem((1, 9, 30, 31), (9, 9, 5, 5), stride=3)) for _ in range(2))
    tconv.trim_pool()
    if sys.platform == "linux":  # with helpers of its own
        ok = ok and sum(thread.name == "tconv" for thread in threading.enumerate()) == 2
    sys.exit(0 if ok else 3)
def forked():
    number = os.fork()
    if number == 0:
        child()
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
"""

BUSY = {
    "nothing": "return",
    "calls": "right(small)",
    "large outputs": "right(large)",
    "building": """
    from tconv.kernels.simd import elements, microkernel, object_cache
    name, rows = f"fork_{threading.get_ident()}_{count}", microkernel.Rows(5, 1, ((0,),))
    object_cache.OBJECT_CACHE.address(name, lambda: microkernel._write(name, rows, 4, elements.FLOAT32))
    """,
    "weights": "w = small[1].copy(); w[0, 0, 0, 0] = count; tconv.conv_transpose(small[0], w, stride=2)",
    "new shapes": "tconv.conv_transpose(small[0][..., : 5 + count % 20], small[1], stride=2)",
    "a layer": "tconv.prepare(small[1], stride=2)(small[0][..., : 5 + count % 20])",
}


@posix
@pytest.mark.parametrize("busy", BUSY)
def test_forks_while_other_threads_are_busy(busy, pooled):
    text = f"""
{BEGIN}{FORKS}
from itertools import count as numbers
going = True
def once(count):
    {BUSY[busy].strip()}
def work():
    for count in numbers():
        if not going:
            break
        once(count)
        if {busy == "nothing"}:
            break
workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers: worker.start()
codes = []
for turn in range(6):
    codes.append(forked())
    assert right(small)
context = multiprocessing.get_context("fork")
processes = [context.Process(target=child) for _ in range(3)]
for process in processes: process.start()
assert right(large)
for process in processes: process.join()
going = False
for worker in workers: worker.join()
assert right(large)
codes += [process.exitcode for process in processes]
assert codes == [0] * len(codes), codes
"""
    pooled(text)


@posix
@pytest.mark.parametrize("delay", [0.01, 0.03, 0.06, 0.1])
def test_a_fork_during_the_first_call_of_another_thread(delay, pooled):
    """The child inherits no module that is half imported, and no lock that nobody releases."""
    pooled(
        f"""
import os, threading, time, numpy as np, tconv
x, w = np.ones((1, 24, 9, 9), "f4"), np.ones((24, 20, 4, 4), "f4")
thread = threading.Thread(target=lambda: tconv.conv_transpose(x, w, stride=2))
thread.start()
time.sleep({delay})
child = os.fork()
if child == 0:
    tconv.conv_transpose(x, w, stride=2)
    os._exit(0)
until = time.monotonic() + 60
while not (ended := os.waitpid(child, os.WNOHANG)[0]) and time.monotonic() < until:
    time.sleep(0.01)
if not ended:
    os.kill(child, 9)
thread.join()
assert ended, "the child hung"
"""
    )


@posix
def test_a_fork_of_a_fork(pooled):
    pooled(
        BEGIN
        + FORKS
        + "number = os.fork()\n"
        + "if number == 0:\n    assert right(small) and forked() == 0\n    child()\n"
        + "assert os.waitpid(number, 0)[1] == 0 and right(small)"
    )


@posix
@needs_torch
@pytest.mark.slow
def test_workers_of_a_data_loader(python):
    python(
        BEGIN
        + """
import torch
class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, number):
        x, w, arguments, _ = small
        y = tconv.conv_transpose(torch.from_numpy(x * number), torch.from_numpy(w), **arguments)
        return number, y, torch.from_numpy(tconv.conv_transpose(x * number, w, **arguments))
for turn in range(2):
    seen = []
    loader = torch.utils.data.DataLoader(Images(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    for numbers, one, other in loader:
        assert right(small)
        for number, a, b in zip(numbers.tolist(), one, other):
            seen.append(number)
            assert np.array_equal(a, small[3] * number) and np.array_equal(b, small[3] * number)
    assert seen == list(range(12))
"""
    )


@needs_torch
@pytest.mark.slow
def test_beside_the_threads_of_torch(python):
    python(
        BEGIN
        + """
import torch
torch.set_num_threads(2)
x, w, arguments, y = large
tx, tw = torch.from_numpy(x), torch.from_numpy(w)
for turn in range(10):
    theirs = torch.nn.functional.conv_transpose2d(tx, tw, **arguments)
    assert right(large) and right(small)
    np.testing.assert_allclose(theirs.numpy(), y, rtol=1e-4, atol=1e-2)
    assert torch.equal(tconv.conv_transpose(tx, tw, **arguments), torch.from_numpy(y))
"""
    )


EXITS = {
    "right after a call": "",
    "after an error": "try: tconv.conv_transpose(1, 2)\nexcept tconv.TconvError: pass\n",
    "with a call at exit": "import atexit\natexit.register(lambda: (right(small), right(large)) == (True, True) or os._exit(9))\n",
    "with arrays alive": "outputs = [tconv.conv_transpose(*large[:2], **large[2]) for _ in range(3)]; view = memoryview(outputs[0])\n",
    "while a daemon computes": """
started = threading.Event()
def work():
    x, w = np.ones((2, 64, 200, 200), "f4"), np.ones((64, 64, 5, 5), "f4")
    while True:
        started.set()
        tconv.conv_transpose(x, w, stride=2)
threading.Thread(target=work, daemon=True).start()
started.wait()
time.sleep(0.05 * int(sys.argv[1]))
""",
    "while daemons make small calls": """
def work():
    while True:
        right(small)
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.02 * int(sys.argv[1]))
""",
}


@pytest.mark.parametrize("moment", EXITS)
def test_the_interpreter_exits_cleanly(moment, pooled):
    for turn in range(4 if "while" in moment else 2):
        assert pooled(BEGIN + EXITS[moment], turn) == ""


@posix
def test_an_interrupt_ends_a_long_call(pooled):
    """Much of the output is not written when the call ends; the next call is right."""
    if (physical_memory() or 0) < 1 << 31:
        pytest.skip("needs 2 GB")
    output = pooled(
        BEGIN
        + """
import signal
x, w = np.ones((1, 256, 256, 256), "f4"), np.ones((256, 256, 9, 9), "f4")
out = np.full((1, 256, 264, 264), np.nan, "f4")
def interrupt():
    while np.isnan(out[0, 0, 0, 0]):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    tconv.conv_transpose(x, w, out=out, method="simd")
except KeyboardInterrupt:
    print("interrupted", np.isnan(out).any())
from tconv.kernels.simd.thread_pool import pool
assert not pool()._lock.locked()
assert all(right(p) for p in (small, large) for _ in range(10))
"""
    )
    assert output == "interrupted True\n"


@posix
@pytest.mark.slow
def test_interrupts_at_any_moment(pooled):
    """A few hundred of them, during short calls, new shapes and new weights: all later calls are right."""
    output = pooled(
        BEGIN
        + """
import signal, random, sys
def complain(unraisable):
    # an interrupt can leave an object of llvmlite half made, of which llvmlite's own __del__ complains
    if not str(getattr(unraisable.object, "__module__", "")).startswith("llvmlite."):
        sys.__unraisablehook__(unraisable)
sys.unraisablehook = complain
random.seed(0)
count = interrupted = 0
def again(turn):
    right(small)
    tconv.conv_transpose(small[0][..., : 3 + turn % 30], small[1] + turn % 7, stride=2)
for turn in range(400):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 4e-3))
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for _ in range(100):
            again(turn)
    except KeyboardInterrupt:
        interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert right(small), turn
from tconv.kernels.simd.thread_pool import pool
assert right(large) and not pool()._lock.locked()
print(interrupted > 300)
"""
    )
    assert output == "True\n"


# -- settings -------------------------------------------------------------------------------------------------------


def test_many_threads_are_requested_and_few_are_used(threads, python):
    most = max(8, 4 * len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else max(8, 4 * os.cpu_count())
    tconv.set_num_threads(1024)
    assert tconv.get_num_threads() == most <= 256
    summary = tconv.plan(np.ones((1, 16, 512, 512), "f4"), np.ones((16, 16, 3, 3), "f4")).summary
    assert 1 < int(re.search(r"(\d+) threads", summary)[1]) <= most
    assert python("import tconv; print(tconv.get_num_threads())", TCONV_NUM_THREADS=1000) == f"{most}\n"


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "2", None, 1025, 10**9])
def test_invalid_numbers_of_threads(count, threads):
    with pytest.raises(tconv.errors.ArgumentError, match="count is"):
        tconv.set_num_threads(count)


def test_the_number_from_the_environment(python):
    text = "import tconv; print(tconv.get_num_threads())"
    assert python(text, TCONV_NUM_THREADS=5) == "5\n"
    if hasattr(os, "sched_getaffinity"):
        assert python(text, TCONV_NUM_THREADS="") == f"{len(os.sched_getaffinity(0))}\n"
        assert python("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n" + text) == "1\n"
    invalid = "import tconv\ntry: tconv.get_num_threads()\nexcept tconv.errors.ArgumentError as error: print(error)"
    for value in ("0", "-1", "two", "1.5", "1025", "100000"):
        needed = "a number from 1 to 1024 is needed. Write TCONV_NUM_THREADS=4, for example"
        assert python(invalid, TCONV_NUM_THREADS=value) == f"TCONV_NUM_THREADS is {value!r}; {needed}\n"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "100000 0"}, None),
        ({"cpu.max": ""}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container(files, quota, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert num_threads._cpu_quota(tmp_path) == quota
    monkeypatch.delenv("TCONV_NUM_THREADS", raising=False)
    monkeypatch.setattr(num_threads, "_cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)
    assert num_threads._default.__wrapped__() == {None: 3, 1.5: 2, 4: 3}[quota]


def test_a_call_never_waits_for_another(own_pool):
    """It runs on its own thread while the helpers are busy; a call from a signal handler could wait for itself."""
    inputs, arguments = arrays("picture", whole=True), LAYERS["picture"][2]
    expected, results = tconv.conv_transpose(*inputs, method="polyphase", **arguments), []
    with own_pool._lock:
        caller = threading.Thread(target=lambda: results.append(run(*inputs, arguments)), daemon=True)
        caller.start()
        caller.join(60)
        assert results, "it waits"
    np.testing.assert_array_equal(results[0], expected)
    assert not own_pool._helper_scratches


def test_helpers_are_started_once_and_when_needed(own_pool):
    inputs, arguments = arrays("picture"), LAYERS["picture"][2]
    before = threading.active_count()
    for count in (1, 3, 2, 3, 5, 4, 5):
        tconv.set_num_threads(count)
        run(*inputs, arguments)
    assert len(own_pool._helper_scratches) == own_pool._started == 4
    assert threading.active_count() == before + 4


@pytest.mark.skipif(not futex_threads.AVAILABLE, reason="cores cannot be chosen")
def test_helpers_avoid_the_core_of_their_caller(python):
    """They run only where the caller may run, after a later change of its affinity, too."""
    text = """
import os, threading, time, numpy as np, tconv
tconv.set_num_threads(3)
allowed = os.sched_getaffinity(0)
x, w = np.ones((1, 64, 64, 64), "f4"), np.ones((64, 64, 4, 4), "f4")
def masks(turns=200):
    for _ in range(turns):
        tconv.conv_transpose(x, w, stride=2, method="simd")
        yield [os.sched_getaffinity(t.native_id) for t in threading.enumerate() if t.name == "tconv"]
def until(right):
    seen = []
    for found in masks():
        seen.append(found)
        if right(found):
            return
    raise AssertionError((allowed, seen[-1]))
if len(allowed) > 1:
    until(lambda found: len(found) == 2 and all(len(mask) == len(allowed) - 1 and mask < allowed for mask in found))
assert os.sched_getaffinity(0) == allowed
for core in sorted(allowed)[:2]:
    os.sched_setaffinity(0, {core})  # nothing is left beside it: the helpers stay where they are
    before = next(masks())
    assert next(masks()) == before
    os.sched_setaffinity(0, allowed)
    if len(allowed) > 1:
        until(lambda found: all(len(mask) == len(allowed) - 1 for mask in found))
"""
    python(text, TCONV_POOL="futex")


def test_helpers_round_and_flush_as_their_caller_does(pooled):
    """Results have the same bits on all threads, in whatever float mode the caller is."""
    pooled(
        """
import platform, numpy as np, tconv
from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.tile_tickets import machine_function
def write(name):
    f = ThreadFunction(f"test_{name}", 1)
    getattr(f, name)(f.arguments[0], 0)
    return f.finish()
names = ("save_float_mode", "restore_float_mode")
save, restore = (machine_function(f"test_{name}", lambda name=name: write(name), 1) for name in names)
tconv.set_num_threads(3)
x, w = np.full((1, 32, 64, 64), 1e-40, "f4"), np.ones((32, 32, 4, 4), "f4")
mode = np.zeros(1, np.int64)
save(mode.ctypes.data)
usual, flushing = int(mode[0]), int(mode[0]) | (1 << 24 if platform.machine() in ("aarch64", "arm64") else 0x8040)
for turn in range(20):
    assert tconv.conv_transpose(x, w, stride=2, method="simd").min() > 0
    mode[0] = flushing
    restore(mode.ctypes.data)
    flushed = tconv.conv_transpose(x, w, stride=2, method="simd")
    mode[0] = usual
    restore(mode.ctypes.data)
    assert not flushed.view(np.int32).any()
"""
    )


def test_the_way_to_wait_from_the_environment(python):
    text = "import tconv\nfrom tconv.kernels.simd import thread_pool\nprint(type(thread_pool.pool()._helpers).__name__)"
    assert python(text, TCONV_POOL="python") == "PythonThreads\n"
    expected = "FutexThreads\n" if futex_threads.AVAILABLE else "PythonThreads\n"
    assert python(text, TCONV_POOL="") == expected
    call = "tconv.conv_transpose(np.ones((1, 1, 4), 'f4'), np.ones((1, 1, 3), 'f4'))"
    invalid = f"import numpy as np, tconv\ntry: {call}\nexcept tconv.errors.ArgumentError as error: print(error)"
    if futex_threads.AVAILABLE:
        message = "TCONV_POOL is 'openmp'; futex or python is needed. Write TCONV_POOL=python\n"
        assert python(invalid, TCONV_POOL="openmp") == message
    text = "import tconv.kernels.simd.futex_threads as f; f.AVAILABLE = False\n" + invalid
    message = "TCONV_POOL is 'futex'; python (this system has no futex) is needed. Write TCONV_POOL=python\n"
    assert python(text, TCONV_POOL="futex") == message


@pytest.mark.parametrize("own_pool", ["python"], indirect=True)
def test_a_helper_that_cannot_wake_delays_no_call(own_pool):
    """The caller computes all tiles that no helper has taken."""
    inputs, arguments = arrays("picture", whole=True), LAYERS["picture"][2]
    expected = tconv.conv_transpose(*inputs, method="polyphase", **arguments)
    run(*inputs, arguments)
    own_pool._helpers._locks = [threading.Lock() for _ in range(9)]  # those of nobody
    for _ in range(5):
        np.testing.assert_array_equal(run(*inputs, arguments), expected)


@pytest.mark.parametrize("own_pool", ["python"], indirect=True)
def test_an_interrupt_while_a_call_is_open(own_pool, monkeypatch):
    """The call runs to its end before its arrays are deleted, and the next one is right."""
    inputs, arguments = arrays("picture", whole=True), LAYERS["picture"][2]
    expected = tconv.conv_transpose(*inputs, method="polyphase", **arguments)
    run(*inputs, arguments)
    open_call = own_pool._helpers._open

    def interrupted(*integers):
        open_call(*integers)
        raise KeyboardInterrupt

    out = np.full(expected.shape, np.nan, np.float32)
    with monkeypatch.context() as patched:
        patched.setattr(own_pool._helpers, "_open", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tconv.conv_transpose(*inputs, out=out, method="simd", **arguments)
    np.testing.assert_array_equal(out, expected)
    for _ in range(5):
        np.testing.assert_array_equal(run(*inputs, arguments), expected)
