"""Tests of float16 and bfloat16: conversions are exact or rounded once, and all special numbers as in the definition."""

import platform

import numpy as np
import pytest

import tconv
from dtypes import bits, dtype_of, same_bits

pytest.importorskip("llvmlite")

HALVES = ("float16", "bfloat16")
X86 = platform.machine() in ("x86_64", "AMD64")

CONVERSIONS = """
import ctypes, sys, numpy as np
from dtypes import dtype_of
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.elements import Elements
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.vector_ir import Function

def compiled(name, stored, body):
    '''Return a function of two arrays, whose machine code body(f, source, target, place) writes for each vector.'''
    def write():
        f = Function(name, 3, Elements(stored, "float32"))
        source, to, count = f.arguments
        with f.loop(0, count, f.lanes) as place:
            body(f, source, to, place)
        return f.finish()
    code = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(OBJECT_CACHE.address(name, write))
    return lambda a, b: code(a.ctypes.data, b.ctypes.data, a.size)

def numbers(f, source, to, place):
    for lane in range(f.lanes):
        f.store(f.load_stored_number(source, place + lane), to, place + lane)

def first_lanes(f, source, to, place):
    for lane in range(f.lanes):
        f.store_stored_number(f.splat(f.load(source, place + lane)), to, place + lane)

def masked_store(f, source, to, place):
    f.store_stored(f.load(source, place, f.vector), to, place, f.mask(0, 1 + place % f.lanes + f.lanes))

half, one = np.float32(0.5), np.float32(1)
for stored in ("float16", "bfloat16"):
    dtype = dtype_of(stored)
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    wide = every.astype(np.float32)
    for name, body in (
        ("widen", lambda f, a, b, i: f.store(f.load_stored(a, i), b, i)),
        ("widen_masked", lambda f, a, b, i: f.store(f.load_stored(a, i, f.mask(0, f.lanes)), b, i)),
        ("widen_numbers", numbers),
    ):
        got = np.zeros(1 << 16, np.float32)
        compiled(f"test_{name}_{stored}", stored, body)(every, got)
        known = ~np.isnan(wide)
        np.testing.assert_array_equal(got[known].view(np.uint32), wide[known].view(np.uint32), err_msg=name)
        assert np.isnan(got[~known]).all()
    # each number, the middle to the next, the float32 beside both, and random bits
    finite = wide[np.isfinite(wide)]
    last = np.float32(np.float64(65520) if stored == "float16" else 2.0**128 - 2.0**119)
    sorted_ = np.sort(finite)
    middles = ((sorted_[1:].astype("f8") + sorted_[:-1]) / 2).astype(np.float32)
    marks = np.concatenate([finite, middles, [last, -last, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, 0.0, -0.0]])
    marks = marks.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        marks = np.concatenate([marks, np.nextafter(marks, np.float32(np.inf)), np.nextafter(marks, np.float32(-np.inf))])
        random = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, np.uint32).view(np.float32)
        marks = np.concatenate([marks, random])
        marks = np.concatenate([marks, np.zeros(-marks.size % 16, np.float32)])
        expected = marks.astype(dtype)
    known = ~np.isnan(marks)
    for name, body in (
        ("narrow", lambda f, a, b, i: f.store_stored(f.load(a, i, f.vector), b, i)),
        ("narrow_streamed", lambda f, a, b, i: f.stream_stored(f.load(a, i, f.vector), b, i)),
        ("narrow_masked", lambda f, a, b, i: f.store_stored(f.load(a, i, f.vector), b, i, f.mask(0, f.lanes))),
        ("narrow_numbers", first_lanes),
    ):
        memory = np.zeros(marks.size + 64, np.uint16)
        got = memory[-(memory.ctypes.data // 2) % 32 :][: marks.size].view(dtype)
        compiled(f"test_{name}_{stored}", stored, body)(marks, got)
        np.testing.assert_array_equal(got[known].view(np.uint16), expected[known].view(np.uint16), err_msg=name)
        assert np.isnan(got[~known].astype(np.float32)).all()
print(target().converts_float16)
"""


@pytest.mark.parametrize("cpu", ["host", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_every_number_is_converted_as_numpy_converts_it(cpu, python):
    from llvmlite import binding

    if cpu != "host" and not X86:
        pytest.skip("name of an x86 chip")
    if cpu == "x86-64-v4" and not binding.get_host_cpu_features().get("avx512f"):
        pytest.skip("this machine has no AVX-512")
    converts = python(CONVERSIONS, TCONV_CPU=cpu).strip()
    assert cpu == "host" or converts == str(cpu != "x86-64-v2")


@pytest.mark.parametrize("dtype", HALVES)
def test_every_number_passes_through(dtype):
    """A kernel of one tap 1: the output is x, with denormals, infinities, the sign of zero, and NaN as NaN."""
    x = np.arange(1 << 16, dtype=np.uint16).view(dtype_of(dtype)).reshape(1, 16, 64, 64)
    w = np.ones((16, 1, 1, 1), x.dtype)
    for method in ("simd", "auto"):
        y = tconv.conv_transpose(x, w, groups=16, method=method)
        with np.errstate(invalid="ignore"):  # of signalling NaN
            known = ~np.isnan(x)
            same_bits(y[known & (x != 0)], x[known & (x != 0)])
            assert np.isnan(y[~known]).all()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("stride", [1, 2, 3, 16, 17])
def test_special_numbers_spread_as_in_the_definition(stride, dtype):
    """Infinities, NaN, sums that overflow or become denormal."""
    rng, kind = np.random.default_rng(stride), dtype_of(dtype)
    x = rng.standard_normal((2, 5, 6, 37)).astype(kind)
    w = rng.standard_normal((5, 7, 3, 4)).astype(kind)
    largest, smallest = (3e38, 1e-40) if dtype == "bfloat16" else (6e4, 1e-7)
    x[0, :, 2, 5], x[0, 3, 4, 9:12] = kind.type(np.inf), kind.type(np.nan)
    x[1, :, :, :9] = kind.type(largest)
    x[1, :, :, 20:] *= kind.type(smallest)
    arguments = {"stride": stride, "padding": 1}
    with np.errstate(all="ignore"):
        got = tconv.conv_transpose(x, w, method="simd", **arguments)
        wide = tconv.conv_transpose(x.astype(np.float32), w.astype(np.float32), method="simd", **arguments)
        expected = wide.astype(kind)
        exact = tconv.definition.scatter(x.astype(np.float64), w.astype(np.float64), **arguments)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(bits(got)[known], bits(expected)[known])
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    infinite = np.abs(exact) > (1.01 * 65504 if dtype == "float16" else 3.5e38)
    np.testing.assert_array_equal(np.isinf(got)[infinite], True)
    assert (got[1] != 0).any()
    assert (np.abs(got[known].astype(np.float32)) < np.finfo(np.float16).tiny).any()


@pytest.mark.parametrize("dtype", HALVES)
def test_sums_that_float16_could_not_hold_do_not_overflow_on_the_way(dtype):
    """PyTorch's float16 adds in float16 in places (pytorch#146508); here 64 x 60000 - 64 x 60000 is 0."""
    x = np.full((1, 128, 3, 3), 60000, dtype_of(dtype))
    w = np.ones((128, 2, 2, 2), x.dtype)
    w[64:] = -1
    assert (tconv.conv_transpose(x, w, stride=2) == 0).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_bias_and_activation_are_added_before_the_only_rounding(dtype):
    rng = np.random.default_rng(5)
    x, w, bias = (rng.standard_normal(s).astype(dtype_of(dtype)) for s in ((2, 9, 7, 8), (9, 6, 3, 3), (6,)))
    slopes = rng.standard_normal(6)
    layers = [
        tconv.prepare(*(a.astype(kind) for a in (w, bias)), stride=2, activation=("prelu", slopes), method="simd")
        for kind in (x.dtype, np.float32)
    ]
    same_bits(layers[0](x), layers[1](x.astype(np.float32)).astype(x.dtype))


def test_weights_with_the_same_bytes_are_packed_for_their_dtype():
    """The cache of packed weights finds them by their bytes; these mean other numbers in the other dtype."""
    rng = np.random.default_rng(1)
    w, x = rng.integers(0x3800, 0x4000, (4, 3, 2, 2)).astype(np.uint16), np.ones((1, 4, 5, 5), np.float32)
    for dtype in HALVES:
        kind = dtype_of(dtype)
        expected = tconv.conv_transpose(x, w.view(kind).astype(np.float32), stride=2).astype(kind)
        same_bits(tconv.conv_transpose(x.astype(kind), w.view(kind), stride=2), expected)
