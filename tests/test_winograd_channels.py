"""Tests of the filtered form with lanes over output channels: its bits are those of lanes over positions."""

import numpy as np
import pytest

import tconv
from dtypes import KERNEL_DTYPES, dtype_of
from layouts import channels_last, every_other
from random_calls.sizes import has_output, random_crop, random_sizes
from tconv import Geometry, kernels

pytest.importorskip("llvmlite")

from tconv.kernels.activation import Activation
from tconv.kernels.problem import Problem
from tconv.kernels.simd import form_choice
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.form_choice import WINOGRAD_CHANNELS, WINOGRAD_F22
from tconv.kernels.simd.specialized_call import SpecializedCall
from test_machine_code import CPUS, X86
from test_memory_safety import GUARDED, linux


def problem(x, w, bias, geometry):
    return Problem(geometry, x.shape[0], w.shape[0], w.shape[1], x.shape[2:], x.dtype, bias is not None)


def call(form, x, w, bias, geometry, *, activation=None, out=None):
    """Return the output of a form, in the layout that it is made for."""
    p = problem(x, w, bias, geometry)
    if form is WINOGRAD_CHANNELS:
        x = channels_last(x) if x.strides[1] != x.itemsize else x
    if out is None:
        out = np.full((x.shape[0], w.shape[1], *p.output_shape), np.nan, x.dtype)
        out = channels_last(out) if form is WINOGRAD_CHANNELS else out
    assert SpecializedCall(p, x.strides, out.strides, activation=activation, form=form)(x, w, bias, out)
    return out


def drawn(rng, ndim, numbers):
    """Draw a geometry whose phases have one tap or two, and arrays of such numbers."""
    while True:
        sizes = random_sizes(
            rng,
            ndim,
            n=(1, (70, 14, 6)[ndim - 1]),
            k=(1, 5),
            s=(1, 3),
            dilated=0.0,
            groups=(1,),
            in_per_group=(1, 2, 7, 16, 17, 40, 130, 260),
            out_per_group=(1, 5, 16, 24, 33, 70),
            batch=(1, 2, 3),
        )
        sizes = sizes._replace(k=tuple(s + int(rng.integers(1, s + 1)) for s in sizes.s))
        g = sizes.geometry(random_crop(rng, ndim, (-3, 4), 0.7))
        x_shape, w_shape = (sizes.batch, sizes.c_in, *sizes.n), (sizes.c_in, sizes.c_out, *sizes.k)
        if has_output(g, sizes.n) and sizes.batch * sizes.c_out * np.prod(g.output_shape(sizes.n)) <= 40_000:
            x, w = numbers(*x_shape), numbers(*w_shape)
            bias = numbers(sizes.c_out) if rng.random() < 0.5 else None
            if not kernels.kernel("winograd").reasons_against(problem(x, w, bias, g)):
                return g, x, w, bias


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_whole_numbers_equal_the_definition(ndim):
    rng = np.random.default_rng(ndim)
    for _ in range(9):
        g, x, w, bias = drawn(rng, ndim, lambda *shape: rng.integers(-5, 6, shape).astype(np.float32))
        expected = tconv.definition.scatter(x, w, bias, geometry=g)
        np.testing.assert_array_equal(call(WINOGRAD_CHANNELS, x, w, bias, g), expected, err_msg=repr((g, x.shape)))


@pytest.mark.parametrize("name", KERNEL_DTYPES)
def test_it_has_the_bits_of_lanes_over_positions(name):
    rng = np.random.default_rng(0)
    kind, relu6 = dtype_of(name), Activation(np.float32(0), 0, 6)
    for turn in range(9):
        g, x, w, bias = drawn(rng, 1 + turn % 3, lambda *shape: rng.standard_normal(shape).astype(kind))
        wide = None if bias is None else bias.astype("f8" if name == "float64" else "f4")
        activation = relu6 if turn % 2 else None
        expected = call(WINOGRAD_F22, x, w, wide, g, activation=activation)
        got = call(WINOGRAD_CHANNELS, x, w, wide, g, activation=activation)
        assert np.ascontiguousarray(got).tobytes() == expected.tobytes(), (g, x.shape, w.shape)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_tiles_do_not_change_the_bits(threads):
    rng = np.random.default_rng(0)
    before = tconv.get_num_threads()
    for shape, weight, geometry in [
        ((3, 130, 9, 11), (130, 70, 4, 4), Geometry((4, 4), 2, ((1, 1), (1, 1)))),
        ((40, 64, 3, 3), (64, 32, 3, 3), Geometry((3, 3), 2, ((1, 0), (1, 0)))),
        ((1, 300, 200), (300, 200, 16), Geometry((16,), 8, ((4, 4),))),
    ]:
        x, w = (rng.standard_normal(s).astype("f4") for s in (shape, weight))
        expected = call(WINOGRAD_F22, x, w, None, geometry)
        try:
            tconv.set_num_threads(threads)
            np.testing.assert_array_equal(call(WINOGRAD_CHANNELS, x, w, None, geometry), expected)
        finally:
            tconv.set_num_threads(before)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 3e19, 1e19])
@pytest.mark.parametrize("place", [(0, 0), (8, 8), (4, 3), (0, 8)])
def test_numbers_that_it_cannot_compute_with_run_the_direct_sum(number, place):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 20, 9, 9)).astype("f4"), rng.standard_normal((20, 24, 4, 4)).astype("f4")
    x[1, 3, place[0], place[1]] = number
    for crop in ((1, 1), (-2, 3), (3, 0)):
        g = Geometry((4, 4), 2, (crop, crop[::-1]))
        np.testing.assert_array_equal(call(WINOGRAD_CHANNELS, x, w, None, g), call(WINOGRAD_F22, x, w, None, g))


def test_it_is_chosen_for_channels_last_in_and_out():
    g = Geometry((4, 4), 2, ((1, 1), (1, 1)))
    p = Problem(g, 1, 64, 64, (9, 9), np.dtype("f4"))
    few = Problem(g, 1, 64, 3, (9, 9), np.dtype("f4"))

    def chosen(p, x_layout, out_layout):
        x, out = (
            x_layout(np.empty((1, 64, 9, 9), "f4")),
            out_layout(np.empty((1, p.out_channels, *p.output_shape), "f4")),
        )
        strides = (tuple(step // 4 for step in array.strides) for array in (x, out))
        return form_choice.winograd_form(p, *strides)

    assert chosen(p, channels_last, channels_last) is WINOGRAD_CHANNELS
    assert chosen(few, channels_last, channels_last) is WINOGRAD_F22
    assert chosen(p, channels_last, np.array) is WINOGRAD_F22
    assert chosen(p, np.array, channels_last) is WINOGRAD_F22
    assert chosen(p, every_other, every_other) is WINOGRAD_F22


RANDOM = """
import numpy as np, test_winograd_channels as t, tconv
rng = np.random.default_rng(1)
for turn in range(6):
    g, x, w, bias = t.drawn(rng, 1 + turn % 3, lambda *shape: rng.integers(-5, 6, shape).astype("f4"))
    expected = tconv.definition.scatter(x, w, bias, geometry=g)
    np.testing.assert_array_equal(t.call(t.WINOGRAD_CHANNELS, x, w, bias, g), expected)
"""


@pytest.mark.skipif(not X86, reason="names of x86 chips")
@pytest.mark.parametrize("cpu", [cpu for cpu in CPUS if cpu not in ("haswell", "x86-64")])
def test_every_chip(cpu, python):
    if cpu == "x86-64-v4" and target().lanes < 16:
        pytest.skip("this machine has no AVX-512")
    python(RANDOM, TCONV_CPU=cpu)


@linux
@pytest.mark.parametrize("environment", [{}, {"TCONV_CPU": "x86-64-v3"}])
def test_nothing_outside_of_the_arrays_is_touched(environment, python):
    """x and out end where a page begins that may not be accessed, or begin where one ends."""
    if environment and not X86:
        pytest.skip("names of x86 chips")
    python(
        GUARDED
        + """
import test_winograd_channels as t
tconv.set_num_threads(3)
rng = np.random.default_rng(0)
regions = [Region(1 << 20) for _ in range(2)]
def strides(shape):
    steps, step = [0] * len(shape), 1
    for axis in reversed([0, *range(2, len(shape)), 1]):
        steps[axis], step = step, step * shape[axis]
    return steps
for turn in range(18):
    g, x, w, bias = t.drawn(rng, 1 + turn % 3, lambda *shape: rng.integers(-2, 3, shape).astype("f4"))
    if x.size > 200_000:
        continue
    expected = tconv.definition.scatter(x, w, bias, geometry=g)
    for at_end in (False, True):
        source = regions[0].place(x.shape, strides(x.shape), at_end)
        source[...] = x
        out = regions[1].place(expected.shape, strides(expected.shape), at_end)
        t.call(t.WINOGRAD_CHANNELS, source, w, bias, g, out=out)
        np.testing.assert_array_equal(out, expected)
        regions[1].check(out)
""",
        **environment,
    )
