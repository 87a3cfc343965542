"""Tests of bfloat16 with the chip's dot products: exact sums, stated errors, special numbers, the same bits, the switch."""

import json
import sys

import numpy as np
import pytest

import tconv
from random_calls import problems
from tconv.kernels.simd import availability

pytest.importorskip("llvmlite")
ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = np.dtype(ml_dtypes.bfloat16)
TINY = float(np.finfo(np.float32).tiny)


def _reason():
    if availability.reason_unavailable() is not None:
        return availability.reason_unavailable()
    from tconv.kernels.simd import bfloat16_dot

    return bfloat16_dot.reason_unavailable()


REASON = _reason()
dots = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def channels_last(array):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


LAYOUTS = {"first": np.ascontiguousarray, "last": channels_last}
REGIMES = {
    "kernel = stride": ((2, 20, 9, 13), (20, 17, 2, 2), {"stride": 2}),
    "kernel = 2 strides": ((2, 9, 8, 8), (9, 25, 4, 4), {"stride": 2, "padding": 1}),
    "kernel = 2 strides, even": ((2, 64, 8, 8), (64, 48, 4, 4), {"stride": 2, "padding": 1}),
    "kernel no multiple of stride": ((1, 31, 17, 33), (31, 13, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "one output channel": ((1, 56, 21, 70), (56, 1, 9, 9), {"stride": 2, "padding": 4, "output_padding": 1}),
    "inverse Fourier transform": ((1, 41, 70), (41, 1, 256), {"stride": 64}),
    "stride 17": ((1, 9, 70), (9, 7, 40), {"stride": 17, "padding": 3}),
    "vocoder": ((2, 32, 100), (32, 16, 16), {"stride": 8, "padding": 4}),
    "many channels": ((1, 1101, 5, 6), (1101, 40, 2, 2), {"stride": 2}),
    "channels in parts": ((2, 1301, 7), (1301, 9, 3), {"stride": 2, "padding": 1}),
    "volume": ((2, 12, 5, 6, 7), (12, 9, 2, 2, 2), {"stride": 2}),
    "volume with overlap": ((1, 7, 5, 6, 7), (7, 9, 3, 4, 3), {"stride": 2, "padding": (1, 1, 0)}),
    "groups": ((2, 24, 9, 14), (24, 5, 3, 3), {"stride": 2, "groups": 4}),
    "odd groups": ((2, 36, 9, 14), (36, 16, 3, 3), {"stride": 2, "groups": 4}),
    "ordinary convolution": ((1, 33, 30, 41), (33, 20, 3, 3), {"stride": 1, "padding": 1}),
    "two channels": ((1, 2, 30, 41), (2, 20, 3, 3), {"stride": 2}),
    "three channels": ((1, 3, 30, 41), (3, 20, 3, 3), {"stride": 2}),
    "tiny images": ((50, 8, 2, 2), (8, 12, 4, 4), {"stride": 2, "padding": 1}),
    "one pixel": ((7, 31, 1, 1), (31, 11, 4, 4), {}),
    "extended output": ((1, 4, 5, 6), (4, 3, 3, 3), {"stride": 2, "crop": ((-9, -3), (-1, -40))}),
}


def arrays(regime, draw, seed=0):
    """Return x, weight and bias as bfloat16, with the arguments."""
    rng = np.random.default_rng(seed)
    shape, weight, arguments = REGIMES[regime]
    channels = weight[1] * arguments.get("groups", 1)
    return *(draw(rng, s).astype(BF16) for s in (shape, weight, (channels,))), arguments


def whole(rng, shape):
    return rng.integers(-5, 6, shape).astype(np.float32)


def normal(rng, shape):
    return rng.standard_normal(shape, np.float32)


def run(x, w, bias=None, **arguments):
    return tconv.conv_transpose(x, w, bias, method="simd", **arguments)


# -- sums ------------------------------------------------------------------------------------------------------------


@dots
@pytest.mark.parametrize("regime", REGIMES)
def test_sums_of_whole_numbers_are_exact(regime):
    x, w, bias, arguments = arrays(regime, whole)
    assert "bfloat16 dot products" in tconv.plan(x, w, bias, method="simd", **arguments).summary
    expected = tconv.definition.scatter(*(a.astype(np.float64) for a in (x, w, bias)), **arguments).astype(BF16)
    for x_layout in LAYOUTS.values():
        for out_layout in LAYOUTS.values():
            out = out_layout(np.full(expected.shape, np.nan, BF16))
            tconv.conv_transpose(x_layout(x), w, bias, out=out, method="simd", **arguments)
            np.testing.assert_array_equal(out.astype(np.float32), expected.astype(np.float32))


@dots
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("kind", problems.KINDS)
def test_random_problems_of_whole_numbers(kind, ndim):
    rng = np.random.default_rng(ndim)
    for turn in range(2):
        p = problems.problem(rng, ndim, kind)
        bias = None if p.bias is None else p.bias.astype(BF16)
        layout = LAYOUTS["last" if turn % 2 else "first"]
        y = run(layout(p.x.astype(BF16)), p.w.astype(BF16), bias, geometry=p.geometry)
        np.testing.assert_array_equal(y.astype(np.float32), p.y.astype(BF16).astype(np.float32), err_msg=repr(p[3]))


def bound(x, w, bias, y, arguments, denormals=False):
    """Return the stated bound of the error: of the sums in float32, of flushed denormals, and of the last rounding."""
    sizes = tconv.definition.scatter(*(np.abs(a.astype(np.float64)) for a in (x, w, bias)), **arguments)
    counts = tconv.definition.scatter(np.ones(x.shape), np.ones(w.shape), **arguments)
    flushed = TINY * counts * (1 + np.abs(x).astype(np.float64).max() + np.abs(w).astype(np.float64).max())
    return sizes * (counts + 1) * 2.0**-24 + np.abs(y) * 2.0**-8 + flushed


@dots
@pytest.mark.parametrize("regime", REGIMES)
def test_errors_are_within_the_stated_bound(regime):
    x, w, bias, arguments = arrays(regime, normal)
    y = tconv.definition.scatter(*(a.astype(np.float64) for a in (x, w, bias)), **arguments)
    got = run(x, w, bias, **arguments).astype(np.float64)
    assert (np.abs(got - y) <= bound(x, w, bias, y, arguments)).all()


@dots
def test_order_of_the_products():
    """The odd channel of a pair first, then the even one, each rounded to float32."""
    rng = np.random.default_rng(0)
    x, w = (normal(rng, s).astype(BF16) for s in ((1, 65, 200), (65, 8, 1)))
    expected = np.zeros((8, 200), np.float32)
    for channel in (c for pair in range(33) for c in (2 * pair + 1, 2 * pair) if c < 65):
        # a product of two bfloat16 is exact in float32
        expected += x[0, channel].astype(np.float32) * w[channel, :, 0].astype(np.float32)[:, None]
    np.testing.assert_array_equal(run(x, w)[0].view(np.uint16), expected.astype(BF16).view(np.uint16))


# -- the same bits ---------------------------------------------------------------------------------------------------


@dots
@pytest.mark.parametrize("regime", REGIMES)
def test_layouts_and_threads_have_the_same_bits(regime, threads):
    x, w, bias, arguments = arrays(regime, normal)
    threads(1)
    expected = run(x, w, bias, **arguments).view(np.uint16)
    for count, x_layout, out_layout in (
        (2, "first", "first"),
        (2, "last", "first"),
        (1, "first", "last"),
        (3, "last", "last"),
    ):
        threads(count)
        out = LAYOUTS[out_layout](np.zeros(expected.shape, BF16))
        tconv.conv_transpose(LAYOUTS[x_layout](x), w, bias, out=out, method="simd", **arguments)
        np.testing.assert_array_equal(out.view(np.uint16), expected)


@dots
def test_parts_have_the_bits_of_the_whole():
    """One image of a batch, and a crop of the output."""
    x, w, bias, arguments = arrays("vocoder", normal)
    y = run(x, w, bias, **arguments).view(np.uint16)
    np.testing.assert_array_equal(run(x[1:], w, bias, **arguments).view(np.uint16), y[1:])
    cropped = run(x, w, bias, stride=8, crop=((4 + 16, 4 + 5),)).view(np.uint16)
    np.testing.assert_array_equal(cropped, y[..., 16:-5])


# -- special numbers -------------------------------------------------------------------------------------------------


@dots
@pytest.mark.parametrize("channels", [7, 8])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_infinities_and_nan_spread_as_in_the_definition(value, channels):
    rng = np.random.default_rng(0)
    x, w = normal(rng, (2, channels, 9, 20)), normal(rng, (channels, 5, 3, 3))
    x[0, channels - 1, 4, 7] = x[1, 0, 0, 0] = value
    x, w = x.astype(BF16), w.astype(BF16)
    expected = tconv.definition.scatter(x.astype(np.float64), w.astype(np.float64), stride=2)
    for layout in LAYOUTS.values():
        y = run(layout(x), w, stride=2).astype(np.float64)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_array_equal(np.isposinf(y), np.isposinf(expected))
        np.testing.assert_array_equal(np.isneginf(y), np.isneginf(expected))


@dots
def test_a_weight_that_is_not_finite_takes_another_path():
    rng = np.random.default_rng(0)
    x, w = normal(rng, (1, 8, 9, 9)).astype(BF16), normal(rng, (8, 5, 3, 3)).astype(BF16)
    w[3, 2, 1, 1] = np.inf
    expected = tconv.definition.scatter(x.astype(np.float64), w.astype(np.float64), stride=2)
    y = tconv.conv_transpose(x, w, stride=2).astype(np.float64)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))


@dots
def test_denormal_numbers_count_as_zero():
    """Those of x and of the weight, and sums below 2**-126; the bound of the error has a term for them."""
    x, w = np.zeros((1, 2, 40), BF16), np.zeros((2, 3, 1), BF16)
    w[:] = 2.0
    x[0, 0] = 2.0**-127  # denormal: 2 x 2**-127 would be 2**-126
    assert not run(x, w).astype(np.float32).any()
    x[0, 0], w[:] = 2.0, 2.0**-127
    assert not run(x, w).astype(np.float32).any()
    x[0, 0], w[:] = 2.0**-64, 2.0**-64
    assert not run(x, w).astype(np.float32).any()
    x[0, 0], w[:] = 2.0**-63, 2.0**-63
    np.testing.assert_array_equal(run(x, w).astype(np.float32), np.float32(2.0**-126))


@dots
def test_errors_of_tiny_numbers_are_within_the_bound():
    rng = np.random.default_rng(0)
    x, w = (normal(rng, (1, 24, 9, 9)) * 2.0**-70).astype(BF16), (normal(rng, (24, 6, 4, 4)) * 2.0**-56).astype(BF16)
    arguments, bias = {"stride": 2}, np.zeros(6, BF16)
    y = tconv.definition.scatter(x.astype(np.float64), w.astype(np.float64), **arguments)
    got = run(x, w, **arguments).astype(np.float64)
    assert (np.abs(got - y) <= bound(x, w, bias, y, arguments)).all()


@dots
def test_a_float32_weight_is_rounded():
    """As folding leaves it: to the nearest, ties to even, and never to an infinity."""
    from tconv.kernels.simd.bfloat16_dot import paired_weight

    rng = np.random.default_rng(0)
    w = np.concatenate([normal(rng, (6, 5)), np.float32([[1 + 2.0**-8, 1 + 3 * 2.0**-8, 2.0**-130, -0.0, 3.4e38]])])
    halves = paired_weight(w, 1).view(np.uint16).reshape(4, 5, 2)
    expected = w.astype(BF16)
    expected[6, 4] = ml_dtypes.finfo(BF16).max
    np.testing.assert_array_equal(halves[..., 0], expected[::2].view(np.uint16))
    np.testing.assert_array_equal(halves[:3, :, 1], expected[1::2].view(np.uint16))
    assert not halves[3, :, 1].any()


# -- memory ----------------------------------------------------------------------------------------------------------

GUARDED = """
import ctypes, numpy as np, ml_dtypes, tconv
from random_calls import problems
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE, BF16, UNTOUCHED = 4096, np.dtype(ml_dtypes.bfloat16), 0x7FA5  # NaN

class Region:
    def __init__(self, size):
        start = libc.mmap(None, size + 2 * PAGE, 3, 0x22, -1, 0)
        for guard in (start, start + PAGE + size):
            assert libc.mprotect(guard, PAGE, 0) == 0
        self.memory = (ctypes.c_char * size).from_address(start + PAGE)
        self.numbers = np.frombuffer(self.memory, np.uint16)

    def place(self, shape, layout, at_end):
        order, strides, step = [*range(len(shape))], [0] * len(shape), 1
        if layout == "last" and len(shape) > 1:
            order = [0, *range(2, len(shape)), 1]
        elif layout == "strided":
            step = 3
        for axis in reversed(order):
            strides[axis], step = step, step * shape[axis]
        high = sum((n - 1) * s for n, s in zip(shape, strides))
        self.numbers[:] = UNTOUCHED
        first = self.numbers.size - 1 - high if at_end else 0
        return np.ndarray(shape, BF16, self.memory, 2 * first, [2 * s for s in strides])

    def check(self, array):
        assert not (array.view(np.uint16) == UNTOUCHED).any()
        array.view(np.uint16)[...] = UNTOUCHED
        assert (self.numbers == UNTOUCHED).all()

tconv.set_num_threads(2)
rng, regions = np.random.default_rng(0), [Region(1 << 20) for _ in range(4)]
for turn, layout in enumerate(("first", "last", "strided")):
    for ndim in (1, 2, 3):
        for kind in problems.KINDS:
            p = problems.problem(rng, ndim, kind)
            placed = []
            for region, array in zip(regions, (p.x, p.w, p.bias)):
                placed.append(None)
                if array is not None:
                    placed[-1] = region.place(array.shape, layout, (turn + ndim) % 2)
                    placed[-1][...] = array
            x, w, bias = placed
            for out_layout in ("first", "last", "strided") if ndim == 2 else (layout,):
                out = regions[3].place(p.y.shape, out_layout, (turn + ndim) % 2)
                tconv.conv_transpose(x, w, bias, geometry=p.geometry, method="simd", out=out)
                np.testing.assert_array_equal(out.astype("f4"), p.y.astype(BF16).astype("f4"))
                regions[3].check(out)
"""


@dots
@pytest.mark.skipif(sys.platform != "linux", reason="mprotect of Linux")
def test_nothing_outside_of_the_arrays_is_touched(python):
    """Each array ends where a page begins that may not be accessed, or begins where one ends."""
    python(GUARDED)


# -- the rule and the switch -----------------------------------------------------------------------------------------


@dots
def test_the_plan_says_when_they_run():
    x, w = np.ones((1, 8, 9), BF16), np.ones((8, 4, 3), BF16)
    assert "bfloat16 dot products" in tconv.plan(x, w, method="simd").summary
    assert "dot products" not in tconv.plan(x.astype("f4"), w.astype("f4"), method="simd").summary
    depthwise = tconv.plan(x, w[:, :1], groups=8, method="simd")
    assert "dot products" not in depthwise.summary


@dots
def test_winograd_is_not_chosen_where_they_run():
    """It computes with float32, and its 9 products take longer than 16 that are added in pairs."""
    w = np.ones((512, 256, 4, 4), BF16)
    for size, batch in ((8, 16), (32, 1), (64, 4)):
        x = np.broadcast_to(np.ones((), BF16), (batch, 512, size, size))
        plan = tconv.plan(x, w, stride=2, padding=1)
        assert plan.method == "simd"
        assert "estimated time" in plan.reasons["winograd"][0]


@dots
def test_without_them_bfloat16_has_the_bits_of_widened_sums(python):
    """And the form of the panel, the packed weight and the code are others."""
    output = python(
        """
import json, numpy as np, ml_dtypes, tconv
rng, bf16 = np.random.default_rng(0), ml_dtypes.bfloat16
bits = []
for shape, weight, more in (
    ((2, 33, 9, 13), (33, 17, 4, 4), {"stride": 2, "padding": 1}),
    ((1, 700, 30), (700, 9, 3), {"stride": 2}),
    ((1, 8, 30), (8, 1, 3), {"groups": 8}),
):
    x, w = (rng.standard_normal(s).astype(bf16) for s in (shape, weight))
    plan = tconv.plan(x, w, method="simd", **more)
    assert "dot products" not in plan.summary, plan
    y = tconv.conv_transpose(x, w, method="simd", **more)
    wide = tconv.conv_transpose(x.astype("f4"), w.astype("f4"), method="simd", **more).astype(bf16)
    assert (y.view("u2") == wide.view("u2")).all()
""",
        TCONV_BF16_DOT="0",
    )
    assert output == ""


@dots
def test_the_assembly_has_the_instruction_and_no_spills():
    """A dot product per row and vector in the loop, and none of its registers goes to memory."""
    from tconv.kernels.simd import cpu_target, microkernel, object_cache
    from tconv.kernels.simd.elements import Elements

    rows, vectors = microkernel.Rows(6, 1, ((0,),)), microkernel.most_vectors(6)
    text = microkernel._write("dots", rows, vectors, Elements("bfloat16", "float32", True).sums)
    machine = cpu_target.machine()
    assembly = machine.emit_assembly(object_cache.optimized(text, machine)).splitlines()
    dots = [number for number, line in enumerate(assembly) if "vdpbf16ps" in line]
    assert len(dots) == 6 * vectors
    loop = assembly[dots[0] : dots[-1]]
    assert not [line for line in loop if "(%rsp)" in line and "zmm" in line]


@dots
def test_a_switch_is_on_or_off(python):
    text = """
import numpy as np, ml_dtypes, tconv
x, w = np.ones((1, 2, 9), ml_dtypes.bfloat16), np.ones((2, 2, 3), ml_dtypes.bfloat16)
for call in (tconv.conv_transpose, tconv.plan):
    try:
        call(x, w)
    except tconv.errors.ArgumentError as error:
        message = str(error)
    else:
        raise AssertionError(call)
tconv.conv_transpose(x.astype("f4"), w.astype("f4"))  # which does not ask
print(message)
"""
    message = "TCONV_BF16_DOT is 'maybe'; 1, or 0 to compute bfloat16 without dot products, is needed. "
    assert python(text, TCONV_BF16_DOT="maybe") == f"{message}Write TCONV_BF16_DOT=1\n"


def test_env_shows_it(python):
    pytest.importorskip("cyclopts")
    env = "from tconv.cli import main; main(['env', *{0!r}])"
    if availability.reason_unavailable() is not None:
        pytest.skip(availability.reason_unavailable())
    line = "bfloat16   dot products" if REASON is None else f"bfloat16   without dot products: {REASON}"
    assert f"\n{line}\n" in python(env.format([]))
    off = "TCONV_BF16_DOT is off in the environment"
    assert f"\nbfloat16   without dot products: {off}\n" in python(env.format([]), TCONV_BF16_DOT="off")
    facts = json.loads(python(env.format(["--json"]), TCONV_BF16_DOT="off"))
    assert facts["simd"]["bfloat16_dot"] == off
    assert facts["simd"]["reason"] is None
    assert "TCONV_BF16_DOT is 'x'; 1, or 0" in python(env.format([]), TCONV_BF16_DOT="x")


@pytest.mark.skipif(sys.platform != "linux", reason="names of x86 chips")
def test_a_chip_without_the_instruction_has_none(python):
    if REASON is not None:
        pytest.skip(REASON)
    text = """
import numpy as np, ml_dtypes, tconv
x, w = np.ones((1, 8, 9), ml_dtypes.bfloat16), np.ones((8, 4, 3), ml_dtypes.bfloat16)
plan = tconv.plan(x, w)
assert plan.method == "simd" and "dot products" not in plan.summary, plan
"""
    python(text, TCONV_CPU="x86-64-v3")
