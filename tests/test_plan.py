"""Tests of the plan: its text, its numbers, and that planning computes nothing."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given

import tconv
from random_calls.strategies import cases
from tconv import kernels
from tconv._memory import si


def test_the_text():
    x, w = np.ones((1, 64, 28, 28), "f4"), np.ones((64, 32, 2, 2), "f4")
    plan = tconv.plan(x, w, stride=2, method="polyphase")
    assert str(plan).splitlines() == [
        "x [1, 64, 28, 28] -> y [1, 32, 56, 56], float32",
        "geometry  kernel (2, 2), stride (2, 2), crop ((0, 0), (0, 0)), dilation (1, 1), groups 1",
        "method    polyphase: 4 phases, 1 matrix product per block (NumPy and BLAS)",
        '          not simd: method="polyphase" was requested',
        "          not winograd: one of the last two axes has to have stride < kernel <= 2 stride, stride <= 16 and no dilation",
        '          not taps: method="polyphase" was requested',
        "work      12.8 MFLOP (6.42 MMAC reach the output, 6.42 MMAC without a border)",
        f"bytes     233 kB read, 401 kB written, {si(plan.scratch_bytes, 'B')} scratch",
        "limit     arithmetic: 20.2 FLOP per byte, arithmetic from about 10",
    ]
    assert plan.bound == "arithmetic"
    assert tconv.plan(x, w[:, :1], stride=2).bound == "memory"


@pytest.mark.parametrize(
    ("groups", "kernel", "method", "first", "last"),
    [
        (1, 2, "simd", "lanes (", "lanes over output channels ("),
        (1, 4, "winograd", "lanes (", "lanes over output channels ("),
        (64, 4, "simd", "lanes over positions (", "lanes over channels ("),
    ],
)
def test_the_layout_and_the_form_of_it(groups, kernel, method, first, last):
    x, w = np.ones((1, 64, 28, 28), "f4"), np.ones((64, 64 // groups, kernel, kernel), "f4")
    plan = tconv.plan(x, w, stride=2, groups=groups, method=method)
    assert plan.layout == ""
    assert first in plan.summary
    x, w, arguments = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), {"method": method}
    if groups == 1:
        arguments |= {"dialect": "keras", "strides": 2}
    else:
        arguments |= {"dialect": "mlx", "stride": 2, "groups": groups}
        w = w.transpose(3, 0, 1, 2).reshape(64, kernel, kernel, 1)
    for array in (np.ascontiguousarray(x), np.broadcast_to(np.float32(0), x.shape)):
        plan = tconv.plan(array, w, **arguments)
        assert plan.layout == "channels last"
        assert last in plan.summary
        assert str(plan).startswith("x [1, 64, 28, 28] -> y [1, 64, ")
        assert ", float32, channels last\n" in str(plan)
    plan = tconv.plan(np.ascontiguousarray(x).transpose(0, 3, 1, 2), np.ones((64, 64, 2, 2), "f4"), stride=2)
    assert plan.layout == "x channels last"


@given(cases())
def test_the_numbers(case):
    plan = tconv.plan(case.x, case.w, case.bias, geometry=case.geometry)
    y = tconv.conv_transpose(case.x, case.w, case.bias, geometry=case.geometry)
    macs = case.geometry.macs(case.x.shape[2:], case.x.shape[1], y.shape[1], len(y))
    assert plan.flops == 2 * macs.exact
    assert plan.output_bytes == y.nbytes
    assert plan.input_bytes == case.x.nbytes + case.w.nbytes + (0 if case.bias is None else case.bias.nbytes)


@pytest.mark.parametrize("method", ["polyphase", "taps"])
@pytest.mark.parametrize("spec", [{"stride": 2, "padding": 1}, {"stride": 3, "dilation": 2}, {"stride": 4}])
def test_scratch_bytes_are_those_in_use(method, spec):
    x, w = np.ones((2, 32, 64, 64), "f4"), np.ones((32, 16, 4, 4), "f4")
    plan = tconv.plan(x, w, method=method, **spec)
    out = np.empty(tconv.conv_transpose(x, w, **spec).shape, "f4")
    tracemalloc.start()
    tconv.conv_transpose(x, w, method=method, out=out, **spec)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.4 * plan.scratch_bytes <= peak <= 1.25 * plan.scratch_bytes + 100_000


def test_planning_allocates_nothing():
    x = np.broadcast_to(np.float32(0), (1, 64, 4096, 4096))
    tracemalloc.start()
    plan = tconv.plan(x, np.ones((64, 1, 2, 2), "f4"), stride=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert plan.output_bytes == 4 * 8192**2


def test_a_requested_method():
    x, w = np.ones((1, 1, 4), complex), np.ones((1, 1, 3), complex)
    plan = tconv.plan(x, w, method="taps")
    assert plan.method == "taps"
    assert plan.reasons == {
        "simd": ("it computes float32, float64, float16 and bfloat16, and this is complex128",),
        "winograd": (
            "it computes float32, float64, float16 and bfloat16, and this is complex128",
            "one of the last two axes has to have stride < kernel <= 2 stride, stride <= 16 and no dilation",
        ),
        "polyphase": ('method="taps" was requested',),
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12345678, "12.3 MB"), (999_999, "1 MB"), (10**15, "1 PB")],
)
def test_si(value, text):
    assert si(value, "B") == text


def test_an_estimate_is_named_for_what_it_is():
    """Of machine code the estimates are times; of the methods of NumPy, what they do beside the multiply-adds."""
    x, w = np.broadcast_to(np.float32(0), (1, 64, 40, 64)), np.ones((64, 64, 4, 4), np.float32)
    plan = tconv.plan(x, w, stride=2, padding=1)
    assert plan.method == "winograd"
    seconds = {name: kernels.kernel(name).seconds(plan.problem) for name in kernels.names()}
    assert plan.reasons == {
        "simd": (f"estimated time {seconds['simd'] / seconds['winograd']:.1f} times that of winograd",),
        **{
            name: (
                f"estimated overhead, beside the multiply-adds, {seconds[name] / seconds['simd']:.1f} times that of simd",
            )
            for name in ("polyphase", "taps")
        },
    }
    wide = tconv.plan(x.astype("c8"), w.astype("c8"), stride=2, padding=1)
    other, chosen = (kernels.kernel(name).seconds(wide.problem) for name in ("taps", "polyphase"))
    assert wide.method == "polyphase"
    assert wide.reasons["taps"] == (
        f"estimated overhead, beside the multiply-adds, {other / chosen:.1f} times that of polyphase",
    )
