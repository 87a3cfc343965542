"""The checkerboard: gains are the operator's output for a constant, remedies are exact, scores are measured shares."""

from __future__ import annotations

import math
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
    (DtypeError, equalise, (np.ones((1, 1, 4), np.int8),), {"stride": 2}, "weight is int8; equal gains need fractions, which integers cannot represent. Write tconv.artifacts.equalise(np.asarray(weight, np.float32), ...)"),
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


# -- pixel shuffle ----------------------------------------------------------------------------------------------------


def shuffled(y, blocks, order):
    """Return y [N, C*blocks, *spatial] with blocks of channels as blocks of elements, the definition of both orders."""
    n, ndim = len(y), len(blocks)
    c, spatial = y.shape[1] // math.prod(blocks), y.shape[2:]
    parts = y.reshape(n, *((c, *blocks) if order == "CRD" else (*blocks, c)), *spatial)
    parts = parts if order == "CRD" else np.moveaxis(parts, ndim + 1, 1)
    axes = [part for axis in range(ndim) for part in (2 + ndim + axis, 2 + axis)]
    sizes = [size * block for size, block in zip(spatial, blocks, strict=True)]
    return parts.transpose(0, 1, *axes).reshape(n, c, *sizes)


def convolved(x, w, dilation=1, groups=1):
    """Return the ordinary convolution of x [N, C_in, *spatial] with w [C_out, C_in/groups, *k], without padding."""
    own = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    parts = zip(np.split(x, groups, 1), own, strict=True)
    # the adjoint of conv_transpose, whose weight [C_in, C_out, *k] is that of this convolution
    return np.concatenate([tconv.conv(part, each, dilation=dilation) for part, each in parts], 1)


SHUFFLES = [
    ((2,), (3,), 1, 1),
    ((3,), (2,), 2, 1),
    ((2, 2), (3, 3), 1, 1),
    ((2, 3), (1, 2), 1, 2),
    ((4, 4), (3, 3), 1, 1),
    ((2, 2), (3, 2), 3, 2),
    ((2, 1, 3), (2, 3, 1), 1, 1),
]


@pytest.mark.parametrize("order", ["CRD", "DCR"])
@pytest.mark.parametrize(("blocks", "kernel", "dilation", "groups"), SHUFFLES)
def test_the_score_of_a_pixel_shuffle_is_that_of_its_output(blocks, kernel, dilation, groups, order):
    """The response is compared with a convolution and a shuffle of constant inputs."""
    rng = np.random.default_rng(0)
    c_in, c_out = 2 * groups, 3 * groups
    w = rng.standard_normal((c_out * math.prod(blocks), c_in // groups, *kernel))
    found = tconv.checkerboard(
        w, pixel_shuffle=blocks, channel_order=order, dilation=dilation, groups=groups, padding=1
    )
    for channel in range(c_in):
        x = np.zeros((1, c_in, *(d + 9 for d in kernel)))
        x[:, channel] = 1
        y = shuffled(convolved(x, w, dilation, groups), blocks, order)[0]
        period = y[(slice(None), *(slice(0, block) for block in blocks))]
        np.testing.assert_allclose(found.response[channel], period, atol=1e-12)
    mean = found.response.mean(tuple(range(2, 2 + len(blocks))), keepdims=True)
    score = np.sqrt(((found.response - mean) ** 2).sum() / (found.response**2).sum())
    assert found.score == pytest.approx(score)
    assert found.score > 0.1
    assert f"a convolution and a pixel shuffle by {blocks}, channels in the order {order}" in str(found)


@pytest.mark.parametrize("order", ["CRD", "DCR"])
@pytest.mark.parametrize(("blocks", "kernel"), [((2,), (3,)), ((2, 3), (3, 2)), ((3, 3), (1, 1))])
def test_equal_phases_of_a_pixel_shuffle(blocks, kernel, order):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4 * math.prod(blocks), 5, *kernel))
    arguments = {"pixel_shuffle": blocks, "channel_order": order}
    x = rng.standard_normal((1, 5, *(k + 4 for k in kernel)))
    even = equalise(w, **arguments)
    assert even.shape == w.shape
    assert tconv.checkerboard(even, **arguments).score < 1e-12
    before, after = (tconv.checkerboard(each, **arguments).response for each in (w, even))
    phases = tuple(range(2, 2 + len(blocks)))
    np.testing.assert_allclose(before.mean(phases), after.mean(phases), atol=1e-12)
    y = shuffled(convolved(x, icnr(w, **arguments)), blocks, order)
    first: tuple = (..., *(slice(0, None, block) for block in blocks))
    for place in np.ndindex(*blocks):
        other = (..., *(slice(p, None, block) for p, block in zip(place, blocks, strict=True)))
        np.testing.assert_allclose(y[other], y[first], atol=1e-12)
    plain = shuffled(convolved(x, w), blocks, order)
    np.testing.assert_allclose(y[first], plain[first], atol=1e-12)  # the numbers of phase 0 stay


@pytest.mark.parametrize("name", ["tensorflow", "keras", "jax", "mlx", "onnx", "paddle"])
def test_pixel_shuffle_in_other_layouts(name):
    """The order of the channels is that of the framework's own function."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((12, 3, 3, 2))
    order = tconv.dialect(name).shuffle_order
    pattern = tconv.dialect(name).conv_weight_pattern
    axes = {"OI*": (0, 1, 2, 3), "*IO": (2, 3, 1, 0), "O*I": (0, 2, 3, 1)}[pattern]
    native = np.ascontiguousarray(w.transpose(axes))
    expected = tconv.checkerboard(w, pixel_shuffle=2, channel_order=order)
    got = tconv.checkerboard(native, pixel_shuffle=2, dialect=name)
    np.testing.assert_array_equal(got.response, expected.response)
    there = equalise(native, pixel_shuffle=2, dialect=name)
    np.testing.assert_array_equal(there, equalise(w, pixel_shuffle=2, channel_order=order).transpose(axes))
    assert order == ("CRD" if name in ("mlx", "paddle") else "DCR")


def test_a_pixel_shuffle_in_a_stack():
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((12, 2, 3, 3)), rng.standard_normal((3, 4, 4, 4))
    found = tconv.checkerboard([(w1, {"pixel_shuffle": 2}), (w2, {"stride": 2, "padding": 1})])
    assert found.period == (4, 4)
    x = np.zeros((1, 2, 12, 12))
    x[:, 1] = 1
    y = tconv.conv_transpose(shuffled(convolved(x, w1), (2, 2), "CRD"), w2, stride=2, padding=1)[0, :, 8:12, 8:12]
    got = found.response[1]
    rolled = [np.roll(got, (a, b), (1, 2)) for a in range(4) for b in range(4)]
    assert any(np.allclose(y, each, atol=1e-9) for each in rolled)
    assert found.layers[0] == pytest.approx(tconv.checkerboard(w1, pixel_shuffle=2).score)


SHUFFLED = np.ones((8, 2, 3, 3))
REFUSED = [
    (
        {"pixel_shuffle": 3},
        ShapeError,
        "has 8 output channels, which pixel_shuffle=(3, 3) and 1 groups do not divide. Write a weight with a multiple of 9",
    ),
    ({"pixel_shuffle": 2, "channel_order": "RGB"}, ArgumentError, "channel_order is 'RGB'; there are CRD and DCR"),
    ({"channel_order": "CRD"}, ArgumentError, "channel_order= was given without pixel_shuffle="),
    (
        {"pixel_shuffle": 2, "stride": 2},
        GeometryError,
        "stride is (2, 2); a convolution before a pixel shuffle has a stride of 1",
    ),
    (
        {"pixel_shuffle": 2, "output_padding": 1},
        ArgumentError,
        "output_padding= was given together with pixel_shuffle=",
    ),
    ({"pixel_shuffle": 0}, GeometryError, "pixel_shuffle is 0; it must be at least 1"),
    (
        {"pixel_shuffle": 2, "geometry": tconv.Geometry((3, 3))},
        ArgumentError,
        "geometry= was given together with pixel_shuffle=",
    ),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), REFUSED)
def test_bad_arguments_of_a_pixel_shuffle(arguments, kind, message):
    for function in (tconv.checkerboard, equalise, icnr):
        with pytest.raises(kind, match=re.escape(message)):
            function(SHUFFLED, **arguments)


# -- tones ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("complex_weights", [False, True])
@pytest.mark.parametrize(("stride", "kernel"), [(2, 4), (4, 8), (5, 7), (8, 16)])
def test_tones_are_the_lines_of_the_spectrum(stride, kernel, complex_weights):
    """facebookresearch/demucs#303: the tone of a decoder, measured in the output for a constant input."""
    rng = np.random.default_rng(stride)
    w = rng.standard_normal((3, 2, kernel)) + 1j * complex_weights * rng.standard_normal((3, 2, kernel))
    found = tconv.checkerboard(w, stride=stride, sample_rate=44100)
    assert sum(tone.share**2 for tone in found.tones) == pytest.approx(found.score**2)
    assert [tone.share for tone in found.tones] == sorted((tone.share for tone in found.tones), reverse=True)
    n, power = 64 * stride, 0
    for channel in range(3):
        x = np.zeros((1, 3, 80), w.dtype)
        x[:, channel] = 1
        y = tconv.conv_transpose(x, w, stride=stride)[0, :, 8 * stride : 8 * stride + n]
        power = power + (np.abs(np.fft.fft(y, axis=1) / n) ** 2).sum(0)
    for tone in found.tones:
        line = round(n * tone.frequency / 44100)
        assert line / n == pytest.approx(float(tone.fraction))
        own = power[line] + (power[n - line] if 2 * line != n else 0)
        assert tone.share == pytest.approx(np.sqrt(own / power.sum()))
    strongest = found.tones[0]
    assert f"tone      {strongest.frequency:g} Hz ({strongest.fraction} of the sampling rate, 44100 Hz): " in str(found)
    unknown = tconv.checkerboard(w, stride=stride)
    assert unknown.tones[0].frequency == float(strongest.fraction)
    assert f"tone      {strongest.fraction} of the sampling rate: {strongest.share:.1%}" in str(unknown)


def test_a_stack_and_a_pixel_shuffle_have_tones():
    rng = np.random.default_rng(0)
    w1, w2 = rng.standard_normal((4, 3, 8)), rng.standard_normal((3, 2, 8))
    found = tconv.checkerboard([(w1, {"stride": 4}), (w2, {"stride": 2})], sample_rate=16000)
    assert {tone.frequency for tone in found.tones}.issubset({2000, 4000, 6000, 8000})
    assert sum(tone.share**2 for tone in found.tones) == pytest.approx(found.score**2)
    assert [tone.frequency for tone in tconv.checkerboard(w1, pixel_shuffle=2, sample_rate=8000).tones] == [4000]
    even = tconv.checkerboard(equalise(w1, stride=4), stride=4, sample_rate=16000)
    assert all(tone.share < 1e-12 for tone in even.tones)
    assert tconv.checkerboard(np.ones((2, 3, 4, 4)), stride=3).tones == ()


@pytest.mark.parametrize(
    ("weight", "rate", "message"),
    [
        (
            np.ones((2, 3, 4)),
            0,
            "sample_rate is 0; the samples per second of the output are needed. Write sample_rate=44100",
        ),
        (np.ones((2, 3, 4)), "44.1k", "sample_rate is '44.1k'"),
        (np.ones((2, 3, 4, 4)), 44100, "the layers have 2 spatial axes; only signals of one axis have tones"),
    ],
)
def test_bad_sample_rates(weight, rate, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        tconv.checkerboard(weight, stride=2, sample_rate=rate)


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 2, "padding": 1},
        {"stride": np.array([2, 2]), "groups": 2},
        {"dialect": "keras", "strides": (2, 2), "padding": "same"},
        {"geometry": Geometry((4, 4), 2, 1)},
        {"pixel_shuffle": 2, "channel_order": "DCR"},
        {"pixel_shuffle": 2, "dialect": "tensorflow"},
    ],
)
def test_the_remedies_can_be_pasted(arguments):
    weight = np.random.default_rng(4).normal(1, 1, (4, 4, 4, 4))
    found = tconv.checkerboard(weight, **arguments)
    lines = [line.partition("weight = ")[2] for line in str(found).splitlines() if line.startswith("remedy")]
    assert len(lines) == 2
    for line in lines:
        names = {"tconv": tconv, "weight": weight}
        exec(f"weight = {_call(line)}", names)
        assert tconv.checkerboard(names["weight"], **arguments).score < 1e-9


def _call(line):
    """Return the code at the beginning of a line, up to the bracket that closes its first."""
    depth = 0
    for place, sign in enumerate(line):
        depth += (sign == "(") - (sign == ")")
        if sign == ")" and depth == 0:
            return line[: place + 1]
    raise AssertionError(line)


def test_each_layer_of_a_stack_has_its_own_arguments():
    rng = np.random.default_rng(5)
    stack = [
        (rng.normal(1, 1, (2, 2, 3)), {"stride": 2}),
        (rng.normal(1, 1, (3, 2, 2)), {"dialect": "keras", "strides": 3}),
    ]
    text = str(tconv.checkerboard(stack))
    assert "tconv.artifacts.equalise(weight, stride=2): " in text
    assert "tconv.artifacts.equalise(weight, dialect='keras', strides=3): " in text
