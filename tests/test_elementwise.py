"""Compiled functions of single numbers: near the exact values, at their limits, and the same bits for any cut."""

import numpy as np
import pytest

from stream_steps import whole
from tconv.kernels.activation import activation_of
from tconv.kernels.simd import elementwise
from tconv.kernels.simd.availability import reason_unavailable
from tconv.models.steps.pointwise import Pointwise

pytestmark = pytest.mark.skipif(reason_unavailable() is not None, reason="needs machine code")

EXACT = {
    "elu": lambda x: np.where(x > 0, x, 0.75 * np.expm1(np.minimum(x, 0))),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: np.where(x < -1e3, 0, x / (1 + np.exp(-x))),
}
NUMBERS = {"elu": (0.75,)}
LIMITS = np.array([0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-30, -1e-30, -87.5, -104], np.float32)


def inputs(rng):
    parts = [rng.standard_normal(4000) * size for size in (1e-5, 1e-2, 1, 6, 25)]
    return np.concatenate([*parts, LIMITS]).astype(np.float32)


@pytest.mark.parametrize("name", EXACT)
def test_results_are_within_three_units_in_the_last_place(name):
    x = inputs(np.random.default_rng(0))
    y = np.empty_like(x)
    assert elementwise.fill(name, (x,), NUMBERS.get(name, ()), y)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(exact))
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(y[~finite & ~np.isnan(exact)], exact[~finite & ~np.isnan(exact)])
    units = np.maximum(np.spacing(np.abs(exact[finite]).astype(np.float32)), 1e-36)
    assert (np.abs(y[finite] - exact[finite]) / units).max() < 3


@pytest.mark.parametrize("name", [*EXACT, "activation", "affine"])
def test_a_result_depends_on_its_own_input_only(name):
    x = inputs(np.random.default_rng(1))
    numbers = NUMBERS.get(name, {"activation": (0.2, -1.0, 3.0), "affine": (1.5, -0.25)}.get(name, ()))
    whole = np.empty_like(x)
    assert elementwise.fill(name, (x,), numbers, whole)
    for start, count in [(0, 1), (3, 5), (7, 33), (100, 4097), (len(x) - 9, 9)]:
        given = x[start : start + count].copy()
        made = np.full(count + 1, 7, np.float32)
        assert elementwise.fill(name, (given,), numbers, made[:count])
        np.testing.assert_array_equal(made[:count], whole[start : start + count])
        assert made[count] == 7


@pytest.mark.parametrize("activation", ["relu", "relu6", ("leaky_relu", 0.2), ("clamp", -1.0, 0.0)])
def test_an_activation_has_the_sign_of_zero_of_layers_that_apply_it(activation):
    numbers = np.concatenate([inputs(np.random.default_rng(3)), [-0.0] * 40]).astype(np.float32).reshape(1, 1, 1, -1)
    for x in (numbers, np.repeat(numbers, 2, 3)[..., ::2]):
        wanted = x.copy()
        activation_of(activation, 1).apply(wanted)
        np.testing.assert_array_equal(whole(Pointwise(activation), x).view(np.int32), wanted.view(np.int32))


def test_sums_and_products_round_as_numpy_does():
    rng = np.random.default_rng(2)
    x, z = (rng.standard_normal(1000).astype(np.float32) for _ in range(2))
    made = np.empty_like(x)
    for name, numbers, wanted in [
        ("sum", (1, 1), x + z),
        ("sum", (0.3, 1.7), np.float32(0.3) * x + np.float32(1.7) * z),
        ("product", (), x * z),
    ]:
        assert elementwise.fill(name, (x, z), numbers, made)
        np.testing.assert_array_equal(made, wanted)
    assert not elementwise.fill("sum", (x[::2], z[::2]), (1, 1), made[::2])
    assert not elementwise.fill("tanh", (x.astype(np.float64),), (), made.astype(np.float64))


@pytest.mark.parametrize("units", [1, 5, 16, 37])
def test_the_cell_of_an_lstm(units):
    rng = np.random.default_rng(units)
    inputs_, sums = (rng.standard_normal((3, 4 * units)).astype(np.float32) for _ in range(2))
    wide = rng.standard_normal((3, 2 * units)).astype(np.float32)
    cell, out = wide[:, :units], np.empty((3, units), np.float32)
    before = cell.astype(np.float64)
    assert elementwise.lstm(inputs_, sums, cell, out)
    gates = (inputs_ + sums).astype(np.float64)
    into, forget, output = (1 / (1 + np.exp(gates[:, n * units : (n + 1) * units])) for n in range(3))
    after = before * forget + into * np.tanh(gates[:, 3 * units :])
    np.testing.assert_allclose(cell, after, rtol=0, atol=1e-6)
    np.testing.assert_allclose(out, output * np.tanh(after), rtol=0, atol=1e-6)
