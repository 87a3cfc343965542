"""tconv.jax in hard places: threads, forks, several devices, donated memory, caches, files, and ends of processes."""

from __future__ import annotations

import pytest
from processes import MEMORY, WITHOUT_TCONV, after_importing

run = after_importing("jax")

START = """
import sys, os, threading, numpy as np, jax, jax.numpy as jnp, tconv, tconv.jax
rng = np.random.default_rng(0)
whole = lambda *shape: rng.integers(-4, 5, shape).astype(np.float32)
def layer(x, w):
    return tconv.jax.conv_transpose(x, w, (2, 2), "SAME")
def theirs(x, w):
    return np.asarray(jax.lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
def ours(x, w):
    return tconv.conv_transpose(x, w, dialect="jax", strides=(2, 2), padding="SAME")
same = np.array_equal
x, w = whole(2, 12, 10, 16), whole(4, 4, 16, 8)
step = jax.jit(lambda x, w: jax.value_and_grad(lambda x, w: (layer(x, w) ** 2).sum(), (0, 1))(x, w))
"""


def test_eight_threads_at_once():
    """Threads share a compiled program, and compile their own; each has its own numbers.

    Then the table of calls grows while machine code reads it.
    """
    run(
        START
        + """
assert "tconv_conv_transpose" in jax.jit(layer).lower(x, w).compile().as_text()
shared, failures, barrier = jax.jit(layer), [], threading.Barrier(8)
def work(number):
    try:
        own = jax.jit(lambda x, w: layer(x, w) + number)
        data = [(np.roll(x, number, 1) + at, np.roll(w, number, 0) - at) for at in range(6)]
        expected = [theirs(*each) for each in data]
        barrier.wait()
        for _ in range(8):
            for each, y in zip(data, expected):
                assert same(shared(*each), y)
                assert same(own(*each), y + number)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert not failures, failures
f, failures, stop = jax.jit(layer), [], threading.Event()
y = theirs(x, w)
f(x, w)
def repeat():
    while not stop.is_set():
        if not same(f(x, w), y):
            failures.append("wrong")
def grow(first):
    try:
        for size in range(first, 170, 4):
            a, b = np.full((1, 1, size, 1), 2, np.float32), np.full((2, 2, 1, 1), 3, np.float32)
            assert (np.asarray(f(a, b)) == 6).all()
    except BaseException as error:
        failures.append(error)
readers = [threading.Thread(target=repeat) for _ in range(2)]
growers = [threading.Thread(target=grow, args=(first,)) for first in range(1, 5)]
[thread.start() for thread in readers + growers]
[thread.join() for thread in growers]; stop.set(); [thread.join() for thread in readers]
assert not failures, failures
"""
    )


def test_a_child_uses_the_kernel_after_a_fork():
    """NumPy's face works in the child of a process that ran compiled programs, while threads run them, too."""
    run(
        START
        + """
import signal
f, y, stop = jax.jit(layer), theirs(x, w), threading.Event()
assert same(f(x, w), y)
def repeat():
    while not stop.is_set():
        f(x, w).block_until_ready()
thread = threading.Thread(target=repeat); thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a deadlock ends in an error
        os._exit(0 if same(ours(x, w), y) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set(); thread.join()
"""
    )


def test_a_child_runs_a_program_that_its_parent_compiled():
    """JAX warns about forks, because its own threads are gone in the child; a small program needs none."""
    run(
        START
        + """
import signal
f, y = jax.jit(layer), theirs(x, w)
assert same(f(x, w), y)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if same(f(x, w), y) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    )


def test_donated_buffers():
    """A donated x, weight or bias may be overwritten by the program, and never before the kernel has read it."""
    run(
        START
        + """
b = whole(8)
def both(x, w, b):
    return tconv.jax.conv_transpose(x, w, (1, 1), "SAME", bias=b)
square = whole(3, 3, 16, 16)
bias = whole(16)
for donated in ((0,), (1,), (2,), (0, 1, 2)):
    f = jax.jit(both, donate_argnums=donated)
    for _ in range(3):
        assert same(f(*map(jnp.array, (x, square, bias))), both(x, square, bias))
loop = jax.jit(lambda x, w, b: jax.lax.fori_loop(0, 3, lambda _, x: both(x, w, b) % 5, x), donate_argnums=0)
expected = x
for _ in range(3):
    expected = np.asarray(both(expected, square, bias)) % 5
assert same(loop(jnp.array(x), square, bias), expected)
"""
    )


DEVICES = """
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
shard_map = getattr(jax, "shard_map", None)
if shard_map is None:
    from jax.experimental.shard_map import shard_map
assert len(jax.devices()) == 4
mesh = Mesh(np.array(jax.devices()), ("i",))
xs = whole(8, 6, 5, 16)
y = theirs(xs, w)
gradients = jax.jit(jax.grad(lambda x, w: (jax.lax.conv_transpose(x, w, (2, 2), "SAME") ** 2).sum(), (0, 1)))(xs, w)
"""


@pytest.mark.parametrize(
    "case",
    [
        "f = jax.pmap(layer, in_axes=(0, None)); assert same(f(xs.reshape(4, 2, 6, 5, 16), w).reshape(y.shape), y)",
        'f = jax.jit(shard_map(layer, mesh=mesh, in_specs=(P("i"), P()), out_specs=P("i"))); assert same(f(xs, w), y)',
        """
part = shard_map(layer, mesh=mesh, in_specs=(P("i"), P()), out_specs=P("i"))
found = jax.jit(jax.grad(lambda x, w: (part(x, w) ** 2).sum(), (0, 1)))(xs, w)
assert all(map(same, found, gradients))
""",
        """
part = shard_map(layer, mesh=mesh, in_specs=(P(), P(None, None, None, "i")), out_specs=P(None, None, None, "i"))
assert same(jax.jit(part)(xs, w), y)
""",
        """
for spec in (P("i"), P(None, None, None, "i")):
    placed = jax.device_put(xs, NamedSharding(mesh, spec))
    assert same(jax.jit(layer)(placed, w), y)
    found = jax.jit(jax.grad(lambda x, w: (layer(x, w) ** 2).sum(), (0, 1)))(placed, w)
    assert all(map(same, found, gradients))
placed = jax.device_put(w, NamedSharding(mesh, P(None, None, None, "i")))
assert same(jax.jit(layer)(xs, placed), y)
""",
        """
f = jax.jit(layer)
assert all(same(f(jax.device_put(xs, device), jax.device_put(w, device)), y) for device in jax.devices())
""",
    ],
    ids=["pmap", "shard_map", "gradient", "channels", "sharded arrays", "each device"],
)
def test_several_devices(case):
    run(START + DEVICES + case, XLA_FLAGS="--xla_force_host_platform_device_count=4")


def test_an_exported_program_loads_without_tconv(tmp_path):
    """A forward pass and a training step, of known and of symbolic sizes, for the CPU and for other platforms."""
    run(
        START
        + """
import jax.export
from pathlib import Path
folder = Path(sys.argv[1])
S = jax.ShapeDtypeStruct
n, h = jax.export.symbolic_shape("n, h")
programs = {
    "known": jax.export.export(jax.jit(layer))(S(x.shape, x.dtype), S(w.shape, w.dtype)),
    "symbolic": jax.export.export(jax.jit(layer))(S((n, h, 10, 16), x.dtype), S(w.shape, w.dtype)),
    "step": jax.export.export(step)(S(x.shape, x.dtype), S(w.shape, w.dtype)),
    "platforms": jax.export.export(step, platforms=("cpu", "cuda", "tpu"))(S(x.shape, x.dtype), S(w.shape, w.dtype)),
}
for name, program in programs.items():
    (folder / name).write_bytes(program.serialize(vjp_order=0 if "step" in name or "platforms" in name else 1))
_, (dx, dw) = step(x, w)
np.savez(folder / "arrays.npz", x=x, w=w, y=theirs(x, w), dx=dx, dw=dw)
""",
        tmp_path,
    )
    run(
        WITHOUT_TCONV
        + """
import sys, jax, jax.export, numpy as np
from pathlib import Path
folder = Path(sys.argv[1])
arrays = np.load(folder / "arrays.npz")
x, w = arrays["x"], arrays["w"]
load = lambda name: jax.export.deserialize(bytearray((folder / name).read_bytes())).call
assert np.array_equal(load("known")(x, w), arrays["y"])
assert np.array_equal(load("symbolic")(x, w), arrays["y"])
assert load("symbolic")(x[:1, :3], w).shape == (1, 6, 20, 8)
for name in ("step", "platforms"):
    _, found = load(name)(x, w)
    assert np.array_equal(found[0], arrays["dx"]) and np.array_equal(found[1], arrays["dw"])
found = jax.grad(lambda w: (load("known")(x, w) ** 2).sum())(w)
assert np.array_equal(found, arrays["dw"])
""",
        tmp_path,
    )


CACHE = """
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
"""


def test_a_second_process_takes_programs_from_jaxs_cache(tmp_path):
    hits = run(
        START
        + CACHE
        + """
f = jax.jit(layer)
assert same(f(x, w), theirs(x, w))
""",
        tmp_path,
    )
    assert any("jit_layer" in file.name for file in tmp_path.iterdir()), hits
    before = {file.name for file in tmp_path.iterdir() if "jit_layer" in file.name and file.name.endswith("-cache")}
    run(
        START
        + CACHE
        + """
f = jax.jit(layer)
for at in range(3):
    assert same(f(x + at, w - at), theirs(x + at, w - at))
""",
        tmp_path,
    )
    after = {file.name for file in tmp_path.iterdir() if "jit_layer" in file.name and file.name.endswith("-cache")}
    assert after == before, "it was compiled again"


SERIALIZED = """
import pickle
from pathlib import Path
from jax.experimental import serialize_executable
file = Path(sys.argv[1], "program")
"""


def test_a_serialized_executable_runs_in_another_process(tmp_path):
    """It is not lowered there, so XLA has to know the handler from another call; its first call makes the record."""
    run(
        START
        + SERIALIZED
        + """
made = serialize_executable.serialize(jax.jit(layer).lower(x, w).compile())
file.write_bytes(pickle.dumps((made, x, w, theirs(x, w))))
""",
        tmp_path,
    )
    run(
        "import sys, numpy as np, jax, tconv.jax"
        + SERIALIZED
        + "jax.jit(lambda x: tconv.jax.conv_transpose(x, x, (1,), 'SAME'))(np.ones((1, 1, 1), np.float32))"
        + """
made, x, w, y = pickle.loads(file.read_bytes())
f = serialize_executable.deserialize_and_load(*made)
for _ in range(3):
    assert np.array_equal(f(x, w), y)
""",
        tmp_path,
    )
    output = run(
        WITHOUT_TCONV
        + "import sys, numpy as np, jax"
        + SERIALIZED
        + """
made, x, w, y = pickle.loads(file.read_bytes())
try:
    serialize_executable.deserialize_and_load(*made)(x, w)
except Exception as error:
    print(error)
""",
        tmp_path,
    )
    assert "tconv_conv_transpose" in output


@pytest.mark.parametrize("end", ["pass", "jax.clear_caches()"])
def test_a_process_ends_while_programs_run(end):
    """Nobody waits for the calls that XLA's threads are in. (A thread that waits for one aborts a process of JAX alone.)"""
    run(
        START
        + f"""
f = jax.jit(layer)
big = jnp.asarray(whole(4, 64, 64, 16))
f(big, w).block_until_ready()
for _ in range(20):
    y = f(big, w)
{end}
"""
    )


def test_programs_run_while_the_interpreter_ends():
    """Functions of atexit, and objects that the end of the process deletes, may still call."""
    output = run(
        START
        + """
import atexit
f, y = jax.jit(layer), theirs(x, w)
def last():
    print("atexit", same(f(x, w), y), flush=True)
atexit.register(last)
f(x, w)
class Late:
    def __init__(self):
        self.f, self.x, self.w = f, jnp.asarray(x), jnp.asarray(w)
    def __del__(self):
        self.f(self.x, self.w)
late = Late()
"""
    )
    assert output == "atexit True\n"


def test_a_kernel_that_fails_raises_in_our_words():
    """XLA turns the message of the handler into an exception; the next call runs."""
    output = run(
        START
        + """
from tconv.jax import ffi_handler, handler_code
f = jax.jit(layer)
y = theirs(x, w)
assert same(f(x, w), y)
handler = ffi_handler.handler()
import ctypes
fails = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 5)(lambda *arguments: 1)
run = handler._integers[handler_code.RUN]
handler._integers[handler_code.RUN] = ctypes.cast(fails, ctypes.c_void_p).value
try:
    np.asarray(f(x, w))
except Exception as error:
    print(type(error).__name__, error)
handler._integers[handler_code.RUN] = run
assert same(f(x, w), y)
"""
    )
    assert "it needs Python's interpreter" in output, output


def test_memory_stays_bounded():
    """Each call has a weight that was never seen, as in training; then each has a program of its own, which ends."""
    run(
        START
        + MEMORY
        + """
f = jax.jit(layer)
wide = [whole(4, 4, 128, 64) for _ in range(8)]   # half a megabyte each
small = whole(1, 4, 4, 128)
sizes = grown(lambda at: f(small, wide[at % 8] + at).block_until_ready(), 500)
assert sizes[-1] - sizes[0] < 60, sizes
assert same(f(small, wide[0] + 1), theirs(small, wide[0] + 1))
def call(at):
    f = jax.jit(lambda x, w: layer(x, w) + 1)
    f(x[:, : at % 12 + 1], w).block_until_ready()
    f.clear_cache()
    if at % 20 == 0:
        jax.clear_caches()
sizes = grown(call, 24)
assert sizes[-1] - sizes[1] < 60, sizes
"""
    )


def test_little_memory():
    """A program that does not get its memory raises, and the next one runs."""
    run(
        START
        + """
import resource
f = jax.jit(lambda x, w: layer(x, w).sum())
total = f(x, w)
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + 300_000_000, -1))
try:
    g = jax.jit(layer)
    y = g(np.zeros((1, 512, 512, 16), np.float32), np.zeros((4, 4, 16, 256), np.float32))
    y.block_until_ready()  # raises
except Exception as error:
    print(type(error).__name__, str(error)[:300])
else:
    raise SystemExit(3)
assert f(x, w) == total
assert same(jax.jit(layer)(x[:, :7], w), theirs(x[:, :7], w))
"""
    )
