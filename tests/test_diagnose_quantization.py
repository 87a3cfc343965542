"""diagnose on int8 and int16: x, weight and y quantized alone and together, and other causes in quantized outputs.

tests/frameworks/test_diagnose_tflite.py has the outputs of TensorFlow Lite itself.
"""

from __future__ import annotations

import numpy as np
import pytest

import tconv
from random_calls.faults import random_call
from tconv.diagnosis.output_grid import step_of


def asymmetric(a, axes, steps=255):
    low, high = (np.minimum(a.min(axis=axes, keepdims=True), 0), np.maximum(a.max(axis=axes, keepdims=True), 0))
    scale = ((high - low) / steps).astype("f")
    return np.rint(a / scale) * scale


def symmetric(a, axes):
    scale = (np.abs(a).max(axis=axes, keepdims=True) / 127).astype("f")
    return np.rint(a / scale) * scale


def in_steps(a, scale):
    return (np.rint(a / scale) * scale).astype("f")


def per_output(call):
    groups = call.arguments["groups"]
    parts = call.w.reshape(groups, -1, *call.w.shape[1:])
    return symmetric(parts, (1, *range(3, parts.ndim))).reshape(call.w.shape)


def wide_call(rng):
    """Draw a call with enough numbers to tell roundings apart."""
    while True:
        call = random_call(rng)
        if call.y.size >= 600 and call.x.shape[1] // call.arguments["groups"] > 1 and call.w.shape[1] > 1:
            return call


def diagnosed(call, got):
    return tconv.diagnose(got, call.y, x=call.x, weight=call.w, bias=call.bias, **call.arguments)


ALL = lambda a: None  # noqa: E731
EACH = lambda a: tuple(range(1, a.ndim))  # noqa: E731
INPUTS = {
    "one scale and zero point for all of x": lambda x: asymmetric(x, None),
    "one scale and zero point per image": lambda x: asymmetric(x, EACH(x)),
    "one scale per image, no zero point": lambda x: symmetric(x, EACH(x)),
    "one scale for all of x, no zero point": lambda x: symmetric(x, None),
    "one scale and zero point for all of x, 7 bits": lambda x: asymmetric(x, None, 127),
    "which do not follow from its range": lambda x: in_steps(x, np.float32(1.37 * np.ptp(x) / 255)),
}


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("text", INPUTS)
def test_x_and_weight_in_int8(text, output):
    """Without y every number is explained; y's own rounding may move single numbers."""
    rng, certain = np.random.default_rng(1), 0
    for _ in range(6):
        call = wide_call(rng)
        while "image" in text and len(call.x) == 1:
            call = wide_call(rng)
        y = call.other(x=INPUTS[text](call.x).astype("f"), w=per_output(call).astype("f"))
        if output:
            y = in_steps(y, np.float32(np.ptp(y) / 250))
        found = diagnosed(call, y)
        assert found.cause == ("int8 x, weight and y" if output else "int8 x and weight"), str(found)
        assert text.removesuffix(" for all of x" if len(call.x) == 1 else "") in str(found).replace(
            " per image", " for all of x"
        ) or text in str(found), str(found)
        assert "the weight symmetric, one scale per output channel" in str(found)
        certain += found.verdict == "found"
    assert certain >= (4 if output else 5), certain


@pytest.mark.parametrize("bits", [8, 16])
def test_only_the_result(bits):
    rng = np.random.default_rng(2)
    for _ in range(6):
        call = wide_call(rng)
        y = in_steps(call.y, np.float32(np.ptp(call.y) / (2**bits - 6)))
        for found in (diagnosed(call, y), tconv.diagnose(y, call.y)):
            assert (found.cause, found.verdict) == (f"result rounded to int{bits}", "found"), str(found)


def test_the_weight_and_the_result():
    rng = np.random.default_rng(3)
    for _ in range(6):
        call = wide_call(rng)
        y = call.other(w=per_output(call).astype("f"))
        found = diagnosed(call, in_steps(y, np.float32(np.ptp(y) / 250)))
        assert (found.cause, found.verdict) == ("int8 weight and y", "found"), str(found)


OTHER = {
    "kernel flipped": lambda c: c.other(w=np.flip(c.w, tuple(range(2, c.w.ndim)))),
    "bias missing": lambda c: c.other(bias=None),
    "off by one element": lambda c: c.cropped([(lo + 1, hi - 1) for lo, hi in c.geometry.crop]),
    "channels spoiled": lambda c: np.where(np.arange(c.y.shape[1]).reshape(-1, *[1] * (c.y.ndim - 2)) == 1, 0, c.y),
}


@pytest.mark.parametrize("cause", OTHER)
def test_another_cause_in_a_quantized_output(cause):
    """Its own rounding is half a step, which no other cause has to explain."""
    rng = np.random.default_rng(4)
    for _ in range(6):
        call = wide_call(rng)
        y = OTHER[cause](call)
        found = diagnosed(call, in_steps(y, np.float32(np.ptp(y) / 250)))
        first = found.findings[0]
        assert cause in (*first.causes, *first.also), str(found)


def test_noise_is_not_int8():
    """Neither noise of int8's size, nor noise that was itself quantized, is named."""
    rng = np.random.default_rng(5)
    for number in range(18):
        call = wide_call(rng)
        size = (0.003, 0.01, 0.03)[number % 3] * call.y.std()
        y = (call.y + size * rng.standard_normal(call.y.shape)).astype("f")
        if number % 2:
            y = in_steps(y, np.float32(np.ptp(y) / 250))
        found = diagnosed(call, y)
        assert not found.findings or (number % 2 and found.cause == "result rounded to int8"), str(found)


def test_the_step_of_an_output():
    rng = np.random.default_rng(6)
    y = rng.standard_normal((2, 3, 8, 9)).astype("f")
    for steps in (30, 250, 60_000):
        scale = np.float32(np.ptp(y) / steps)
        assert step_of(in_steps(y, scale).astype("f8")) == pytest.approx(scale, rel=1e-4)
        shifted = ((np.rint(y / scale) + 3).astype("f") * scale - np.float32(3) * scale).astype("f8")  # two roundings
        assert step_of(shifted) == pytest.approx(scale, rel=1e-3)
    for other in (y, y.astype("f2"), (y.view("u4") & np.uint32(0xFFFF0000)).view("f"), np.rint(5 * y), 0 * y, y + 1j):
        assert step_of(other.astype("c16" if np.iscomplexobj(other) else "f8")) == 0
    assert step_of(np.full((1, 1, 20), np.nan)) == 0
