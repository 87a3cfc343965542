"""`tconv.tensorflow.conv_transpose` outside of graphs: random calls, gradients of any order, dtypes, threads, errors."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # refusals are expected here; TensorFlow logs each of them

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_calls import random_call

import tconv
import tconv.tensorflow as face
from random_calls import random_geometry, whole_numbers
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError, TconvError
from tconv.geometry import Geometry
from tconv.tensorflow import op_kernel, operator

WEIGHTS = (("IO*", "I"), ("*OI", "I"), ("*IO", "O"), ("OI*", "O"), ("GIO*", "G"))


def result_of(call, *arrays, **arguments):
    """Result and error of a call, one of them None."""
    try:
        return np.asarray(call(*arrays, **arguments)), None
    except TconvError as error:
        return None, error


def whole(rng, *shape):
    return tf.constant(whole_numbers(rng, shape))


def example(seed=0, n=2, dtype=tf.float32):
    """x, filters, bias and arguments: [n, 4, 5, 3] to [n, 8, 10, 4]."""
    rng = np.random.default_rng(seed)
    arrays = (whole(rng, n, 4, 5, 3), whole(rng, 3, 4, 4, 3), whole(rng, 4))
    return *(tf.cast(each, dtype) for each in arrays), {"output_shape": [n, 8, 10, 4], "strides": 2}


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_random_calls_equal_the_function_of_arrays(ndim, seed):
    rng = np.random.default_rng([ndim, seed, 31])
    tally = Counter()
    for _ in range(110):
        x, w, bias, arguments = random_call(rng, ndim)
        expected, refusal = result_of(tconv.conv_transpose, x, w, bias, dialect="tensorflow", **arguments)
        got, own_refusal = result_of(face.conv_transpose, x, w, bias=bias, **arguments)
        if refusal is not None and "explicit pairs in 2-D only" in str(refusal):
            tally["pairs beyond tf.nn"] += 1
            continue
        assert (got is None) == (expected is None), (arguments, x.shape, w.shape, refusal, own_refusal)
        if got is None:
            assert isinstance(own_refusal, tf.errors.InvalidArgumentError)
        else:
            assert np.array_equal(got, expected), (arguments, x.shape, w.shape)
        tally["refused" if got is None else "equal"] += 1
    assert tally["equal"] > 60
    assert tally["refused"] > 5


@pytest.mark.parametrize("seed", range(4))
def test_any_layout_of_data_and_weight(seed):
    rng = np.random.default_rng([seed, 7])
    for _ in range(25):
        groups = int(rng.integers(1, 3))
        g, n = random_geometry(rng, (1, 2, 3), crop=(-2, 3), groups=(groups,))
        ndim = g.ndim
        batch = int(rng.integers(1, 3))
        x = whole_numbers(rng, (batch, 2 * groups, *n))
        w = whole_numbers(rng, (2 * groups, 3, *g.kernel))
        patterns = ["NC*", "N*C", *(["C*", "*C"] if batch == 1 else [])]
        data, result = (DataLayout.of(str(rng.choice(patterns)), ndim) for _ in range(2))
        pattern, grouped = WEIGHTS[rng.integers(len(WEIGHTS))]
        layout = WeightLayout.of(pattern, ndim, grouped, bool(rng.integers(2)))
        y = operator.apply(native(x, data), np_tensor(layout.native(w, groups)), None, g, data, layout, result)
        expected = tconv.conv_transpose(x, w, geometry=g)
        assert np.array_equal(y, native(expected, result)), (g, data, layout, result)


def np_tensor(array):
    return tf.constant(np.ascontiguousarray(array))


def native(canonical, layout):
    order = ["N", "C", *range(canonical.ndim - 2)]
    array = canonical if "N" in layout.axes else canonical[0]
    order = order if "N" in layout.axes else order[1:]
    return np_tensor(array.transpose([order.index(axis) for axis in layout.axes]))


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_dtypes_have_the_bits_of_the_function_of_arrays(dtype):
    rng = np.random.default_rng(1)
    x = tf.cast(rng.standard_normal((2, 9, 7, 6)), dtype)
    w = tf.cast(rng.standard_normal((4, 3, 5, 6)), dtype)
    bias = tf.cast(rng.standard_normal(5), dtype)
    arguments = {"output_shape": [2, 18, 14, 5], "strides": 2}
    expected = tconv.conv_transpose(x.numpy(), w.numpy(), bias.numpy(), dialect="tensorflow", **arguments)
    y = face.conv_transpose(x, w, bias=bias, **arguments)
    assert y.dtype == dtype
    assert np.array_equal(y.numpy(), expected)


def test_crop_is_given_instead_of_a_padding():
    rng = np.random.default_rng(2)
    x, w = whole(rng, 1, 5, 2), whole(rng, 4, 3, 2)
    y = face.conv_transpose(x, w, None, 3, crop=[(-1, 2)])
    g = tconv.Geometry((4,), 3, ((-1, 2),))
    expected = tconv.conv_transpose(x.numpy().transpose(0, 2, 1), w.numpy().transpose(2, 1, 0), geometry=g)
    assert np.array_equal(y, expected.transpose(0, 2, 1))
    assert np.array_equal(face.conv_transpose(x, w, [1, 15, 3], 3, crop=[(-1, 2)]), y)
    with pytest.raises(ShapeError, match="crop= makes an output of spatial sizes"):
        face.conv_transpose(x, w, [1, 14, 3], 3, crop=[(-1, 2)])


@pytest.mark.parametrize("ndim", [1, 3])
def test_pairs_of_padding_in_any_number_of_axes(ndim):
    rng = np.random.default_rng(3)
    x, w = whole(rng, 2, *[4] * ndim, 2), whole(rng, *[5] * ndim, 3, 2)
    pairs = [[0, 0], *[[1, 2]] * ndim, [0, 0]]
    y = face.conv_transpose(x, w, [2, *[9] * ndim, 3], 2, pairs)  # 2*3 + 5 - 1 - 2 = 8, or one more
    crop = [(1, 1)] * ndim
    assert np.array_equal(y, face.conv_transpose(x, w, None, 2, crop=crop))
    with pytest.raises(ShapeError, match="Use a size that it reduces to 4: 8 to 9"):
        face.conv_transpose(x, w, [2, *[10] * ndim, 3], 2, pairs)


@pytest.mark.parametrize("place", ["x", "filters"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_numbers_spread_as_in_the_definition(place, value):
    x, w, bias, arguments = example()
    arrays = {"x": x.numpy(), "filters": w.numpy()}
    arrays[place].reshape(-1)[4] = value
    expected = tconv.conv_transpose(arrays["x"], arrays["filters"], bias.numpy(), dialect="tensorflow", **arguments)
    got = face.conv_transpose(arrays["x"], arrays["filters"], bias=bias, **arguments)
    assert np.array_equal(got, expected, equal_nan=True)


@pytest.mark.parametrize(("size", "taps", "stride"), [(2, 5, 2), (3, 7, 2), (1, 4, 1), (8, 5, 1)])
def test_not_finite_filters_also_where_tf_nn_may_run(size, taps, stride):
    x, w = (
        np.abs(whole_numbers(np.random.default_rng(1), shape)) + 1
        for shape in ((64, size, size, 32), (taps, taps, 64, 32))
    )
    w[0, 0, 0, 0] = np.nan
    full = stride * (size - 1) + taps
    arguments = {"output_shape": [64, full, full, 64], "strides": stride, "padding": "VALID"}
    expected = tconv.conv_transpose(x, w, dialect="tensorflow", **arguments)
    assert np.array_equal(face.conv_transpose(x, w, **arguments), expected, equal_nan=True)


def test_a_batch_of_none_and_sizes_given_in_many_ways():
    x, w, bias, arguments = example()
    expected = face.conv_transpose(x, w, bias=bias, **arguments)
    assert face.conv_transpose(x[:0], w, [0, 8, 10, 4], 2).shape == (0, 8, 10, 4)
    for shape in ((8, 10), [-1, 8, 10, 4], tf.constant([2, 8, 10, 4]), tf.TensorShape([2, 8, 10, 4])):
        assert np.array_equal(face.conv_transpose(x, w, shape, [2, 2], bias=bias), expected)
    mixed = [tf.shape(x)[0], 8, tf.shape(x)[2] * 2, 4]
    assert np.array_equal(face.conv_transpose(x, w, mixed, [1, 2, 2, 1], bias=bias), expected)
    assert np.array_equal(face.conv_transpose(x.numpy(), tf.Variable(w), mixed, 2, bias=bias.numpy()), expected)


def test_tensors_that_begin_anywhere_in_memory():
    rng = np.random.default_rng(4)
    x, w = whole(rng, 5, 3, 3, 1), whole(rng, 3, 3, 1, 1)
    everything = face.conv_transpose(x, w, [5, 6, 6, 1], 2)
    for start in range(5):
        part = face.conv_transpose(x[start:], w, [5 - start, 6, 6, 1], 2)
        assert np.array_equal(part, everything[start:])


def test_more_sizes_than_a_kernel_remembers():
    rng = np.random.default_rng(5)
    w = whole(rng, 3, 1, 2)
    step = tf.function(
        lambda x: face.conv_transpose(x, w, [tf.shape(x)[0], tf.shape(x)[1] * 2, 1], 2),
        input_signature=[tf.TensorSpec((None, None, 2))],
    )
    for size in (*range(1, 90), *range(1, 90, 7)):
        x = whole(rng, 1, size, 2)
        expected = tconv.conv_transpose(x.numpy(), w.numpy(), dialect="tensorflow", output_shape=(2 * size,), strides=2)
        assert np.array_equal(step(x), expected)


def test_kernels_that_tensorflow_deletes_are_forgotten():
    x, w, _, arguments = example()

    def run_once():
        tf.function(lambda x: face.conv_transpose(x, w, **arguments))(x)

    for _ in range(3):
        run_once()
    before = len(op_kernel._instances)
    for _ in range(12):
        run_once()
    assert len(op_kernel._instances) < before + 6


# -- derivatives -----------------------------------------------------------------------------------------------------


def test_gradients_equal_numerical_ones():
    rng = np.random.default_rng(6)
    x, w, bias = (tf.constant(rng.standard_normal(shape)) for shape in ((2, 3, 2, 4), (3, 2, 3, 4), (6,)))
    call = lambda x, w, bias: face.conv_transpose(x, w, [2, 5, 4, 6], 2, groups=2, bias=bias)  # noqa: E731
    for exact, numerical in zip(*tf.test.compute_gradient(call, [x, w, bias]), strict=True):
        assert np.allclose(exact, numerical, atol=1e-6)


def test_complex_gradients_have_tensorflow_conjugates():
    rng = np.random.default_rng(14)
    parts = [[whole(rng, *shape) for _ in range(2)] for shape in ((1, 3, 2), (3, 2, 2))]
    call = lambda x, w: face.conv_transpose(x, w, [1, 6, 2], 2)  # noqa: E731
    arrays = [tf.cast(tf.complex(*pair), tf.complex128) for pair in parts]
    for exact, numerical in zip(*tf.test.compute_gradient(call, arrays), strict=True):
        assert np.allclose(exact, numerical, atol=1e-4)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (2, 2), (3, 1)])
def test_gradients_in_other_dtypes(dtype, kernel, stride):
    rng = np.random.default_rng(15)
    draw = lambda *shape: tf.constant(rng.integers(-2, 3, shape).astype(np.float32))  # noqa: E731
    arrays = draw(2, 5, 5, 3), draw(kernel, kernel, 4, 3)
    shape, dy = [2, 5 * stride, 5 * stride, 4], draw(2, 5 * stride, 5 * stride, 4)
    results = []
    for kind, call in ((dtype, face.conv_transpose), (tf.float64, tf.nn.conv2d_transpose)):
        x, w, seed = (tf.cast(each, kind) for each in (*arrays, dy))
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = call(x, w, shape, stride)
        results.append([tf.cast(each, tf.float64) for each in tape.gradient(y, [x, w], output_gradients=seed)])
    for got, expected in zip(*results, strict=True):
        assert np.array_equal(got, expected)


def sums(x, w, bias, y, arguments):
    return tf.reduce_sum(face.conv_transpose(x, w, bias=bias, **arguments) * y)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_derivatives_of_first_and_second_order_are_exact(compiled, seed):
    """For whole numbers q(x, w) = <y, T(x, w)> gives <x, dq/dx> = <w, dq/dw> = q, and its mixed derivative again q."""
    rng = np.random.default_rng([seed, 8])
    for _ in range(4):
        x, w, _, arguments = legal_call(rng)
        y = whole(rng, *face.conv_transpose(x, w, **arguments).shape)
        q = lambda x, w, y=y, arguments=arguments: sums(x, w, None, y, arguments)  # noqa: E731
        q = tf.function(q) if compiled else q
        direction = whole(rng, *w.shape)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch([x, w])
            with tf.GradientTape(persistent=True) as inner:
                inner.watch([x, w])
                value = q(x, w)
            dx, dw = inner.gradient(value, x), inner.gradient(value, w)
            along = tf.reduce_sum(dw * direction)
        assert float(tf.reduce_sum(dx * x)) == float(tf.reduce_sum(dw * w)) == float(value)
        mixed = outer.gradient(along, x)
        assert np.array_equal(mixed, inner_gradient(q, x, direction))
        assert outer.gradient(dw, w) is None or not np.any(outer.gradient(dw, w))


def inner_gradient(q, x, w):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = q(x, w)
    return tape.gradient(value, x)


def legal_call(rng):
    while True:
        x, w, bias, arguments = random_call(rng, int(rng.integers(1, 4)))
        if result_of(face.conv_transpose, x, w, **arguments)[0] is not None:
            return tf.constant(x), tf.constant(w), bias, arguments


@pytest.mark.parametrize("compiled", [False, True])
def test_forward_mode(compiled):
    x, w, bias, arguments = example()
    call = lambda x, w, bias: face.conv_transpose(x, w, bias=bias, **arguments)  # noqa: E731
    call = tf.function(call) if compiled else call
    rng = np.random.default_rng(9)
    dx, dw, db = (whole(rng, *each.shape) for each in (x, w, bias))
    with tf.autodiff.ForwardAccumulator([x, w, bias], [dx, dw, db]) as accumulator:
        y = call(x, w, bias)
    zero = tf.zeros_like(bias)
    assert np.array_equal(
        accumulator.jvp(y), call(dx, w, zero) + call(x, dw, zero) + (call(x, w, db) - call(x, w, zero))
    )


def test_forward_over_reverse():
    x, w, _, arguments = example()
    rng = np.random.default_rng(10)
    dx, y = whole(rng, *x.shape), whole(rng, 2, 8, 10, 4)
    with tf.autodiff.ForwardAccumulator([x], [dx]) as accumulator, tf.GradientTape() as tape:
        tape.watch(w)
        value = sums(x, w, None, y, arguments)
        gradient = tape.gradient(value, w)
    with tf.GradientTape() as tape:
        tape.watch(w)
        value = sums(dx, w, None, y, arguments)
    assert np.array_equal(accumulator.jvp(gradient), tape.gradient(value, w))


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("standard", [False, True])
def test_gradients_of_slices(traced, standard):
    """TensorFlow's gradient of tf.gather is no tensor."""
    x, w, bias, arguments = example(n=3)

    def gradients(picked):
        with tf.GradientTape() as tape:
            tape.watch([x, w, bias])
            value = tf.reduce_sum(picked(face.conv_transpose(x, w, bias=bias, **arguments)))
        return tape.gradient(value, [x, w, bias])

    weights = tf.constant([2.0, 0.0, 1.0])[:, None, None, None]
    expected = gradients(lambda y: y * weights)
    run = tf.function(gradients) if traced else gradients
    with face.standard_operators() if standard else contextlib.nullcontext():
        got = run(lambda y: tf.gather(y, [0, 2, 0]))
    assert all(map(np.array_equal, got, expected))


def test_forward_mode_inside_of_a_function():
    x, w, _, arguments = example()

    @tf.function
    def product():
        with tf.autodiff.ForwardAccumulator([x, w], [x, w]) as accumulator:
            y = face.conv_transpose(x, w, **arguments)
        return accumulator.jvp(y), 2 * y

    assert np.array_equal(*product())


@pytest.mark.parametrize(("crop", "stride"), [((5, -7), 8), ((5, -7), 1), ((-7, 5), 2)])
@pytest.mark.parametrize("standard", [False, True])
def test_a_crop_into_the_zeros_of_the_other_end(crop, stride, standard):
    """The full result has 3 elements, of which none is left."""
    layout, x, w = DataLayout.of("N*C", 1), tf.ones((2, 1, 4)), tf.ones((3, 5, 4))
    arguments = Geometry((3,), (stride,), (crop,)), layout, WeightLayout.of("*OI", 1), layout
    with tf.GradientTape() as tape, face.standard_operators() if standard else contextlib.nullcontext():
        tape.watch([x, w])
        y = operator.apply(x, w, None, *arguments)
        gradients = tape.gradient(y, [x, w])
    assert y.shape == (2, 5, 5)
    assert [each.shape for each in gradients] == [x.shape, w.shape]
    assert not any(np.any(each) for each in (y, *gradients))


def test_an_empty_batch_has_gradients_of_its_shape():
    """Also in layers that tf.nn runs, whose gradient has the shape of y (findings/tensorflow_empty_batch.sh)."""
    w = tf.ones((3, 3, 32, 64))

    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = face.conv_transpose(x, w, [tf.shape(x)[0], 58, 58, 32], 1, "VALID")
        return tape.gradient(y, [x, w])

    traced = tf.function(gradients, input_signature=[tf.TensorSpec((None, 56, 56, 64))])
    for call in (gradients, traced):
        assert [each.shape for each in call(tf.zeros((0, 56, 56, 64)))] == [(0, 56, 56, 64), w.shape]


def test_the_adjoint_takes_rows_that_are_left_over():
    rng = np.random.default_rng(11)
    g = tconv.Geometry((3, 2), (2, 3), ((1, 0), (0, -1)))
    y, w = whole_numbers(rng, (2, 3, 8, 9)), whole_numbers(rng, (2, 3, 3, 2))
    data, layout = DataLayout.of("NC*", 2), WeightLayout.of("IO*", 2)
    adjoint = lambda y: operator.adjoint(y, tf.constant(w), g, data, layout, data)  # noqa: E731
    expected = tconv.conv(y, w, geometry=g)
    assert np.array_equal(adjoint(tf.constant(y)), expected)
    dynamic = tf.function(adjoint, input_signature=[tf.TensorSpec((None, 3, None, None))])
    assert np.array_equal(dynamic(tf.constant(y)), expected)
    with tf.GradientTape(persistent=True) as tape:
        x = tf.constant(y)
        tape.watch(x)
        values = [tf.reduce_sum(call(x) * expected) for call in (adjoint, dynamic)]
    gradients = [tape.gradient(value, x) for value in values]
    assert np.array_equal(*gradients)
    assert float(tf.reduce_sum(gradients[0] * y)) == float(values[0])


# -- vectorized_map --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stacked", [each for each in itertools.product([False, True], repeat=3) if any(each)])
def test_vectorized_map_of_any_of_the_tensors(stacked, groups):
    rng = np.random.default_rng(12)
    arrays = whole(rng, 3, 2, 4, 4, 6), whole(rng, 3, 3, 3, 2, 6), whole(rng, 3, 2 * groups)
    arrays = [array if each else array[0] for array, each in zip(arrays, stacked, strict=True)]

    def one(number, members):
        members = iter(members)
        x, w, bias = (next(members) if each else array for array, each in zip(arrays, stacked, strict=True))
        sizes = [tf.shape(x)[0], tf.shape(x)[1] * 2, 8, 2 * groups]
        return face.conv_transpose(x, w, sizes if number else [2, 8, 8, 2 * groups], 2, groups=groups, bias=bias)

    members = tuple(array for array, each in zip(arrays, stacked, strict=True) if each)
    for number in range(2):
        y = tf.vectorized_map(lambda each: one(number, each), members, fallback_to_while_loop=False)  # noqa: B023
        expected = [one(0, [array[at] for array in members]) for at in range(3)]
        assert np.array_equal(y, tf.stack(expected))


def test_vectorized_map_of_a_gradient_and_jacobian():
    rng = np.random.default_rng(13)
    xs, w = whole(rng, 3, 1, 3, 3, 2), whole(rng, 2, 2, 2, 2)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(face.conv_transpose(x, w, [1, 6, 6, 2], 2) ** 2)
        return tape.gradient(value, x)

    assert np.array_equal(tf.vectorized_map(gradient, xs), tf.stack([gradient(x) for x in xs]))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(w)
        y = face.conv_transpose(xs[0], w, [1, 6, 6, 2], 2)
    jacobian = tape.jacobian(y, w)
    assert np.array_equal(tf.tensordot(jacobian, w, 4), y)


# -- threads and errors ----------------------------------------------------------------------------------------------


def test_eight_threads_at_once():
    x, w, bias, arguments = example()
    step = tf.function(lambda x: face.conv_transpose(x, w, bias=bias, **{**arguments, "output_shape": (8, 10)}))
    inputs = [tf.constant(x.numpy() + number) for number in range(8)]
    expected = [
        tconv.conv_transpose(each.numpy(), w.numpy(), bias.numpy(), dialect="tensorflow", **arguments)
        for each in inputs
    ]

    def run(number):
        results = [
            (face.conv_transpose(inputs[number], w, bias=bias, **arguments), step(inputs[number])) for _ in range(40)
        ]
        return all(np.array_equal(y, expected[number]) for pair in results for y in pair)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))


BAD = (
    (lambda x, w: face.conv_transpose(x, w, [2, 9, 10, 4], 2), ShapeError, "Use a size that it reduces to 4: 7 to 8"),
    (lambda x, w: face.conv_transpose(x, w[..., :2], [2, 8, 10, 4], 2), ShapeError, "x has 3"),
    (lambda x, w: face.conv_transpose(x, w, [3, 8, 10, 4], 2), ShapeError, "x has a batch of 2"),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 5], 2), ShapeError, "Use a multiple of 4"),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 8], 2, groups=3), ShapeError, "Write 12 there"),
    (lambda x, w: face.conv_transpose(x[0], w, [8, 10, 4], 2), ShapeError, r"Write input\[None\]"),
    (lambda x, w: face.conv_transpose(x, tf.cast(w, tf.float64), [2, 8, 10, 4], 2), DtypeError, "tf.cast"),
    (lambda x, w: face.conv_transpose(x, w, None, 2), ArgumentError, "output_shape is missing"),
    (lambda x, w: face.conv_transpose(x, w, "16", 2), TconvError, "output_shape"),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 4], 2, "same"), ArgumentError, '"SAME", "VALID"'),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 4], 0), GeometryError, "strides is 0"),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 4], (2, 2, 2)), GeometryError, "2 spatial axes"),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 4], 2, data_format="NWC"), ArgumentError, '"NHWC" or "NCHW"'),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 4], 2, groups=True), GeometryError, "groups is True"),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 4], 2, bias=tf.zeros(3)), ShapeError, "bias has shape"),
    (lambda x, w: face.conv_transpose(x, w, [2, 8, 10, 4], 2, "VALID", crop=1), ArgumentError, "Write crop= alone"),
)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(("call", "kind", "words"), BAD)
def test_errors_are_of_both_kinds_while_tracing(call, kind, words, traced):
    x, w, _, _ = example()
    call = tf.function(call) if traced else call
    with pytest.raises(kind, match=words) as caught:
        call(x, w)
    assert isinstance(caught.value, tf.errors.InvalidArgumentError)


def test_other_dtypes_run_or_are_refused_in_words():
    x, w, bias, arguments = example()
    for dtype in (tf.uint8, tf.bool):
        with pytest.raises(DtypeError, match="int32, int64 is needed"):
            face.conv_transpose(tf.cast(x, dtype), tf.cast(w, dtype), **arguments)
    for dtype in (tf.int32, tf.int64, tf.complex64):
        y = face.conv_transpose(tf.cast(x, dtype), tf.cast(w, dtype), bias=tf.cast(bias, dtype), **arguments)
        assert np.array_equal(tf.cast(y, tf.float32), face.conv_transpose(x, w, bias=bias, **arguments))
        assert face.plan(tf.cast(x, dtype), tf.cast(w, dtype), **arguments).method == "standard"
    assert face.plan(x, w, **arguments).method in ("simd", "winograd")
    assert "float32" in str(face.plan(x, w, bias=bias, **arguments))


def test_the_plan_takes_what_the_call_takes():
    x, w, bias, arguments = example()
    plans = [face.plan(*map(kind, (x, w)), bias=bias, **arguments) for kind in (np.asarray, tf.Variable, tf.identity)]
    assert plans[0] == plans[1] == plans[2]


def test_the_plan_names_what_runs():
    spec = tf.TensorSpec
    layer = spec((8, 28, 28, 64)), spec((3, 3, 64, 64)), [8, 28, 28, 64], 1
    assert face.plan(*layer).method == "tensorflow"
    with face.standard_operators():
        plan = face.plan(*layer)
        assert plan.method == "standard"
        assert "standard_operators() was written" in plan.reasons["simd"][0]
    half = face.plan(spec((8, 28, 28, 64), tf.float16), spec((3, 3, 64, 64), tf.float16), *layer[2:])
    assert half.method == "simd"
    with pytest.raises(ShapeError, match="reduces to 4"):
        face.plan(spec((1, 4, 4, 3)), spec((3, 3, 3, 3)), [1, 9, 8, 3], 2)


@pytest.mark.parametrize("padding", ["SAME", "VALID", [[0, 0], [1, 1], [1, 0], [0, 0]]], ids=str)
def test_sizes_that_only_the_compiler_knows_are_refused(padding):
    """XLA drops assertions, and a wrong size would be a larger output."""
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (2, 5, 6, 4)), whole_numbers(rng, (3, 3, 2, 4))
    f = tf.function(lambda x, shape: face.conv_transpose(x, w, shape, 2, padding), jit_compile=True)
    for sizes in ((9, 11), (10, 12), (10, 11), (11, 13), (12, 14), (13, 11), (-1, 12), (0, 12), (9, 13), (10, 14)):
        shape = tf.constant([2, *sizes, 2])
        try:
            expected = tf.nn.conv2d_transpose(x, w, shape, 2, padding) if min(sizes) > 0 else None
        except tf.errors.OpError:
            expected = None
        if expected is None:
            with pytest.raises(tf.errors.InvalidArgumentError):
                f(x, shape)
        else:
            assert np.array_equal(f(x, shape), expected)
