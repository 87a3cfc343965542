"""Tests of tconv.keras' layers, for every backend: `test_keras_layers_*.py` run them in a process each."""

from __future__ import annotations

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import inspect
import subprocess
import sys
import types

if os.environ["KERAS_BACKEND"] == "jax":
    import xla  # noqa: F401  (sets the flags that compile quickly, before JAX starts)

import keras
import numpy as np
import pytest

import tconv
import tconv.keras as ours
from tconv.errors import GeometryError, ShapeError, TconvError

try:
    from keras.src.layers.convolutional import conv_transpose_test as keras_own
except ImportError:  # the wheels of some releases have no tests
    keras_own = types.SimpleNamespace(ConvTransposeBasicTest=object, ConvTransposeCorrectnessTest=object)

BACKEND = keras.config.backend()
assert os.environ["KERAS_BACKEND"] == BACKEND  # else another file of this process has imported Keras before
LAYERS = {1: ours.Conv1DTranspose, 2: ours.Conv2DTranspose, 3: ours.Conv3DTranspose}
STOCK = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}
CALLS = {"torch": 60, "tensorflow": 60, "jax": 12}[BACKEND]  # JAX compiles each of them


def whole_numbers(rng, shape):
    return rng.integers(-4, 5, shape).astype(np.float32)


def random_layer(rng, ndim):
    """Draw the arguments of a layer, and x, kernel and bias of whole numbers."""
    draw = lambda low, high: [int(rng.integers(low, high)) for _ in range(ndim)]  # noqa: E731
    groups = int(rng.choice([1, 1, 2, 3]))
    extra = [None if rng.random() < 0.4 else int(rng.integers(-2, 5)) for _ in range(ndim)]
    first = bool(rng.random() < 0.3)
    arguments = {
        "strides": draw(1, 4),
        "padding": str(rng.choice(["same", "valid"])),
        "output_padding": None if rng.random() < 0.4 else extra,
        "dilation_rate": [int(rng.choice([1, 1, 2])) for _ in range(ndim)],
        "groups": groups,
        "data_format": "channels_first" if first else "channels_last",
    }
    channels, filters, n, kernel = (
        groups * int(rng.integers(1, 4)),
        groups * int(rng.integers(1, 9)),
        draw(1, 6),
        draw(1, 6),
    )
    x = whole_numbers(rng, (2, channels, *n) if first else (2, *n, channels))
    return arguments, x, whole_numbers(rng, (*kernel, filters // groups, channels)), whole_numbers(rng, filters)


def test_random_layers_equal_the_dialect():
    rng, done = np.random.default_rng(0), 0
    while done < CALLS:
        ndim = int(rng.integers(1, 4))
        arguments, x, w, b = random_layer(rng, ndim)
        layer = LAYERS[ndim](len(b), w.shape[:ndim], **arguments)
        try:
            want = tconv.conv_transpose(x, w, b, dialect="keras", **arguments)
        except TconvError as error:
            with pytest.raises(type(error)):
                layer.compute_output_shape(x.shape)
            continue
        layer.build(x.shape)
        layer.set_weights([w, b])
        assert layer.compute_output_shape(x.shape) == want.shape
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), want, err_msg=str(arguments))
        np.testing.assert_array_equal(tconv.prepare(layer)(x), want)
        np.testing.assert_array_equal(tconv.conv_transpose(x, layer), want)
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        done += 1


# -- Keras' own cases --------------------------------------------------------------------------------------------------

keras_own.layers = types.SimpleNamespace(
    **{name: value for name, value in vars(keras.layers).items() if not name.startswith("__")}
    | {layer.__name__: layer for layer in LAYERS.values()}
)


if BACKEND == "jax":  # which compiles each of the many sizes: every fourth is enough
    for case in (keras_own.ConvTransposeBasicTest, keras_own.ConvTransposeCorrectnessTest):
        for number in range(160):
            for name in (
                f"test_conv1d_transpose_consistency{number}",
                f"test_shape_inference_static_unknown_shape{number}",
            ):
                if number % 4 and hasattr(case, name):
                    delattr(case, name)


class TestKerasShapes(keras_own.ConvTransposeBasicTest):
    test_bad_init_args = None  # what Keras refuses is allowed here


class TestKerasNumbers(keras_own.ConvTransposeCorrectnessTest):
    pass


@pytest.mark.skipif(isinstance(keras_own, types.SimpleNamespace), reason="this Keras has no tests in its wheel")
def test_keras_own_cases_use_these_layers():
    assert "layers.Conv2DTranspose" in inspect.getsource(keras_own)
    assert keras_own.layers.Conv2DTranspose is ours.Conv2DTranspose
    del keras_own.ConvTransposeBasicTest, keras_own.ConvTransposeCorrectnessTest


# -- arguments and errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strides": 0}, "strides is 0; it must be at least 1"),
        ({"strides": (2, 2, 2)}, "strides is (2, 2, 2), which has 3 entries; there are 2 spatial axes"),
        ({"dilation_rate": 0}, "dilation_rate is 0; it must be at least 1"),
        ({"groups": 0}, "groups is 0; it must be at least 1"),
        ({"groups": 3}, "3 groups do not divide 4 filters"),
        ({"output_padding": "one"}, "output_padding is 'one'; an integer is needed"),
        ({"output_padding": (1,)}, "output_padding is (1,), which has 1 entry"),
        ({"filters": 0}, "filters is 0; it must be at least 1"),
    ],
)
def test_wrong_arguments_are_value_errors(arguments, message):
    with pytest.raises(GeometryError) as caught:
        ours.Conv2DTranspose(**{"filters": 4, "kernel_size": 3, **arguments})
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_positional_arguments_are_those_of_keras():
    layer, stock = ours.Conv3DTranspose(4, 3, 2, "same", "channels_first"), STOCK[3](4, 3, 2, "same", "channels_first")
    assert {**layer.get_config(), "name": ""} == {**stock.get_config(), "name": ""}
    with pytest.raises(tconv.errors.ArgumentError, match="strides; each is needed once"):
        ours.Conv2DTranspose(4, 3, 2, strides=2)


def test_inputs_that_do_not_fit():
    layer = ours.Conv2DTranspose(4, 3, groups=2)
    with pytest.raises(ShapeError, match="the inputs have 3 channels, which 2 groups do not divide"):
        layer.build((1, 5, 5, 3))
    with pytest.raises(ShapeError, match="channels of the inputs"):
        layer.build((1, 5, 5, None))
    with pytest.raises(ValueError, match="6"):
        layer(np.ones((1, 2, 5, 5, 6), np.float32))
    with pytest.raises(ShapeError, match="the output would be"):
        ours.Conv2DTranspose(4, 3, output_padding=-9).compute_output_shape((1, 3, 3, 2))


@pytest.mark.parametrize("name", ["bilinear", "icnr"])
def test_named_initializers_have_the_strides_and_groups_of_the_layer(name):
    layer = ours.Conv2DTranspose(4, 4, 2, "same", groups=2, use_bias=False, kernel_initializer=name)
    y = keras.ops.convert_to_numpy(layer(np.ones((1, 6, 6, 4), np.float32)))[0, 2:-2, 2:-2]
    if name == "bilinear":
        np.testing.assert_allclose(y, 1, atol=1e-6)
    assert layer.kernel_initializer.get_config()["groups"] == 2
    again = ours.Conv2DTranspose.from_config(layer.get_config())
    assert type(again.kernel_initializer) is type(layer.kernel_initializer)


# -- policies, losses, masks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64"])
def test_dtype_policies(policy):
    layer = ours.Conv2DTranspose(3, 3, 2, "same", dtype=policy)
    if policy == "float64" and BACKEND == "jax":
        pytest.skip("JAX has no float64 unless it is enabled")
    rng = np.random.default_rng(0)
    x = whole_numbers(rng, (1, 4, 4, 2))
    layer.build(x.shape)
    w, b = whole_numbers(rng, (3, 3, 3, 2)), whole_numbers(rng, 3)
    layer.set_weights([w, b])
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    assert layer.kernel.dtype == layer.variable_dtype
    want = tconv.conv_transpose(x, w, b, dialect="keras", strides=2, padding="same")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32")), want)


def test_regularizers_constraints_and_activation():
    layer = ours.Conv1DTranspose(
        2, 3, 2, activation="relu", kernel_regularizer="l2", bias_regularizer="l2", activity_regularizer="l2",
        kernel_constraint="non_neg",
    )  # fmt: skip
    y = layer(-np.ones((1, 4, 2), np.float32))
    assert len(layer.losses) == 3
    assert float(keras.ops.min(y)) >= 0
    assert layer.kernel.constraint is not None


# -- training ----------------------------------------------------------------------------------------------------------


def model_of(layer, others=()):
    keras.utils.set_random_seed(0)
    made = keras.Sequential(
        [keras.Input((5, 5, 3)), layer(8, 4, 2, "same"), keras.layers.ReLU(), layer(2, 3, 2, "same"), *others]
    )
    return made


def test_training_equals_that_of_stock_layers():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 5, 5, 3), np.float32), rng.standard_normal((4, 20, 20, 2), np.float32)
    models = [model_of(STOCK[2]), model_of(LAYERS[2])]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile("sgd", "mse")
        model.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    for stock, mine in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(mine, stock, rtol=1e-4, atol=1e-5)


def test_grouped_dilated_layers_train():
    keras.utils.set_random_seed(0)
    layers = [
        ours.Conv2DTranspose(4, 3, 2, "same", groups=2, dilation_rate=2),
        ours.Conv2DTranspose(1, 3, output_padding=3),
    ]
    model = keras.Sequential([keras.Input((None, None, 4)), *layers])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 4), np.float32)
    y = np.zeros(model.compute_output_shape(x.shape), np.float32)
    losses = model.fit(x, y, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_of_weights_fit_both(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 3), np.float32)
    stock, mine = model_of(STOCK[2]), model_of(LAYERS[2])
    for source, target in ((stock, mine), (mine, stock)):
        source.set_weights(
            [np.random.default_rng(1).standard_normal(w.shape, np.float32) for w in source.get_weights()]
        )
        source.save_weights(tmp_path / "model.weights.h5")
        source.save(tmp_path / "model.keras")
        for file in ("model.weights.h5", "model.keras"):
            target.set_weights([np.zeros_like(w) for w in target.get_weights()])
            target.load_weights(tmp_path / file)
            want = source.predict(x, verbose=0)
            np.testing.assert_allclose(target.predict(x, verbose=0), want, rtol=1e-4, atol=1e-4)


def test_model_files(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 3), np.float32)
    mine = model_of(LAYERS[2], [ours.Conv2DTranspose(4, 3, 2, groups=2, dilation_rate=2, kernel_initializer="icnr")])
    mine.save(tmp_path / "mine.keras")
    again = keras.models.load_model(tmp_path / "mine.keras")
    assert type(again.layers[0]) is ours.Conv2DTranspose
    assert again.layers[-1].groups == 2
    np.testing.assert_array_equal(again.predict(x, verbose=0), mine.predict(x, verbose=0))


def test_files_without_groups_load_as_stock_layers(tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 3), np.float32)
    mine = model_of(LAYERS[2])
    config = mine.layers[0].get_config()
    assert STOCK[2].from_config(config).get_config() == config
    assert ours.Conv2DTranspose.from_config(STOCK[2].from_config(config).get_config()).get_config() == config
    mine.save(tmp_path / "mine.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", mine.predict(x, verbose=0))
    code = (
        "import sys; sys.modules['tconv'] = None\n"
        "import keras, numpy as np\n"
        "stock = {'tconv>Conv2DTranspose': keras.layers.Conv2DTranspose}\n"
        f"model = keras.models.load_model({str(tmp_path / 'mine.keras')!r}, custom_objects=stock)\n"
        f"x, y = (np.load({str(tmp_path)!r} + '/' + name + '.npy') for name in 'xy')\n"
        "assert np.allclose(model.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": BACKEND}, timeout=300)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch's own operator refuses them, in its words")
def test_sizes_without_output():
    x = np.ones((1, 4, 4, 2), np.float32)
    with pytest.raises(ShapeError, match="every axis needs at least 1 element"):
        ours.Conv2DTranspose(3, 3, 2, "same")(x[:, :0])
    with pytest.raises(ShapeError, match=r"the output would be \(-43, -43\).*Use a smaller crop"):
        ours.Conv2DTranspose(3, 3, 2, "same", output_padding=-50)(x)
