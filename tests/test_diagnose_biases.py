"""diagnose on wrong biases: another order, a factor, few bits, some channels, some places; and lines that run."""

from __future__ import annotations

import numpy as np
import pytest

import tconv

RNG = np.random.default_rng(12)
X, W = RNG.standard_normal((2, 4, 7, 6)).astype("f4"), RNG.standard_normal((4, 7, 3, 3)).astype("f4")
B = RNG.standard_normal(7).astype("f4")
CALL = {"stride": 2, "padding": 1, "output_padding": 1}
PLAIN = tconv.conv_transpose(X, W, **CALL)
RIGHT = tconv.conv_transpose(X, W, B, **CALL)


def column(values):
    return np.asarray(values, "f4").reshape(-1, 1, 1)


def changed(**channels):
    bias = B.copy()
    for name, value in channels.items():
        bias[int(name[1:])] = value
    return bias


STEP = np.abs(B).max() / 127
VALUES = [
    (np.roll(B, 1), "bias rolled", "the bias is rolled by 1: channel 1 has the bias of channel 0"),
    (np.roll(B, -2), "bias rolled", "the bias is rolled by -2: channel 5 has the bias of channel 0"),
    (B[[0, 3, 2, 1, 4, 6, 5]], "bias in another order", "another order: [0, 3, 2, 1, 4, 6, 5]"),
    (4 * B, "bias scaled", "is multiplied by 4: it is added once per input channel"),
    (9 * B, "bias scaled", "is multiplied by 9: it is added once per tap of the kernel"),
    (36 * B, "bias scaled", "is multiplied by 36: it is added once per product"),
    (np.float32(0.3) * B, "bias scaled", "is multiplied by 0.3"),
    (np.rint(B / STEP) * STEP, "int8 bias", "quantized to int8, one scale for all channels"),
    ((B.view("u4") & np.uint32(0xFFFF0000)).view("f4"), "bias in bfloat16", "the bias is rounded to bfloat16"),
    (changed(c2=0.5), "bias wrong in some channels", "the bias of channel 2 is 0.5 instead of"),
    (changed(c4=0.5, c5=2.5, c6=3), "bias wrong in some channels", "the bias of channels 4 to 6 (every channel from channel 4 on"),
    (changed(c1=0), "bias missing in some channels", "channel 1 lacks the bias"),
    (changed(c1=0, c4=0), "bias missing in some channels", "channels 1, 4 lack the bias"),
]  # fmt: skip


@pytest.mark.parametrize(("bias", "cause", "text"), VALUES, ids=[text[:40] for *_, text in VALUES])
def test_another_bias(bias, cause, text):
    """The line is run with the names that were given, for a call that describes either output."""
    wrong = PLAIN + column(bias)
    for got, expected in ((wrong, RIGHT), (RIGHT, wrong)):
        found = tconv.diagnose(got, expected, x=X, weight=W, bias=B, **CALL)
        assert (found.cause, found.verdict) == (cause, "found"), str(found)
        assert text in str(found), str(found)
        own = np.asarray(bias, "f4") if found.fix.startswith("bias") and got is wrong else B
        scope = {"np": np, "bias": own, "y": got}
        exec(found.fix, scope)
        y = scope["y"] if "y =" in found.fix else PLAIN + column(scope["bias"])
        np.testing.assert_allclose(y, expected, atol=1e-4)


def test_the_line_of_a_rolled_bias():
    found = tconv.diagnose(PLAIN + column(np.roll(B, 1)), RIGHT, x=X, weight=W, bias=B, **CALL)
    assert found.fix == "bias = np.roll(bias, -1)"
    found = tconv.diagnose(PLAIN + column(np.roll(B, 1)), RIGHT, x=X, weight=W, bias=B, target="torch", **CALL)
    assert found.fix == "bias = bias.roll(-1)"


def test_one_channel_without_a_bias_or_without_a_call():
    """It is "channel 2", and no list of zeros."""
    got = RIGHT + column(np.arange(7) == 2)
    for found in (tconv.diagnose(got, RIGHT), tconv.diagnose(got - column(B), PLAIN, x=X, weight=W, **CALL)):
        assert found.cause == "offset per channel", str(found)
        assert "a constant is added to channel 2, 1" in str(found), str(found)
        scope = {"np": np, "y": got}
        exec(found.fix, scope)
        np.testing.assert_allclose(scope["y"], RIGHT, atol=1e-5)
    found = tconv.diagnose(RIGHT * column([1, 1, 3, 1, 1, 1, 1]), RIGHT, x=X, weight=W, bias=B, **CALL)
    assert found.cause == "scale per channel"
    assert "channel 2 is multiplied by 3, all others by 1" in str(found)


ENDS = np.zeros(PLAIN.shape[2:], bool)
ENDS[-1], ENDS[:, -1] = True, True
PHASE = np.zeros(PLAIN.shape[2:], bool)
PHASE[1::2, ::2] = True
ONE = tconv.conv_transpose(np.ones((1, 1, 7, 6), "f4"), np.ones((1, 1, 3, 3), "f4"), **CALL)[0, 0]
INSIDE = np.fromfunction(lambda i, j: (1 + (i + 1) % 2 * 0 + i % 2) * (1 + j % 2), PLAIN.shape[2:])
PLACES = [
    (ONE, "bias once per tap", "once per tap that meets in an output, up to 4 times"),
    (INSIDE, "bias once per tap", "once per tap that meets in an output, up to 4 times"),
    (~ENDS, "bias missing in some places", "row along h 13 and row along w 11 lack the bias"),
    (~PHASE, "bias missing in some places", "phase (1, 0) (every 2nd row along h from row 1, every 2nd row along w from row 0) lacks the bias"),
    (1 + ENDS[:, :1] * np.ones(12), "bias more than once in some places", "row along h 13 has the bias 2 times"),
]  # fmt: skip


@pytest.mark.parametrize(("times", "cause", "text"), PLACES, ids=[text[:40] for *_, text in PLACES])
def test_a_bias_that_depends_on_the_place(times, cause, text):
    wrong = (PLAIN + column(B) * times).astype("f4")
    found = tconv.diagnose(wrong, RIGHT, x=X, weight=W, bias=B, **CALL)
    assert (found.cause, found.verdict) == (cause, "found"), str(found)
    assert text in str(found), str(found)
    scope = {"tconv": tconv, "x": X, "weight": W, "bias": B}
    exec(found.fix, scope)
    np.testing.assert_allclose(scope["y"], RIGHT, atol=1e-4)
    other = tconv.diagnose(RIGHT, wrong, x=X, weight=W, bias=B, **CALL)
    assert (other.cause, other.fix) == (cause, ""), str(other)  # no call gives such numbers


FLIPPED = W[:, :, ::-1, ::-1]
EARLY = {"stride": 2, "crop": ((0, 1), (0, 1))}
NEITHER = {
    "a bias that was not given, and another crop": (tconv.conv_transpose(X, W, B, **EARLY), RIGHT, None),
    "a bias that was not given, twice": (PLAIN + 2 * column(B), RIGHT, None),
    "a bias that was not given, rolled": (PLAIN + column(np.roll(B, 1)), RIGHT, None),
    "a flipped kernel, and another crop": (
        tconv.conv_transpose(X, FLIPPED, **EARLY), tconv.conv_transpose(X, FLIPPED, **CALL), None,
    ),
    "a flipped kernel with a bias, and another crop": (
        tconv.conv_transpose(X, FLIPPED, B, **EARLY), tconv.conv_transpose(X, FLIPPED, B, **CALL), B,
    ),
}  # fmt: skip


@pytest.mark.parametrize("target", ["numpy", "torch"])
@pytest.mark.parametrize("case", NEITHER)
def test_the_line_reads_only_what_was_given(case, target):
    """The call gives neither output: its line first changes what was given, and never reads a bias that was not."""
    got, expected, bias = NEITHER[case]
    named = {} if target == "numpy" else {"target": target}
    found = tconv.diagnose(got, expected, x=X, weight=W, bias=bias, **CALL, **named)
    assert found.findings, str(found)
    if target == "torch":
        assert "bias" not in found.fix or bias is not None or found.fix.startswith("bias = torch.tensor("), found.fix
        return
    assert found.fix, str(found)
    scope = {"np": np, "tconv": tconv, "x": X, "weight": W, "y": got} | ({} if bias is None else {"bias": bias})
    exec(found.fix, scope)
    y = scope["y"] if "y =" in found.fix else PLAIN + column(scope["bias"])
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_the_line_that_folds_a_batchnorm_without_a_bias():
    scale = RNG.uniform(0.5, 2, 7).astype("f4")
    folded, wrong = W * scale.reshape(1, -1, 1, 1), (W.reshape(7, -1) * scale[:, None]).reshape(W.shape)
    got, expected = (tconv.conv_transpose(X, each, **CALL) for each in (wrong, folded))
    found = tconv.diagnose(got, expected, x=X, weight=folded, **CALL)
    assert found.cause == "BatchNorm folded on the wrong axis", str(found)
    assert "bias, gamma" not in found.fix
    zero = 0 * scale
    norm = {"gamma": scale, "beta": zero, "mean": zero, "variance": zero + 1 - 1e-3, "eps": 1e-3}
    scope = {"tconv": tconv, "weight": W, **norm}
    exec(found.fix, scope)
    np.testing.assert_allclose(scope["weight"], folded, rtol=1e-6)
