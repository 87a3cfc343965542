"""Tests of the direct sum with lanes over output channels: the definition, the bits of the other form, memory, chips."""

import re

import numpy as np
import pytest

import tconv
from dtypes import KERNEL_DTYPES, dtype_of
from layouts import channels_last, every_other
from random_calls.sizes import has_output, random_crop, random_sizes
from tconv import Geometry

pytest.importorskip("llvmlite")

from tconv.kernels.activation import Activation
from tconv.kernels.problem import Problem
from tconv.kernels.simd import cpu_target, form_choice
from tconv.kernels.simd.channel_lanes import microkernel
from tconv.kernels.simd.channel_lanes.call_tables import fits
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.elements import FLOAT32
from tconv.kernels.simd.form_choice import CHANNEL_LANES, DIRECT
from tconv.kernels.simd.specialized_call import SpecializedCall
from test_machine_code import CPUS, X86
from test_memory_safety import GUARDED, linux

LAYOUTS = {"first": np.ascontiguousarray, "last": channels_last, "strided": every_other}


def call(form, x, w, bias, geometry, *, last=True, activation=None, out=None):
    """Return the output of a form of the kernel, channels last unless said otherwise."""
    channels = w.shape[1] * geometry.groups
    p = Problem(geometry, x.shape[0], w.shape[0], channels, x.shape[2:], x.dtype, bias is not None)
    if out is None:
        out = np.full((x.shape[0], channels, *p.output_shape), np.nan, x.dtype)
        out = channels_last(out) if last else out
    if form is CHANNEL_LANES:
        assert fits(p, tuple(step // x.dtype.itemsize for step in out.strides))
    assert SpecializedCall(p, x.strides, out.strides, activation=activation, form=form)(x, w, bias, out)
    return out


def drawn(rng, ndim, numbers):
    """Draw a geometry and arrays of such numbers."""
    while True:
        sizes = random_sizes(
            rng,
            ndim,
            n=(1, (70, 14, 6)[ndim - 1]),
            k=(1, 5),
            s=(1, 4),
            dilated=0.3,
            groups=(1, 1, 1, 2, 3),
            in_per_group=(1, 2, 3, 7, 16, 17, 40, 130),
            out_per_group=(1, 2, 5, 8, 15, 16, 24, 33, 70),
            batch=(1, 2, 3),
        )
        if rng.random() < 0.4:
            sizes = sizes._replace(k=sizes.s, d=(1,) * ndim)
        g = sizes.geometry(random_crop(rng, ndim, (-3, 4), 0.7))
        if has_output(g, sizes.n) and sizes.batch * sizes.c_out * np.prod(g.output_shape(sizes.n)) <= 60_000:
            break
    x, w = numbers(sizes.batch, sizes.c_in, *sizes.n), numbers(sizes.c_in, sizes.out_per_group, *sizes.k)
    return g, x, w, numbers(sizes.c_out) if rng.random() < 0.5 else None


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_whole_numbers_equal_the_definition(ndim):
    rng = np.random.default_rng(ndim)
    for turn in range(12):
        g, x, w, bias = drawn(rng, ndim, lambda *shape: rng.integers(-5, 6, shape).astype(np.float32))
        expected = tconv.definition.scatter(x, w, bias, geometry=g)
        layout = list(LAYOUTS.values())[turn % 3]
        np.testing.assert_array_equal(call(CHANNEL_LANES, layout(x), w, bias, g), expected, err_msg=repr((g, x.shape)))


@pytest.mark.parametrize("name", KERNEL_DTYPES)
def test_it_has_the_bits_of_lanes_over_positions(name):
    rng = np.random.default_rng(0)
    relu6 = Activation(np.float32(0), 0, 6)
    kind = dtype_of(name)
    for turn in range(16):
        g, x, w, bias = drawn(rng, 1 + turn % 3, lambda *shape: rng.standard_normal(shape).astype(kind))
        wide = None if bias is None else bias.astype("f8" if name == "float64" else "f4")
        activation = relu6 if turn % 2 else None
        expected = call(DIRECT, x, w, wide, g, last=False, activation=activation)
        layout = list(LAYOUTS.values())[turn // 2 % 3]
        got = call(CHANNEL_LANES, layout(x), w, wide, g, activation=activation)
        assert np.ascontiguousarray(got).tobytes() == expected.tobytes(), (g, x.shape, w.shape)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_threads_do_not_change_the_bits(threads):
    rng = np.random.default_rng(0)
    for shape, weight, geometry in [
        ((2, 130, 9, 11), (130, 70, 4, 4), Geometry((4, 4), 2, ((1, 1), (1, 1)))),
        ((1, 300, 5, 5), (300, 200, 2, 2), Geometry((2, 2), 2)),
        ((40, 64, 3, 3), (64, 32, 3, 3), Geometry((3, 3), 2, ((1, 0), (1, 0)))),
        ((3, 64, 30), (64, 33, 7), Geometry((7,), 3, ((2, 1),), 2, 2)),
    ]:
        x, w = (rng.standard_normal(s).astype("f4") for s in (shape, weight))
        expected = call(DIRECT, x, w, None, geometry, last=False)
        before = tconv.get_num_threads()
        try:
            tconv.set_num_threads(threads)
            got = call(CHANNEL_LANES, channels_last(x), w, None, geometry)
        finally:
            tconv.set_num_threads(before)
        np.testing.assert_array_equal(got, expected)


def test_numbers_that_are_not_finite_are_those_of_the_other_form():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 20, 9, 9)).astype("f4"), rng.standard_normal((20, 24, 4, 4)).astype("f4")
    x[0, 3, 4, 4], x[1, 2, 0, 8], x[1, 5, 3, 3] = np.inf, np.nan, -np.inf
    g = Geometry((4, 4), 2, ((1, 1), (1, 1)))
    np.testing.assert_array_equal(
        call(CHANNEL_LANES, channels_last(x), w, None, g), call(DIRECT, x, w, None, g, last=False)
    )


def test_it_is_chosen_where_channels_fill_the_lanes():
    def form(w, out_layout, **geometry):
        g = Geometry(w[2:], **geometry)
        p = Problem(g, 1, w[0], w[1] * g.groups, (9, 9), np.dtype("f4"))
        out = LAYOUTS[out_layout](np.empty((1, p.out_channels, *p.output_shape), "f4"))
        return form_choice.direct_form(p, (w[0] * 81, 1, w[0] * 9, w[0]), tuple(step // 4 for step in out.strides))

    assert form((8, 64, 4, 4), "last", stride=2) is CHANNEL_LANES
    assert form((8, 64, 4, 4), "first", stride=2) is not CHANNEL_LANES
    assert form((8, 3, 4, 4), "last", stride=2) is not CHANNEL_LANES
    assert form((8, 64, 2, 2), "strided", stride=2) is not CHANNEL_LANES
    # one product of a whole row of taps: half the channels are enough
    assert form((8, target().lanes // 2, 2, 2), "last", stride=2) is CHANNEL_LANES
    # groups are not neighbours in the output
    assert form((8, target().lanes // 2, 2, 2), "last", stride=2, groups=2) is not CHANNEL_LANES
    assert form((8, target().lanes, 2, 2), "last", stride=2, groups=2) is CHANNEL_LANES


def test_an_output_with_gaps_between_positions():
    """Channels are neighbours, positions are not: taps with phases of their own can be written, joined ones cannot."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 8, 5, 6)).astype("f4"), rng.standard_normal((8, 16, 4, 4)).astype("f4")
    g = Geometry((4, 4), 2, ((1, 1), (1, 1)))
    wide = np.full((1, 10, 12, 20), 7, "f4")
    out = np.moveaxis(wide[..., 2:18], -1, 1)
    call(CHANNEL_LANES, channels_last(x), w, None, g, out=out)
    np.testing.assert_array_equal(out, call(DIRECT, x, w, None, g, last=False))
    assert (wide[..., :2] == 7).all()
    assert (wide[..., 18:] == 7).all()
    joined = Problem(Geometry((2, 2), 2), 1, 8, 16, (5, 6), np.dtype("f4"))
    assert not fits(joined, tuple(step // 4 for step in out.strides))


RANDOM = """
import numpy as np, test_channel_lanes as t, tconv
from tconv.kernels.simd.cpu_target import target
rng = np.random.default_rng(1)
for turn in range(6):
    g, x, w, bias = t.drawn(rng, 1 + turn % 3, lambda *shape: rng.integers(-5, 6, shape).astype("f4"))
    layout = list(t.LAYOUTS.values())[turn % 3]
    expected = tconv.definition.scatter(x, w, bias, geometry=g)
    np.testing.assert_array_equal(t.call(t.CHANNEL_LANES, layout(x), w, bias, g), expected)
for name in t.KERNEL_DTYPES:
    for turn in range(1, 3):
        g, x, w, bias = t.drawn(rng, 1 + turn % 3, lambda *shape: rng.standard_normal(shape).astype(t.dtype_of(name)))
        got = t.call(t.CHANNEL_LANES, t.channels_last(x), w, None, g)
        assert np.ascontiguousarray(got).tobytes() == t.call(t.DIRECT, x, w, None, g, last=False).tobytes()
"""


@pytest.mark.skipif(not X86, reason="names of x86 chips")
@pytest.mark.parametrize("cpu", [cpu for cpu in CPUS if cpu not in ("haswell", "x86-64")])
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
import test_channel_lanes as t
tconv.set_num_threads(3)
rng = np.random.default_rng(0)
regions = [Region(1 << 20) for _ in range(2)]
def strides(shape, last):
    order = [0, *range(2, len(shape)), 1] if last else [*range(len(shape))]
    steps, step = [0] * len(shape), 1
    for axis in reversed(order):
        steps[axis], step = step, step * shape[axis]
    return steps
for turn in range(24):
    g, x, w, bias = t.drawn(rng, 1 + turn % 3, lambda *shape: rng.integers(-5, 6, shape).astype("f4"))
    if x.size > 200_000:
        continue
    expected = tconv.definition.scatter(x, w, bias, geometry=g)
    for at_end in (False, True):
        source = regions[0].place(x.shape, strides(x.shape, turn // 3 % 2), at_end)
        source[...] = x
        out = regions[1].place(expected.shape, strides(expected.shape, True), at_end)
        t.call(t.CHANNEL_LANES, source, w, bias, g, out=out)
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
import test_channel_lanes as t
tconv.set_num_threads(3)
rng = np.random.default_rng(0)
region = Region(24 << 20)
for shape, weight, g in [
    ((1, 4, 190, 191), (4, 16, 2, 2), tconv.Geometry((2, 2), 2, ((0, 1), (0, 1)))),
    ((1, 4, 160, 161), (4, 24, 4, 4), tconv.Geometry((4, 4), 2, ((1, 1), (1, 1)))),
    ((1, 4, 160, 161), (4, 32, 3, 3), tconv.Geometry((3, 3), 2, ((1, 0), (1, 0)))),
]:
    x, w = (rng.integers(-5, 6, s).astype("f4") for s in (shape, weight))
    y = tconv.conv_transpose(x, w, method="polyphase", geometry=g)
    assert y.nbytes >= 8 << 20
    n, c, h, width = y.shape
    for at_end in (False, True):
        out = region.place(y.shape, [c * h * width, 1, c * width, c], at_end)
        t.call(t.CHANNEL_LANES, t.channels_last(x), w, None, g, out=out)
        np.testing.assert_array_equal(out, y)
        region.check(out)
"""
    )


def innermost_loop(text):
    """Return the instructions of the loop with most multiplications."""
    loops, label, body = [], None, []
    for line in map(str.strip, text.splitlines()):
        if line.startswith(".LBB"):
            label, body = line.split(":")[0], []
        elif line and not line.startswith((".", "#")):
            body.append(line)
            if line.startswith("j") and line.split()[-1] == label:
                loops.append(body)
    return max(loops, key=lambda lines: sum(bool(re.match(r"v?(fn?m|mul)", line)) for line in lines))


@pytest.mark.skipif(not X86, reason="instructions of x86 chips")
@pytest.mark.parametrize("vectors", [1, 2, 3, 4])
def test_the_loop_has_a_multiplication_per_sum_and_no_spill(vectors):
    if vectors > microkernel.most_vectors() or target().lanes < 8:
        pytest.skip("more vectors than this chip uses")
    from llvmlite import binding

    block = microkernel.Block(microkernel.most_positions(vectors), vectors)
    module = binding.parse_assembly(microkernel._Microkernel("loop", block, False, FLOAT32).build())
    loop = innermost_loop(optimized(module))
    fused = [line for line in loop if "fmadd" in line]
    assert len(fused) == block.positions * vectors
    # positions from memory into all lanes, columns as whole vectors, and nothing else that is a vector
    moved = [line for line in loop if re.search(r"%[xyz]mm", line) and "fmadd" not in line]
    assert len(moved) <= block.positions + vectors
    assert not [line for line in moved if "rsp" in line]


def optimized(module):
    """Return the assembly of a module."""
    from llvmlite import binding

    machine = cpu_target.machine()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module)


@linux
def test_nothing_outside_of_the_threads_memory_is_touched(python):
    """It ends where a page begins that may not be accessed; both forms with lanes over channels."""
    python(
        GUARDED
        + """
import test_channel_lanes, test_winograd_channels
from tconv.kernels.simd import thread_pool
allocated = []
def guarded(size):
    allocated.append(Region(size))
    allocated[-1].numbers[:] = UNTOUCHED
    return np.frombuffer(allocated[-1].memory, np.uint8)[-(-(-size // 64) * 64) :]
thread_pool.aligned = guarded
tconv.set_num_threads(2)
rng = np.random.default_rng(0)
for turn in range(24):
    for t, form in (test_channel_lanes, "CHANNEL_LANES"), (test_winograd_channels, "WINOGRAD_CHANNELS"):
        pool = thread_pool.pool()
        pool._scratch.memory = thread_pool._EMPTY
        pool._helper_scratches[:] = [thread_pool._EMPTY] * len(pool._helper_scratches)
        g, x, w, bias = t.drawn(rng, 1 + turn % 3, lambda *shape: rng.integers(-2, 3, shape).astype("f4"))
        expected = tconv.definition.scatter(x, w, bias, geometry=g)
        for layout in test_channel_lanes.LAYOUTS.values():
            np.testing.assert_array_equal(t.call(getattr(t, form), layout(x), w, bias, g), expected)
assert len(allocated) > 40
"""
    )
