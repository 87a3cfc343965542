"""Rows of an output have the same bits however it is cut: networks, filters and kernels of every width, inf and NaN too."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tconv
from tconv import Geometry, TconvError, definition
from tconv.models import Convolution, Network, Node, Sum, network, photo
from tconv.operator import strips
from tconv.operator.method_choice import choose_method
from tconv.upsampling.filters import CustomKernel, NamedFilter
from tconv.upsampling.upsampler import Frame
from tconv.weights.interpolation import FILTERS, crop_for

ACTIVATIONS = [None, "relu", "relu6", ("leaky_relu", 0.2), ("clamp", -0.5, 0.5), "prelu"]
seeds = st.integers(0, 2**32 - 1)


def equal(a, b):
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_array_equal(np.nan_to_num(a, nan=0), np.nan_to_num(b, nan=0))


def cuts(rng, total, most=5):
    """Return random consecutive slices that together are all rows."""
    edges = sorted({0, total, *map(int, rng.integers(0, total + 1, int(rng.integers(1, most))))})
    return [slice(*ends) for ends in itertools.pairwise(edges)]


def rows_of(net, x, spans):
    """Return the output rows of a picture x [C, H, W], strip by strip, each from the rows that it needs."""
    height = x.shape[1]
    parts = []
    for span in spans:
        window = net.window(span, height)
        parts.append(net.rows(x[:, window], window.start, height, span))
    return np.concatenate(parts, 1)


def spoil(rng, x):
    """Put inf, NaN or very large numbers in a few places."""
    numbers = [np.inf, -np.inf, np.nan, 3e38, -3e38, 5e19]
    x.flat[rng.integers(0, x.size, 4)] = rng.choice(numbers, 4)


# -- networks ----------------------------------------------------------------------------------------------------


def test_rows_of_a_wide_layer_do_not_depend_on_the_cuts():
    """Minimal filtering, which "auto" chooses for this layer, pairs the rows of a strip."""
    rng = np.random.default_rng(0)
    layer = Convolution(rng.normal(0, 1, (64, 64, 4, 4)).astype("f4"), Geometry((4, 4), 2, 1))
    x = rng.normal(0, 1, (64, 100, 64)).astype("f4")
    assert tconv.plan(x[None], layer.weight, geometry=layer.geometry).method == "winograd"
    net = Network([Node(layer, (0,))])
    whole = rows_of(net, x, [slice(0, 200)])
    np.testing.assert_array_equal(rows_of(net, x, [slice(0, 90), slice(90, 96), slice(96, 200)]), whole)


WIDE = [
    # in, out, kernel, stride, crop, dilation, groups
    (64, 64, (4, 4), 2, 1, 1, 1),
    (48, 64, (3, 3), 2, [(1, 0), (0, 1)], 1, 1),
    (64, 32, (6, 5), 3, 1, 1, 1),
    (32, 48, (2, 4), (1, 2), [(0, 1), (1, 1)], 1, 1),
    (64, 48, (2, 2), 1, 0, 1, 1),
    (24, 24, (7, 3), (4, 2), 1, 1, 1),
    (64, 64, (4, 4), 2, 1, 1, 2),
    (32, 64, (5, 5), 2, 2, (2, 1), 1),
    (16, 8, (1, 1), 10, 0, 1, 1),
    (40, 3, (9, 9), 2, 4, 1, 1),
]


def wide_network(rng):
    """Return one to three of these layers in a row, in some a layer of rows in groups and a sum between them."""
    nodes, channels = [], None
    for _ in range(int(rng.integers(1, 4))):
        into, out, kernel, stride, crop, dilation, groups = WIDE[rng.integers(len(WIDE))]
        into = channels or into
        groups = groups if into % groups == 0 else 1
        bias = rng.normal(0, 0.3, out).astype("f4") if rng.random() < 0.7 else None
        weight = (rng.normal(0, 1, (into, out // groups, *kernel)) / np.sqrt(into * 4)).astype("f4")
        bend = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
        bend = ("prelu", rng.uniform(-0.5, 1.5, out).astype("f4")) if bend == "prelu" else bend
        layer = Convolution(weight, Geometry(kernel, stride, crop, dilation, groups), bias, bend)
        nodes.append(Node(layer, (len(nodes),)))
        channels = out
        if rng.random() < 0.4 and out < 64:
            grouped = rng.normal(0, 0.1, (out, out, 3, 3)).astype("f4")
            nodes.append(Node(Convolution.ordinary(grouped, None, 1), (len(nodes),)))
            nodes.append(Node(Sum(), (len(nodes), len(nodes) - 1)))
    return Network(nodes)


def drawn(seed):
    """Return a wide network, and a picture [C, H, W] of a size that it takes and that is not too much work."""
    rng = np.random.default_rng(seed)
    while True:
        net = wide_network(rng)
        shape = int(rng.integers(1, 40)), int(rng.choice([1, 3, 16, 33, 64]))
        try:
            sizes = net.sizes(shape)
            work = sum(problem.products for problem in net.problems(shape))
        except TconvError:
            continue
        if max(height * width for height, width in sizes) <= 60_000 and work < 1 << 30:
            break
    x = rng.normal(0, 1, (net.channels[0], *shape)).astype("f4")
    if rng.random() < 0.4:
        spoil(rng, x)
    return net, x, rng


@given(seeds, st.integers(8, 20), st.integers(1, 4))
@settings(max_examples=60)
def test_wide_networks_have_the_same_bits_for_any_strips(seed, strip, threads):
    net, x, rng = drawn(seed)
    total = net.output_shape(x.shape[1:])[0]
    before = network._STRIP, tconv.get_num_threads()
    try:
        network._STRIP = 1 << 40
        whole = rows_of(net, x, [slice(0, total)])
        network._STRIP = 1 << strip
        tconv.set_num_threads(threads)
        equal(rows_of(net, x, [slice(0, total)]), whole)
        equal(rows_of(net, x, cuts(rng, total)), whole)
    finally:
        network._STRIP = before[0]
        tconv.set_num_threads(before[1])


def test_the_drawn_networks_have_layers_that_would_be_filtered():
    """Otherwise the test above could not fail."""
    chosen = [
        choose_method(problem, "auto") for net, x, _ in map(drawn, range(40)) for problem in net.problems(x.shape[1:])
    ]
    assert chosen.count("winograd") > 10
    assert chosen.count("simd") > 20


@pytest.mark.parametrize("why", ["no kernel", "a weight is infinite"])
def test_without_the_direct_sum_rows_are_computed_alone(monkeypatch, why):
    if why == "no kernel":
        for module in ("direct", "winograd_f43"):
            monkeypatch.setattr(f"tconv.kernels.simd.{module}.reason_unavailable", lambda: "it is off")
    for seed in range(25):
        net, x, rng = drawn(seed)
        if why == "a weight is infinite":
            step = net.nodes[0].step
            step.weight.flat[rng.integers(0, step.weight.size, 2)] = [np.inf, np.nan]
            net = Network([Node(Convolution(step.weight, step.geometry, step.bias, step.activation), (0,))])
        total = net.output_shape(x.shape[1:])[0]
        whole = rows_of(net, x, [slice(0, total)])
        for _ in range(2):
            equal(rows_of(net, x, cuts(rng, total)), whole)


@pytest.mark.parametrize("able", [True, False])
def test_a_strip_is_the_definition(monkeypatch, able):
    """On whole numbers, exactly, in both ways of computing it."""
    if not able:
        monkeypatch.setattr("tconv.kernels.simd.direct.reason_unavailable", lambda: "it is off")
    rng = np.random.default_rng(0)
    for _ in range(60):
        kernel, stride, dilation = ([int(n) for n in rng.integers(1, most, 2)] for most in (6, 5, 4))
        groups = int(rng.integers(1, 4))
        g = Geometry(kernel, stride, [tuple(map(int, rng.integers(-2, 3, 2))) for _ in kernel], dilation, groups)
        x = rng.integers(-5, 6, (2, 3 * groups, *rng.integers(1, 9, 2))).astype("f4")
        w, bias = rng.integers(-5, 6, (3 * groups, 2, *kernel)).astype("f4"), rng.integers(-5, 6, 2 * groups)
        try:
            shape = g.output_shape(x.shape[2:])
        except TconvError:
            continue
        expected = definition.scatter(x, w, geometry=g)
        np.testing.assert_array_equal(strips.conv_transpose_strip(x, w, g), expected)
        out = np.empty((2, 2 * groups, *shape), "f4")
        strips.StripLayer(w, bias.astype("f4"), g, "relu").specialized(x, out)(x, out)
        np.testing.assert_array_equal(out, np.maximum(0, expected + bias[:, None, None]))


@pytest.mark.parametrize("able", [True, False])
def test_the_methods_that_are_reported_are_those_that_run(monkeypatch, able):
    if not able:
        for module in ("direct", "winograd_f43"):
            monkeypatch.setattr(f"tconv.kernels.simd.{module}.reason_unavailable", lambda: "it is off")
    ran = []
    for kind, owner, name in [
        ("winograd F(4,3)", Convolution, "in_groups"),
        ("rows of taps", strips.StripLayer, "_run_alone"),
        ("simd", strips.StripLayer, "_specialized"),
    ]:
        honest = getattr(owner, name)

        def recorded(self, *given, kind=kind, honest=honest, **named):
            ran.append((kind, id(self)))
            return honest(self, *given, **named)

        monkeypatch.setattr(owner, name, recorded)
    net = photo(2).network
    net(np.random.default_rng(0).random((1, 1, 60, 60), np.float32))
    assert Counter(net.methods()) == Counter(kind for kind, _ in set(ran))
    assert len(net.methods()) == len(net.problems((60, 60)))


# -- filters and kernels -----------------------------------------------------------------------------------------


def strips_of(upsampler, x, spans):
    frame = Frame(x.shape[1], 1.0, False)
    parts = []
    for span in spans:
        window = upsampler.window(span, x.shape[1])
        rows = x[:, np.clip(np.arange(window.start, window.stop), 0, x.shape[1] - 1)]
        parts.append(upsampler.strip(rows, window.start, span, frame))
    return np.concatenate(parts, 1)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("able", [True, False])
def test_filters_and_kernels_have_the_same_bits_for_any_strips(monkeypatch, able, dtype):
    """A kernel across many channels is wide enough for minimal filtering, and for BLAS to choose among its sums."""
    if not able:
        monkeypatch.setattr("tconv.kernels.simd.direct.reason_unavailable", lambda: "it is off")
    rng = np.random.default_rng(0)
    kernels = [rng.normal(0, 1, (4, 4)), rng.normal(0, 1, (48, 40, 4, 4)), rng.normal(0, 1, (48, 3, 5, 3))]
    upsamplers = [NamedFilter(name, scale) for name in FILTERS for scale in (2, 3)]
    upsamplers += [CustomKernel(kernel, 2, "kernel") for kernel in kernels]
    x = rng.normal(0, 1, (48, 50, 64)).astype(dtype)
    if dtype[0] == "c":
        x += 1j * rng.normal(0, 1, x.shape).astype(x.real.dtype)
    for upsampler in upsamplers:
        total = upsampler.scale * x.shape[1]
        whole = strips_of(upsampler, x, [slice(0, total)])
        for _ in range(3):
            np.testing.assert_array_equal(strips_of(upsampler, x, cuts(rng, total, 7)), whole)


# -- the direct sum ----------------------------------------------------------------------------------------------


def cropped(rng, x, w, g, whole):
    """Return a random part of the output on both axes, computed from the inputs that it needs, and that of `whole`."""
    crops, parts, sources = [], [], []
    for axis, size in enumerate(whole.shape[2:]):
        along = Geometry(g.kernel[axis], g.stride[axis], [g.crop[axis]], g.dilation[axis])
        span = slice(*sorted(map(int, rng.choice(size + 1, 2, replace=False))))
        (source,) = along.input_window([span], x.shape[2 + axis])
        start = min(source.start, x.shape[2 + axis] - 1)
        sources.append(slice(start, max(start + 1, source.stop)))
        crops.append(crop_for(along, start, sources[-1].stop - start, span))
        parts.append(span)
    y = tconv.conv_transpose(
        x[:, :, *sources], w, geometry=Geometry(g.kernel, g.stride, crops, g.dilation, g.groups), method="simd"
    )
    return y, whole[:, :, *parts]


CROPPED = [
    # channels of a group, output channels of a group, kernel, stride, dilation, groups
    (64, 1, (3, 40), (2, 5), (1, 2), 3),  # phases whose shifts together are more than those of one part
    (16, 5, (40, 40), (5, 5), (3, 3), 1),
    (33, 2, (5, 33), (1, 3), 1, 1),
    (130, 4, (1, 70), (1, 4), 1, 1),
    (64, 64, (4, 4), 2, 1, 1),
    (5, 3, (9, 9), 4, 2, 1),
]


@pytest.mark.parametrize("case", CROPPED, ids=str)
def test_the_direct_sum_has_the_same_bits_for_any_crop(case):
    into, out, kernel, stride, dilation, groups = case
    rng = np.random.default_rng(0)
    for _ in range(8):
        lo = [tuple(map(int, rng.integers(-2, 4, 2))) for _ in kernel]
        g = Geometry(kernel, stride, lo, dilation, groups)
        x = rng.normal(0, 1, (1, into * groups, int(rng.integers(2, 14)), int(rng.integers(17, 60)))).astype("f4")
        w = rng.normal(0, 1, (into * groups, out, *kernel)).astype("f4")
        whole = tconv.conv_transpose(x, w, geometry=g, method="simd")
        for _ in range(3):
            np.testing.assert_array_equal(*cropped(rng, x, w, g, whole))


def test_the_direct_sum_has_the_same_bits_for_any_batch(threads):
    rng = np.random.default_rng(0)
    for into, out, kernel, stride, size in [(64, 64, 4, 2, (12, 12)), (64, 3, 9, 3, (3, 5)), (9, 20, 3, 1, (2, 2))]:
        x = rng.normal(0, 1, (17, into, *size)).astype("f4")
        w = rng.normal(0, 1, (into, out, kernel, kernel)).astype("f4")
        whole = tconv.conv_transpose(x, w, stride=stride, method="simd")
        for n in range(0, 17, 5):
            for count in (1, 3):
                threads(count)
                one = tconv.conv_transpose(x[n : n + 1], w, stride=stride, method="simd")
                np.testing.assert_array_equal(one[0], whole[n])
