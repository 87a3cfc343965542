"""Tests of the depthwise pass: the definition, the bits of the direct form, memory, threads, chips."""

import numpy as np
import pytest

import tconv
from dtypes import KERNEL_DTYPES, dtype_of
from layouts import channels_last
from random_calls.sizes import has_output, random_crop, random_sizes
from tconv import Geometry

pytest.importorskip("llvmlite")

from tconv.kernels.activation import Activation
from tconv.kernels.problem import Problem
from tconv.kernels.simd import form_choice, specialized_call
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.depthwise import tiling
from tconv.kernels.simd.form_choice import DEPTHWISE_CHANNELS, DEPTHWISE_POSITIONS, DIRECT
from tconv.kernels.simd.specialized_call import SpecializedCall
from test_machine_code import CPUS, X86
from test_memory_safety import GUARDED, linux

FORMS = {False: DEPTHWISE_POSITIONS, True: DEPTHWISE_CHANNELS}

# shape of x, output channels per input channel, geometry
REGIMES = {
    "bilinear": ((2, 33, 9, 40), 1, Geometry((4, 4), 2, ((1, 1), (1, 1)))),
    "k3 s2": ((1, 20, 14, 14), 1, Geometry((3, 3), 2, ((1, 0), (1, 0)))),
    "k2 s2": ((1, 17, 6, 50), 1, Geometry((2, 2), 2)),
    "stride above kernel": ((1, 18, 5, 21), 1, Geometry((2, 1), (3, 4))),
    "stride 8": ((1, 5, 9, 11), 1, Geometry((16, 16), 8, ((4, 4), (4, 4)))),
    "stride 16": ((1, 17, 70), 1, Geometry((32,), 16, ((8, 8),))),
    "ordinary convolution": ((1, 9, 20, 37), 1, Geometry((7, 7), 1, ((3, 3), (3, 3)))),
    "more rows than are unrolled": ((1, 9, 20, 37), 1, Geometry((9, 9), 1, ((4, 4), (4, 4)))),
    "columns far apart": ((1, 9, 12, 60), 1, Geometry((3, 4), 1, ((2, 2), (9, 9)), (2, 7))),
    "dilation": ((2, 9, 12, 25), 1, Geometry((3, 4), (2, 3), ((1, 0), (2, 2)), 2)),
    "volume": ((2, 19, 4, 5, 18), 1, Geometry((4, 4, 4), 2, ((1, 1),) * 3)),
    "volume without stride": ((1, 5, 4, 5, 18), 1, Geometry((3, 3, 3), 1, ((1, 1),) * 3)),
    "four axes": ((1, 5, 3, 2, 4, 9), 1, Geometry((3, 2, 1, 3), (2, 1, 3, 2))),
    "phases without taps on a slow axis": ((1, 5, 3, 2, 4, 9), 1, Geometry((3, 2, 1, 3), (2, 3, 3, 2))),
    "signal": ((2, 37, 100), 1, Geometry((12,), 2)),
    "extended output": ((1, 4, 5, 6), 1, Geometry((3, 3), 2, ((-9, -3), (-1, -40)))),
    "deep crop": ((1, 18, 9, 70), 1, Geometry((5, 5), 3, ((0, 7), (9, 30)))),
    "one row": ((1, 8, 1, 300), 1, Geometry((1, 3), (1, 2))),
    "one column": ((1, 8, 300, 1), 1, Geometry((3, 1), (2, 1))),
    "one position": ((3, 40, 1, 1), 1, Geometry((4, 4), 1)),
    "one channel": ((2, 1, 30, 31), 1, Geometry((4, 4), 2, ((1, 1), (1, 1)))),
    "two outputs": ((2, 21, 7, 18), 2, Geometry((4, 4), 2, ((1, 1), (1, 1)))),
    "three outputs": ((1, 35, 9, 20), 3, Geometry((3, 3), 3)),
    "eight outputs": ((1, 17, 30), 8, Geometry((3,), 2, ((1, 1),))),
}


def numbers(rng, name):
    """Return a function that draws arrays of a dtype."""
    return lambda *shape: rng.standard_normal(shape).astype(dtype_of(name))


def layout(array, last):
    return channels_last(array) if last else np.ascontiguousarray(array)


def problem(x, w, bias, geometry):
    g = Geometry(geometry.kernel, geometry.stride, geometry.crop, geometry.dilation, len(w))
    return Problem(g, x.shape[0], len(w), len(w) * w.shape[1], x.shape[2:], x.dtype, bias is not None)


def chosen(p, x, out):
    """Return the form that is chosen for these arrays."""
    strides = (tuple(step // array.itemsize for step in array.strides) for array in (x, out))
    return form_choice.direct_form(p, *strides)


def call(x, w, bias, geometry, *, last=False, form=None, activation=None, out=None):
    """Return the output of a form; of the depthwise one unless said otherwise, which must be the one that is chosen."""
    p = problem(x, w, bias, geometry)
    if out is None:
        out = layout(np.full((p.batch, p.out_channels, *p.output_shape), np.nan, x.dtype), last)
    if form is None:
        form = chosen(p, x, out)
        assert form in FORMS.values()
    assert SpecializedCall(p, x.strides, out.strides, activation=activation, form=form)(x, w, bias, out)
    return out


def drawn(rng, ndim, numbers):
    """Draw a geometry and arrays of such numbers."""
    while True:
        sizes = random_sizes(
            rng,
            ndim,
            n=(1, (150, 20, 7)[ndim - 1]),
            k=(1, 6),
            s=(1, 4),
            dilated=0.3,
            groups=(2, 3, 7, 16, 17, 40),
            in_per_group=(1,),
            out_per_group=(1, 1, 1, 2, 3),
            batch=(1, 2, 3),
        )
        g = sizes.geometry(random_crop(rng, ndim, (-3, 4), 0.7))
        if has_output(g, sizes.n) and sizes.batch * sizes.c_out * np.prod(g.output_shape(sizes.n)) <= 60_000:
            break
    x, w = numbers(sizes.batch, sizes.c_in, *sizes.n), numbers(sizes.c_in, sizes.out_per_group, *sizes.k)
    return g, x, w, numbers(sizes.c_out) if rng.random() < 0.5 else None


@pytest.fixture
def small_tiles(monkeypatch):
    """Let even small calls have many tiles, on several threads."""
    monkeypatch.setattr(tiling, "_LEAST", 1)
    monkeypatch.setattr(tiling, "_TILE", 700)
    monkeypatch.setattr(tiling, "_SINGLE_THREAD", 0)
    specialized_call.compiled.cache_clear()
    yield
    specialized_call.compiled.cache_clear()


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("regime", REGIMES)
def test_every_regime_equals_the_definition_and_has_the_bits_of_the_direct_form(regime, last):
    shape, multiplier, g = REGIMES[regime]
    if last and regime in ("one channel", "one position"):
        pytest.skip("lanes over channels would be empty, or both layouts are the same")
    if not last and regime == "stride 16" and target().lanes != 16:
        pytest.skip("the phases of a row are not interleaved in registers")
    rng = np.random.default_rng(0)
    weight = (shape[1], multiplier, *g.kernel)
    x, w, bias = (rng.integers(-5, 6, s).astype("f4") for s in (shape, weight, shape[1] * multiplier))
    p = problem(x, w, bias, g)
    expected = tconv.definition.scatter(x, w, bias, geometry=p.geometry)
    np.testing.assert_array_equal(call(layout(x, last), w, bias, g, last=last), expected)
    x, w, bias = (rng.standard_normal(a.shape).astype("f4") for a in (x, w, bias))
    relu6 = Activation(np.float32(0.1), -1, 2)
    for b, activation in ((None, None), (bias, relu6)):
        got = call(layout(x, last), w, b, g, last=last, activation=activation)
        direct = call(x, w, b, g, form=DIRECT, activation=activation)
        assert np.ascontiguousarray(got).tobytes() == direct.tobytes()


def test_random_calls_have_the_bits_of_the_direct_form():
    """Both layouts, and mixed ones, in every dtype."""
    rng = np.random.default_rng(0)
    for turn in range(8):
        name = KERNEL_DTYPES[turn % 4]
        g, x, w, bias = drawn(rng, 1 + turn % 3, numbers(rng, name))
        wide = None if bias is None else bias.astype("f8" if name == "float64" else "f4")
        expected = call(x, w, wide, g, form=DIRECT)
        for last in (False, True):
            got = call(layout(x, last), w, wide, g, last=last)
            assert np.ascontiguousarray(got).tobytes() == expected.tobytes(), (g, x.shape, w.shape, last)
        p = problem(x, w, wide, g)
        for last in (False, True):
            source, out = layout(x, last), layout(np.full(expected.shape, np.nan, x.dtype), not last)
            assert SpecializedCall(p, source.strides, out.strides)(source, w, wide, out)
            assert np.ascontiguousarray(out).tobytes() == expected.tobytes(), (g, x.shape, w.shape, last)


def test_random_whole_numbers_equal_the_definition():
    rng = np.random.default_rng(1)
    for turn in range(9):
        g, x, w, bias = drawn(rng, 1 + turn % 3, lambda *shape: rng.integers(-5, 6, shape).astype(np.float32))
        expected = tconv.definition.scatter(x, w, bias, geometry=g)
        last = bool(turn % 2)
        got = call(layout(x, last), w, bias, g, last=last)
        np.testing.assert_array_equal(got, expected, err_msg=repr((g, x.shape)))


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_tiles_and_threads_do_not_change_the_bits(threads, last, small_tiles):
    rng = np.random.default_rng(0)
    before = tconv.get_num_threads()
    for regime in ("bilinear", "dilation", "volume", "signal", "two outputs", "deep crop"):
        shape, multiplier, g = REGIMES[regime]
        x, w = (rng.standard_normal(s).astype("f4") for s in (shape, (shape[1], multiplier, *g.kernel)))
        expected = call(x, w, None, g, form=DIRECT)
        try:
            tconv.set_num_threads(threads)
            got = call(layout(x, last), w, None, g, last=last)
        finally:
            tconv.set_num_threads(before)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_numbers_that_are_not_finite_are_those_of_the_direct_form(last):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 20, 9, 9)).astype("f4"), rng.standard_normal((20, 1, 4, 4)).astype("f4")
    x[0, 3, 4, 4], x[1, 2, 0, 8], x[1, 5, 3, 3], x[0, 0, 0, 0] = np.inf, np.nan, -np.inf, np.float32(1e-42)
    g = Geometry((4, 4), 2, ((1, 1), (1, 1)))
    got = call(layout(x, last), w, None, g, last=last)
    np.testing.assert_array_equal(got, call(x, w, None, g, form=DIRECT))
    assert np.isnan(got).any()
    w[3, 0, 1, 2] = np.inf
    p, out = problem(x, w, None, g), layout(np.zeros((2, 20, 18, 18), "f4"), last)
    assert not SpecializedCall(p, layout(x, last).strides, out.strides)(layout(x, last), w, None, out)


def test_underflow_beside_a_padded_zero_has_the_sign_of_the_direct_form():
    """A product that underflows to -0.0 becomes 0.0 if a padded zero is added, and stays -0.0 if its term is skipped."""
    x, w = np.full((1, 16, 1, 1), 1e-30, "f4"), np.full((16, 1, 3, 3), -1e-30, "f4")
    w[:, :, 1:] = 1
    bias = np.full(16, -0.0, "f4")
    g = Geometry((3, 3), 1)
    for last in (False, True):
        got = call(layout(x, last), w, bias, g, last=last)
        assert np.ascontiguousarray(got).tobytes() == call(x, w, bias, g, form=DIRECT).tobytes()


def test_an_output_and_an_x_with_gaps():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 20, 5, 6)).astype("f4"), rng.standard_normal((20, 1, 4, 4)).astype("f4")
    g = Geometry((4, 4), 2, ((1, 1), (1, 1)))
    expected = call(x, w, None, g, form=DIRECT)
    for last in (False, True):
        shape, out_shape = (((2, 20, 5, 6), expected.shape), ((2, 5, 6, 20), (2, 10, 12, 20)))[last]
        sources, outs = (np.full([2, s[1] + 2, s[2], s[3] + 4], 7, "f4") for s in (shape, out_shape))
        source, out = (whole[:, 1:-1, :, 2:-2] for whole in (sources, outs))
        if last:
            source, out = np.moveaxis(source, -1, 1), np.moveaxis(out, -1, 1)
        source[...] = x
        call(source, w, None, g, out=out)
        np.testing.assert_array_equal(out, expected)
        out[...] = 7
        assert (outs == 7).all()


def test_it_is_chosen_for_one_input_channel_per_group():
    def form(channels, multiplier, last, **geometry):
        g = Geometry((4, 4), **geometry)
        x, w = np.zeros((1, channels, 6, 6), "f4"), np.zeros((channels, multiplier, 4, 4), "f4")
        p = problem(x, w, None, g)
        return chosen(p, layout(x, last), layout(np.zeros((1, channels * multiplier, *p.output_shape), "f4"), last))

    assert form(8, 1, False, stride=2) is DEPTHWISE_POSITIONS
    assert form(8, 1, True, stride=2) is DEPTHWISE_CHANNELS
    assert form(8, 2, True, stride=2) is DEPTHWISE_CHANNELS
    assert form(8, 9, True, stride=2) is not DEPTHWISE_CHANNELS
    # sums of more than 512 terms have parts
    long = Problem(Geometry((1026,), 2, groups=4), 1, 4, 4, (600,), np.dtype("f4"))
    assert form_choice.direct_form(long, (2400, 600, 1), (8896, 2224, 1)) is DIRECT


RANDOM = """
import numpy as np, test_depthwise as t, tconv
rng = np.random.default_rng(1)
for turn in range(8):
    name = t.KERNEL_DTYPES[turn % 4]
    g, x, w, bias = t.drawn(rng, 1 + turn % 3, t.numbers(rng, name))
    wide = None if bias is None else bias.astype("f8" if name == "float64" else "f4")
    expected = t.call(x, w, wide, g, form=t.DIRECT)
    got = t.call(t.layout(x, turn % 2), w, wide, g, last=turn % 2)
    assert np.ascontiguousarray(got).tobytes() == expected.tobytes()
"""


@pytest.mark.skipif(not X86, reason="names of x86 chips")
@pytest.mark.parametrize("cpu", [cpu for cpu in CPUS if cpu != "haswell"])
def test_every_chip(cpu, python):
    if cpu == "x86-64-v4" and target().lanes < 16:
        pytest.skip("this machine has no AVX-512")
    python(RANDOM, TCONV_CPU=cpu)


@linux
@pytest.mark.parametrize("environment", [{}, {"TCONV_CPU": "x86-64-v3"}, {"TCONV_CPU": "x86-64-v2"}])
def test_nothing_outside_of_the_arrays_is_touched(environment, python):
    """x and out end where a page begins that may not be accessed, or begin where one ends."""
    if environment and not X86:
        pytest.skip("names of x86 chips")
    python(
        GUARDED
        + """
import test_depthwise as t
tconv.set_num_threads(3)
rng = np.random.default_rng(0)
regions = [Region(1 << 20) for _ in range(2)]
def strides(shape, last):
    order = [0, *range(2, len(shape)), 1] if last else [*range(len(shape))]
    steps, step = [0] * len(shape), 1
    for axis in reversed(order):
        steps[axis], step = step, step * shape[axis]
    return steps
calls = []
for shape, multiplier, g in t.REGIMES.values():
    g = tconv.Geometry(g.kernel, g.stride, g.crop, g.dilation, shape[1])
    weight = (shape[1], multiplier, *g.kernel)
    calls.append((g, *(rng.integers(-5, 6, s).astype("f4") for s in (shape, weight)), None))
for g, x, w, bias in calls:
    expected = tconv.definition.scatter(x, w, bias, geometry=g)
    for at_end in (False, True):
        for last in (False, True):
            source = regions[0].place(x.shape, strides(x.shape, last), at_end)
            source[...] = x
            out = regions[1].place(expected.shape, strides(expected.shape, last), at_end)
            tconv.conv_transpose(source, w, bias, geometry=g, out=out, method="simd")
            np.testing.assert_array_equal(out, expected)
            regions[1].check(out)
""",
        **environment,
    )


@linux
def test_large_outputs_past_the_caches(python):
    python(
        GUARDED
        + """
import test_depthwise as t
tconv.set_num_threads(3)
rng = np.random.default_rng(0)
region = Region(24 << 20)
g = tconv.Geometry((4, 4), 2, ((1, 1), (1, 1)))
for shape in [(1, 16, 190, 192), (1, 18, 190, 191), (1, 40, 120, 121)]:
    x, w = (rng.integers(-5, 6, s).astype("f4") for s in (shape, (shape[1], 1, 4, 4)))
    y = tconv.conv_transpose(x, w, method="polyphase", stride=2, padding=1, groups=len(w))
    assert y.nbytes >= 8 << 20
    n, c, h, width = y.shape
    for at_end in (False, True):
        for last in (False, True):
            steps = [c * h * width, 1, c * width, c] if last else [c * h * width, h * width, width, 1]
            out = region.place(y.shape, steps, at_end)
            t.call(t.layout(x, last), w, None, g, out=out)
            np.testing.assert_array_equal(out, y)
            region.check(out)
"""
    )
