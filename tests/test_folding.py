"""Numbers per output channel are applied to that channel in every layout: groups, dialects, dtypes."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tconv
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError


def layer(rng, groups, inner=2, outer=3):
    w = rng.standard_normal((inner * groups, outer, 3, 2))
    return rng.standard_normal((2, inner * groups, 5, 4)), w, rng.standard_normal(outer * groups)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_folded_layer_is_the_layer_and_its_batchnorm(groups):
    rng = np.random.default_rng(groups)
    x, w, b = layer(rng, groups)
    gamma, beta, mean = rng.standard_normal((3, len(b)))
    variance = rng.uniform(0.1, 2, len(b))
    arguments = {"stride": 2, "groups": groups}
    y = tconv.conv_transpose(x, w, b, **arguments)
    column = lambda v: v.reshape(-1, 1, 1)  # noqa: E731
    expected = (y - column(mean)) / np.sqrt(column(variance) + 1e-3) * column(gamma) + column(beta)
    weight, bias = tconv.fold_batchnorm(w, b, gamma, beta, mean, variance, eps=1e-3, groups=groups)
    np.testing.assert_allclose(tconv.conv_transpose(x, weight, bias, **arguments), expected, atol=1e-12)
    weight, bias = tconv.fold_batchnorm(w, None, None, None, mean, variance, groups=groups)
    y = tconv.conv_transpose(x, w, **arguments)
    expected = (y - column(mean)) / np.sqrt(column(variance) + 1e-5)
    np.testing.assert_allclose(tconv.conv_transpose(x, weight, bias, **arguments), expected, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in tconv.dialects.names() if n not in ("mlx_general",)])
@pytest.mark.parametrize("groups", [1, 2])
def test_every_dialects_layout(name, groups):
    """Scaled in PyTorch's layout and converted, or converted and scaled: the same, exactly."""
    rng = np.random.default_rng(0)
    _, w, _ = layer(rng, groups)
    w = np.rint(4 * w)
    s = rng.integers(1, 9, 3 * groups).astype(float)
    try:
        native = tconv.convert(w, source="torch", target=name, groups=groups)
        tconv.dialect(name).to_canonical(native, groups)
    except tconv.TconvError:
        pytest.skip(f"{name} has no groups")
    there = tconv.scale_channels(native, s, dialect=name, groups=groups)
    here = tconv.scale_channels(w, s, groups=groups)
    np.testing.assert_array_equal(there, tconv.convert(here, source="torch", target=name, groups=groups))


@pytest.mark.parametrize("groups", [1, 2])
def test_scales_for_quantization(groups):
    rng = np.random.default_rng(0)
    _, w, _ = layer(rng, groups)
    scales = tconv.channel_scales(w, groups=groups)
    steps = tconv.scale_channels(w, 1 / scales, groups=groups)
    per_channel = np.abs(steps.reshape(groups, -1, 3, 6)).max((1, 3)).ravel()
    np.testing.assert_allclose(per_channel, 127)
    assert (tconv.channel_scales(0 * w, groups=groups) == 1).all()
    np.testing.assert_allclose(tconv.channel_scales(w, bits=4, groups=groups) * 7, scales * 127)


def test_the_dtype_stays_and_is_rounded_once():
    w = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float16)
    weight, bias = tconv.fold_batchnorm(w, None, None, None, np.ones(3, "f4"), np.full(3, 3.0), eps=0)
    assert (weight.dtype, bias.dtype) == (np.float16, np.float16)
    np.testing.assert_array_equal(weight, (w.astype(float) / np.sqrt(3)).astype(np.float16))


W, ONES = np.ones((2, 3, 2)), np.ones(3)
BAD = [
    (ShapeError, lambda: tconv.fold_batchnorm(W, None, np.ones(2), None, ONES, ONES), "gamma has shape (2,); the layer has 3 output channels, so (3,) is needed"),
    (ShapeError, lambda: tconv.fold_batchnorm(np.ones((3, 3, 5, 2)), None, np.ones(5), None, np.ones(5), np.ones(5)), 'the layer has 3 output channels, so (3,) is needed. Write dialect="keras", in whose layout this weight has 5, or the groups='),
    (ShapeError, lambda: tconv.scale_channels(np.ones((3, 3, 2, 5)), np.ones(5)), 'Write dialect="flax", in whose layout this weight has 5, or the groups='),
    (ShapeError, lambda: tconv.scale_channels(np.ones((4, 3, 3, 2)), np.ones(4), dialect="keras"), 'so (3,) is needed. Write dialect="equinox", in whose layout this weight has 4, or the groups='),
    (ShapeError, lambda: tconv.scale_channels(W, ONES, groups=2), "scales has shape (3,); the layer has 6 output channels"),
    (ShapeError, lambda: tconv.scale_channels(W, ONES, groups=3), "weight (2, 3, 2) has 2 input channels in total, which groups=3 does not divide. Write groups= with the number of groups of the layer"),
    (GeometryError, lambda: tconv.fold_batchnorm(W, None, None, None, ONES, -ONES), "variance + eps is -1 in a channel, with eps=1e-05, the default of PyTorch; it must be above 0"),
    (ArgumentError, lambda: tconv.fold_batchnorm(W, None, None, None, None, ONES), "mean is None; a BatchNorm has one"),
    (ShapeError, lambda: tconv.fold_batchnorm(W, None, None, None, ONES * np.nan, ONES), "mean contains NaN or inf, which would spread to whole channels"),
    (ShapeError, lambda: tconv.fold_batchnorm(W, None, None, None, ONES, ONES * np.inf), "variance contains NaN or inf"),
    (ShapeError, lambda: tconv.scale_channels(W, ONES * np.nan), "scales contains NaN or inf"),
    (ArgumentError, lambda: tconv.fold_batchnorm(W, None, None, None, ONES, ONES, eps="a"), "eps is 'a'; a finite number is needed"),
    (ArgumentError, lambda: tconv.fold_batchnorm(W, None, None, None, ONES, ONES, eps=np.nan), "eps is nan; a finite number is needed"),
    (DtypeError, lambda: tconv.fold_batchnorm(W + 0j, None, None, None, ONES, ONES * 1j), "variance is complex; real numbers above 0 are needed"),
    (DtypeError, lambda: tconv.fold_batchnorm(W, None, None, None, np.array(["a"] * 3), ONES), "mean has dtype <U1; numbers are needed"),
    (DtypeError, lambda: tconv.scale_channels(W.astype(int), ONES), "weight has dtype int64; floats are needed"),
    (GeometryError, lambda: tconv.channel_scales(W, bits=1), "bits is 1; it must be at least 2. Write bits=8"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "run", "message"), BAD, ids=[case[2][:40] for case in BAD])
def test_bad_input(kind, run, message):
    with pytest.raises(kind, match=re.escape(message)) as caught:
        run()
    assert "Write" in str(caught.value)


def test_weights_and_scales_that_are_no_numbers_are_refused():
    w = np.ones((2, 3, 4))
    spoiled = np.where(np.arange(4) == 1, np.nan, w)
    for call in (lambda: tconv.channel_scales(spoiled), lambda: tconv.scale_channels(spoiled, np.ones(3))):
        with pytest.raises(tconv.TconvError, match="NaN or inf"):
            call()
    with pytest.raises(tconv.TconvError, match="no element"):
        tconv.channel_scales(w[:, :0])
    with pytest.raises(tconv.TconvError, match="scales is complex and the weight is real"):
        tconv.scale_channels(w, np.ones(3) * 1j)


@pytest.mark.parametrize("name", tconv.dialects.names())
def test_the_epsilon_is_the_dialects_default_and_named(name):
    rng = np.random.default_rng(0)
    w = tconv.convert(rng.standard_normal((2, 3, 3, 2)), source="torch", target=name)
    gamma, beta, mean = rng.standard_normal((3, 3))
    numbers = (w, None, gamma, beta, mean, np.array([5e-3, 1e-4, 2.0]))
    default = tconv.dialect(name).batchnorm_eps
    if default is None:
        with pytest.raises(ArgumentError, match=r"eps is missing, and .* has no default for it. Write the eps of the "):
            tconv.fold_batchnorm(*numbers, dialect=name)
        return
    for part, same in zip(
        tconv.fold_batchnorm(*numbers, dialect=name),
        tconv.fold_batchnorm(*numbers, dialect=name, eps=default),
        strict=True,
    ):
        np.testing.assert_array_equal(part, same)
    weight, _ = tconv.fold_batchnorm(*numbers, dialect=name)
    scales = gamma / np.sqrt(numbers[-1] + default)
    np.testing.assert_array_equal(weight, tconv.scale_channels(w, scales, dialect=name))
    with pytest.raises(
        GeometryError, match=rf"with eps={default:g}, the default of {tconv.dialect(name).framework}; it m"
    ):
        tconv.fold_batchnorm(w, None, gamma, beta, mean, np.full(3, -1.0), dialect=name)
    with pytest.raises(GeometryError, match=r"variance \+ eps is -0.5 in a channel, with eps=0.5; it must be above 0"):
        tconv.fold_batchnorm(w, None, gamma, beta, mean, np.full(3, -1.0), dialect=name, eps=0.5)
