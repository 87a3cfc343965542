"""Properties of the operator beside its formula: dtypes, rounding, non-finite values, layouts, out=, empty axes."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tconv
from random_calls.strategies import cases
from tconv import Geometry, kernels

ANY_DTYPE = [name for name in kernels.names() if name not in ("simd", "winograd")]


@pytest.mark.parametrize("method", ANY_DTYPE)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_two_byte_floats_are_summed_in_float32_and_rounded_once(dtype, method):
    """Values that a sum in the narrow dtype would lose: 2048 + 1 + 1 ... is not a float16 in between."""
    c_in = 64
    x = np.ones((1, c_in, 3, 3), dtype)
    x[0, 0] = 2048
    w = np.ones((c_in, 2, 2, 2), dtype)
    wide = tconv.conv_transpose(x.astype(np.float32), w.astype(np.float32), method=method)
    got = tconv.conv_transpose(x, w, method=method)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wide.astype(dtype))
    assert got[0, 0, 0, 0] == dtype(2048 + 63)
    with np.errstate(over="ignore"):
        back = tconv.conv(got.astype(np.float32), w.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(tconv.conv(got, w), back)


def test_conv_sums_two_byte_floats_in_float32():
    y, w = np.full((1, 64, 2), 2048, np.float16), np.ones((1, 64, 1), np.float16)
    y[:, 1:] = 1  # in float16, 2048 + 1 is 2048
    assert tconv.conv(y, w).ravel().tolist() == [2048 + 64, 2048 + 64]


def test_big_endian_results_are_native():
    x, w = np.ones((1, 2, 3), ">f4"), np.ones((2, 1, 2), ">f4")
    y = tconv.conv_transpose(x, w)
    assert y.dtype.isnative
    assert tconv.conv_transpose(x, w, out=np.empty_like(y)) is not None
    assert tconv.matrix(w, (2, 3)).dtype == np.dtype("f4")


def test_an_empty_batch_into_out():
    out = np.empty((0, 3, 6))
    assert tconv.conv_transpose(np.ones((0, 2, 4)), np.ones((2, 3, 3)), out=out) is out


def test_interleaved_views_do_not_share_memory():
    memory = np.ones(24)
    x, out = memory[0:8:2].reshape(1, 1, 4), memory[1:9:2].reshape(1, 1, 4)
    tconv.conv_transpose(x, np.full((1, 1, 1), 3.0), out=out)
    assert out.tolist() == [[[3, 3, 3, 3]]]
    assert x.tolist() == [[[1, 1, 1, 1]]]


@pytest.mark.parametrize(
    ("shape", "weight", "arguments", "real", "complex_"),
    [
        ((1, 8, 16, 16), (8, 3, 3, 3), {"stride": 128}, "taps", "taps"),
        ((1, 64, 28, 28), (64, 32, 4, 4), {"stride": 2, "padding": 1}, "winograd", "polyphase"),
        ((1, 64, 28, 28), (64, 32, 2, 2), {"stride": 2}, "simd", "polyphase"),
        ((1, 1026, 862), (1026, 1, 1024), {"stride": 256}, "simd", "polyphase"),
        ((1, 56, 270, 480), (56, 1, 9, 9), {"stride": 2, "padding": 4}, "simd", "polyphase"),
    ],
)
def test_auto_takes_the_method_that_suits(shape, weight, arguments, real, complex_):
    for one, method in (*((np.dtype(kind).type(1), real) for kind in ("f2", "f4", "f8")), (np.complex64(1), complex_)):
        assert tconv.plan(np.broadcast_to(one, shape), np.broadcast_to(one, weight), **arguments).method == method


def test_overflow_to_inf_is_silent_and_right():
    x, w = np.full((1, 4, 2), 60000, np.float16), np.ones((4, 1, 1), np.float16)
    with np.errstate(all="raise"):
        assert np.isposinf(tconv.conv_transpose(x, w)).all()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"])
@pytest.mark.parametrize("method", [*ANY_DTYPE, "auto"])
def test_integers_return_int64(dtype, method):
    top = min(np.iinfo(dtype).max, 2**30)
    x, w = np.full((1, 3, 2), top, dtype), np.full((3, 1, 2), 2, dtype)
    y = tconv.conv_transpose(x, w, np.array([5], dtype), method=method)
    assert y.dtype == np.int64
    assert y.ravel().tolist() == [6 * top + 5, 12 * top + 5, 6 * top + 5]
    np.testing.assert_array_equal(
        tconv.conv_transpose(x, w, np.array([5]), method=method), y
    )  # a bias of int64 is whole, too


@pytest.mark.parametrize("where", ["x", "weight", "bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@given(case=cases(ndims=(1, 2)), pick=st.integers(0, 10**6))
def test_nan_and_inf_spread_as_in_the_definition(where, value, dtype, case, pick):
    arrays = {
        "x": case.x.astype(dtype),
        "weight": case.w.astype(dtype),
        "bias": None if case.bias is None else case.bias.astype(dtype),
    }
    if arrays[where] is None:
        arrays[where] = np.zeros(case.w.shape[1] * case.geometry.groups, dtype)
    arrays[where].flat[pick % arrays[where].size] = value
    with np.errstate(invalid="ignore"):
        expected = tconv.definition.gather(*arrays.values(), geometry=case.geometry)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(tconv.conv_transpose(*arrays.values(), geometry=case.geometry), expected)


def test_non_finite_weights_take_the_path_without_padding():
    x, w = np.ones((1, 1, 3, 3)), np.array([[[[np.inf, 1.0], [1.0, 1.0]]]])
    plan = tconv.plan(x, w, stride=3)
    assert plan.method == "taps"
    assert plan.reasons["polyphase"] == (
        "the weight contains inf or NaN, which this method would multiply with padded zeros",
    )
    y = tconv.conv_transpose(x, w, stride=3)
    assert np.isinf(y).sum() == 9
    assert not np.isnan(y).any()


def test_strides_larger_than_the_kernel_leave_bias_between():
    y = tconv.conv_transpose(np.ones((1, 1, 2)), np.full((1, 1, 1), 3.0), np.array([0.5]), stride=3)
    assert y.ravel().tolist() == [3.5, 0.5, 0.5, 3.5]


def test_a_negative_crop_extends_with_bias():
    y = tconv.conv_transpose(np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.array([2.0]), crop=((-2, -1),))
    assert y.ravel().tolist() == [2, 2, 3, 2]


def test_empty_batches_and_channels():
    assert tconv.conv_transpose(np.ones((0, 2, 3)), np.ones((2, 4, 3))).shape == (0, 4, 5)
    assert tconv.conv(np.ones((0, 4, 5)), np.ones((2, 4, 3))).shape == (0, 2, 3)
    bias = np.array([1.0, 2.0])
    for method, k, s in itertools.product(ANY_DTYPE, (1, 3), (1, 3)):
        y = tconv.conv_transpose(np.ones((1, 0, 3)), np.ones((0, 2, k)), bias, method=method, stride=s)
        np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None], (1, 2, 2 * s + k)))


def test_one_image_without_a_batch_axis():
    rng = np.random.default_rng(0)
    x, w = rng.random((2, 5, 4)), rng.random((2, 3, 3, 3))
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, stride=2), tconv.conv_transpose(x[None], w, stride=2)[0])
    np.testing.assert_array_equal(tconv.conv(x, rng.random((3, 2, 2, 2))).shape, (3, 4, 3))


@pytest.mark.parametrize("method", ["simd", *ANY_DTYPE])
def test_any_strides_in_and_out(method):
    """Reversed, transposed, broadcast, sliced, read-only, byte-swapped: the same numbers; outputs of any strides filled."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 10, (2, 4, 5, 6)).astype("f4"), rng.integers(-9, 10, (4, 3, 3, 2)).astype("f4")
    expected = tconv.conv_transpose(x, w, stride=2, groups=2, method=method)
    big = np.zeros((4, 8, 10, 12), "f4")
    big[::2, ::2, ::2, ::2] = x
    locked = x.copy()
    locked.flags.writeable = False
    variants = [np.asfortranarray(x), x[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1], big[::2, ::2, ::2, ::2]]
    variants += [x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), locked, x.astype(">f4")]
    for variant in variants:
        np.testing.assert_array_equal(tconv.conv_transpose(variant, w, stride=2, groups=2, method=method), expected)
        np.testing.assert_array_equal(
            tconv.conv_transpose(x, w.astype(">f4"), stride=2, groups=2, method=method), expected
        )
    same = np.broadcast_to(x[:1], x.shape)
    y = tconv.conv_transpose(same, w, stride=2, groups=2, method=method)
    np.testing.assert_array_equal(y[1], y[0])
    for order in itertools.permutations(range(4)):
        out = np.full([expected.shape[axis] for axis in order], np.nan, "f4").transpose(np.argsort(order))
        assert tconv.conv_transpose(x, w, stride=2, groups=2, method=method, out=out) is out
        np.testing.assert_array_equal(out, expected)
    backwards = np.full(expected.shape, np.nan, "f4")[:, ::-1, :, ::-1]
    tconv.conv_transpose(x, w, stride=2, groups=2, method=method, out=backwards)
    np.testing.assert_array_equal(backwards, expected)


def test_channels_last_in_and_out():
    rng = np.random.default_rng(0)
    x, w = rng.random((2, 5, 4, 3)), rng.random((3, 3, 2, 3))
    y = tconv.conv_transpose(x, w, dialect="tensorflow", output_shape=[2, 10, 8, 2], strides=2, padding="SAME")
    assert y.shape == (2, 10, 8, 2)
    assert y.flags.c_contiguous
    first = tconv.conv_transpose(
        x.transpose(0, 3, 1, 2),
        w,
        dialect="tensorflow",
        output_shape=[2, 2, 10, 8],
        strides=2,
        padding="SAME",
        data_format="NCHW",
    )
    np.testing.assert_array_equal(y, first.transpose(0, 2, 3, 1))


def test_matrices_and_memmaps_and_lists(tmp_path):
    x, w = np.arange(12.0).reshape(1, 1, 3, 4), np.ones((1, 1, 2, 2))
    expected = tconv.conv_transpose(x, w)
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(tconv.conv_transpose(np.load(tmp_path / "x.npy", mmap_mode="r"), w), expected)
    np.testing.assert_array_equal(tconv.conv_transpose(x.tolist(), w.tolist()), expected)


@given(cases(ndims=(2,)), st.integers(2, 5))
def test_results_do_not_depend_on_neighbours_in_the_batch(case, copies):
    x, w = case.x[:1].astype("f4") / 7, case.w.astype("f4") / 3
    alone = tconv.conv_transpose(x, w, geometry=case.geometry)
    together = tconv.conv_transpose(np.repeat(x, copies, axis=0), w, geometry=case.geometry)
    np.testing.assert_allclose(together, np.repeat(alone, copies, axis=0), rtol=1e-6, atol=1e-5)


def test_the_error_of_float32_is_that_of_its_own_rounding():
    rng = np.random.default_rng(0)
    g = Geometry(kernel=(4, 4), stride=2, crop=1)
    x, w = rng.standard_normal((1, 256, 12, 12)), rng.standard_normal((256, 32, 4, 4))
    x32, w32 = x.astype("f4"), w.astype("f4")
    truth = tconv.conv_transpose(x32.astype("f8"), w32.astype("f8"), geometry=g)
    error = tconv.conv_transpose(x32, w32, geometry=g) - truth
    terms = 256 * 4
    assert np.sqrt((error**2).mean()) < 0.5 * np.finfo("f4").eps * np.sqrt(terms) * truth.std()
