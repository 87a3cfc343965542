"""diagnose on two outputs whose BatchNorm has another eps: named where the variance shows it, likely where it cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tconv
from tconv.errors import ArgumentError, DtypeError, ShapeError

CALL = {"stride": 2, "padding": 1}


def outputs(channels, variance, eps, seed=0, gamma=None):
    """Return x, weight, bias, the BatchNorm, and its outputs behind the layer with each eps."""
    rng = np.random.default_rng(seed)
    shapes = ((2, 4, 7, 6), (4, channels, 3, 3), (channels,))
    x, w, b, beta, mean = (rng.standard_normal(shape).astype("f4") for shape in (*shapes, (channels,), (channels,)))
    gamma = rng.uniform(0.5, 2, channels).astype("f4") if gamma is None else gamma
    y = tconv.conv_transpose(x, w, b, **CALL)
    norm = (gamma, beta, mean, variance.astype("f4"))
    folded = [tconv.fold_batchnorm(w, b, *norm, eps=each) for each in eps]
    column = (-1, 1, 1)
    got, expected = (
        (
            (y - mean.reshape(column)) / np.sqrt(norm[3] + each).reshape(column) * gamma.reshape(column)
            + beta.reshape(column)
        )
        for each in eps
    )
    return (x, w, b), folded, norm, got.astype("f4"), expected.astype("f4")


WIDE = 10 ** np.random.default_rng(1).uniform(-3, 0.5, 12)
COMMON = [(1e-3, 1e-5), (1e-5, 1e-3), (1e-3, 1e-6), (1e-5, 1e-6), (1e-2, 1e-5)]
PAIRS = [*COMMON, (3e-3, 7e-4)]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("given", ["the plain weight", "the folded weight", "no call"])
def test_with_the_variance_both_eps_are_named(given, pair):
    (x, w, b), folded, norm, got, expected = outputs(12, WIDE, pair)
    weight, bias = (w, b) if given == "the plain weight" else folded[1]
    call = {} if given == "no call" else {"x": x, "weight": weight, "bias": bias, **CALL}
    found = tconv.diagnose(got, expected, variance=norm[3], **call)
    assert (found.cause, found.verdict) == ("BatchNorm eps", "found"), str(found)
    if pair in COMMON:
        words = (f"eps is {pair[0]:g} where the other output has {pair[1]:g}", f"or {pair[0]:g} and {pair[1]:g}")
        assert any(each in str(found) for each in words), str(found)
    else:  # they are solved for
        shown = re.search(r"eps is ([\d.e-]+) where the other output has ([\d.e-]+)", str(found))
        np.testing.assert_allclose([float(number) for number in shown.groups()], pair, rtol=0.05)
    scope = {"np": np, "y": got}
    exec(found.fix, scope)
    np.testing.assert_allclose(scope["y"], expected, atol=1e-4)


@pytest.mark.parametrize("given", ["the plain weight", "the folded weight", "no call"])
@pytest.mark.parametrize("variance", [WIDE, np.array([0.2, 0.5, 1, 2])], ids=["twelve", "four"])
def test_without_the_variance_it_is_likely_and_a_scale_is_mentioned(given, variance):
    (x, w, b), folded, _, got, expected = outputs(len(variance), variance, (1e-3, 1e-5))
    weight, bias = (w, b) if given == "the plain weight" else folded[1]
    call = {} if given == "no call" else {"x": x, "weight": weight, "bias": bias, **CALL}
    for a, c, words in (
        (got, expected, "with 0.001 where the other output has 1e-05"),
        (expected, got, "with 1e-05 where the other output has 0.001"),
    ):
        if c is got and given == "the folded weight":
            continue  # this weight describes the other output
        found = tconv.diagnose(a, c, **call)
        assert (found.cause, found.verdict) == ("BatchNorm eps", "likely"), str(found)
        assert words in str(found), str(found)
        assert "or it has another scale per channel" in str(found)
        assert "variance= would show it" in str(found)


@pytest.mark.parametrize("channels", [4, 12])
def test_an_ordinary_scale_is_no_eps(channels):
    """Scales on both sides of 1 have no eps; with the variance those on one side have none either."""
    (x, w, b), _, norm, _, _ = outputs(channels, np.linspace(0.2, 2, channels), (1e-3, 1e-5))
    y = tconv.conv_transpose(x, w, b, **CALL)
    rng = np.random.default_rng(3)
    for low, high in ((0.5, 2), (0.9, 0.99)):
        scale = rng.uniform(low, high, channels).astype("f4").reshape(-1, 1, 1)
        found = tconv.diagnose(y * scale, y, x=x, weight=w, bias=b, variance=norm[3], **CALL)
        assert (found.cause, found.verdict) == ("scale per channel", "found"), str(found)
        assert "no other eps of a BatchNorm explains it" in str(found)
        if low < 1 < high:
            found = tconv.diagnose(y * scale, y, x=x, weight=w, bias=b, **CALL)
            assert (found.cause, found.verdict) == ("scale per channel", "found"), str(found)
            assert "eps" not in str(found)


def test_a_few_scales_on_one_side_of_1_are_named_as_both():
    (x, w, b), *_ = outputs(3, np.array([0.2, 0.5, 1]), (1e-3, 1e-5))
    y = tconv.conv_transpose(x, w, b, **CALL)
    scale = np.float32([0.55, 0.7, 0.6]).reshape(-1, 1, 1)
    found = tconv.diagnose(y * scale, y, x=x, weight=w, bias=b, **CALL)
    assert (found.cause, found.verdict) == ("scale per channel", "found"), str(found)
    assert "or as another eps of a BatchNorm makes it" in str(found)


def test_one_channel_with_its_variance():
    (x, w, b), _, norm, got, expected = outputs(1, np.array([0.01]), (1e-3, 1e-5))
    found = tconv.diagnose(got, expected, x=x, weight=w, bias=b, variance=norm[3], **CALL)
    assert found.cause == "BatchNorm eps", str(found)


@pytest.mark.parametrize(
    ("variance", "error", "text"),
    [
        (np.ones(3), ShapeError, "variance has shape (3,); the outputs have 5 channels"),
        (np.ones((5, 1)), ShapeError, "variance has shape (5, 1)"),
        (-np.ones(5), ArgumentError, "variance has a number that is negative or not finite"),
        (np.full(5, np.nan), ArgumentError, "variance has a number that is negative or not finite"),
        (np.ones(5) * 1j, DtypeError, "variance has dtype complex128"),
        (np.array(["a"] * 5), DtypeError, "variance has dtype"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_variance_that_is_none(variance, error, text):
    y = np.random.default_rng(0).standard_normal((1, 5, 6, 6))
    with pytest.raises(error) as caught:
        tconv.diagnose(2 * y, y, variance=variance)
    assert text in str(caught.value)
    assert "Write" in str(caught.value)


@pytest.mark.parametrize("factor", [1.1, 0.9])
@pytest.mark.parametrize("scaled", [[2], [1, 5], [0, 1, 2, 7]], ids=str)
def test_a_scale_of_half_of_the_channels_is_no_eps(factor, scaled):
    """An eps changes every channel."""
    (x, w, b), *_ = outputs(8, np.linspace(0.2, 2, 8), (1e-3, 1e-5))
    y = tconv.conv_transpose(x, w, b, **CALL)
    got = y.copy()
    got[:, scaled] *= np.float32(factor)
    for call in ({}, {"x": x, "weight": w, "bias": b, **CALL}):
        found = tconv.diagnose(got, y, **call)
        assert (found.cause, found.verdict) == ("scale per channel", "found"), str(found)
        assert f"multiplied by {factor}" in str(found), str(found)
        assert "eps" not in str(found)
