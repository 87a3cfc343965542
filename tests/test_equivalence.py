"""All forms of the definition and all methods give equal results, element for element."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tconv
from dtypes import KERNEL_DTYPES, dtype_of, rounded
from random_calls.strategies import cases, geometries
from tconv import TconvError, kernels

FORMS = ["gather", "zero_insertion", "matrix"]


@given(cases(ndims=(1, 2, 3)))
def test_the_forms_agree(case):
    for form in FORMS:
        np.testing.assert_array_equal(
            getattr(tconv.definition, form)(case.x, case.w, case.bias, geometry=case.geometry), case.y, err_msg=form
        )


ANY_DTYPE = [name for name in kernels.names() if name not in ("simd", "winograd")]


@pytest.mark.parametrize(
    ("method", "dtypes"),
    [*((name, ["int8", "int64", "complex64", *KERNEL_DTYPES]) for name in ANY_DTYPE), ("simd", KERNEL_DTYPES)],
)
@given(case=cases(ndims=(1, 2, 3), largest=6), data=st.data())
@settings(max_examples=300)
def test_methods_equal_the_definition(method, dtypes, case, data):
    name = data.draw(st.sampled_from(dtypes))
    dtype = dtype_of(name)
    expected = case.y if name == "int8" else rounded(case.y, dtype)
    arrays = [None if a is None else a.astype(dtype) for a in (case.x, case.w, case.bias)]
    got = tconv.conv_transpose(*arrays, geometry=case.geometry, method=method)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    poisoned = np.full(expected.shape, np.iinfo(np.int64).min if dtype.kind == "i" else np.nan, expected.dtype)
    assert tconv.conv_transpose(*arrays, geometry=case.geometry, method=method, out=poisoned) is poisoned
    np.testing.assert_array_equal(poisoned, expected)


@given(cases(ndims=(4, 5), largest=2))
@settings(max_examples=30)
def test_four_and_more_axes(case):
    np.testing.assert_array_equal(tconv.conv_transpose(case.x, case.w, case.bias, geometry=case.geometry), case.y)


@given(cases())
def test_the_convolution(case):
    np.testing.assert_array_equal(
        tconv.conv(case.y, case.w, geometry=case.geometry),
        tconv.definition.conv(case.y, case.w, geometry=case.geometry),
    )


@given(geometries(), st.integers(0, 2**32 - 1), st.data())
def test_the_convolution_of_any_size(g, seed, data):
    """Also sizes that no transposed convolution gives: elements after the last window are ignored."""
    L = data.draw(st.tuples(*[st.integers(1, 9)] * g.ndim))
    try:
        g.conv_shape(L)
    except TconvError:
        assume(False)
    rng = np.random.default_rng(seed)
    y, w = rng.integers(-9, 10, (2, 2 * g.groups, *L)), rng.integers(-9, 10, (g.groups, 2, *g.kernel))
    np.testing.assert_array_equal(tconv.conv(y, w, geometry=g), tconv.definition.conv(y, w, geometry=g))


@given(cases(), st.integers(-3, 3), st.integers(-3, 3))
def test_linearity(case, a, b):
    x2 = np.roll(case.x, 1, axis=-1)
    run = lambda x: tconv.conv_transpose(x, case.w, geometry=case.geometry)  # noqa: E731
    np.testing.assert_array_equal(run(a * case.x + b * x2), a * run(case.x) + b * run(x2))


@given(cases())
def test_a_batch_is_its_images(case):
    y = tconv.conv_transpose(case.x, case.w, case.bias, geometry=case.geometry)
    for image, result in zip(case.x, y, strict=True):
        np.testing.assert_array_equal(tconv.conv_transpose(image, case.w, case.bias, geometry=case.geometry), result)


def test_results_of_many_blocks():
    """Problems so large that rows, channels, groups and images are divided into blocks."""
    rng = np.random.default_rng(0)
    for shape, weight, spec in [
        ((2, 8, 300, 200), (8, 3, 4, 4), {"stride": 2, "padding": 1}),
        ((1, 4, 200_000), (4, 2, 9), {"stride": 3, "padding": 2}),
        ((3, 6, 20, 30, 10), (6, 40, 3, 2, 3), {"stride": (2, 3, 2), "groups": 2}),
        ((1, 2, 3, 5), (2, 700, 3, 3), {"stride": 16}),
        ((40, 3, 8, 8), (3, 5, 5, 5), {"stride": 2, "dilation": 2, "crop": ((3, 5), (7, 1))}),
    ]:
        x, w = rng.integers(-9, 10, shape).astype("f4"), rng.integers(-9, 10, weight).astype("f4")
        bias = rng.integers(-9, 10, weight[1] * spec.get("groups", 1)).astype("f4")
        np.testing.assert_array_equal(
            tconv.conv_transpose(x, w, bias, **spec), tconv.conv_transpose(x, w, bias, method="taps", **spec)
        )
