"""Inventories of SavedModels: every layer, run by the definition of tconv, equals what TensorFlow computes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import pytest
import tensorflow as tf

import tconv
from tconv.errors import FileError, TconvError
from tconv.models.inventory import inventory_of
from tconv.models.inventory.computed_sizes import sized_arguments


def whole(*shape, seed=0):
    return np.random.default_rng(seed).integers(-7, 8, shape).astype(np.float32)


def saved(folder, function, *shapes, **objects):
    """Save a model of one function of x; return its folder and the function."""
    module = tf.Module()
    for name, value in objects.items():
        setattr(module, name, value)
    signature = [tf.TensorSpec(shape, tf.float32, name=f"x{at}") for at, shape in enumerate(shapes)]
    module.run = tf.function(function, input_signature=signature)
    path = folder / "model"
    tf.saved_model.save(module, str(path), signatures=module.run.get_concrete_function())
    return path, module.run


def computed(layer, x, **arguments):
    first = layer.dialect == "torch"
    x = np.moveaxis(x, -1, 1) if first else x
    bias = None if layer.bias is None else layer.bias.read()
    weight = layer.weight.read()
    assert weight.shape == layer.weight.shape
    words = {**layer.arguments, **arguments}
    y = tconv.conv_transpose(x, weight, bias, dialect=layer.dialect, method="polyphase", **words)
    return np.moveaxis(y, 1, -1) if first else y


def reads(*shape, seed=1):
    """Return a filter as a variable, a constant, and a constant that is computed from others."""
    w = whole(*shape, seed=seed)
    flipped = tf.constant(w.astype(np.float16).transpose(*reversed(range(w.ndim))))
    order = list(reversed(range(w.ndim)))
    return {
        "variable": (tf.Variable(w), lambda v: v),
        "constant": (None, lambda _: tf.constant(w)),
        "computed": (tf.Variable(w / 2), lambda v: v + v),
        "transposed": (None, lambda _: tf.cast(tf.transpose(flipped, order), tf.float32)),
    }, w


@pytest.mark.parametrize("kind", ["variable", "constant", "computed", "transposed"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_two_dimensions(tmp_path, kind, padding):
    filters, w = reads(3, 2, 5, 3)
    variable, value = filters[kind]
    large = [1, 9, 8, 5] if padding == "SAME" else [1, 12, 8, 5]

    def function(x):
        return tf.nn.conv2d_transpose(x, value(variable), large, (2, 2), padding)

    objects = {} if variable is None else {"w": variable}
    path, function = saved(tmp_path, function, (1, 5, 4, 3), **objects)
    (layer,) = inventory_of(path).layers
    x = whole(1, 5, 4, 3)
    np.testing.assert_array_equal(layer.weight.read(), w)
    np.testing.assert_array_equal(computed(layer, x), function(x).numpy())
    assert (layer.op, layer.output_shape, layer.input_shape) == ("Conv2DBackpropInput", tuple(large), (1, 5, 4, 3))


CALLS = [
    ((1, 5, 4, 3), (3, 3, 5, 3), [1, 10, 8, 5], {"strides": 2, "padding": [[0, 0], [1, 0], [0, 1], [0, 0]]}),
    ((1, 5, 4, 3), (3, 3, 5, 3), [1, 5, 4, 5], {"strides": 1, "dilations": 2, "padding": "SAME"}),
    ((1, 5, 4, 6), (3, 3, 2, 6), [1, 10, 8, 4], {"strides": 2, "padding": "SAME"}),
    ((1, 3, 5, 4), (3, 3, 5, 3), [1, 5, 10, 8], {"strides": 2, "padding": "SAME", "data_format": "NCHW"}),
]


@pytest.mark.parametrize(("shape", "filters", "large", "words"), CALLS)
def test_arguments(tmp_path, shape, filters, large, words):
    """oneDNN's kernels run what TensorFlow's own do not: NCHW, groups, dilations."""
    w = tf.constant(whole(*filters, seed=1))
    path, function = saved(tmp_path, lambda x: tf.nn.conv2d_transpose(x, w, large, **words), shape)
    (layer,) = inventory_of(path).layers
    x = whole(*shape)
    np.testing.assert_array_equal(computed(layer, x), function(x).numpy())


def test_three_dimensions(tmp_path):
    w = tf.constant(whole(2, 3, 2, 5, 3, seed=1))
    path, function = saved(
        tmp_path, lambda x: tf.nn.conv3d_transpose(x, w, [1, 4, 6, 4, 5], 2, "SAME"), (1, 2, 3, 2, 3)
    )
    (layer,) = inventory_of(path).layers
    x = whole(1, 2, 3, 2, 3)
    np.testing.assert_array_equal(computed(layer, x), function(x).numpy())
    assert layer.op == "Conv3DBackpropInputV2"


def test_one_dimension_is_two(tmp_path):
    w = tf.Variable(whole(3, 5, 3, seed=1))
    path, function = saved(tmp_path, lambda x: tf.nn.conv1d_transpose(x, w, [1, 8, 5], 2), (1, 4, 3), w=w)
    (layer,) = inventory_of(path).layers
    x = whole(1, 4, 3)
    np.testing.assert_array_equal(computed(layer, x[:, None])[:, 0], function(x).numpy())
    assert "ExpandDims" in [each.op for each in layer.before]


def test_sizes_that_vary(tmp_path):
    w = tf.Variable(whole(3, 3, 5, 3, seed=1))

    def function(x):
        sizes = tf.shape(x)
        return tf.nn.conv2d_transpose(x, w, [sizes[0], 2 * sizes[1] - 1, 8, 5], 2)

    path, function = saved(tmp_path, function, (None, None, 4, 3), w=w)
    inventory = inventory_of(path)
    (layer,) = inventory.layers
    x = whole(2, 5, 4, 3)
    assert sized_arguments(layer, x.shape)["output_shape"] == [9, 8]
    np.testing.assert_array_equal(computed(layer, x, output_shape=(9, 8)), function(x).numpy())
    assert layer.input_shape == ("batch", "height", 4, 3)
    assert layer.output_shape == ("batch", "2*height - 1", 8, 5)
    assert "output_shape" not in layer.arguments
    assert [each.shape for each in inventory.inputs] == [(None, None, 4, 3)]
    assert inventory.producer == f"TensorFlow {tf.__version__}"


def test_a_model_of_keras(tmp_path):
    import keras

    given = keras.Input((6, 5, 3))
    x = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="up")(given)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2DTranspose(2, 2, strides=2, padding="valid", name="up2")(x)
    model = keras.Model(given, x)
    model.export(tmp_path / "model", verbose=False)
    first, second = inventory_of(tmp_path / "model").layers
    for layer, name in ((first, "up"), (second, "up2")):
        np.testing.assert_array_equal(layer.weight.read(), model.get_layer(name).kernel.numpy())
        assert name in layer.name
    assert first.output_shape == ("batch", 12, 10, 4)
    assert first.arguments["output_shape"] == [-1, 12, 10, 4]
    x = whole(2, 6, 5, 3)
    np.testing.assert_allclose(computed(first, x), model.get_layer("up")(x).numpy(), atol=1e-5)
    assert [each.op for each in first.after][:4] == ["BiasAdd", "Mul", "AddV2", "Relu"]
    np.testing.assert_array_equal(first.after[0].constants["bias"].read(), model.get_layer("up").bias.numpy())
    scale = first.after[1].constants["other"].read().reshape(-1)
    np.testing.assert_allclose(scale, 1 / np.sqrt(1.001), rtol=1e-6)


def test_fused_batch_norm(tmp_path):
    w, norm = tf.Variable(whole(3, 3, 5, 3, seed=1)), whole(4, 5, seed=2) ** 2

    def function(x):
        y = tf.nn.conv2d_transpose(x, w, [1, 8, 8, 5], 2)
        return tf.compat.v1.nn.fused_batch_norm(y, *norm, epsilon=0.125, is_training=False)[0]

    path, _ = saved(tmp_path, function, (1, 4, 4, 3), w=w)
    (layer,) = inventory_of(path).layers
    (behind,) = layer.after
    assert behind.op == "FusedBatchNormV3"
    assert behind.attributes["epsilon"] == 0.125
    for role, numbers in zip(("scale", "B", "mean", "var"), norm, strict=True):
        np.testing.assert_array_equal(behind.constants[role].read(), numbers)


@pytest.mark.parametrize("words", [{"padding": "SAME"}, {"padding": "VALID"}, {"padding": "SAME", "dilations": 2}])
def test_depth_to_space(tmp_path, words):
    w, b = tf.Variable(whole(3, 3, 3, 8, seed=1)), tf.Variable(np.tile(whole(2, seed=2), 4))

    def function(x):
        y = tf.nn.bias_add(tf.nn.conv2d(x, w, 1, **words), b)
        return tf.nn.relu(tf.nn.depth_to_space(y, 2))

    path, function = saved(tmp_path, function, (1, 7, 6, 3), w=w, b=b)
    (layer,) = inventory_of(path).layers
    x = whole(1, 7, 6, 3)
    np.testing.assert_array_equal(np.maximum(computed(layer, x), 0), function(x).numpy())
    assert layer.form == "convolution and depth to space"
    assert [each.op for each in layer.after] == ["Relu"]


def test_a_function_within_a_loop(tmp_path):
    w = tf.constant(whole(3, 3, 3, 3, seed=1))

    def function(x):
        body = lambda at, y: (at + 1, tf.nn.conv2d_transpose(y, w, [1, 4, 4, 3], 1))  # noqa: E731
        return tf.while_loop(lambda at, y: at < 2, body, [0, x])[1]

    path, _ = saved(tmp_path, function, (1, 4, 4, 3))
    (layer,) = inventory_of(path).layers
    assert layer.arguments["output_shape"] == [1, 4, 4, 3]


def test_a_filter_that_is_an_input(tmp_path):
    path, _ = saved(tmp_path, lambda x, w: tf.nn.conv2d_transpose(x, w, [1, 8, 8, 5], 2), (1, 4, 4, 3), (3, 3, 5, 3))
    (layer,) = inventory_of(path).layers
    assert layer.weight is None
    assert "is computed when the model runs" in layer.limitations[0]


def test_tensorflow_is_not_imported(tmp_path):
    w = tf.Variable(whole(3, 3, 5, 3))
    path, _ = saved(tmp_path, lambda x: tf.nn.conv2d_transpose(x, w, [1, 8, 8, 5], 2), (1, 4, 4, 3), w=w)
    text = (
        "import sys; from tconv.models.inventory import inventory_of; (layer,) = inventory_of(sys.argv[1]).layers\n"
        "layer.weight.read(); print('tensorflow' in sys.modules, 'google' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(tconv.__file__))}
    done = subprocess.run([sys.executable, "-c", text, path], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.returncode) == ("False False", 0), done.stderr


# -- damaged files -----------------------------------------------------------------------------------------------


def test_damaged_files_are_refused_or_read(tmp_path):
    w, c = tf.Variable(whole(3, 3, 5, 3)), tf.constant(whole(2, 2, 4, 5))

    def function(x):
        y = tf.nn.conv2d_transpose(x, w, [1, 2 * tf.shape(x)[1], 8, 5], 2)
        return tf.nn.conv2d_transpose(tf.nn.relu(y), c, [1, 16, 16, 4], 2)

    path, _ = saved(tmp_path, function, (1, None, 4, 3), w=w)
    rng, read = np.random.default_rng(0), 0
    names = ["saved_model.pb"] * 4 + ["variables/variables.index", "variables/variables.data-00000-of-00001"]
    content = {name: (path / name).read_bytes() for name in set(names)}
    for _ in range(300):
        name = names[rng.integers(len(names))]
        data = bytearray(content[name])
        if rng.integers(8) == 0:
            data = data[: rng.integers(len(data))]
        for _ in range(rng.integers(1, 5) if data else 0):
            data[rng.integers(len(data))] = rng.integers(256)
        (path / name).write_bytes(data)
        try:
            for layer in inventory_of(path).layers:
                if layer.weight is not None:
                    layer.weight.read()
            read += 1
        except TconvError:
            pass
        (path / name).write_bytes(content[name])
    assert read > 100


def test_folders_that_are_none(tmp_path):
    with pytest.raises(FileError, match=r"has no saved_model\.pb"):
        inventory_of(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(FileError, match="is empty"):
        inventory_of(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x12\x00")
    assert inventory_of(tmp_path).layers == ()
    w = tf.Variable(whole(3, 3, 5, 3))
    path, _ = saved(tmp_path, lambda x: tf.nn.conv2d_transpose(x, w, [1, 8, 8, 5], 2), (1, 4, 4, 3), w=w)
    shutil.rmtree(path / "variables")
    inventory = inventory_of(path)
    assert inventory.layers[0].weight is None
    assert "no variables/variables.index" in inventory.limitations[0]


@pytest.mark.parametrize("kind", ["weight norm", "bfloat16"])
def test_filters_that_a_layer_computes(tmp_path, kind):
    v = tf.Variable(np.random.default_rng(3).normal(size=(3, 2, 5, 3)).astype(np.float32))

    def weight():
        if kind == "bfloat16":
            return tf.cast(tf.cast(v, tf.bfloat16), tf.float32)
        return tf.nn.l2_normalize(v, [0, 1, 3]) * tf.constant(whole(5, 1, seed=2))

    path, _ = saved(tmp_path, lambda x: tf.nn.conv2d_transpose(x, weight(), [1, 10, 8, 5], 2), (1, 5, 4, 3), w=v)
    (layer,) = inventory_of(path).layers
    np.testing.assert_allclose(layer.weight.read(), weight().numpy(), rtol=0 if kind == "bfloat16" else 1e-6)
    assert layer.weight.origin.startswith("variable, Cast" if kind == "bfloat16" else "variable, Square, Sum")


def test_a_filter_that_doubles_without_end(tmp_path):
    """Twenty sums of a value with itself read it a million times."""
    v = tf.Variable(whole(3, 3, 5, 3))

    def function(x):
        w = v + 0.0
        for _ in range(20):
            w = w + w
        return tf.nn.conv2d_transpose(x, w, [1, 10, 8, 5], 2)

    (layer,) = inventory_of(saved(tmp_path, function, (1, 5, 4, 3), w=v)[0]).layers
    assert layer.weight is None
