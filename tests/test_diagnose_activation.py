"""diagnose on outputs that both end in a ReLU: the activation is a part of the call, and the rest is the cause."""

from __future__ import annotations

import numpy as np
import pytest

import tconv

RNG = np.random.default_rng(31)
X, W = RNG.standard_normal((2, 4, 7, 6)).astype("f4"), RNG.standard_normal((4, 7, 3, 3)).astype("f4")
B = RNG.standard_normal(7).astype("f4")
CALL = {"stride": 2, "padding": 1}


def relu(y):
    return np.maximum(y, 0)


def relu6(y):
    return np.clip(y, 0, 6)


def call(x=X, w=W, b=B, **changed):
    return tconv.conv_transpose(x, w, b, **{**CALL, **changed})


FACTORS = np.where(np.arange(7) == 2, np.float32(1.1), np.float32(1)).reshape(-1, 1, 1)
OTHERS = [
    (call(w=W[:, :, ::-1, ::-1]), "kernel flipped"),
    (call(w=W[:, :, ::-1, ::-1], b=None), "kernel flipped + bias missing"),
    (call(w=np.swapaxes(W, 2, 3)), ""),
    (call(b=None), "bias missing"),
    (call(b=2 * B), "bias twice"),
    (call(b=np.roll(B, 1)), "bias rolled"),
    (call(b=B[[0, 3, 2, 1, 4, 6, 5]]), "bias in another order"),
    (call(b=np.where(np.arange(7) == 4, np.float32(0.25), B)), "bias wrong in some channels"),
    (call(padding=0), ""),
    (call(output_padding=1), ""),
    (call(stride=1), ""),
    (call()[:, ::-1], "y channels reversed"),
    (call() * FACTORS, "scale per channel"),
]


@pytest.mark.parametrize(
    ("activation", "case"),  # where larger numbers are cut off, too, there is no factor per channel
    [*((relu, case) for case in range(len(OTHERS))), *((relu6, case) for case in range(len(OTHERS) - 1))],
)
@pytest.mark.parametrize("described", ["expected", "got"])
def test_the_rest_is_the_cause(activation, case, described):
    other, cause = OTHERS[case]
    right, other = activation(call()), activation(other)
    got, expected = (other, right) if described == "expected" else (right, other)
    found = tconv.diagnose(got, expected, x=X, weight=W, bias=B, **CALL)
    plain = tconv.diagnose(OTHERS[case][0], call(), x=X, weight=W, bias=B, **CALL)
    name = "ReLU" if activation is relu else "ReLU6"
    assert found.verdict == "found", str(found)
    assert f"both outputs end in a {name}" in str(found), str(found)
    assert "ReLU" not in found.cause, str(found)
    if described == "expected":
        assert found.cause == plain.cause, (str(found), str(plain))
        assert not cause or found.cause == cause, str(found)
    if found.fix:
        scope = {"np": np, "tconv": tconv, "x": X, "weight": W, "bias": B, "y": got}
        if described == "expected" and "y =" not in found.fix:
            return  # it belongs into the code of the other output
        exec(found.fix, scope)
        if "y =" not in found.fix:
            y = activation(tconv.conv_transpose(scope["x"], scope["weight"], scope["bias"], **CALL))
        else:
            y = scope["y"]
        np.testing.assert_allclose(y, expected, atol=1e-4)


def test_a_relu_of_one_output_alone_is_still_the_cause():
    for other, cause in ((call(), "ReLU"), (call(w=W[:, :, ::-1, ::-1]), "kernel flipped + ReLU")):
        found = tconv.diagnose(relu(other), call(), x=X, weight=W, bias=B, **CALL)
        assert (found.cause, found.verdict) == (cause, "found"), str(found)
        assert "both outputs" not in str(found)


def test_a_small_change_of_one_bias_is_no_low_precision():
    """Behind an unknown activation nothing is named, or not for sure: the one channel is near, but not by rounding."""
    bias = np.roll(B, 1)
    bias[2] = B[2] + 0.1
    for activation in (relu, lambda y: np.where(y > 0, y, np.float32(0.1) * y)):
        got, expected = activation(call(b=bias)), activation(call())
        for given in ({}, {"x": X, "weight": W[::-1], "bias": B, **CALL}):
            found = tconv.diagnose(got, expected, **given)
            assert "low precision" not in str(found), str(found)
            assert not (found.cause or "").endswith("spoiled"), str(found)


def test_what_is_right_to_a_low_precision_only_is_likely():
    """The outputs alone show it, beside a call that describes neither of them."""
    noise = RNG.uniform(-0.01, 0.01, call().shape).astype("f4")
    got = call() * (1 + noise)
    got[:, 3:5] = call()[:, [5, 6]]
    found = tconv.diagnose(got, call(), x=RNG.permuted(X, axis=3), weight=W, bias=B, **CALL)
    assert (found.cause, found.verdict) == ("channels spoiled", "likely"), str(found)
    assert str(found).startswith("likely    of the outputs alone, channels 3, 4 contain"), str(found)
