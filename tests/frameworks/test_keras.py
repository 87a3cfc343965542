"""Keras 3 on JAX, and in another process, with KERAS_BACKEND=tensorflow, on TensorFlow: operator, layers, code, weights."""

from __future__ import annotations

import inspect
import os
import re

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import pytest
from harness import Conformance, check_adjoint, check_code, check_layer
from xla import check_all

import tconv
from random_calls import integers, random_sizes, whole_numbers
from random_calls.shapes import check_shapes
from tconv.errors import ArgumentError, ArrayError, DialectError, GeometryError

BACKEND = keras.backend.backend()
LAYERS = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}


class BackendLimitError(Exception):
    """TensorFlow's refusal of an output_padding outside of what Keras documents."""


def documented(w, arguments):
    """Whether every output_padding is one that Keras documents: below the stride, and not nothing for an even SAME."""
    ndim = w.ndim - 2
    per_axis = lambda value: value if isinstance(value, (list, tuple)) else [value] * ndim  # noqa: E731
    strides, dilations = per_axis(arguments.get("strides", 1)), per_axis(arguments.get("dilation_rate", 1))
    same = arguments.get("padding", "valid").lower() == "same"
    return all(
        op is None or (same and (d * (k - 1)) % 2) <= op < s
        for k, s, d, op in zip(w.shape, strides, dilations, per_axis(arguments.get("output_padding")), strict=False)
    )


def native(x, w, bias, arguments):
    try:
        y = keras.ops.conv_transpose(x, w, **arguments)
    except Exception:
        if BACKEND == "tensorflow" and isinstance(arguments.get("padding", ""), str) and not documented(w, arguments):
            raise BackendLimitError from None
        raise
    first = (arguments.get("data_format") or "").lower() == "channels_first"
    return y if bias is None else y + bias.reshape([-1] + [1] * (w.ndim - 2) if first else [-1])


def spoiled(rng, arguments, ndim):
    wrong = {
        "strides": [0 if BACKEND == "jax" else [1] * (ndim + 1), [2] * (ndim + 1)],  # TensorFlow gives 0 elements
        "padding": ["full", "causal", 1, [(1, 1)] * ndim],
        "dilation_rate": [0, [2] * (ndim + 1)],
        "data_format": ["NHWC", "last"],
    }
    name = str(rng.choice(list(wrong)))
    return {**arguments, name: wrong[name][int(rng.integers(len(wrong[name])))]}


def random_call(rng, ndim, legal=False):
    """Draw x, weight, bias and native arguments, some of them illegal unless all have to be `legal`."""
    sizes = random_sizes(rng, ndim, n=(2, 5), k=(1, 5), dilated=0.3)
    n, k, s, d = sizes.n, sizes.k, sizes.s, sizes.d
    d = (1,) * ndim if legal and max(s) > 1 else d
    arguments = {"strides": s, "padding": str(rng.choice(["same", "valid", "SAME", "Valid"])), "dilation_rate": d}
    if (legal or rng.random() < 0.7) and max(s) > 1:
        if rng.random() < 0.5:
            arguments["output_padding"] = tuple(int(rng.integers(0, stride)) for stride in s)
    elif rng.random() < (0.3 if BACKEND == "tensorflow" else 0.7) and not legal:
        # TensorFlow ends the process where the output would have less than no elements
        arguments["output_padding"] = integers(rng, ndim, (0 if BACKEND == "tensorflow" else -2, 4))
        if rng.random() < 0.2:
            arguments["output_padding"] = (None, *arguments["output_padding"][1:])
    for name in list(arguments):
        if isinstance(arguments[name], tuple) and rng.random() < 0.5:
            arguments[name] = (
                list(arguments[name]) if len(set(arguments[name])) > 1 or rng.random() < 0.3 else arguments[name][0]
            )
    if max(s) == 1 and rng.random() < 0.5:
        del arguments["strides"]
    shape = [sizes.batch, *n, sizes.c_in]
    if rng.random() < 0.5:
        arguments["data_format"] = str(rng.choice(["channels_last", "channels_first"]))
        if arguments["data_format"] == "channels_first":
            shape = [sizes.batch, sizes.c_in, *n]
    x, w = whole_numbers(rng, shape), whole_numbers(rng, [*k, sizes.c_out, sizes.c_in])
    bias = whole_numbers(rng, [sizes.c_out]) if rng.random() < 0.5 else None
    return x, w, bias, arguments if legal or rng.random() < 0.9 else spoiled(rng, arguments, ndim)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_native_arguments(ndim):
    rng = np.random.default_rng([ndim, BACKEND == "tensorflow"])
    conformance = Conformance("keras", native, lambda error, arguments: isinstance(error, BackendLimitError), "jaxlib")
    count = {1: 330, 2: 330, 3: 200}[ndim]
    calls = [random_call(rng, ndim) for _ in range(count)]
    if BACKEND == "jax":
        check_all(conformance, calls)
    else:
        for call in calls:
            conformance.check(*call)
    print(BACKEND, dict(conformance.tally))
    assert conformance.tally["equal"] > count // 2
    assert conformance.tally["refused"] > count // 40


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_layers(ndim):
    """A layer is the operator with its kernel, within narrower rules."""
    rng = np.random.default_rng(ndim)
    for _ in range(60 if BACKEND == "tensorflow" else 12):
        x, w, _, arguments = random_call(rng, ndim, legal=True)
        layer = LAYERS[ndim](w.shape[-2], w.shape[:-2], **arguments)
        layer.build(x.shape)
        layer.set_weights([w, whole_numbers(rng, [w.shape[-2]])])
        try:
            expected = layer(x)
        except Exception:
            assert BACKEND == "tensorflow"
            assert not documented(w, arguments)
            continue
        kernel, bias = layer.get_weights()
        if BACKEND == "tensorflow" and layer.data_format == "channels_first" and 1 < len(bias) == expected.shape[-1]:
            # keras.ops.add takes the last axis for the channels, where it has their number (keras 3.15.1)
            expected, bias = keras.ops.conv_transpose(x, kernel, **arguments), None
        assert np.array_equal(tconv.conv_transpose(x, kernel, bias, dialect="keras", **arguments), expected)


def test_layers_refuse_more_than_the_operator():
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 1, 2), "f")
    for arguments, shape in (
        ({"strides": 2, "dilation_rate": 2}, (1, 11, 11, 1)),
        ({"strides": 2, "output_padding": 2}, (1, 11, 11, 1)),
    ):
        with pytest.raises(ValueError):
            keras.layers.Conv2DTranspose(1, 3, **arguments)
        assert tconv.conv_transpose(x, w, dialect="keras", **arguments).shape == shape


def test_kerass_own_example():
    x = np.random.default_rng(0).random((4, 10, 8, 128), "f")
    layer = keras.layers.Conv2DTranspose(32, 2, 2, activation="relu")
    expected = np.asarray(layer(x))
    got = np.maximum(tconv.conv_transpose(x, *layer.get_weights(), dialect="keras", strides=2), 0)
    assert got.shape == (4, 20, 16, 32)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_a_layers_weights_to_pytorch_and_back():
    rng = np.random.default_rng(1)
    x, w = whole_numbers(rng, (2, 6, 5, 3)), whole_numbers(rng, (3, 3, 4, 3))
    arguments = {"strides": 2, "padding": "same"}
    there = tconv.convert(w, source="keras", target="torch")
    assert np.array_equal(there, w.transpose(3, 2, 0, 1))
    assert np.array_equal(tconv.convert(there, source="torch", target="keras"), w)
    g = tconv.dialect("keras").geometry(kernel=(3, 3), **arguments)
    torchs = tconv.dialect("torch").arguments(tconv.Geometry(g.kernel, g.stride, 0))
    y = tconv.conv_transpose(x.transpose(0, 3, 1, 2), there, **torchs)[:, :, :-1, :-1]  # SAME crops the end here
    assert np.array_equal(y.transpose(0, 2, 3, 1), keras.ops.conv_transpose(x, w, **arguments))


def test_arguments_and_code():
    tally = check_code(
        "keras",
        {"keras": keras},
        count=100 if BACKEND == "tensorflow" else 60,
        groups=(1, 1, 1, 2),
        wrap=keras.ops.convert_to_tensor,
    )
    print(dict(tally))
    assert tally["one call"] > 10
    assert tally["call and slice"] > 20


def test_conv_is_the_adjoint():
    rng = np.random.default_rng(3)
    assert sum(check_adjoint("keras", *(c := random_call(rng, ndim))[:2], c[3]) for ndim in (1, 2, 3) * 20) > 40


def test_what_it_is_not():
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 1, 2), "f")
    with pytest.raises(ArgumentError, match=r'padding is 1; Keras takes "valid" or "same"'):
        tconv.conv_transpose(x, w, dialect="keras", padding=1)
    with pytest.raises(
        DialectError, match=r'Keras cannot express 2 groups.*nor the crop .* neither "valid" nor "same"'
    ):
        tconv.dialect("keras").arguments(tconv.Geometry((3, 3), 1, 5, 1, 2))


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GeometryError, {"strides": [2, 0.5]}, "strides is (2, 0.5); every entry must be an integer. Write strides=(2, 2), for example"),
        (GeometryError, {"strides": None}, "strides is None; an integer is needed. Write strides=2, for example"),
        (GeometryError, {"dilation_rate": "2"}, "dilation_rate is '2'; an integer is needed. Write dilation_rate=2"),
        (GeometryError, {"dilation_rate": (n for n in (1, 1))}, "; an integer is needed. Write dilation_rate=2"),
        (GeometryError, {"output_padding": [[1], [1]]}, "output_padding is ([1], [1]); every entry must be an integer. Write output_padding=(1, 1), for example"),
        (GeometryError, {"output_padding": [None, 1.5]}, "output_padding is (0, 1.5); every entry must be an integer"),
        (GeometryError, {"output_padding": True}, "output_padding is True; an integer is needed. Write output_padding=1"),
        (GeometryError, {"output_padding": np.ones(2)}, "output_padding is (np.float64(1.0), np.float64(1.0)); every entry must be an integer"),
        (ArgumentError, {"padding": np.ones((2, 2))}, 'padding is an array of shape (2, 2); Keras takes "valid" or "same"'),
        (ArgumentError, {"data_format": np.ones(2)}, "data_format is array([1., 1.]); Keras takes"),
    ],
)  # fmt: skip
def test_values_that_mean_nothing(kind, arguments, message):
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 3, 2), "f")
    with pytest.raises(kind, match=re.escape(message)):
        tconv.plan(x, w, dialect="keras", **arguments)


def test_an_output_padding_may_be_left_open_on_one_axis():
    dialect = tconv.dialect("keras")
    for given in ([None, 1], (None, np.int64(1)), np.array([None, 1])):
        geometry = dialect.geometry(kernel=(3, 3), strides=4, output_padding=given)
        assert geometry.crop == ((0, -1), (0, -1))


def test_the_backends_arrays_and_an_empty_batch():
    x, w = keras.ops.ones((0, 4, 5, 3)), keras.ops.ones((2, 2, 6, 3))
    got = tconv.conv_transpose(x, w, dialect="keras", strides=2)
    assert type(got) is type(x)
    assert got.shape == keras.ops.conv_transpose(x, w, 2).shape


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    """With a variance of 0.005, PyTorch's 1e-5 instead is 9.8% off (gzuidhof/nn-transfer#3)."""
    default = inspect.signature(keras.layers.BatchNormalization).parameters["epsilon"].default
    assert tconv.dialect("keras").batchnorm_eps == default == 1e-3
    rng = np.random.default_rng(0)
    x = whole_numbers(rng, (2, 4, 5, 3))
    model = keras.Sequential(
        [keras.Input((4, 5, 3)), keras.layers.Conv2DTranspose(6, 3, strides=2), keras.layers.BatchNormalization()]
    )
    gamma, beta, mean = rng.standard_normal((3, 6)).astype("f")
    model.layers[1].set_weights([gamma, beta, mean, np.full(6, 0.005, "f")])
    kernel, bias = model.layers[0].get_weights()
    weight, bias = tconv.fold_batchnorm(
        kernel, bias, *model.layers[1].get_weights()[:2], mean, np.full(6, 0.005, "f"), dialect="keras"
    )
    got, expected = tconv.conv_transpose(x, weight, bias, dialect="keras", strides=2), np.asarray(model(x))
    np.testing.assert_allclose(got, expected, atol=1e-5 * abs(expected).max())


def test_its_shapes():
    check_shapes(lambda sizes: keras.Input(sizes).shape[1:], unknown=lambda sizes: keras.Input(sizes).shape[1:])


@pytest.mark.parametrize(
    ("ndim", "padding", "extra"), [(1, "same", None), (2, "valid", 1), (2, "same", None), (3, "valid", None)]
)
def test_layers_are_taken(ndim, padding, extra):
    kind = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)[ndim - 1]
    layer = kind(6, 3, strides=2, padding=padding, output_padding=extra, bias_initializer="random_normal")
    with pytest.raises(ArrayError, match=r"weight is a Conv.DTranspose without a weight yet"):
        tconv.prepare(layer)
    layer.build((None, *[5] * ndim, 4))
    weight, bias = layer.get_weights()
    check_layer(layer, lambda x: np.asarray(layer(x)), "keras", weight, bias, (2, *[5] * ndim, 4))
    pair = tconv.convert(layer.get_weights(), source="keras", target="torch")
    np.testing.assert_array_equal(pair[0], tconv.convert(weight, source="keras", target="torch"))
    assert pair[1] is not None
    np.testing.assert_array_equal(pair[1], bias)
    model = keras.Sequential([keras.Input((*[5] * ndim, 4)), layer, keras.layers.ReLU()])
    assert tconv.checkerboard(model).score == tconv.checkerboard(layer).score
    with pytest.raises(
        ArrayError, match=r"weight is a list of arrays with .* axes; one weight, or a weight and its bias"
    ):
        tconv.convert([*layer.get_weights(), weight, bias], source="keras", target="torch")


def test_a_sub_pixel_convolution_is_read_in_the_order_of_depth_to_space():
    import tensorflow as tf

    layer = keras.layers.Conv2D(12, 3)
    layer.build((None, 9, 9, 2))
    layer.kernel.assign(tconv.artifacts.equalise(layer, pixel_shuffle=2))
    assert tconv.checkerboard(layer, pixel_shuffle=2).score < 1e-6
    y = tf.nn.depth_to_space(tf.convert_to_tensor(np.asarray(layer(np.ones((1, 9, 9, 2), "f")))), 2).numpy()
    np.testing.assert_allclose(y, np.broadcast_to(y[:, :1, :1], y.shape), atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "relu6", "sigmoid", "leaky_relu"])
def test_the_activation_of_a_layer_is_applied_or_refused(name):
    layer = keras.layers.Conv2DTranspose(
        6, 4, strides=2, padding="same", activation=name, bias_initializer="random_normal"
    )
    x = np.random.default_rng(0).standard_normal((2, 5, 7, 3)).astype("f")
    expected = np.asarray(layer(x))
    for call in (lambda: tconv.conv_transpose(x, layer), lambda: tconv.plan(x, layer)):
        with pytest.raises(ArgumentError, match=f"the Conv2DTranspose applies {name} to its output, and ") as refusal:
            call()
    with pytest.raises(ArgumentError, match=f"applies {name} to its output, and a BatchNorm behind that cannot be"):
        tconv.fold_batchnorm(layer, None, *np.ones((4, 6), "f"))
    with pytest.raises(ArgumentError, match=f"applies {name} to its output, and the call that is compared has none"):
        tconv.diagnose(expected, expected, x=x, weight=layer)
    code = str(refusal.value).partition(" Write ")[2]
    if name in ("relu", "relu6"):
        got = eval(code, {"tconv": tconv, "weight": layer, "x": x})
        np.testing.assert_array_equal(got, tconv.prepare(layer, activation=name)(x))
    else:
        with pytest.raises(ArgumentError, match=f"applies {name} to its output, and the layer was prepared with"):
            tconv.prepare(layer)
        arguments = code.partition(" in place of the layer")[0]
        linear = eval(f"tconv.conv_transpose(x, {arguments})", {"tconv": tconv, "weight": layer, "x": x})
        got = np.asarray(keras.activations.get(name)(linear))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    with pytest.raises(ArgumentError, match="and the layer was prepared with activation='prelu'"):
        tconv.prepare(layer, activation="prelu")


def test_the_layers_of_a_sequential_model_are_named_as_it_has_them():
    model = keras.Sequential([keras.Input((5, 6, 2)), keras.layers.UpSampling2D((2, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(tconv.TconvError, match=r"weight.layers\[0\] is of type UpSampling2D") as refusal:
        tconv.checkerboard(model)
    stack = eval(str(refusal.value).partition("first layer first: ")[2], {"weight": model, "np": np})
    assert stack[0][0].shape == (2, 1, 2, 3)
    assert stack[1] is model.layers[1]
    assert tconv.checkerboard(stack).score < 1e-6  # repeated elements have no pattern
