"""Every dialect's words on TensorFlow's symbolic and watched tensors, and initial weights, in a process of its own."""

from __future__ import annotations

import doctest
import importlib
import json
import runpy
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from traced_calls import random_native_calls

import tconv
import tconv.keras
from random_calls import whole_numbers
from tconv.errors import ArgumentError, ArrayError, DtypeError, GeometryError, ShapeError

TF_ONE_LAYER = {"dialect": "tensorflow", "output_shape": [1, 8, 8, 2], "strides": 2}


def run(call, x, weight, bias=None):
    return tconv.conv_transpose(x, weight, bias, dialect=call.dialect, **call.native)


def tensors(call):
    return tuple(None if each is None else tf.constant(each) for each in (call.x, call.weight, call.bias))


@pytest.mark.parametrize("seed", range(2))
def test_every_dialect_inside_of_a_function(seed):
    """Results, and the convolution, in one function of all calls."""
    calls = random_native_calls(seed, 3)
    cotangents = [call.cotangent(np.random.default_rng(7)) for call in calls]

    @tf.function(autograph=False)
    def program(arrays, cotangents):
        return [
            (run(call, *each), tconv.conv(cotangent, each[1], dialect=call.dialect, **call.native))
            for call, each, cotangent in zip(calls, arrays, cotangents, strict=True)
        ]

    results = program([tensors(call) for call in calls], [tf.constant(each) for each in cotangents])
    for call, cotangent, (y, u) in zip(calls, cotangents, results, strict=True):
        assert np.array_equal(y, call.y), call
        assert np.array_equal(u, tconv.conv(cotangent, call.weight, dialect=call.dialect, **call.native)), call


@pytest.mark.parametrize("seed", range(2))
def test_every_dialect_under_a_tape(seed):
    """Both gradients of eager calls, with the weight a variable."""
    for call in random_native_calls(20 + seed, 3):
        x, weight, bias = tensors(call)
        weight = tf.Variable(weight)
        cotangent = call.cotangent(np.random.default_rng(7))
        with tf.GradientTape() as tape:
            tape.watch([each for each in (x, bias) if each is not None])
            y = run(call, x, weight, bias)
        assert np.array_equal(y, call.y), call
        wanted = [x, weight] if bias is None else [x, weight, bias]
        gradients = tape.gradient(y, wanted, cotangent)
        expected = tconv.conv(cotangent, call.weight, dialect=call.dialect, **call.native)
        assert np.array_equal(gradients[0], expected), call
        rng = np.random.default_rng(8)
        for _ in range(2):
            direction = whole_numbers(rng, call.weight.shape)
            along = (gradients[1].numpy().astype("d") * direction).sum()
            assert along == call.direction(np.random.default_rng(7), direction), call
        if bias is not None:
            assert gradients[2].numpy().sum() == cotangent.sum(), call


def test_gradients_agree_with_numerical_ones_and_with_tensorflows():
    x = tf.cast(tf.random.stateless_normal((1, 4, 3, 2), (0, 1)), tf.float64)
    w = tf.cast(tf.random.stateless_normal((3, 2, 3, 2), (2, 3)), tf.float64)
    words = {"output_shape": [1, 8, 6, 3], "strides": 2}
    up = lambda x, w: tf.tanh(tconv.conv_transpose(x, w, dialect="tensorflow", **words))  # noqa: E731
    theoretical, numerical = tf.test.compute_gradient(up, [x, w], delta=1e-5)
    for ours, exact in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(ours, exact, atol=1e-7)

    def second(call):
        with tf.GradientTape() as outer:
            outer.watch(w)
            with tf.GradientTape() as inner:
                inner.watch(w)
                loss = tf.reduce_sum(tf.tanh(call(x, w)) ** 2)
            first = inner.gradient(loss, w)
        return outer.gradient(first, w)

    theirs = lambda x, w: tf.tanh(tf.nn.conv2d_transpose(x, w, **words))  # noqa: E731
    np.testing.assert_allclose(second(up), second(theirs), rtol=1e-9)
    np.testing.assert_allclose(tf.function(second, autograph=False)(up), second(theirs), rtol=1e-9)


def test_forward_mode_and_vectorized_map():
    rng = np.random.default_rng(0)
    x, w = (tf.constant(whole_numbers(rng, shape)) for shape in ((2, 1, 4, 4, 3), (3, 3, 2, 3)))
    up = lambda x: tconv.conv_transpose(x, w, dialect="keras", strides=2, padding="same")  # noqa: E731
    one, tangent = x[0], x[1]
    with tf.autodiff.ForwardAccumulator(one, tangent) as accumulator:
        y = up(one)
        assert np.array_equal(accumulator.jvp(y), up(tangent))
    assert np.array_equal(y, up(one))
    assert np.array_equal(tf.vectorized_map(up, x), tf.stack([up(x[0]), up(x[1])]))


def test_a_tensor_that_a_function_captures_keeps_its_gradient():
    x, w = tf.ones((1, 4, 4, 3)), tf.ones((3, 3, 2, 3))
    function = tf.function(lambda: tconv.conv_transpose(x, w, **TF_ONE_LAYER), autograph=False)
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch(w)
            y = function()
        assert tape.gradient(y, w) is not None


def test_tensors_that_nothing_follows_stay_on_numpys_kernels():
    x, w = tf.ones((1, 4, 4, 3)), tf.Variable(tf.ones((3, 3, 2, 3)))
    assert tconv.conv_transpose(x, w, **TF_ONE_LAYER, method="taps").shape == (1, 8, 8, 2)
    with tf.GradientTape():
        assert tconv.conv_transpose(x, tf.stop_gradient(w), **TF_ONE_LAYER, method="taps").shape == (1, 8, 8, 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64"])
def test_every_dtype(dtype):
    rng = np.random.default_rng(3)
    parts = [[whole_numbers(rng, shape) for _ in range(2)] for shape in ((2, 5, 4, 3), (3, 2, 2, 3), (2,))]
    if dtype == "complex64":
        x, w, b = (tf.complex(*pair) for pair in parts)
    else:
        x, w, b = (tf.cast(pair[0], dtype) for pair in parts)
    words = {"dialect": "tensorflow", "output_shape": [2, 10, 7, 2], "strides": 2}
    got = tf.function(lambda x, w, b: tconv.conv_transpose(x, w, b, **words), autograph=False)(x, w, b)
    assert got.dtype == dtype
    assert np.array_equal(got, tconv.conv_transpose(x, w, b, **words))
    back = tf.function(lambda y, w: tconv.conv(y, w, **words), autograph=False)(got, w)
    assert np.array_equal(back, tconv.conv(got, w, **words))


# -- sizes that are not known yet ------------------------------------------------------------------------------------------


def traced(function, *shape, dtype=tf.float32):
    return tf.function(function, input_signature=[tf.TensorSpec(list(shape), dtype)], autograph=False)


@pytest.mark.parametrize(
    ("dialect", "words", "shape"),
    [
        ("keras", {"strides": 2, "padding": "same"}, (None, None, None, 3)),
        ("keras", {"strides": 2, "output_padding": 1}, (2, None, 5, 3)),
        ("tensorflow", {"strides": 2, "output_shape": [2, 8, 9, 2]}, (None, 4, 5, 3)),
        ("tensorflow", {"strides": 2, "output_shape": (8, 9)}, (None, 4, 5, 3)),
        ("tflite", {"strides": 2, "output_shape": (8, 9), "padding": "SAME"}, (None, 4, 5, 3)),
    ],
)
def test_unknown_sizes(dialect, words, shape):
    w = tf.constant(whole_numbers(np.random.default_rng(0), (3, 2, 2, 3)))
    w = tf.transpose(w, (2, 0, 1, 3)) if dialect == "tflite" else w
    x = tf.constant(whole_numbers(np.random.default_rng(1), (2, 4, 5, 3)))
    call = lambda x: tconv.conv_transpose(x, w, dialect=dialect, **words)  # noqa: E731
    function = traced(call, *shape)
    assert np.array_equal(function(x), call(x))
    if "output_shape" not in words:
        assert np.array_equal(function(x[:, :, ::-1]), call(x[:, :, ::-1]))
    elif dialect == "tensorflow" and len(words["output_shape"]) == 4:  # as tf.nn: the batch was promised
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[3,4,5,3\] is not compatible with expected shape"):
            function(tf.concat([x, x[:1]], 0))


def test_an_output_shape_with_the_batch_of_x():
    """As people write it: the sizes are numbers, and the batch is read from x when the function runs."""
    w = tf.constant(whole_numbers(np.random.default_rng(0), (3, 2, 2, 3)))
    x = tf.constant(whole_numbers(np.random.default_rng(1), (2, 4, 5, 3)))
    expected = tconv.conv_transpose(x, w, dialect="tensorflow", strides=2, output_shape=[2, 8, 9, 2])
    for shape in (
        lambda x: [tf.shape(x)[0], 8, 9, 2],
        lambda x: tf.stack([tf.shape(x)[0], 8, 9, 2]),
        lambda x: tf.constant([2, 8, 9, 2]),
        lambda x: [-1, 8, 9, 2],
        lambda x: np.array([2, 8, 9, 2]),
        lambda x: tf.TensorShape([2, 8, 9, 2]),
    ):
        call = lambda x: tconv.conv_transpose(x, w, dialect="tensorflow", strides=2, output_shape=shape(x))  # noqa: B023, E731
        assert np.array_equal(traced(call, None, 4, 5, 3)(x), expected)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call(x)
        assert np.array_equal(y, expected)
        assert tape.gradient(y, x).shape == x.shape


def test_an_output_shape_that_only_a_running_function_knows():
    w = tf.constant(whole_numbers(np.random.default_rng(0), (3, 2, 2, 3)))
    x = tf.constant(whole_numbers(np.random.default_rng(1), (2, 4, 5, 3)))
    expected = tconv.conv_transpose(x, w, dialect="tensorflow", strides=2, output_shape=[2, 8, 9, 2])
    for shape in (
        lambda x: [tf.shape(x)[0], 2 * tf.shape(x)[1], 9, 2],
        lambda x: tf.shape(x) * [1, 2, 2, 1] - [0, 0, 1, 1],
        lambda x: tf.concat([tf.shape(x)[:1], [8, 9, 2]], 0) + 0,
        lambda x: [2, 8, 9, 2],
    ):
        call = lambda x: tconv.conv_transpose(x, w, dialect="tensorflow", strides=2, output_shape=shape(x))  # noqa: B023, E731
        assert np.array_equal(traced(call, None, None, 5, 3)(x), expected)
    for name, words in (("haiku", {"stride": 2}), ("tflite", {"strides": 2})):

        def call(x, name=name, words=words):
            return tconv.conv_transpose(x, w, dialect=name, output_shape=[tf.shape(x)[1] * 2, 9], **words)

        with pytest.raises(
            ShapeError, match=r"output_shape is .*, whose sizes are not known while the function is tra"
        ):
            traced(call, None, None, 5, 3).get_concrete_function()


def test_unknown_sizes_that_have_to_be_known():
    x, w = tf.ones((2, 4, 5, 3)), tf.ones((3, 2, 2, 3))

    def refused(match, call, *shape):
        with pytest.raises(ShapeError, match=match):
            traced(call, *shape).get_concrete_function()

    keras_call = lambda x: tconv.conv_transpose(x, w, dialect="keras", strides=2)  # noqa: E731
    refused(
        r"x has shape \(None, None, 5, 3\), and what these arguments of the haiku dialect mean depends on its "
        r"unknown sizes. Write tf.ensure_shape\(x, \[...\]\) with its sizes, or arguments without an output size",
        lambda x: tconv.conv_transpose(x, w, dialect="haiku", stride=2, output_shape=[8, 9]),
        None, None, 5, 3,
    )  # fmt: skip
    refused(r"x has shape \(None, 4, 5, None\), of an unknown number of channels", keras_call, None, 4, 5, None)
    refused(r"x has shape \(None, 5, 3\), with 3 axes; .* needs 4", keras_call, None, 5, 3)
    refused(r"has 3 input channels as Keras reads it; x has 4", keras_call, None, None, 5, 4)
    refused(
        r"weight has shape \(3, None, 2, 3\), of unknown size on axis 1; every size of it has to be known",
        lambda w: tconv.conv_transpose(x, w, dialect="keras"),
        3, None, 2, 3,
    )  # fmt: skip
    with pytest.raises(
        ShapeError, match=r"x has an unknown number of axes. Write tf.ensure_shape\(x, \[None, 8, 8, 3\]"
    ):
        tf.function(keras_call, input_signature=[tf.TensorSpec(None)], autograph=False)(x)


def test_paddles_same_depends_on_the_size():
    """P = max((ceil(n/s) - 1) s + k - n, 0): another crop for an odd n. Its "VALID" has one meaning."""
    x, w = tf.ones((1, 3, 4, 4)), tf.ones((3, 2, 3, 3))
    call = lambda padding: traced(  # noqa: E731
        lambda x: tconv.conv_transpose(x, w, dialect="paddle", stride=2, padding=padding), None, 3, None, None
    )
    assert call("VALID")(x).shape == (1, 2, 9, 9)
    with pytest.raises(
        ShapeError, match=r"x has shape \(None, 3, None, None\), and what these arguments of the paddle"
    ):
        call("SAME")(x)


# -- bad input -----------------------------------------------------------------------------------------------------------


def test_what_is_refused():
    x, w = tf.ones((1, 4, 4, 3)), tf.ones((3, 3, 2, 3))

    def refused(kind, match, call, x=x):
        with pytest.raises(kind, match=match):
            tf.function(call, autograph=False)(x)

    for argument, value in (("out", x), ("method", "taps")):
        refused(
            ArgumentError,
            rf"{argument}= was given, and the call is differentiated or traced, so it runs on TensorFlow's operators. "
            rf"Leave out {argument}=, or write tf.stop_gradient\(x\), outside of tf.function",
            lambda x, argument=argument, value=value: tconv.conv_transpose(x, w, **TF_ONE_LAYER, **{argument: value}),
        )
    refused(
        ArrayError,
        r"mixes libraries: weight is from numpy, others from tensorflow; .*tf.convert_to_tensor\(weight\)",
        lambda x: tconv.conv_transpose(x, w.numpy(), **TF_ONE_LAYER),
    )
    refused(
        DtypeError,
        r"x is float32 and weight is float16; .* Write tf.cast\(weight, tf.float32\)",
        lambda x: tconv.conv_transpose(x, tf.cast(w, "float16"), **TF_ONE_LAYER),
    )
    refused(
        DtypeError,
        r"x is int32, and TensorFlow's operators convolve no integers inside tf.function. Write tf.cast\(x, tf.float64",
        lambda x: tconv.conv_transpose(tf.cast(x, "int32"), tf.cast(w, "int8"), **TF_ONE_LAYER),
    )
    refused(
        DtypeError,
        "x has dtype object",
        lambda x: tconv.conv_transpose(tf.strings.as_string(x), w, **TF_ONE_LAYER),
    )
    refused(
        ArrayError,
        "the call has 4 spatial axes, and TensorFlow's operators take 1 to 3",
        lambda x: tconv.conv_transpose(x[:, :, None, None, None], tf.ones((4, 1, 1, 1, 1, 1)), dialect="torch"),
        tf.ones((1, 4, 3)),
    )
    refused(
        GeometryError,
        r"strides is <tf.Tensor .*; an integer is needed",
        lambda x: tconv.conv_transpose(x, w, **{**TF_ONE_LAYER, "strides": tf.shape(x)[1]}),
    )
    refused(
        ArrayError,
        r"x is a symbolic TensorFlow tensor.*tconv.tensorflow.conv_transpose inside",
        lambda x: tconv.prepare(w, **TF_ONE_LAYER)(x),
    )
    with pytest.raises(ArrayError, match=r"x is a .*KerasTensor.* Write a layer such as tconv.keras.Conv2DTranspose"):
        tconv.conv_transpose(keras.Input((4, 4, 3)), w, **TF_ONE_LAYER)


# -- layers and initial weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [False, True])
def test_gradients_reach_the_variables_of_a_layer_of_keras(inside):
    layer = keras.layers.Conv2DTranspose(3, 4, 2, "same", bias_initializer="random_normal")
    x = tf.random.stateless_normal((2, 5, 4, 6), (0, 1))
    layer.build(x.shape)

    def gradients(call):
        def step(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(call(x) ** 2)
            return tape.gradient(loss, [x, *layer.trainable_variables])

        return tf.function(step, autograph=False)(x) if inside else step(x)

    ours, theirs = gradients(lambda x: tconv.conv_transpose(x, layer)), gradients(layer)
    assert len(ours) == 3
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_initial_weights_of_keras():
    make = tconv.keras.initializers
    shape = (4, 6, 8, 8)  # [*kernel, C_out, C_in]
    bilinear = make.Bilinear((2, 3))(shape)
    assert isinstance(bilinear, tf.Tensor)
    expected = tconv.initializers.bilinear((8, 8, 4, 6), (2, 3))
    assert np.array_equal(tconv.convert(bilinear.numpy(), source="keras", target="torch"), expected)
    weight = make.ICNR((2, 3), seed=1)(shape)
    canonical = np.asarray(tconv.convert(weight.numpy(), source="keras", target="torch"))
    small = canonical[..., ::2, ::3]
    assert np.array_equal(tconv.initializers.icnr((8, 8, 4, 6), (2, 3), draw=lambda shape: small), canonical)
    assert 0.8 < canonical.std() / np.sqrt(2 / (8 * 4)) < 1.2
    assert np.array_equal(make.ICNR((2, 3), seed=1)(shape), weight)
    assert not np.array_equal(make.ICNR((2, 3), seed=2)(shape), weight)
    inner = keras.initializers.Constant(3.0)
    assert np.array_equal(make.ICNR(2, initializer=inner)((5, 2, 1), "bfloat16")[:, 0, 0], [3, 3, 3, 3, 0])
    assert make.Bilinear(2, groups=4)((4, 4, 1, 4)).shape == (4, 4, 1, 4)
    third = make.Bilinear(3)((5, 1, 1), "float64")
    assert abs(third[0, 0, 0] - 1 / 3) < 1e-15
    variable = tf.Variable(make.Bilinear(2)((4, 4, 1, 1)))
    y = tf.nn.conv2d_transpose(tf.fill((1, 4, 4, 1), 7.0), variable, [1, 8, 8, 1], 2)
    np.testing.assert_allclose(y[0, 1:-1, 1:-1, 0], 7)


@pytest.mark.parametrize(
    "initializer",
    [
        tconv.keras.initializers.Bilinear(2),
        tconv.keras.initializers.ICNR(2, seed=3),
        tconv.keras.initializers.ICNR((2, 2), initializer="he_uniform"),
        tconv.keras.initializers.ICNR(2, seed=keras.random.SeedGenerator(4)),
    ],
    ids=["bilinear", "icnr", "inner", "generator"],
)
def test_initial_weights_are_stored_with_a_model(initializer, tmp_path):
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Conv2DTranspose(3, 4, 2, kernel_initializer=initializer)]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = loaded.layers[-1].kernel_initializer
    assert type(again) is type(initializer)
    assert json.dumps(again.get_config()) == json.dumps(initializer.get_config())
    assert np.array_equal(loaded.layers[-1].kernel, model.layers[-1].kernel)
    assert initializer.clone()((4, 4, 3, 3)).shape == (4, 4, 3, 3)


def test_initial_weights_that_are_refused():
    make = tconv.keras.initializers
    with pytest.raises(GeometryError, match=r"needs 5 taps or more. Write a kernel of 5, with padding 1"):
        make.Bilinear(3)((4, 4, 1, 1))
    with pytest.raises(GeometryError, match="below the stride 4"):
        make.ICNR(4)((3, 3, 1, 1))
    with pytest.raises(ShapeError, match=r"the initializer returned \(2,\); \(2, 2, 3, 8\) is needed"):
        make.ICNR(2, initializer=lambda shape, dtype: tf.ones(2))((4, 4, 3, 8))


def test_the_textbook_typed_in_tensorflow(capsys):
    runpy.run_path(Path(__file__).parents[2] / "examples" / "textbook_tensorflow.py", run_name="__main__")
    assert capsys.readouterr().out.endswith("all equal\n")


@pytest.mark.parametrize("name", ["tconv.keras.initializers", "tconv.keras", "tconv.tensorflow.dialect_calls"])
def test_examples(name):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0
