"""diagnose on small differences: a rounding is named if it makes this difference, and noise is no rounding."""

from __future__ import annotations

import numpy as np
import pytest

import tconv
from random_calls.faults import random_call, rounded


def summed(call, round_, *, taps_first=True):
    """The definition's scatter with every product and every sum rounded by `round_`."""
    g, x, w, b = call.geometry, round_(call.x), round_(call.w), round_(call.bias)
    n, per, inner = x.shape[2:], w.shape[1], len(w) // g.groups
    full = np.zeros((len(x), per * g.groups, *g.full_shape(n)), np.float32)
    places = [(c, tap) for tap in np.ndindex(*g.kernel) for c in range(len(w))]
    for c, tap in places if taps_first else sorted(places):
        first = [d * t for d, t in zip(g.dilation, tap, strict=True)]
        at = [slice(f, f + s * (size - 1) + 1, s) for f, s, size in zip(first, g.stride, n, strict=True)]
        channels = slice(c // inner * per, (c // inner + 1) * per)
        weight = w[(c, slice(None), *tap)].reshape(-1, *[1] * len(n))
        part = full[(slice(None), channels, *at)]
        part[...] = round_(part + round_(x[:, c : c + 1] * weight))
    wider = [(max(0, -lo), max(0, -hi)) for lo, hi in g.crop]
    full = np.pad(full, [(0, 0), (0, 0), *wider])
    remaining = [slice(max(0, lo), size - max(0, hi)) for (lo, hi), size in zip(g.crop, full.shape[2:], strict=True)]
    return round_(full[(..., *remaining)] + b.reshape(-1, *[1] * len(n)))


def half(a):
    return a.astype(np.float16).astype(np.float32)


def diagnosed(call, got):
    return tconv.diagnose(got, call.y, x=call.x, weight=call.w, bias=call.bias, **call.arguments)


@pytest.mark.parametrize("taps_first", [True, False])
@pytest.mark.parametrize(("name", "round_"), [("float16", half), ("bfloat16", lambda a: rounded(a, 7))])
def test_low_precision_sums_are_named(name, round_, taps_first):
    rng, right = np.random.default_rng(1), 0
    for number in range(20):
        call = random_call(rng)
        if number % 3 == 0:  # as behind a ReLU: sums that grow
            call = call._replace(x=np.abs(call.x))
        got = summed(call, round_, taps_first=taps_first)
        found = diagnosed(call, got if number % 2 or name != "float16" else got.astype(np.float16))
        right += found.cause == f"summed in {name}" and found.verdict == "likely"
    assert right >= 18, right


@pytest.mark.parametrize(("name", "round_"), [("float16", half), ("bfloat16", lambda a: rounded(a, 7))])
def test_a_layer_with_wider_sums_is_named(name, round_):
    rng = np.random.default_rng(8)
    for _ in range(20):
        call = random_call(rng)
        narrow = {part: round_(getattr(call, part)) for part in ("x", "w", "bias")}
        found = diagnosed(call, round_(call.other(**narrow)))
        assert (found.cause, found.verdict) == (f"computed in {name}", "found"), str(found)
        assert not diagnosed(call, call.other(**narrow)).cause.startswith("computed in")  # the result is not rounded
        assert found.fix.endswith('bias.astype("float32")'), found.fix


@pytest.mark.parametrize(("name", "round_"), [("TF32", half), ("bfloat16", lambda a: rounded(a, 7))])
def test_a_rounded_result_is_not_called_a_rounded_sum(name, round_):
    rng = np.random.default_rng(9)
    for _ in range(20):
        call = random_call(rng)
        found = diagnosed(call, round_(call.y))
        assert (found.cause, found.verdict) == (f"result rounded to {name}", "found"), str(found)


def test_the_line_sums_in_float32():
    call = random_call(np.random.default_rng(1), 2)
    found = tconv.diagnose(
        summed(call, half), call.y, x=call.x, weight=call.w, bias=call.bias, target="onnx", **call.arguments
    )
    assert found.cause == "summed in float16", str(found)
    scope = {"x": call.x.astype("f2"), "weight": call.w.astype("f2"), "bias": call.bias.astype("f2")}
    exec(found.fix, scope)
    assert {scope[name].dtype for name in ("x", "weight", "bias")} == {np.dtype("f4")}


NOISE = {
    "1e-3 of y": lambda c, draw: c.y + 1e-3 * c.y.std() * draw(c.y.shape),
    "1e-3 of each number": lambda c, draw: c.y * (1 + 1e-3 * draw(c.y.shape)),
    "1e-5 of y": lambda c, draw: c.y + 1e-5 * c.y.std() * draw(c.y.shape),
    "1e-3 of the weight": lambda c, draw: c.other(w=(c.w * (1 + 1e-3 * draw(c.w.shape))).astype("f4")),
    "3e-3 of y, stored in float16": lambda c, draw: half(c.y + 3e-3 * c.y.std() * draw(c.y.shape)),
}


@pytest.mark.parametrize("kind", NOISE)
def test_noise_of_the_size_of_rounding_is_no_rounding(kind):
    rng = np.random.default_rng(4)
    for _ in range(12):
        call = random_call(rng)
        found = diagnosed(call, NOISE[kind](call, rng.standard_normal).astype("f4"))
        assert not found.findings, str(found)
        assert "fits no rounding that was tried" in str(found)
        alone = tconv.diagnose(NOISE[kind](call, rng.standard_normal).astype("f4"), call.y)
        assert not alone.findings, str(alone)
        assert alone.verdict == "equal" or "is of the size that" in str(alone)


@pytest.mark.parametrize("over", ["tensor", "output channel", "input channel"])
@pytest.mark.parametrize("steps", [127, 127.5])
def test_a_weight_quantized_to_8_bits(over, steps):
    rng = np.random.default_rng(5)
    for _ in range(10):
        call = random_call(rng)
        if call.x.shape[1] == call.arguments["groups"] or call.w.shape[1] == 1:
            continue
        parts = call.w.reshape(call.arguments["groups"], -1, *call.w.shape[1:])
        scaled = {"tensor": (), "output channel": (0, 2), "input channel": (0, 1)}[over]
        others = tuple(axis for axis in range(parts.ndim) if axis not in scaled)
        scale = np.abs(parts).max(axis=others, keepdims=True) / steps
        quantized = (np.clip(np.rint(parts / scale), -128, 127) * scale).reshape(call.w.shape).astype("f4")
        found = diagnosed(call, call.other(w=quantized))
        assert (found.cause, found.verdict) == (f"int8 weight per {over}", "found"), str(found)


@pytest.mark.parametrize(
    ("part", "round_", "name"),
    [("w", lambda a: rounded(a, 7), "weight in bfloat16"), ("x", half, "x in float16")],
)
def test_one_operand_rounded(part, round_, name):
    rng = np.random.default_rng(6)
    for _ in range(10):
        call = random_call(rng)
        found = diagnosed(call, call.other(**{part: round_(getattr(call, part))}))
        assert (found.cause, found.verdict) == (name, "found"), str(found)


def test_a_rounding_that_explains_most_of_a_difference():
    """TF32's products, with errors of another kind added."""
    rng, named = np.random.default_rng(7), 0
    for _ in range(20):
        call = random_call(rng, 2)
        if call.w.size < 100:
            continue
        got = call.other(x=rounded(call.x, 10), w=rounded(call.w, 10))
        got = got + (0.3 * (got - call.y).std() * rng.standard_normal(got.shape)).astype("f4")
        found = diagnosed(call, got)
        assert found.cause == "TF32", str(found)
        assert found.verdict == "likely"
        assert "% of the difference" in found.findings[0].text
        named += 1
    assert named > 5
