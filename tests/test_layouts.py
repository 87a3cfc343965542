"""Tests of layouts: channels last or first, of x and of the output, gives the same bits, and no array is copied."""

import itertools
import tracemalloc

import numpy as np
import pytest

import tconv
from dtypes import same_bits
from tconv.errors import MethodError

pytest.importorskip("llvmlite")

CALLS = {
    # x, weight, arguments
    "one channel": ((2, 1, 9, 21), (1, 1, 4, 4), {"stride": 2, "padding": 1}),
    "two channels": ((2, 2, 9, 21), (2, 2, 4, 4), {"stride": 2, "padding": 1}),
    "three channels": ((3, 3, 16, 16), (3, 3, 4, 4), {"stride": 2, "padding": 1}),
    "three channels of many": ((2, 70, 16, 35), (70, 3, 4, 4), {"stride": 2, "padding": 1}),
    "four channels": ((1, 5, 8, 40), (5, 4, 2, 3), {"stride": (1, 3)}),
    "seven channels": ((1, 17, 9, 33), (17, 7, 3, 3), {"stride": 2}),
    "eight channels": ((1, 8, 9, 33), (8, 8, 3, 3), {"padding": 1}),
    "twelve channels, stride four": ((1, 13, 6, 19), (13, 12, 5, 5), {"stride": 4}),
    "fifteen channels": ((1, 4, 6, 50), (4, 15, 4, 4), {"stride": 2}),
    "a vector of channels": ((1, 16, 6, 18), (16, 16, 4, 4), {"stride": 2}),
    "twenty-one channels, stride eight": ((1, 21, 5, 9), (21, 21, 16, 16), {"stride": 8, "padding": 4}),
    "many channels": ((1, 40, 8, 12), (40, 50, 3, 3), {"stride": 2, "padding": 1}),
    "stride of a vector": ((2, 6, 40), (6, 3, 32), {"stride": 16, "padding": 8}),
    "more phases than are written together": ((1, 9, 70), (9, 5, 40), {"stride": 17, "padding": 3}),
    "many phases of two channels": ((1, 9, 30), (9, 2, 30), {"stride": 10}),
    "groups": ((1, 12, 9, 14), (12, 5, 3, 3), {"stride": 2, "groups": 3}),
    "depthwise": ((1, 18, 9, 14), (18, 1, 4, 4), {"stride": 2, "groups": 18}),
    "a signal": ((2, 5, 333), (5, 2, 4), {"stride": 2, "padding": 1}),
    "a volume": ((1, 6, 4, 5, 17), (6, 3, 4, 4, 4), {"stride": 2, "padding": 1}),
    "a volume, kernel = stride": ((1, 6, 4, 5, 17), (6, 10, 2, 2, 2), {"stride": 2}),
    "one column": ((1, 8, 30, 1), (8, 6, 4, 1), {"stride": (2, 1), "padding": (1, 0)}),
    "one pixel": ((7, 30, 1, 1), (30, 11, 4, 4), {}),
    "lopsided crop": ((1, 4, 9, 30), (4, 6, 5, 5), {"stride": 3, "crop": ((0, 7), (9, 1))}),
    "extended output": ((1, 4, 5, 6), (4, 3, 3, 3), {"stride": 2, "crop": ((-9, -3), (-1, -40))}),
}
OTHERS = itertools.cycle(["float64", "float16", "bfloat16"])


def last(array, gap=0):
    """Return a copy with channels last; with a gap the channels are part of more."""
    n, c, *sizes = array.shape
    wide = np.full((n, *sizes, c + 2 * gap), np.nan, array.dtype)
    copy = np.moveaxis(wide, -1, 1)[:, gap : gap + c]
    copy[...] = array
    return copy


def arrays(name, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    shape, weight, arguments = CALLS[name]
    rng = np.random.default_rng(0)
    sizes = shape, weight, (weight[1] * arguments.get("groups", 1),)
    return *(rng.standard_normal(each).astype(dtype) for each in sizes), arguments


@pytest.mark.parametrize(
    ("name", "dtype"), [pair for name in CALLS for pair in ((name, "float32"), (name, next(OTHERS)))]
)
def test_layouts_do_not_change_the_bits(name, dtype, threads):
    x, w, bias, arguments = arrays(name, dtype)
    for method in ("simd", "winograd"):
        threads(1)
        try:
            expected = tconv.conv_transpose(x, w, bias, method=method, **arguments)
        except MethodError:
            continue  # not a call of this method
        threads(2)
        fresh = np.full(expected.shape, np.nan, x.dtype)
        sources, outs = [x, last(x), last(x, 1)], [fresh, last(fresh), last(fresh, 3)]
        for source, out in itertools.product(sources, outs):
            out[...] = np.nan
            same_bits(tconv.conv_transpose(source, w, bias, method=method, out=out, **arguments), expected)


@pytest.mark.parametrize("name", ["three channels", "eight channels", "twenty-one channels, stride eight", "a signal"])
def test_a_layer_with_an_activation(name):
    x, w, bias, arguments = arrays(name, "float32")
    for activation in ("relu", ("prelu", np.linspace(0.1, 0.9, len(bias))), ("clamp", -1, 2)):
        layer = tconv.prepare(w, bias, activation=activation, **arguments)
        expected = layer(x)
        for source, out in itertools.product((x, last(x)), (np.empty_like(expected), last(expected))):
            out[...] = np.nan
            same_bits(layer(source, out=out), expected)


@pytest.mark.parametrize(
    ("shape", "weight", "arguments"),
    [
        ((1, 2, 600, 601), (2, 3, 4, 4), {"stride": 2, "padding": 1}),
        ((1, 3, 70, 70), (3, 21, 16, 16), {"stride": 8, "padding": 4}),
        ((1, 3, 256, 257), (3, 8, 4, 4), {"stride": 2, "padding": 1}),
        ((1, 3, 200, 201), (3, 48, 4, 4), {"stride": 2, "padding": 1}),
        ((1, 2, 520_000), (2, 5, 4), {"stride": 2, "padding": 1}),
    ],
)
@pytest.mark.parametrize("method", ["simd", "winograd"])
def test_large_outputs(shape, weight, arguments, method):
    """They are written past the caches where vectors begin at their size, so the place of the output matters."""
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(each).astype(np.float32) for each in (shape, weight))
    expected = tconv.conv_transpose(x, w, method=method, **arguments)
    assert expected.nbytes >= 8 << 20
    n, c, *sizes = expected.shape
    memory = np.empty(expected.size + 32, np.float32)
    start = -memory.ctypes.data % 64 // 4
    for first in (start, start + 1, start + 6, start + 8):
        for order in ((n, c, *sizes), (n, *sizes, c)):
            out = memory[first : first + expected.size].reshape(order)
            out[...] = np.nan
            view = out if order[1] == c else np.moveaxis(out, -1, 1)
            same_bits(tconv.conv_transpose(last(x), w, method=method, out=view, **arguments), expected)


@pytest.mark.parametrize("method", ["simd", "winograd"])
@pytest.mark.parametrize("lasts", [*itertools.product((False, True), repeat=2)], ids=str)
def test_no_layout_needs_a_copy(lasts, method):
    rng = np.random.default_rng(2)
    x, w = (rng.standard_normal(each).astype(np.float32) for each in ((4, 24, 64, 64), (24, 12, 4, 4)))
    layer = tconv.prepare(w, method=method, stride=2, padding=1)
    x, out = (last(a) if is_last else a for a, is_last in zip((x, layer(x)), lasts, strict=True))
    layer(x, out=out)  # packs the weight, and allocates what the threads use again
    tracemalloc.start()
    try:
        layer(x, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 4


@pytest.mark.parametrize(
    ("name", "dtype", "method"),
    [
        ("seven channels", "float32", "simd"),
        ("seven channels", "float32", "winograd"),
        ("depthwise", "bfloat16", "simd"),
        ("a vector of channels", "float64", "simd"),
        ("a volume", "float16", "simd"),
    ],
)
def test_reversed_axes(name, dtype, method):
    """Positions and channels, of x and of the output, may lie in descending order."""
    x, w, bias, arguments = arrays(name, dtype)
    expected = tconv.conv_transpose(x, w, bias, method=method, **arguments)
    for axis, of_x, of_out in itertools.product(range(x.ndim), (np.array, last), (np.array, last)):
        source = np.flip(of_x(np.flip(x, axis)), axis)
        out = np.flip(of_out(np.full_like(expected, np.nan)), axis)
        same_bits(tconv.conv_transpose(source, w, bias, method=method, out=out, **arguments), expected)


def test_strides_of_axes_with_one_element_have_no_meaning():
    """One channel is first and last at once, and its stride may be any number."""
    rng = np.random.default_rng(3)
    for shape, weight, arguments in [
        ((2, 1, 8, 30), (1, 1, 4, 4), {"stride": 2}),
        ((2, 6, 8, 1), (6, 1, 4, 1), {"stride": (2, 1)}),
        ((1, 1, 1, 40), (1, 3, 1, 4), {"stride": (1, 2)}),
    ]:
        x, w = (rng.standard_normal(each).astype(np.float32) for each in (shape, weight))
        expected = tconv.conv_transpose(x, w, method="simd", **arguments)

        def disguised(array):
            strides = [12344 if n == 1 else step for n, step in zip(array.shape, array.strides, strict=True)]
            return np.lib.stride_tricks.as_strided(array, array.shape, strides)

        for arrange in (np.ascontiguousarray, last):
            source, out = disguised(arrange(x)), disguised(arrange(np.full(expected.shape, np.nan, np.float32)))
            same_bits(tconv.conv_transpose(source, w, method="simd", out=out, **arguments), expected)
