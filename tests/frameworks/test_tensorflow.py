"""TensorFlow's own operators, in a process of their own: random native arguments, code, tensors in and out."""

from __future__ import annotations

import inspect
import os
import re

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # refusals are expected here; TensorFlow logs each of them

import numpy as np
import pytest
import tensorflow as tf
from harness import Conformance, check_code
from tensorflow_calls import random_call

import tconv
from random_calls import whole_numbers
from random_calls.shapes import check_shapes
from tconv.errors import ArgumentError, ArrayError, DtypeError, GeometryError, ShapeError

CALLS = {1: tf.nn.conv1d_transpose, 2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}


def native(x, w, bias, arguments):
    y = CALLS[w.ndim - 2](tf.constant(x), tf.constant(w), **arguments)
    if bias is not None:
        y = tf.nn.bias_add(y, tf.constant(bias), "NC" if arguments.get("data_format", "N")[1:2] == "C" else None)
    return y.numpy()


def unsupported(error, arguments):
    """What TensorFlow's rules allow and its CPU kernels lack."""
    text = str(error)
    if isinstance(arguments["padding"], str):
        return (
            len(arguments["output_shape"]) == 5 and "input and filter must have the same depth" in text
        )  # groups in 3-D
    return "only supports NHWC" in text or "dilation rates larger than 1" in text or "grouped convolutions" in text


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_random_native_arguments(ndim, seed):
    rng = np.random.default_rng([ndim, seed])
    conformance = Conformance("tensorflow", native, unsupported)
    for _ in range(300):
        conformance.check(*random_call(rng, ndim))
    print(dict(conformance.tally))
    assert conformance.tally["equal"] > 150
    assert conformance.tally["refused"] > 40
    assert conformance.tally["unsupported there"] < 80


def test_one_input_fits_sizes_below_the_extent():
    conformance = Conformance("tensorflow", native)
    rng = np.random.default_rng(0)
    w = whole_numbers(rng, (5, 3, 2))
    for n in (1, 2):
        x = whole_numbers(rng, (1, n, 2))
        for stride in range(1, 7):
            for size in range(1, 5 + stride * n):
                arguments = {"output_shape": [1, size, 3], "strides": stride, "padding": "VALID"}
                conformance.check(x, w, None, arguments)
    assert conformance.tally["equal"] == sum(min(s, 5) - 1 + 2 * s for s in range(1, 7))


def test_an_output_shape_may_be_any_array_and_its_batch_left_open():
    rng = np.random.default_rng(1)
    x, w = whole_numbers(rng, (2, 3, 4, 5)), whole_numbers(rng, (3, 2, 2, 5))
    expected = native(x, w, None, {"output_shape": [2, 6, 8, 2], "strides": 2})
    for shape in (
        [-1, 6, 8, 2],
        (6, 8),
        np.array([2, 6, 8, 2]),
        tf.constant([2, 6, 8, 2]),
        tf.TensorShape([2, 6, 8, 2]),
    ):
        arguments = {"output_shape": shape, "strides": np.array([2, 2]), "dilations": None}
        assert np.array_equal(native(x, w, None, arguments), expected)
        assert np.array_equal(tconv.conv_transpose(x, w, dialect="tensorflow", **arguments), expected)


BAD = [
    (GeometryError, {"output_shape": tf.TensorShape([None, 8, 8, 3])}, "(batch, channels) of output_shape is (None, 3), of unknown size on axis 0; every entry must be an integer. Write output_shape=[1, ..., 3], for example"),
    (ArgumentError, {"output_shape": tf.TensorShape(None)}, "output_shape is TensorShape(None); a sequence of 4 integers is needed. Write output_shape=[N, 8, 8, C_out]"),
    (GeometryError, {"output_shape": [1, None, 8, 3]}, "the spatial part of output_shape is (None, 8), of unknown size on axis 0; every entry must be an integer. Write output_shape=[N, 8, 8, C_out]"),
    (GeometryError, {"output_shape": np.array([1, 8, 7.5, 3])}, "(batch, channels) of output_shape is (np.float64(1.0), np.float64(3.0)); every entry"),
    (GeometryError, {"output_shape": tf.constant([8.0, 8.0])}, "the spatial part of output_shape is (<tf.Tensor: shape=(), dtype=float32, numpy=8.0>"),
    (GeometryError, {"output_shape": [[1, 8], [8, 3]]}, "the spatial part of output_shape is ([1, 8], [8, 3]); every entry must be an integer"),
    (ArgumentError, {"output_shape": (n for n in (1, 8, 8, 3))}, "; a sequence of 4 integers is needed. Write output_shape=[N, 8, 8, C_out]"),
    (ArgumentError, {"output_shape": "1883"}, "output_shape is '1883'; a sequence of 4 integers is needed"),
    (ShapeError, {"output_shape": [1, 8, 3]}, "output_shape is [1, 8, 3], which has 3 entries; 4 are needed. Write output_shape=[N, 8, 8, C_out]"),
    (GeometryError, {"strides": [1, 2, None, 1]}, "strides is (1, 2, None, 1), of unknown size on axis 2; every entry must be an integer. Write strides=[1, 2, 2, 1], for example"),
    (GeometryError, {"strides": [np.ones(2, int)] * 4}, "strides is (array([1, 1]), "),
    (GeometryError, {"strides": tf.constant([2.0])}, "strides is <tf.Tensor: shape=(), dtype=float32, numpy=2.0>; an integer is needed. Write strides=2"),
    (GeometryError, {"dilations": [[1, 2], 2]}, "dilations is ([1, 2], 2); every entry must be an integer. Write dilations=(2, 2), for example"),
    (GeometryError, {"dilations": True}, "dilations is True; an integer is needed"),
    (ArgumentError, {"padding": 1.5}, 'padding is 1.5; TensorFlow takes "SAME", "VALID" or [[before, after], ...]'),
    (GeometryError, {"padding": [[1, 1], [1, 1]]}, "there are 4 array axes. Write padding=[(0, 0), (1, 1), (1, 1), (0, 0)]: one"),
    (GeometryError, {"padding": [(0, 0), (1, 0.5), (1, 1), (0, 0)]}, "padding contains (1, 0.5); one (lo, hi) pair of integers per array axis is needed"),
    (ArgumentError, {"data_format": np.array(["NHWC", "NCHW"])}, "data_format is array(['NHWC', 'NCHW'], dtype='<U4'); with 2 spatial axes"),
    (ShapeError, {"strides": 10**30}, "Use a size that it reduces to 4: "),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "arguments", "message"), BAD, ids=[message[:50] for _, _, message in BAD])
def test_values_that_mean_nothing(kind, arguments, message):
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 3, 2), "f")
    with pytest.raises(kind, match=re.escape(message)):
        tconv.plan(x, w, dialect="tensorflow", **{"output_shape": [1, 8, 8, 3], "strides": 2, **arguments})


def test_symbolic_values_are_refused():
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 3, 2), "f")

    def call(shape):
        with pytest.raises(ArgumentError, match=r"output_shape is <tf.Tensor 's:0'.*; a sequence of 4 integers"):
            tconv.plan(x, w, dialect="tensorflow", output_shape=shape, strides=2)
        with pytest.raises(GeometryError, match=r"strides is <tf.Tensor 's:0'.*; an integer is needed"):
            tconv.plan(x, w, dialect="tensorflow", output_shape=[1, 8, 8, 3], strides=shape)
        return shape

    for size in (4, None):
        signature = [tf.TensorSpec([size], tf.int32, "s")]
        tf.function(call, input_signature=signature, autograph=False)(tf.constant([1, 8, 8, 3]))


def test_an_empty_batch():
    x, w, arguments = (
        np.ones((0, 4, 5, 3), "f"),
        np.ones((2, 2, 6, 3), "f"),
        {"output_shape": [0, 8, 9, 6], "strides": 2},
    )
    assert tconv.conv_transpose(x, w, dialect="tensorflow", **arguments).shape == native(x, w, None, arguments).shape


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_conv_is_tensorflows_own(ndim):
    call = {1: tf.nn.conv1d, 2: tf.nn.conv2d, 3: tf.nn.conv3d}[ndim]
    rng = np.random.default_rng(ndim)
    around = lambda value: [1, *[value] * ndim, 1]  # noqa: E731
    for _ in range(100):
        k, s, d = (int(v) for v in rng.integers(1, 4, 3))
        if s > 1 and d > 1:
            d = 1  # tf.nn.conv takes one of them
        x, w = whole_numbers(rng, (2, *rng.integers(k * d, 10, ndim), 3)), whole_numbers(rng, (*[k] * ndim, 3, 2))
        for padding in ("SAME", "VALID"):
            got = tconv.conv(x, w, dialect="tensorflow", strides=s, dilations=d, padding=padding)
            assert np.array_equal(got, call(x, w, around(s), padding, dilations=around(d)))
    if ndim == 3:
        return
    grouped = whole_numbers(rng, (*[3] * ndim, 2, 6))
    x = whole_numbers(rng, (1, *[7] * ndim, 4))
    got = tconv.conv(x, grouped, dialect="tensorflow", strides=2, groups=2)
    assert np.array_equal(got, call(x, grouped, around(2), "SAME"))


def test_weights_both_ways():
    w = whole_numbers(np.random.default_rng(2), (6, 2, 3, 5))
    native_w = tconv.convert(w, source="torch", target="tensorflow", groups=3)
    assert np.array_equal(native_w, w.transpose(2, 3, 1, 0))
    back = tconv.convert(tf.constant(native_w), source="tensorflow", target="torch", groups=3)
    assert isinstance(back, tf.Tensor)
    assert np.array_equal(back, w)


def test_arguments_and_code():
    tally = check_code("tensorflow", {"tf": tf, "np": np}, count=150, wrap=tf.constant)
    print(dict(tally))
    assert tally["one call"] > 40
    assert tally["call and slice"] > 40


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_every_dtype(dtype):
    rng = np.random.default_rng(3)
    x = tf.cast(whole_numbers(rng, (2, 5, 4, 3)), dtype)
    w = tf.Variable(tf.cast(whole_numbers(rng, (3, 2, 2, 3)), dtype))
    arguments = {"output_shape": [2, 10, 7, 2], "strides": 2}
    got = tconv.conv_transpose(x, w, dialect="tensorflow", **arguments)
    assert isinstance(got, tf.Tensor)
    assert got.dtype == dtype
    assert tf.reduce_all(got == tf.nn.conv2d_transpose(x, w, **arguments))
    assert tconv.plan(x, w, dialect="tensorflow", **arguments).method == "simd"
    if dtype != "float32":
        with pytest.raises(DtypeError, match=f"x is {dtype} and weight is float32"):
            tconv.conv_transpose(x, tf.cast(w, "float32"), dialect="tensorflow", **arguments)


def test_no_gradient_and_no_symbol_is_lost_silently():
    """A call on such tensors runs on TensorFlow's side (test_tensorflow_dialects.py); what needs numbers refuses them."""
    x, w = tf.ones((1, 4, 4, 3)), tf.Variable(tf.ones((3, 3, 2, 3)))
    arguments = {"dialect": "tensorflow", "output_shape": [1, 8, 8, 2], "strides": 2}
    with tf.GradientTape() as tape:
        y = tconv.conv_transpose(x, w, **arguments)
        with pytest.raises(
            ArrayError, match=r"weight is watched by a tf.GradientTape.*Write tf.stop_gradient\(weight\)"
        ):
            tconv.prepare(w, **arguments)
        prepared = tconv.prepare(tf.stop_gradient(w), **arguments)
        tape.watch(x)
        with pytest.raises(
            ArrayError, match=r"x is watched by a tf\.GradientTape.*tconv\.tensorflow\.conv_transpose to"
        ):
            prepared(x)
        assert prepared(tf.stop_gradient(x)).shape == (1, 8, 8, 2)
    assert tape.gradient(y, w).shape == w.shape
    with pytest.raises(ArrayError, match=r"x is a symbolic TensorFlow tensor.*tconv.tensorflow.conv_transpose inside"):
        tf.function(prepared, autograph=False)(x)


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    layer = inspect.signature(tf.keras.layers.BatchNormalization).parameters["epsilon"].default
    fused = inspect.signature(tf.compat.v1.nn.fused_batch_norm).parameters["epsilon"].default
    assert tconv.dialect("tensorflow").batchnorm_eps == layer == fused == 1e-3


DTYPES = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 complex64 complex128"


@pytest.mark.parametrize("of_x", DTYPES.split())
def test_the_advice_for_every_pair_of_dtypes_works(of_x):
    for of_weight in DTYPES.split():
        given = {"x": tf.cast([[[1], [0], [1]]], of_x), "weight": tf.cast([[[1]], [[1]]], of_weight)}
        arguments = {"dialect": "tensorflow", "output_shape": [1, 4, 1], "strides": 1, "padding": "VALID"}
        try:
            y = tconv.conv_transpose(given["x"], given["weight"], **arguments)
        except DtypeError as error:
            for code in str(error).partition(" Write ")[2].partition(", w")[0].split(" and "):
                given[re.match(r"tf\.cast\((\w+)", code)[1]] = eval(code, {"tf": tf, **given})
            y = tconv.conv_transpose(given["x"], given["weight"], **arguments)
        assert tf.cast(y, tf.float64).numpy().ravel().tolist() == [1, 1, 1, 1]
        whole = all(name[0] in "bui" and name != "bfloat16" for name in (of_x, of_weight))
        assert (y.dtype == tf.int64) == whole, (of_x, of_weight)


@pytest.mark.parametrize(
    "make", [tf.TensorShape, lambda sizes: tf.TensorShape(sizes).dims, lambda sizes: tf.TensorShape(sizes).as_proto()]
)
def test_its_shapes(make):
    check_shapes(make, unknown=make)
    check_shapes(tf.constant)
    check_shapes(lambda sizes: tf.shape(tf.zeros(sizes)))
    with pytest.raises(GeometryError, match="whose rank is unknown; an integer is needed"):
        tconv.Geometry((3, 3)).output_shape(tf.TensorShape(None))


def test_a_shape_in_place_of_an_array_is_named():
    weight = np.ones((2, 3, 3, 3), "f")
    with pytest.raises(ArrayError, match=r"x is a .*TensorShape; .* Write numpy\.zeros") as refusal:
        tconv.plan(tf.TensorShape([1, 2, 5, 7]), weight)
    code = re.search("Write (.*) for an array of these sizes", str(refusal.value))[1]
    x = eval(code, {"numpy": np, "x": tf.TensorShape([1, 2, 5, 7])})
    assert tconv.plan(x, weight).problem.output_shape == (7, 9)
    with pytest.raises(ArrayError, match=r"weight is a .*TensorShape; .* Write numpy.zeros\(tuple\(weight\)"):
        tconv.plan(x, tf.TensorShape([2, 3, 3, 3]))
