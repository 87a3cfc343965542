"""`tconv.tensorflow` inside of tf.function, and in files: what is saved or compiled has TensorFlow's own operators."""

from __future__ import annotations

import os
import textwrap

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import pytest
import tensorflow as tf
from processes import WITHOUT_TCONV, after_importing
from tensorflow_calls import random_call

import tconv
import tconv.tensorflow as face
from random_calls import whole_numbers
from tconv.errors import TconvError
from tconv.tensorflow import tracing_context
from tconv.tensorflow.registration import OPERATOR

run = after_importing("tensorflow")
_CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_CPU, [tf.config.LogicalDeviceConfiguration()] * 2)


def whole(rng, *shape):
    return tf.constant(whole_numbers(rng, shape))


def operators_of(function):
    graph = function.graph.as_graph_def()
    return {node.op for node in graph.node} | {node.op for each in graph.library.function for node in each.node_def}


X, W = whole(np.random.default_rng(0), 2, 4, 4, 3), whole(np.random.default_rng(1), 3, 3, 5, 3)
EXPECTED = tf.nn.conv2d_transpose(X, W, [2, 8, 8, 5], 2)


class Module(tf.Module):
    """Module with a variable, as a user saves it."""

    def __init__(self):
        super().__init__()
        self.filters = tf.Variable(W)

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3))])
    def __call__(self, x):
        return face.conv_transpose(x, self.filters, [tf.shape(x)[0], 8, 8, 5], 2)


@keras.saving.register_keras_serializable("tconv_tests")
class Upsampling(keras.layers.Layer):
    def build(self, shape):
        self.filters = self.add_weight(shape=(3, 3, 5, shape[-1]))
        self.built = True

    def call(self, x):
        y = face.conv_transpose(x, tf.cast(tf.convert_to_tensor(self.filters), x.dtype), [tf.shape(x)[0], 8, 8, 5], 2)
        return tf.ensure_shape(y, [None, 8, 8, 5])


def network():
    model = keras.Sequential([keras.Input((4, 4, 3)), Upsampling(), keras.layers.ReLU()])
    model.layers[0].set_weights([W.numpy()])
    return model


# -- values ----------------------------------------------------------------------------------------------------------


def groups_of(w, arguments):
    axis = 1 if arguments.get("data_format", "N")[1:2] == "C" else -1
    return arguments["output_shape"][axis] // w.shape[-2]


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_calls_in_one_function(seed, dynamic):
    rng = np.random.default_rng([seed, dynamic, 5])
    calls, expected = [], []
    while len(calls) < 50:
        x, w, bias, arguments = random_call(rng, int(rng.integers(1, 4)))
        try:
            expected.append(tconv.conv_transpose(x, w, bias, dialect="tensorflow", **arguments))
        except TconvError:
            continue
        calls.append((x, w, bias, arguments))

    def run(xs, sizes):
        given = [arguments["output_shape"] for *_, arguments in calls]
        shapes = tf.unstack(sizes) if dynamic else given
        shapes = [shape[: len(each)] for shape, each in zip(shapes, given, strict=True)]
        return [
            face.conv_transpose(x, w, bias=bias, groups=groups_of(w, arguments), **{**arguments, "output_shape": shape})
            for x, shape, (_, w, bias, arguments) in zip(xs, shapes, calls, strict=True)
        ]

    specs = [tf.TensorSpec([None] * x.ndim if dynamic else x.shape) for x, *_ in calls]
    sizes = np.array([[*arguments["output_shape"], 0, 0, 0][:5] for *_, arguments in calls], np.int32)
    function = tf.function(run, input_signature=[specs, tf.TensorSpec(sizes.shape, tf.int32)])
    for got, wanted in zip(function([x for x, *_ in calls], sizes), expected, strict=True):
        assert np.array_equal(got, wanted)
    assert OPERATOR in operators_of(function.get_concrete_function())


def test_sizes_that_are_known_when_the_graph_runs_only():
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3)), tf.TensorSpec((4,), tf.int32)])
    def function(x, shape):
        return face.conv_transpose(x, W, shape, 2)

    with face.standard_operators():
        standard = tf.function(function.python_function, input_signature=function.input_signature)
        assert OPERATOR not in operators_of(standard.get_concrete_function())
    results = {}
    for shape in ((2, 8, 8, 5), (2, 7, 8, 5), (2, 7, 7, 5)):
        expected = tf.nn.conv2d_transpose(X, W, shape, 2)
        for number, call in enumerate((function, standard)):
            with tf.GradientTape() as tape:
                tape.watch(X)
                y = call(X, tf.constant(shape))
                value = tf.reduce_sum(y * expected)
            assert np.array_equal(y, expected)
            results[number] = tape.gradient(value, X).numpy()
        assert np.array_equal(results[0], results[1])
    for call in (function, standard):
        with pytest.raises(tf.errors.InvalidArgumentError, match="SAME"):
            call(X, tf.constant([2, 9, 8, 5]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Use a size that it reduces to 4: 7 to 8"):
        function(X, tf.constant([2, 9, 8, 5]))
    for call in (function, standard):
        with pytest.raises(tf.errors.InvalidArgumentError, match="groups"):
            call(X, tf.constant([2, 8, 8, 10]))
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"another batch than that of input. Write tf\.shape\(input\)\[0\]"
        ):
            call(X, tf.constant([3, 8, 8, 5]))


def test_loops_branches_and_maps():
    @tf.function
    def loop(x, count):
        total = tf.zeros_like(EXPECTED)
        for _ in tf.range(count):
            if tf.reduce_sum(x) > -1e9:
                total += face.conv_transpose(x, W, [2, 8, 8, 5], 2)
        return total

    assert np.array_equal(loop(X, 3), 3 * EXPECTED)
    with tf.GradientTape() as tape:
        tape.watch(X)
        value = tf.reduce_sum(loop(X, 2))
    assert np.array_equal(tape.gradient(value, X), 2 * gradient_of(X))
    mapped = tf.map_fn(lambda x: face.conv_transpose(x[None], W, [1, 8, 8, 5], 2)[0], X)
    assert np.array_equal(mapped, EXPECTED)
    data = tf.data.Dataset.from_tensor_slices(X).repeat(8).batch(2)
    for y in data.map(lambda x: face.conv_transpose(x, W, (8, 8), 2), num_parallel_calls=4):
        assert np.array_equal(y, EXPECTED)


def gradient_of(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(tf.nn.conv2d_transpose(x, W, [2, 8, 8, 5], 2))
    return tape.gradient(value, x)


def test_a_batch_of_none_in_a_gradient():
    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3))])
    def step(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, W])
            y = face.conv_transpose(x, W, [tf.shape(x)[0], 8, 8, 5], 2)
        return y, tape.gradient(y, x), tape.gradient(y, W)

    for count in (0, 2):
        y, dx, dw = step(X[:count])
        assert np.array_equal(y, EXPECTED[:count])
        assert np.array_equal(dx, gradient_of(X)[:count])
        assert dw.shape == W.shape
        assert count or not np.any(dw)


def test_two_replicas_and_mixed_precision():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = network()
        model.compile("sgd", "mse")
    history = model.fit(X, EXPECTED, batch_size=2, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = network()
        model.compile("sgd", "mse")
        model.fit(X, EXPECTED, verbose=0)
        assert model(X).dtype == tf.bfloat16
    finally:
        keras.mixed_precision.set_global_policy("float32")


# -- compiled graphs, and other contexts -----------------------------------------------------------------------------


def test_a_compiled_graph_has_standard_operators_and_their_gradients():
    @tf.function(jit_compile=True)
    def step(x, w):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([x, w])
            y = face.conv_transpose(x, w, [2, 8, 8, 5], 2)
            value = tf.reduce_sum(y * EXPECTED)
        return y, tape.gradient(value, x), tape.gradient(value, w)

    y, dx, dw = step(X, W)
    assert OPERATOR not in operators_of(step.get_concrete_function(X, W))
    assert np.array_equal(y, EXPECTED)
    assert float(tf.reduce_sum(dx * X)) == float(tf.reduce_sum(dw * W)) == float(tf.reduce_sum(EXPECTED**2))
    inner = tf.function(lambda x: face.conv_transpose(x, W, [2, 8, 8, 5], 2))
    assert np.array_equal(tf.function(lambda x: inner(x) + 1, jit_compile=True)(X), EXPECTED + 1)


def test_second_derivatives_of_a_compiled_function():
    """The graphs of its gradients are compiled, and do not say so."""

    def second(call):
        with tf.GradientTape() as outer:
            outer.watch([X, W])
            with tf.GradientTape() as tape:
                tape.watch(X)
                value = tf.reduce_sum(call(X, W) ** 2)
            value = tf.reduce_sum(tape.gradient(value, X) ** 2)
        return outer.gradient(value, [X, W])

    call = lambda x, w: face.conv_transpose(x, w, [2, 8, 8, 5], 2)  # noqa: E731
    got, expected = second(tf.function(call, jit_compile=True)), second(call)
    assert all(np.allclose(one, other, rtol=1e-5) for one, other in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", ["_MISSING", "_in_xla", "_in_save"])
def test_releases_without_the_undocumented_names_run_standard_operators(name, monkeypatch):
    monkeypatch.setattr(tracing_context, name, "no such name" if name == "_MISSING" else None)
    function = tf.function(lambda x: face.conv_transpose(x, W, [2, 8, 8, 5], 2))
    assert np.array_equal(function(X), EXPECTED)
    assert OPERATOR not in operators_of(function.get_concrete_function(X))
    assert np.array_equal(face.conv_transpose(X, W, [2, 8, 8, 5], 2), EXPECTED)


# -- files -----------------------------------------------------------------------------------------------------------


def run_without_tconv(code, *arguments):
    """Run code in a process in which `import tconv` fails; `x` is the input, `check(y)` compares with the result."""
    start = """
    import os, sys
    try:
        import tconv
    except ImportError:
        pass
    else:
        raise SystemExit("tconv can be imported")
    import numpy as np, tensorflow as tf
    folder = sys.argv[1]
    x, expected = (np.load(os.path.join(folder, name)) for name in ("x.npy", "y.npy"))
    def check(y):
        assert np.array_equal(np.maximum(y, 0), np.maximum(expected, 0))
    """
    script = WITHOUT_TCONV + textwrap.dedent(start) + textwrap.dedent(code) + "\nprint('loaded')"
    assert "loaded" in run(script, *arguments)


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", EXPECTED)
    return tmp_path


@pytest.mark.parametrize("called_before", [False, True])
def test_a_saved_module_loads_without_tconv(folder, called_before):
    module = Module()
    if called_before:
        assert np.array_equal(module(X), EXPECTED)
    tf.saved_model.save(module, folder / "saved")
    run_without_tconv(
        """
        module = tf.saved_model.load(os.path.join(folder, "saved"))
        check(module(x))
        with tf.GradientTape() as tape:
            w = module.filters
            value = tf.reduce_sum(module(x) * expected)
        assert float(tf.reduce_sum(tape.gradient(value, w) * w)) == float(np.sum(expected ** 2))
        """,
        folder,
    )
    assert OPERATOR in operators_of(module.__call__.get_concrete_function())  # here it goes on as before


def test_keras_exports_load_without_tconv(folder):
    model = network()
    model.compile("sgd", "mse")
    model.predict(X, verbose=0)
    model.export(folder / "exported", verbose=False)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", model.call, input_signature=[tf.TensorSpec((None, 4, 4, 3))])
    archive.write_out(folder / "archive", verbose=False)
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    saved = tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported"))
    (folder / "saved.tflite").write_bytes(saved.convert())
    run_without_tconv(
        """
        for name in ("exported", "archive"):
            loaded = tf.saved_model.load(os.path.join(folder, name))
            check(loaded.serve(x))
        for name in ("model.tflite", "saved.tflite"):
            interpreter = tf.lite.Interpreter(os.path.join(folder, name))
            interpreter.resize_tensor_input(0, x.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
            interpreter.invoke()
            check(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
        """,
        folder,
    )


def test_a_concrete_function_is_refused_in_words_or_traced_inside_of_the_switch(folder):
    module = Module()
    traced = module.__call__.get_concrete_function()
    empty = tf.Module()
    empty.filters = module.filters
    with pytest.raises(ValueError, match=r"tconv\.tensorflow\.standard_operators"):
        tf.saved_model.save(empty, folder / "refused", signatures=traced)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], module)
    with pytest.raises(Exception, match="Tconv"):
        converter.convert()
    with face.standard_operators():
        traced = tf.function(module.__call__.python_function).get_concrete_function(tf.TensorSpec((2, 4, 4, 3)))
    tf.saved_model.save(empty, folder / "saved", signatures=traced)
    lite = tf.lite.TFLiteConverter.from_concrete_functions([traced], module).convert()
    (folder / "model.tflite").write_bytes(lite)
    run_without_tconv(
        """
        loaded = tf.saved_model.load(os.path.join(folder, "saved"))
        check(next(iter(loaded.signatures["serving_default"](x=tf.constant(x)).values())))
        """,
        folder,
    )
