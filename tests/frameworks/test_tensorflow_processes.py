"""tconv.tensorflow in hard places: threads, forks, files for processes without tconv, low memory, ends of processes."""

from __future__ import annotations

from processes import MEMORY, WITHOUT_TCONV, after_importing

run = after_importing("tensorflow")

START = """
import sys, os, threading, numpy as np, tensorflow as tf, tconv, tconv.tensorflow
rng = np.random.default_rng(0)
whole = lambda *shape: rng.integers(-4, 5, shape).astype(np.float32)
def shape_of(x, w):
    return [tf.shape(x)[0], 2 * tf.shape(x)[1], 2 * tf.shape(x)[2], w.shape[2] or tf.shape(w)[2]]
def layer(x, w):
    return tconv.tensorflow.conv_transpose(x, w, shape_of(x, w), 2)
def theirs(x, w):
    return tf.nn.conv2d_transpose(x, w, shape_of(x, w), 2).numpy()
def ours(x, w):
    n, h, width, _ = x.shape
    return tconv.conv_transpose(x, w, dialect="tensorflow", output_shape=(n, 2 * h, 2 * width, w.shape[2]), strides=2)
same = np.array_equal
x, w = whole(2, 12, 10, 16), whole(4, 4, 8, 16)
def step(x, w):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        loss = tf.reduce_sum(layer(x, w) ** 2)
    return tape.gradient(loss, [x, w])
def operators(function, *arrays):
    graph = function.get_concrete_function(*arrays).graph
    return {node.type for node in graph.get_operations()}
"""


def test_eight_threads_at_once():
    """Threads share a function, and trace their own; each has its own numbers, eager and in graphs.

    Then a graph whose table of sizes is replaced while machine code reads it.
    """
    run(
        START
        + """
shared, failures, barrier = tf.function(layer), [], threading.Barrier(8)
assert "Tconv>ConvTranspose" in operators(shared, tf.constant(x), tf.constant(w))
assert same(shared(x, w), theirs(x, w))
def work(number):
    try:
        own = tf.function(lambda x, w: layer(x, w) + number)
        data = [tuple(map(tf.constant, (np.roll(x, number, 1) + at, np.roll(w, number, 0) - at))) for at in range(6)]
        expected = [theirs(*each) for each in data]
        barrier.wait()
        for _ in range(8):
            for each, y in zip(data, expected):
                assert same(shared(*each), y)
                assert same(layer(*each), y)
                assert same(own(*each), y + number)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert not failures, failures
open_sizes = tf.TensorSpec((None, None, None, 16)), tf.TensorSpec((4, 4, 8, 16))
f, failures, stop = tf.function(layer, input_signature=open_sizes), [], threading.Event()
y = theirs(x, w)
f(x, w)
def repeat():
    while not stop.is_set():
        if not same(f(x, w), y):
            failures.append("wrong")
ones = np.ones((4, 4, 8, 16), np.float32)
def grow(first):
    try:
        for size in range(first, 200, 4):
            a = np.ones((1, 1, size, 16), np.float32)
            assert f(a, ones).numpy().sum() == theirs(a, ones).sum()
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
    """NumPy's face works in the child of a process that ran graphs, while threads run them, too."""
    run(
        START
        + """
import signal
f, y, stop = tf.function(layer), theirs(x, w), threading.Event()
assert same(f(x, w), y)
def repeat():
    while not stop.is_set():
        f(x, w)
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


def test_several_devices():
    """Each logical CPU runs the kernel."""
    run(
        START
        + """
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
y = theirs(x, w)
for number in range(4):
    with tf.device(f"CPU:{number}"):
        assert same(layer(x, w), y)
        assert same(tf.function(layer)(x, w), y)
strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(4)])
found = strategy.run(tf.function(layer), args=(tf.constant(x), tf.constant(w)))
assert all(same(each, y) for each in strategy.experimental_local_results(found))
"""
    )


FILES = """
from pathlib import Path
folder = Path(sys.argv[1])
"""


def test_a_saved_model_loads_without_tconv(tmp_path):
    """A forward pass with open sizes, and a training step, though the functions ran on the kernel before."""
    run(
        START
        + FILES
        + """
class Model(tf.Module):
    def __init__(self):
        self.w = tf.Variable(w)
        self.rate = 2.0 ** -10
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 16))])
    def call(self, x):
        return layer(x, self.w)
    @tf.function(input_signature=[tf.TensorSpec((None, 12, 10, 16))])
    def step(self, x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, self.w) ** 2)
        gradient = tape.gradient(loss, self.w)
        self.w.assign_sub(self.rate * gradient)
        return gradient
    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec((2, 12, 10, 16))])
    def compiled(self, x):
        return layer(x, self.w)
model = Model()
assert same(model.call(x), theirs(x, w))
assert "Tconv>ConvTranspose" in operators(model.call)
assert same(model.compiled(x), theirs(x, w))
model.step(x); model.w.assign(w)
tf.saved_model.save(model, str(folder / "model"))
gradient = step(tf.constant(x), tf.constant(w))[1]
np.savez(folder / "arrays.npz", x=x, w=w, y=theirs(x, w), gradient=gradient)
""",
        tmp_path,
    )
    run(
        WITHOUT_TCONV
        + "import sys, numpy as np, tensorflow as tf"
        + FILES
        + """
model, arrays = tf.saved_model.load(str(folder / "model")), np.load(folder / "arrays.npz")
x = arrays["x"]
assert np.array_equal(model.call(x), arrays["y"])
assert np.array_equal(model.compiled(x), arrays["y"])
assert model.call(x[:1, :3]).shape == (1, 6, 20, 8)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model.call(tf.constant(x)) ** 2)
assert np.array_equal(tape.gradient(loss, model.w), arrays["gradient"])
assert np.array_equal(model.step(x), arrays["gradient"])
assert np.array_equal(model.w, arrays["w"] - arrays["gradient"] * np.float32(2.0 ** -10))
""",
        tmp_path,
    )


def test_tensorflow_lite_runs_a_converted_model_without_tconv(tmp_path):
    """From a saved model; from a function traced with standard operators; a refusal from any other one."""
    run(
        START
        + FILES
        + """
import contextlib, io
class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 12, 10, 16))])
    def call(self, x):
        return layer(x, w)
model = Model()
model.call(x)
tf.saved_model.save(model, str(folder / "model"))
saved = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
(folder / "saved.tflite").write_bytes(saved.convert())
with tconv.tensorflow.standard_operators():
    concrete = tf.function(lambda x: layer(x, w)).get_concrete_function(tf.TensorSpec(x.shape))
(folder / "concrete.tflite").write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
private = tf.function(lambda x: layer(x, w)).get_concrete_function(tf.TensorSpec(x.shape))
try:
    tf.lite.TFLiteConverter.from_concrete_functions([private]).convert()
except Exception as error:
    assert "Tconv>ConvTranspose" in str(error)
else:
    raise SystemExit("it was converted")
np.savez(folder / "arrays.npz", x=x, y=theirs(x, w))
""",
        tmp_path,
    )
    run(
        WITHOUT_TCONV
        + "import sys, numpy as np, tensorflow as tf"
        + FILES
        + """
arrays = np.load(folder / "arrays.npz")
for name in ("saved", "concrete"):
    interpreter = tf.lite.Interpreter(str(folder / f"{name}.tflite"))
    (taken,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], arrays["x"].shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], arrays["x"])
    interpreter.invoke()
    assert np.array_equal(interpreter.get_tensor(made["index"]), arrays["y"]), name
""",
        tmp_path,
    )


def test_graphs_run_while_the_interpreter_ends():
    """Threads are in calls; functions of atexit, and objects that the end of the process deletes, call, too."""
    output = run(
        START
        + """
import atexit
f, ready, big = tf.function(layer), threading.Barrier(4), tf.constant(whole(4, 64, 64, 16))
f(big, w)
def repeat():
    ready.wait()
    while True:
        f(big, w)
for _ in range(3):
    threading.Thread(target=repeat, daemon=True).start()
y = theirs(x, w)
def last():
    print("atexit", same(f(x, w), y), same(layer(x, w), y), flush=True)
atexit.register(last)
class Late:
    def __init__(self):
        self.f, self.x, self.w = f, tf.constant(x), tf.constant(w)
    def __del__(self):
        self.f(self.x, self.w)
late = Late()
ready.wait()
"""
    )
    assert output == "atexit True True\n"


def test_memory_stays_bounded():
    """Each call has a weight that was never seen, as in training, or a size of its own, as sounds and pictures have."""
    run(
        START
        + MEMORY
        + """
wide = [tf.constant(whole(4, 4, 64, 128)) for _ in range(8)]   # half a megabyte each
small = tf.constant(whole(1, 4, 4, 128))
open_sizes = tf.TensorSpec((None, None, None, None)), tf.TensorSpec((4, 4, None, None))
graph = tf.function(layer, input_signature=open_sizes)
for f in (graph, layer):
    sizes = grown(lambda at: f(small, wide[at % 8] + at), 400)
    assert sizes[-1] - sizes[0] < 60, sizes
    assert same(f(small, wide[0] + 1), theirs(small, wide[0] + 1))
    sizes = grown(lambda at: f(np.ones((1, 1, at + 1, 16), np.float32), w), 100)
    assert sizes[-1] - sizes[1] < 60, sizes
    assert same(f(x, w), theirs(x, w))
"""
    )


def test_little_memory():
    """A call that does not get its memory raises, and the next one runs."""
    run(
        START
        + """
import resource
f, y = tf.function(layer), theirs(x, w)
assert same(f(x, w), y)
big = np.zeros((1, 512, 512, 16), np.float32), np.zeros((4, 4, 256, 16), np.float32)
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + 300_000_000, -1))
for call in (layer, f):
    try:
        call(*map(tf.constant, big))
    except tf.errors.ResourceExhaustedError:
        pass
    else:
        raise SystemExit(3)
assert same(f(x, w), y)
assert same(layer(x[:, :7], w), theirs(x[:, :7], w))
"""
    )


def test_sizes_that_only_the_run_knows_are_refused_then():
    """They are TensorFlow's error of that kind, and the next call runs."""
    output = run(
        START
        + """
f = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, None)), tf.TensorSpec((4, 4, 8, 16))])
for wrong in (whole(1, 3, 3, 15), whole(1, 0, 3, 16)):
    try:
        f(wrong, w)
    except tf.errors.InvalidArgumentError as error:
        print(error.message)
    else:
        raise SystemExit("it was taken")
assert same(f(x, w), theirs(x, w))
"""
    )
    assert "every entry must be at least 1" in output
