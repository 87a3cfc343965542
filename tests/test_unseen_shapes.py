"""Tests of sizes not seen before: the tables of a layer are right for all of them, and caches are bounded."""

from __future__ import annotations

import sys
import threading
from math import prod

import numpy as np
import pytest

import tconv
from random_calls import problems
from tconv import Geometry, TconvError, _memory, kernels
from tconv.kernels.problem import Problem
from tconv.operator import call_cache, call_reading, method_choice

pytest.importorskip("llvmlite")

from tconv.kernels.simd import microkernel
from tconv.kernels.simd.direct import call_tables, schedule, tiling
from tconv.kernels.simd.direct.tiling import ceil
from tconv.kernels.simd.phase_axes import lengths
from tconv.kernels.simd.winograd_f22 import call_tables as winograd_tables

METHODS = ("simd", "winograd")


def whole(rng, *shape):
    return rng.integers(-5, 6, shape).astype(np.float32)


def last(x):
    """Return the same numbers, channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.mark.parametrize("kind", problems.KINDS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_all_sizes_of_a_layer(ndim, kind):
    """Small and large ones in turn, other batches and layouts between them: every form of tile, on the same tables."""
    rng = np.random.default_rng(ndim)
    for _ in range(2):
        p = problems.problem(rng, ndim, kind)
        layer = tconv.prepare(p.w, p.bias, geometry=p.geometry)
        for batch in (1, 3, 2, 1):
            for longest in ((3, 150, 40), (2, 20, 6), (1, 8, 4))[ndim - 1]:
                x = whole(rng, batch, len(p.w), *rng.integers(1, longest + 1, ndim))
                try:
                    y = tconv.definition.scatter(x, p.w, p.bias, geometry=p.geometry)
                except TconvError:
                    with pytest.raises(TconvError):
                        layer(x)
                    continue
                np.testing.assert_array_equal(layer(x), y)
                for method in METHODS:
                    try:
                        got = tconv.conv_transpose(x, p.w, p.bias, geometry=p.geometry, method=method)
                    except tconv.errors.MethodError:
                        assert method == "winograd"
                    else:
                        np.testing.assert_array_equal(got, y)
                        again = tconv.conv_transpose(last(x), p.w, p.bias, geometry=p.geometry, method=method)
                        np.testing.assert_array_equal(again, y)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_sizes_changes_no_bit(method):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((40, 24, 4, 4), dtype=np.float32)
    inputs = [rng.standard_normal((1, 40, *n), dtype=np.float32) for n in ((5, 7), (40, 33), (1, 300), (17, 2))]
    results = []
    for order in (inputs, inputs[::-1]):
        for cached in (call_tables._tables, winograd_tables._tables, schedule.layer_schedule, schedule.tile_schedule):
            cached.cache_clear()
        outputs = [tconv.conv_transpose(x, w, stride=2, padding=1, method=method) for x in order]
        results.append([y.tobytes() for y in (outputs if order is inputs else outputs[::-1])])
    assert results[0] == results[1]


def test_threads_that_meet_a_layer_with_a_size_each():
    rng = np.random.default_rng(1)
    for shape in ((24, 20, 4, 4), (20, 5, 5, 3), (8, 2, 3, 3)):
        w = whole(rng, *shape)
        inputs = [whole(rng, 1, len(w), 3 + size, 5 * size + 1) for size in range(8)]
        truths = [tconv.definition.scatter(x, w, stride=2) for x in inputs]
        for method in METHODS:
            call_tables._tables.cache_clear()
            winograd_tables._tables.cache_clear()
            outputs, start = [None] * 8, threading.Barrier(8)

            def work(number, w=w, inputs=inputs, outputs=outputs, start=start, method=method):
                start.wait()
                outputs[number] = tconv.conv_transpose(inputs[number], w, stride=2, method=method)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for y, truth in zip(outputs, truths, strict=True):
                np.testing.assert_array_equal(y, truth)


# -- the choice of tiles ---------------------------------------------------------------------------------------------


def all_tilings(p):
    """Yield every candidate tiling, one by one."""
    layer, sizes = schedule.layer_schedule(p.layer).sizes, lengths(p)
    lanes = layer.elements.lanes
    long, positions = sizes.slow[-1].positions, sizes.fast.positions
    forms = set()
    for rows in (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 24, 32, 64, 128):
        for crossing in (False, True):
            rows_there = min(rows, p.batch * sizes.rows if crossing else long)
            if rows_there * positions <= max(512, positions) and positions <= 2048:
                forms.add((True, crossing, rows_there, positions))
    for rows in (1, 2, 4, 8, 16):
        for vectors in (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32):
            width = min(vectors * lanes, ceil(positions, lanes) * lanes)
            width = ceil(ceil(positions, ceil(positions, width)), lanes) * lanes
            forms.add((False, False, min(rows, long), width))
    for form in sorted(forms):
        yield tiling.tiling_of(layer, sizes, p.batch, tiling.TilingEstimate(0.0, 0, 0, *form))


def cycles(p, t, splits, threads):
    """Return the estimate by its formula."""
    size = t.elements.summed_size
    layer, sizes = schedule.layer_schedule(p.layer), lengths(p)
    terms, last_rows = layer.terms * p.out_channels, t.run - (t.row_tiles - 1) * t.rows
    many, few = (ceil(rows * t.width, t.lanes) for rows in (t.rows, last_rows))
    vectors = t.runs * ((t.row_tiles - 1) * many + few)
    if not t.whole:
        many, few = t.width // t.lanes, ceil(t.width_total - (t.segments - 1) * t.width, t.lanes)
        vectors = p.batch * sizes.rows * ((t.segments - 1) * many + few)
    fullest = max((layer.blocks.wide * len(call.phases) for call in layer.calls), default=1)
    group = min(microkernel.most_vectors(fullest), many)
    thin = 1.0 if group > 2 else 1.05 if group == 2 else 1.25
    spill = 1.0 + 0.04 * min(4.0, max(0.0, size * t.panel / tiling._PANEL - 1))
    spill += 0.12 * max(0.0, size * t.panel / tiling._LARGE_PANEL - 1)
    weights = t.total * size * terms / (16 if size * terms < 2 * tiling._PANEL else 4)
    writing = t.total * t.rows * 20 * p.out_channels * prod(axis.stride for axis in layer.grid.slow)
    lines = t.total * t.blocks * t.copies * t.slots * p.in_channels
    packing = lines * (15 + 3 * ceil(min(t.pitch, t.width_total + 8), t.lanes))
    alone = vectors * terms * thin * spill + 60 * p.out_channels * vectors / group + weights + writing
    return (alone + packing * splits) * tiling.imbalance(t.total * splits, threads)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_tiles_are_those_with_the_least_cycles(ndim):
    rng = np.random.default_rng(ndim)
    for turn in range(40):
        drawn = problems.problem(rng, ndim, problems.KINDS[turn % len(problems.KINDS)])
        groups, batch = drawn.geometry.groups, int(rng.choice([1, 1, 2, 30]))
        c_in, c_out = (groups * int(rng.choice([1, 3, 16, 70])) for _ in range(2))
        n = tuple(int(size) for size in rng.integers(1, (5000, 90, 20)[ndim - 1], ndim))
        p = Problem(drawn.geometry, batch, c_in, c_out, n, np.dtype((np.float32, np.float64)[turn % 2]))
        if min(s * (m - 1) + e - sum(crop) for s, m, e, crop in zip(*axes(p), strict=True)) < 1:
            continue
        tilings = list(all_tilings(p))
        for threads in (1, 2, 7):
            schedule_of = schedule.tile_schedule(p, threads)
            used = 1 if 2 * p.products < schedule._SINGLE_THREAD else threads
            units = schedule.layer_schedule(p.layer).sizes.units
            most = min(units, tiling._MOST_SPLITS if used > 1 else 1)
            costs = {(splits, t): cycles(p, t, splits, used) for t in tilings for splits in range(1, most + 1)}
            assert costs[schedule_of.splits, schedule_of.tiling] == min(costs.values()), (p, threads)
            assert threads > 1 or schedule.least_cycles(p) <= schedule.cycles(p) == min(costs.values())


def axes(p):
    return p.geometry.stride, p.input_shape, p.geometry.extent, p.geometry.crop


# -- calls that were read with another size --------------------------------------------------------------------------

W = np.ones((6, 4, 3, 3), np.float32)
WRONG = {
    "channels": (np.ones((1, 5, 9, 9), np.float32), W, {}),
    "channels of one image": (np.ones((6, 9, 9), np.float32).swapaxes(0, 1), W, {}),
    "axes": (np.ones((6, 9), np.float32), W, {}),
    "dtype": (np.ones((1, 6, 9, 9)), W, {}),
    "bias": (np.ones((1, 6, 9, 9), np.float32), W, {"bias": np.ones(5, np.float32)}),
    "no rows": (np.ones((1, 6, 0, 9), np.float32), W, {}),
    "all cropped": (np.ones((1, 6, 1, 1), np.float32), W, {"padding": 2}),
    "a stride that is no number": (np.ones((1, 6, 9, 9), np.float32), W, {"stride": True}),
    "another stride that is no number": (np.ones((1, 6, 9, 9), np.float32), W, {"stride": 1.0}),
}


@pytest.mark.parametrize("name", WRONG)
def test_refusals_are_those_of_a_first_call(name):
    x, w, arguments = WRONG[name]
    messages = []
    for known in (False, True):
        call_reading._read_calls.clear()
        call_cache._calls.clear()
        if known:
            for other in ({}, {"padding": 2}, {"stride": 1}):
                tconv.conv_transpose(np.ones((2, 6, 8, 7), np.float32), W, **other)
                tconv.conv_transpose(np.ones((6, 8, 7), np.float32), W, **other)
            assert call_reading._read_calls
        with pytest.raises(TconvError) as refusal:
            tconv.conv_transpose(x, w, **arguments)
        messages.append(f"{type(refusal.value).__name__}: {refusal.value}")
    assert messages[0] == messages[1]


def test_an_empty_batch_of_a_known_layer():
    tconv.conv_transpose(np.ones((2, 6, 8, 7), np.float32), W, stride=2)
    assert tconv.conv_transpose(np.ones((0, 6, 9, 7), np.float32), W, stride=2).shape == (0, 4, 19, 15)
    assert tconv.prepare(W, stride=2)(np.ones((0, 6, 9, 7), np.float32)).shape == (0, 4, 19, 15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_weight_that_is_not_finite_and_a_new_size(value, dtype):
    """The weight is not multiplied with the zeros around x, with the layer in the caches, too."""
    x, w = np.ones((1, 6, 8, 7), dtype), np.ones((6, 4, 4, 4), dtype)
    tconv.conv_transpose(x, w, stride=2, padding=1)
    w[3, 2, 1, 0] = value
    for rows in (5, 9):
        x = np.ones((1, 6, rows, 11), dtype)
        for _ in range(2):
            y = tconv.conv_transpose(x, w, stride=2, padding=1)
            np.testing.assert_array_equal(y, tconv.definition.scatter(x, w, stride=2, padding=1))
            np.testing.assert_array_equal(tconv.prepare(w, stride=2, padding=1)(x), y)
    with pytest.raises(tconv.errors.MethodError, match="inf or NaN"):
        tconv.conv_transpose(np.ones((1, 6, 13, 11), dtype), w, stride=2, padding=1, method="polyphase")


def test_arguments_whose_meaning_depends_on_the_size():
    """TensorFlow's "SAME" with an output_shape: the crop follows from the size of x."""
    w = np.arange(36, dtype=np.float32).reshape(3, 3, 2, 2)
    crops = set()
    for n in (4, 5, 9, 4):
        for size in (2 * n, 2 * n - 1):
            x = np.arange(n * n * 2, dtype=np.float32).reshape(1, n, n, 2)
            arguments = {"output_shape": (size, size), "strides": 2, "padding": "SAME"}
            g = tconv.dialect("tensorflow").geometry(kernel=(3, 3), input=(n, n), **arguments)
            y = tconv.conv_transpose(x, w, dialect="tensorflow", **{**arguments, "output_shape": (1, size, size, 2)})
            truth = tconv.definition.scatter(x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), geometry=g)
            np.testing.assert_array_equal(y, truth.transpose(0, 2, 3, 1))
            crops.add(g.crop)
    assert len(crops) > 1


def test_an_output_shape_that_two_sizes_share():
    """In ONNX one output_shape fits several sizes of x, each with another crop: the arguments alone are no key."""
    w = np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3)
    arguments = {"strides": (2, 2), "output_shape": (9, 9)}
    crops = set()
    for n in (4, 5, 4, 5):
        x = np.arange(2 * n * n, dtype=np.float32).reshape(1, 2, n, n)
        g = tconv.dialect("onnx").geometry(kernel=(3, 3), input=(n, n), **arguments)
        y = tconv.conv_transpose(x, w, dialect="onnx", **arguments)
        np.testing.assert_array_equal(y, tconv.definition.scatter(x, w, geometry=g))
        crops.add(g.crop)
    assert len(crops) == 2


NOT_FINITE = """
import numpy as np, tconv
x, value = np.ones((1, 3, 4, 4), np.float32), float("VALUE")
for stride, kernel in ((70, (3, 3)), (2, (3, 3))):
    w = np.ones((3, 2, *kernel), np.float32)
    for entry in (1, value, 1):
        w[1, 1, 0, -1] = entry
        arguments = {"stride": stride, "crop": ((-2, -3),) * 2}
        truth = tconv.definition.scatter(x, w, **arguments)
        out = np.empty(truth.shape, np.float32)
        for _ in range(2):
            np.testing.assert_array_equal(tconv.conv_transpose(x, w, **arguments), truth)
            np.testing.assert_array_equal(tconv.conv_transpose(x, w, out=out, **arguments), truth)
            np.testing.assert_array_equal(tconv.prepare(w, **arguments)(x), truth)
"""


@pytest.mark.parametrize("simd", ["0", "1"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_weight_that_is_not_finite_where_the_float32_kernel_cannot_run(python, value, simd):
    """Strides with too many phases, and a machine without the kernel: the weight is checked all the same."""
    python(NOT_FINITE.replace("VALUE", value), TCONV_SIMD=simd)


def test_the_memory_of_the_fallback_is_checked(monkeypatch):
    """A weight with NaN needs another method, which may need more memory than the machine has."""
    x, w = np.ones((1, 64, 100, 100), np.float32), np.ones((64, 64, 4, 4), np.float32)
    finite = tconv.plan(x, w, stride=2)
    w[0, 0, 0, 0] = np.nan
    need, other = (p.input_bytes + p.output_bytes + p.scratch_bytes for p in (finite, tconv.plan(x, w, stride=2)))
    assert other > need
    for module in (_memory, method_choice):
        monkeypatch.setattr(module, "physical_memory", lambda: (need + other) // 2)
    method_choice._choose.cache_clear()
    with pytest.raises(tconv.errors.TooLargeError):
        tconv.conv_transpose(x, w, stride=2)
    method_choice._choose.cache_clear()


# -- plans and caches ------------------------------------------------------------------------------------------------


def test_a_plan_has_the_chosen_method():
    rng = np.random.default_rng(3)
    for turn in range(40):
        p = problems.problem(rng, None, problems.KINDS[turn % len(problems.KINDS)])
        batch, c_in, *n = p.x.shape
        problem = Problem(p.geometry, batch, c_in, p.y.shape[1], tuple(n), np.dtype(np.float32))
        for method in ("auto", "simd", "taps"):
            assert method_choice.explain_method(problem, method).method == method_choice.choose_method(problem, method)


def test_the_method_is_the_one_with_the_least_seconds():
    """Whatever short way led to it."""
    rng, chosen = np.random.default_rng(4), []
    for kernel, stride in (
        ((4, 4), 2),
        ((3, 3), 2),
        ((16,), 8),
        ((5, 4), (1, 2)),
        ((4, 4, 4), 2),
        ((7, 7), 2),
        ((2, 2), 2),
    ):
        for _ in range(12):
            longest = {1: 900, 2: 70, 3: 16}[len(kernel)]
            c_in, c_out, batch = (int(rng.choice(sizes)) for sizes in ([16, 64, 250], [3, 24, 128], [1, 1, 6]))
            n = tuple(int(size) for size in rng.integers(2, longest, len(kernel)))
            p = Problem(Geometry(kernel, stride, 1), batch, c_in, c_out, n, np.dtype(np.float32))
            able = [kernels.kernel(name) for name in kernels.names()]
            able = [kernel for kernel in able if not kernel.reasons_against(p)]
            chosen.append(method_choice.choose_method(p, "auto"))
            assert chosen[-1] == min(able, key=lambda kernel: kernel.seconds(p)).name
            assert all(kernel.most_seconds is None or kernel.most_seconds(p) >= kernel.seconds(p) for kernel in able)
    assert min(chosen.count(method) for method in METHODS) > 10


def test_every_cache_is_bounded():
    x, small = np.ones((1, 1, 6), np.float32), np.ones((1, 1, 3), np.float32)
    for number in range(600):  # layers of their own
        tconv.conv_transpose(x, small, crop=((-number, 0),))
        tconv.conv_transpose(x, small, stride=2, crop=((-number, 0),), method="winograd")
    for size in range(1100):
        tconv.plan(np.broadcast_to(np.float32(0), (1, 6, 3 + size, 5)), W, stride=2)
        if size % 4 == 0:
            tconv.conv_transpose(np.ones((1, 6, 1, 1 + size), np.float32), W, stride=2)
    places = [name for name in sys.modules if name.startswith(("tconv.kernels", "tconv.operator"))]
    caches = {
        f"{place}.{name}": function.cache_info()
        for place in places
        for name, function in vars(sys.modules[place]).items()
        if callable(getattr(function, "cache_info", None))
    }
    assert len(caches) > 10
    for name, info in caches.items():
        assert info.currsize <= (info.maxsize or 16) <= 1024, name
    for known in (call_reading._read_calls, call_cache._calls):
        assert len(known) <= 512
