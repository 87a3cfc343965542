"""Tests of the machine code: every regime equals the definition, rounding is near a matrix product's, large sizes."""

import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tconv
from dtypes import KERNEL_DTYPES, dtype_of, rounded, same_bits
from layouts import channels_last
from random_calls.strategies import geometries
from tconv import Geometry, TconvError
from tconv.kernels.simd import specialized_call
from tconv.kernels.simd.specialized_call import SpecializedCall

# regimes of the kernel: shape of x, shape of the weight, arguments
REGIMES = {
    "kernel = stride": ((2, 20, 9, 13), (20, 17, 2, 2), {"stride": 2}),
    "kernel = 2 strides": ((2, 9, 8, 8), (9, 25, 4, 4), {"stride": 2, "padding": 1}),
    "kernel no multiple of stride": ((1, 30, 17, 33), (30, 13, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "stride above kernel": ((1, 5, 9, 11), (5, 8, 2, 3), {"stride": (4, 5)}),
    "one output channel": ((1, 56, 21, 70), (56, 1, 9, 9), {"stride": 2, "padding": 4, "output_padding": 1}),
    "one output channel, stride 4": ((1, 20, 21, 70), (20, 1, 9, 9), {"stride": 4, "padding": 4, "output_padding": 3}),
    "two output channels": ((3, 7, 20, 35), (7, 2, 5, 4), {"stride": (3, 2), "padding": (1, 0)}),
    "three output channels": ((3, 64, 16, 16), (64, 3, 4, 4), {"stride": 2, "padding": 1}),
    "four output channels": ((1, 6, 20, 40), (6, 4, 2, 2), {"stride": 2}),
    "inverse Fourier transform": ((1, 40, 70), (40, 1, 256), {"stride": 64}),
    "stride 16": ((1, 9, 70), (9, 3, 32), {"stride": 16, "padding": 8}),
    "stride 17": ((1, 9, 70), (9, 7, 40), {"stride": 17, "padding": 3}),
    "vocoder": ((2, 32, 100), (32, 16, 16), {"stride": 8, "padding": 4}),
    "many channels": ((1, 1100, 5, 6), (1100, 40, 2, 2), {"stride": 2}),
    "channels in parts": ((2, 300, 7), (300, 9, 3), {"stride": 2, "padding": 1}),
    "slow shifts in parts": ((1, 50, 12, 12), (50, 7, 7, 5), {"stride": 1, "padding": 2}),
    "volume": ((2, 12, 5, 6, 7), (12, 9, 2, 2, 2), {"stride": 2}),
    "volume with overlap": ((1, 6, 5, 6, 7), (6, 9, 3, 4, 3), {"stride": 2, "padding": (1, 1, 0)}),
    "groups": ((2, 24, 9, 14), (24, 5, 3, 3), {"stride": 2, "groups": 4}),
    "narrow groups": ((2, 48, 9, 14), (48, 3, 4, 4), {"stride": 2, "padding": 1, "groups": 12}),
    "odd groups": ((1, 21, 9, 14), (21, 5, 3, 3), {"stride": 2, "groups": 7}),
    "depthwise": ((2, 24, 19, 40), (24, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 24}),
    "depthwise times 3": ((1, 8, 9, 20), (8, 3, 3, 3), {"stride": 3, "groups": 8}),
    "ordinary convolution": ((1, 33, 30, 41), (33, 20, 3, 3), {"stride": 1, "padding": 1}),
    "large ordinary kernel": ((1, 3, 30, 41), (3, 5, 11, 11), {"stride": 1, "padding": 5}),
    "one by one": ((2, 33, 6, 7), (33, 20, 1, 1), {}),
    "dilation": ((1, 9, 12, 25), (9, 8, 3, 4), {"stride": 2, "dilation": (3, 2)}),
    "dilation with few channels": ((1, 9, 12, 25), (9, 1, 3, 4), {"stride": 3, "dilation": (2, 4)}),
    "lopsided crop": ((1, 4, 9, 30), (4, 6, 5, 5), {"stride": 3, "crop": ((0, 7), (9, 1))}),
    "extended output": ((1, 4, 5, 6), (4, 3, 3, 3), {"stride": 2, "crop": ((-9, -3), (-1, -40))}),
    "tiny images": ((50, 8, 2, 2), (8, 12, 4, 4), {"stride": 2, "padding": 1}),
    "one pixel": ((7, 30, 1, 1), (30, 11, 4, 4), {}),
    "one row": ((1, 8, 1, 300), (8, 6, 1, 3), {"stride": (1, 2)}),
    "one column": ((1, 8, 300, 1), (8, 6, 3, 1), {"stride": (2, 1)}),
    "four axes": ((1, 3, 3, 4, 3, 5), (3, 4, 2, 3, 1, 2), {"stride": (2, 1, 2, 2)}),
}


def arrays(shape, weight, arguments, seed=0, whole=True, dtype="float32"):
    rng = np.random.default_rng(seed)
    draw = (lambda *s: rng.integers(-5, 6, s)) if whole else lambda *s: rng.standard_normal(s)
    bias = draw(weight[1] * arguments.get("groups", 1))
    return tuple(np.asarray(a, dtype_of(dtype)) for a in (draw(*shape), draw(*weight), bias))


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("regime", REGIMES)
def test_every_regime_equals_the_definition(regime, dtype):
    x, w, bias = arrays(*REGIMES[regime], dtype=dtype)
    arguments = REGIMES[regime][2]
    expected = tconv.definition.scatter(x.astype(np.int64), w.astype(np.int64), bias.astype(np.int64), **arguments)
    for offset in (None, bias):
        out = np.full(expected.shape, np.nan, x.dtype)
        tconv.conv_transpose(x, w, offset, out=out, method="simd", **arguments)
        plain = expected - (bias.astype(np.int64).reshape(-1, *[1] * (x.ndim - 2)) if offset is None else 0)
        np.testing.assert_array_equal(out, rounded(plain, dtype))


def spaced(array):
    """Return an array whose fastest axis is not contiguous."""
    return np.repeat(array, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("regime", REGIMES)
def test_layouts_have_the_same_bits(regime, dtype):
    """Channels last or any strides, in, out, or both: the order of the sums is the same.

    2-byte floats have those of float32, rounded once, but for dot products of bfloat16.
    """
    x, w, bias = arrays(*REGIMES[regime], whole=False, dtype=dtype)
    arguments = REGIMES[regime][2]
    dots = "dot products" in tconv.plan(x, w, method="simd", **arguments).summary
    if x.dtype.itemsize == 2 and not dots:
        wide = (array.astype(np.float32) for array in (x, w, bias))
        expected = tconv.conv_transpose(*wide, method="simd", **arguments).astype(x.dtype)
    else:
        expected = tconv.conv_transpose(x, w, bias, method="simd", **arguments)
    for source in (x, channels_last(x), spaced(x)):
        for arrange in (np.asarray, channels_last, spaced):
            out = arrange(np.full(expected.shape, np.nan, x.dtype))
            same_bits(tconv.conv_transpose(source, w, bias, method="simd", out=out, **arguments), expected)


@given(geometries(largest=5), st.integers(0, 2**32 - 1), st.sampled_from(KERNEL_DTYPES), st.data())
@settings(max_examples=200)
def test_random_geometries_with_more_channels(g, seed, dtype, data):
    n = data.draw(st.tuples(*[st.integers(1, 12)] * g.ndim))
    c_in, c_out = g.groups * data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    try:
        g.output_shape(n)
    except TconvError:
        assume(False)
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-9, 10, (2, c_in, *n)), rng.integers(-9, 10, (c_in, c_out, *g.kernel))
    got = tconv.conv_transpose(*(a.astype(dtype_of(dtype)) for a in (x, w)), geometry=g, method="simd")
    np.testing.assert_array_equal(got, rounded(tconv.conv_transpose(x, w, geometry=g), dtype))


@pytest.mark.parametrize(
    ("shape", "weight", "arguments"),
    [
        ((1, 4096, 6, 6), (4096, 8, 2, 2), {"stride": 2}),
        ((1, 512, 8, 8), (512, 16, 4, 4), {"stride": 2, "padding": 1}),
        ((1, 56, 30, 30), (56, 1, 9, 9), {"stride": 2, "padding": 4}),
        ((1, 1026, 40), (1026, 1, 256), {"stride": 64}),
        ((1, 64, 20, 20), (64, 32, 3, 3), {"stride": 1, "padding": 1}),
        ((1, 16, 600), (16, 4, 1000), {"stride": 1}),
        ((1, 64, 600), (64, 2, 512), {"stride": 4}),
        ((1, 16, 5, 300), (16, 2, 3, 300), {"stride": 1}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_stays_near_that_of_matrix_products(dtype, shape, weight, arguments):
    """Root mean square error; the NumPy method adds through BLAS, which sums in blocks."""
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 63:
        pytest.skip("there is no wider dtype")
    x, w, _ = arrays(shape, weight, arguments, whole=False, dtype=dtype)
    wide = np.longdouble if dtype == "float64" else np.float64
    true = tconv.definition.scatter(x.astype(wide), w.astype(wide), **arguments)
    error = {
        method: np.sqrt(np.mean((tconv.conv_transpose(x, w, method=method, **arguments) - true) ** 2))
        for method in ("simd", "polyphase")
    }
    assert error["simd"] <= (2.5 if dtype == "float64" else 2) * error["polyphase"]


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
def test_a_crop_does_not_change_the_bits(dtype):
    """The order of the sums does not depend on where the output begins."""
    x, w, bias = arrays((1, 50, 12, 40), (50, 7, 7, 5), {}, whole=False, dtype=dtype)
    whole = tconv.conv_transpose(x, w, bias, stride=2, method="simd")
    for (top, bottom), (left, right) in [((1, 0), (2, 3)), ((3, 4), (0, 1)), ((2, 2), (5, 0))]:
        part = tconv.conv_transpose(x, w, bias, stride=2, method="simd", crop=((top, bottom), (left, right)))
        same_bits(part, whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right])


def test_a_weight_written_while_it_is_packed_is_not_cached_under_its_old_numbers(monkeypatch):
    x, w, _ = arrays((1, 5, 6, 6), (5, 4, 3, 3), {}, seed=11, whole=False)
    before = w.copy()
    expected = tconv.conv_transpose(x, before, method="taps")
    pack = SpecializedCall._pack

    def disturbed(self, own):
        w[...] = 7
        return pack(self, own)

    monkeypatch.setattr(SpecializedCall, "_pack", disturbed)
    tconv.conv_transpose(x, w, method="simd")
    monkeypatch.undo()
    np.testing.assert_allclose(tconv.conv_transpose(x, before, method="simd"), expected, atol=1e-4)
    np.testing.assert_allclose(tconv.prepare(before)(x), expected, atol=1e-4)


def test_a_weight_that_becomes_infinite_after_it_was_checked(monkeypatch):
    x, w, _ = arrays((1, 5, 6, 6), (5, 4, 3, 3), {}, seed=12)
    fingerprint = specialized_call.fingerprint

    def late(array):
        array[0, 0, 0, 0] = np.inf
        return fingerprint(array)

    monkeypatch.setattr(specialized_call, "fingerprint", late)
    got = tconv.conv_transpose(x, w)
    monkeypatch.undo()
    np.testing.assert_array_equal(got, tconv.conv_transpose(x, w, method="taps"))


def test_the_plan_follows_the_number_of_threads():
    x, w, _ = arrays((1, 64, 64, 64), (64, 32, 4, 4), {})
    before = tconv.get_num_threads()
    try:
        for count in (1, 2, 1000):
            tconv.set_num_threads(count)
            plan = tconv.plan(x, w, stride=2)
            assert plan.scratch_bytes < 100e6
            assert re.search(r"(\d+) thread", plan.summary)[1] == str(min(count, 2)) or count == 1000
    finally:
        tconv.set_num_threads(before)


def test_reasons_against_it():
    x, w = np.ones((1, 2, 5, 5)), np.ones((2, 3, 2, 2))
    reasons = {
        "it computes float32, float64, float16 and bfloat16, and this is complex128": tconv.plan(x + 0j, w + 0j),
        "65536 phases are more than the 4096 in its tables": tconv.plan(x.astype("f4"), w.astype("f4"), stride=256),
        "160000 steps (taps x channels/16) are more than the 131072 in its tables": tconv.plan(
            np.ones((1, 2, 5, 5), "f4"), np.ones((2, 1, 400, 400), "f4")
        ),
        "the weight contains inf or NaN, which this method would multiply with padded zeros": tconv.plan(
            x.astype("f4"), np.full(w.shape, np.inf, "f4")
        ),
        "there is nothing to add up": tconv.plan(x[:0].astype("f4"), w.astype("f4")),
    }
    for reason, plan in reasons.items():
        assert plan.reasons["simd"] == (reason,)
        assert plan.method != "simd"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_more_than_two_to_the_31_elements():
    """Offsets are 64 bits: the last outputs of a signal of 2**31 + 2**20 of them."""
    n = 2**30 + 2**19
    x = np.zeros((1, 1, n), np.float32)
    x[..., -3:] = 1, 2, 3
    x[..., :2] = 5, 7
    w = np.float32([[[10, 100]]])
    y = tconv.conv_transpose(x, w, stride=2, method="simd")
    assert y.shape == (1, 1, 2 * n)
    assert y[0, 0, -6:].tolist() == [10, 100, 20, 200, 30, 300]
    assert y[0, 0, :5].tolist() == [50, 500, 70, 700, 0]
    assert not y[0, 0, 4:-6].any()
    del y
    tconv.trim_pool()
    # and an input of that many, with an output far smaller
    part = tconv.conv_transpose(x, w, stride=2, crop=((2 * n - 8, 0),), method="simd")
    assert part[0, 0].tolist() == [0, 0, 10, 100, 20, 200, 30, 300]


def test_a_geometry_object_and_its_arguments_are_one_call():
    x, w, bias = arrays((1, 6, 9, 9), (6, 5, 4, 4), {}, whole=False)
    g = Geometry((4, 4), 2, 1)
    for _ in range(2):
        np.testing.assert_array_equal(
            tconv.conv_transpose(x, w, bias, geometry=g), tconv.conv_transpose(x, w, bias, stride=2, padding=1)
        )
