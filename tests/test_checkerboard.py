"""The checkerboard: gains are the operator's output for a constant, remedies are exact, scores are measured shares."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tconv
from random_calls.strategies import geometries
from tconv import Geometry
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError, TooLargeError
from tconv.weights.artifacts import equalise, icnr


def uncropped(g):
    return Geometry(g.kernel, g.stride, 0, g.dilation, g.groups)


def inside(w, g, periods=1):
    """Return one period of the output for a constant 1 in each input channel, far from borders: [C_in, C_out, *stride]."""
    n = [2 * (e // s + 2) + periods for e, s in zip(g.extent, g.stride, strict=True)]
    x = np.eye(len(w)).reshape(len(w), len(w), *[1] * g.ndim) * np.ones(n)
    y = tconv.conv_transpose(x, w.astype(float), geometry=uncropped(g))
    start = [(size // 2 // s) * s for size, s in zip(y.shape[2:], g.stride, strict=True)]
    return y[(..., *(slice(a, a + s) for a, s in zip(start, g.stride, strict=True)))]


@given(geometries(ndims=(1, 2)), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_gains_are_the_output_for_a_constant(g, seed):
    rng = np.random.default_rng(seed)
    w = rng.integers(-9, 10, (2 * g.groups, 3, *g.kernel)).astype(float)
    np.testing.assert_array_equal(tconv.checkerboard(w, geometry=g).response, inside(w, g))


@given(geometries(ndims=(1, 2)), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_equalised_weights_give_a_constant_and_change_least(g, seed):
    w = np.random.default_rng(seed).standard_normal((2 * g.groups, 2, *g.kernel))
    if min(map(min, g.overlap)) == 0:
        with pytest.raises(GeometryError, match="leaves phases without a tap"):
            equalise(w, geometry=g)
        return
    equal = equalise(w, geometry=g)
    response = inside(equal, g)
    spatial = tuple(range(2, response.ndim))
    np.testing.assert_allclose(
        response, np.broadcast_to(response.mean(spatial, keepdims=True), response.shape), atol=1e-12
    )
    np.testing.assert_allclose(response.mean(spatial), inside(w, g).mean(spatial), atol=1e-12)  # the mean gain stays
    assert tconv.checkerboard(equal, geometry=g).score < 1e-10
    np.testing.assert_allclose(equalise(equal, geometry=g), equal, atol=1e-12)
    # the nearest weight with equal gains: the least-norm change that adds to each phase the gain that it lacks
    A = (
        np.stack(
            [
                np.isin(np.arange(g.kernel[0]), p.taps[0])
                for p in Geometry(g.kernel[0], g.stride[0], 0, g.dilation[0]).phases
            ]
        )
        * 1.0
    )
    if g.ndim == 1:
        gains = A @ w[0, 0]
        nearest = w[0, 0] + np.linalg.pinv(A) @ (gains.mean() - gains)
        np.testing.assert_allclose(equal[0, 0], nearest, atol=1e-12)


def test_a_kernel_that_is_a_multiple_of_the_stride_is_not_enough():
    """alan-turing-institute/icenet-mp#277: as many taps in each phase, and a checkerboard all the same."""
    w = np.random.default_rng(0).standard_normal((64, 32, 4, 4)).astype("f")
    found = tconv.checkerboard(w, stride=2, padding=1)
    assert found.overlaps == (((2, 2), (2, 2)),)
    assert abs(found.score - np.sqrt(3 / 4)) < 0.02  # gains of 4 phases, independent: 3/4 of the power is the pattern
    assert "as many taps in every phase" in str(found)
    for corrected in (equalise(w, stride=2, padding=1), icnr(w, stride=2, padding=1)):
        assert corrected.dtype == w.dtype
        assert tconv.checkerboard(corrected, stride=2, padding=1).score < 1e-6


def test_bilinear_and_nearest_weights_have_no_checkerboard():
    tent = np.float64([1, 3, 3, 1]) / 4
    for w, stride in ((np.outer(tent, tent), 2), (np.ones((3, 3)), 3)):
        assert tconv.checkerboard(w[None, None], stride=stride).score < 1e-12
    assert tconv.checkerboard(np.ones((1, 1, 3, 3)), stride=2).score > 0.3  # the textbook's uneven overlap


def test_gains_and_spreads_per_phase():
    w = np.random.default_rng(0).standard_normal((5, 3, 4))
    found = tconv.checkerboard(w, stride=2)
    gains = np.stack([w[..., 0::2].sum(-1), w[..., 1::2].sum(-1)], -1)
    np.testing.assert_allclose(found.gains, np.sqrt((gains**2).mean(0)))
    np.testing.assert_allclose(found.spreads, np.sqrt(((gains - gains.mean(-1, keepdims=True)) ** 2).mean(0)))
    assert "\nspread    per phase, from the mean over phases" in str(found)


def test_the_score_is_the_share_of_the_root_mean_square():
    rng = np.random.default_rng(1)
    w, g = rng.standard_normal((6, 4, 5, 3)), Geometry((5, 3), (3, 2))
    gains = inside(w, g)
    inputs = rng.standard_normal((20000, 6))
    y = np.einsum("bi,io...->bo...", inputs, gains)
    pattern = y - y.mean((2, 3), keepdims=True)
    measured = np.sqrt((pattern**2).sum() / (y**2).sum())
    found = tconv.checkerboard(w, geometry=g)
    assert abs(found.score - measured) < 0.01
    each = np.sqrt((pattern**2).sum((0, 2, 3)) / (y**2).sum((0, 2, 3)))
    np.testing.assert_allclose(found.by_channel, each, atol=0.02)
    one = tconv.checkerboard(w, geometry=g, mean=inputs[0])
    assert abs(one.score - np.sqrt((pattern[0] ** 2).sum() / (y[0] ** 2).sum())) < 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_a_stack_responds_as_its_layers_run_one_after_the_other(seed):
    rng = np.random.default_rng(seed)
    ndim = 1 + seed % 2
    layers, channels = [], 3
    for _ in range(2 + seed % 2):
        k, s = (tuple(int(v) for v in rng.integers(lo, 4, ndim)) for lo in (1, 1))
        layers.append((rng.integers(-3, 4, (channels, 2, *k)).astype(float), {"stride": s, "padding": 0}))
        channels = 2
    found = tconv.checkerboard(layers)
    x = np.eye(3).reshape(3, 3, *[1] * ndim) * np.ones([24] * ndim)
    for w, arguments in layers:
        x = tconv.conv_transpose(x, w, **arguments)
    start = [(size // 2 // p) * p for size, p in zip(x.shape[2:], found.period, strict=True)]
    part = x[(..., *(slice(a, a + p) for a, p in zip(start, found.period, strict=True)))]
    np.testing.assert_array_equal(found.response, part)


def test_stacked_layers_that_are_even_stay_even():
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((4, 5, 4, 4)), rng.standard_normal((5, 2, 5, 5))
    uneven = tconv.checkerboard([(w1, {"stride": 2}), (w2, {"stride": 2})])
    assert uneven.period == (4, 4)
    assert min(uneven.layers) > 0.3
    assert uneven.score > 0.3
    corrected = [(equalise(w, stride=2), {"stride": 2}) for w in (w1, w2)]
    assert tconv.checkerboard(corrected).score < 1e-10
    assert "(layer 2)" in str(uneven)


def test_every_layout_and_dtype():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 3, 4, 4)).astype("f")
    keras = tconv.convert(w, source="torch", target="keras")
    arguments = {"dialect": "keras", "strides": 2, "padding": "same"}
    assert tconv.checkerboard(keras, **arguments).score == tconv.checkerboard(w, stride=2).score
    equal = equalise(keras, **arguments)
    np.testing.assert_array_equal(equal, tconv.convert(equalise(w, stride=2), source="torch", target="keras"))
    jax = tconv.convert(w, source="torch", target="jax")  # taps reversed: another phase is the first
    assert (
        tconv.checkerboard(
            icnr(jax, dialect="jax", strides=(2, 2), padding="SAME"), dialect="jax", strides=(2, 2), padding="SAME"
        ).score
        < 1e-6
    )


def test_the_picture():
    pytest.importorskip("matplotlib")
    w = np.random.default_rng(0).standard_normal((8, 4, 4, 4))
    before = tconv.checkerboard(w, stride=2)
    ax = before.draw(tconv.checkerboard(equalise(w, stride=2), stride=2))
    (image,) = ax.get_images()
    shown = image.get_array()
    middle = shown.shape[1] // 2
    left, right = shown[:, : middle - 2], shown[:, middle + 2 :]
    assert left.std() > 0.1
    assert right.std() < 1e-10
    scaled = [tconv.checkerboard(w * scale, stride=2).draw().get_title() for scale in (1e-200, 1, 1e200)]
    assert len(set(scaled)) == 1
    line = tconv.checkerboard(w[:, :, 0], stride=2).draw()
    assert len(line.lines) == 1
    with pytest.raises(ShapeError, match=r"after of \(8, 3, 2, 2\).*Write the reports of the same layers"):
        before.draw(tconv.checkerboard(w[:, :3], stride=2))


def test_the_picture_shows_the_input_that_makes_most_of_the_pattern():
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    for w in (rng.standard_normal((8, 1, 6)), rng.standard_normal((8, 1, 6)) + 1j * rng.standard_normal((8, 1, 6))):
        found = tconv.checkerboard(w, stride=3)
        moving = found.response[:, 0] - found.response[:, 0].mean(1, keepdims=True)
        (line,) = found.draw().lines
        seen = np.abs(line.get_ydata()[:3] - line.get_ydata()[:3].mean())
        left = np.linalg.svd(moving)[0][:, 0]
        tile = np.real(left.conj() @ found.response[:, 0])
        if w.dtype.kind == "f":  # of a complex weight the phase of the vector is free
            np.testing.assert_allclose(seen, np.abs(tile - tile.mean()), atol=1e-12)
        assert np.linalg.norm(seen) <= np.linalg.norm(moving, 2) + 1e-12


@given(geometries(ndims=(1, 2)), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_icnr_gives_every_phase_the_same_taps(g, seed):
    """For any kernel: the taps that every phase has are the same in each; a tap that only some phases have is 0."""
    w = np.random.default_rng(seed).integers(1, 9, (2 * g.groups, 2, *g.kernel))
    if min(map(min, g.overlap)) == 0:
        with pytest.raises(GeometryError, match="leaves phases without a tap"):
            icnr(w, geometry=g)
        return
    weight = icnr(w, geometry=g)
    least = [min(counts) for counts in g.overlap]
    first = w[(..., *np.ix_(*(taps[:count] for taps, count in zip(g.phases[0].taps, least, strict=True))))]
    for phase in g.phases:
        taps = weight[(..., *np.ix_(*phase.taps))]
        common = tuple(slice(0, count) for count in least)
        np.testing.assert_array_equal(taps[(..., *common)], first)
        assert np.count_nonzero(taps) == first.size
    assert tconv.checkerboard(weight, geometry=g).score == 0
    if set(g.dilation) == {1}:  # the initializer, which knows only the sizes, gives the same
        drawn = tconv.initializers.icnr(w.shape, g.stride, g.groups, draw=lambda shape: first)
        np.testing.assert_array_equal(weight, drawn)


def test_a_stack_of_real_and_complex_weights():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((1, 2, 3)) + 1j * rng.standard_normal((1, 2, 3)), rng.standard_normal((2, 1, 3))
    found = tconv.checkerboard([(first, {"stride": 2}), (second, {"stride": 1})])
    x = tconv.conv_transpose(np.ones((1, 1, 20), complex), first, stride=2)
    y = tconv.conv_transpose(x, second.astype(complex))
    np.testing.assert_allclose(found.response[0, 0], y[0, 0, 20:22])


def test_the_memory_of_a_response():
    """Computing it takes the sums over one axis and parts of fixed size, and no copies of the whole."""
    w = np.random.default_rng(0).standard_normal((32, 32, 64, 64))
    stack = [(w[..., :4, :4], {"stride": 2})] * 6
    for layers, arguments in ((w, {"stride": 64}), (stack, {})):
        tracemalloc.start()
        found = tconv.checkerboard(layers, **arguments)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * found.response.nbytes


BAD = [
    (GeometryError, icnr, (np.ones((1, 1, 3, 1)),), {"stride": 2}, "kernel (3, 1) with stride (2, 2) and dilation (1, 1) leaves phases without a tap"),
    (GeometryError, icnr, (np.ones((1, 1, 9)),), {"stride": 4, "dilation": 2}, "Write a kernel of at least the stride and a dilation that has no factor in common with it"),
    (DtypeError, equalise, (np.ones((1, 1, 4), np.int8),), {"stride": 2}, "weight is int8; equal gains need fractions, which integers cannot represent. Write tconv.artifacts.equalise(weight.astype(numpy.float32), ...)"),
    (DtypeError, equalise, (np.ones((1, 1, 4), bool),), {"stride": 2}, "weight is bool"),
    (ArgumentError, tconv.checkerboard, (np.ones((2, 1, 2)),), {"mean": np.float64([1, np.nan])}, "mean is [1.0, nan], which contains NaN or inf"),
    (TooLargeError, tconv.checkerboard, (np.ones((1, 1, 2, 2)),), {"stride": 1 << 20}, "the response to a constant has shape (1, 1, 1048576, 1048576)"),
    (ArgumentError, tconv.checkerboard, ([],), {}, "the stack is empty"),
    (ArgumentError, tconv.checkerboard, ([np.ones((1, 1, 2))],), {}, "each entry must be a weight and its arguments"),
    (ArgumentError, tconv.checkerboard, ([(np.ones((1, 1, 2)), {})],), {"stride": 2}, "the list of a stack has each layer's arguments in it"),
    (ShapeError, tconv.checkerboard, ([(np.ones((1, 2, 2)), {}), (np.ones((3, 2, 2)), {})],), {}, "layer 2 takes 3 channels, and the layer before it gives 2"),
    (ShapeError, tconv.checkerboard, (np.ones((2, 1, 2)),), {"mean": np.ones(3)}, "mean has shape (3,); one number per input channel is needed: (2,)"),
    (ShapeError, tconv.checkerboard, (np.ones((2, 1, 2)),), {"geometry": Geometry(3)}, "geometry.kernel is (3,)"),
    (ArgumentError, tconv.checkerboard, (np.ones((2, 1, 2)),), {"strides": 2}, "strides= is not an argument of the torch dialect"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "function", "arguments", "native", "message"), BAD, ids=[case[4][:50] for case in BAD]
)
def test_bad_input(kind, function, arguments, native, message):
    with pytest.raises(kind, match=re.escape(message)) as caught:
        function(*arguments, **native)
    assert "Write" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, None])
def test_empty_and_infinite_weights_are_refused(bad):
    w = np.ones((2, 0 if bad is None else 3, 4, 4))
    w[:1, :1] = 1 if bad is None else bad
    problem = "no element" if bad is None else "NaN or inf"
    for call in (tconv.checkerboard, tconv.artifacts.equalise, tconv.artifacts.icnr):
        with pytest.raises(tconv.TconvError, match=problem):
            call(w, stride=2)


def test_the_score_does_not_depend_on_the_scale():
    w = np.random.default_rng(0).standard_normal((4, 3, 4, 4))
    scores = [tconv.checkerboard(w * scale, stride=2).score for scale in (1e-200, 1e-170, 1, 1e170, 1e200)]
    np.testing.assert_allclose(scores, scores[2], rtol=1e-12)
