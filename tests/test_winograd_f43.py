"""Tests of minimal filtering F(4,3): the identity, every geometry against the definition, the same bits for any cuts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tconv
from tconv import Geometry, definition
from tconv.errors import ShapeError
from tconv.kernels.activation import activation_of
from tconv.kernels.simd import winograd_f43
from tconv.kernels.simd.winograd_f43 import algebra, row_groups
from tconv.kernels.simd.winograd_f43.interface import Skip
from tconv.models import Convolution, Network, Node, layers
from tconv.models import network as networks
from tconv.models.row_buffer import RowBuffer
from test_machine_code import CPUS, X86
from test_memory_safety import GUARDED, linux

EPS = float(np.finfo(np.float32).eps)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("outputs", [4, 2])
def test_the_identity_in_exact_numbers(outputs):
    """It is computed in fractions, where nothing is rounded."""
    from fractions import Fraction

    A, G, B = algebra.matrices(outputs)
    for matrix in (A, B):
        assert (matrix.astype(np.float32) == matrix).all()
    exact = np.vectorize(lambda value: Fraction(float(value)).limit_denominator(1000), otypes=[object])
    rng = np.random.default_rng(0)
    for _ in range(20):
        g, d = (exact(rng.integers(-9, 10, count)) for count in (3, outputs + 2))
        y = exact(A).dot(exact(G).dot(g) * exact(B).dot(d))
        assert (y == [sum(g[r] * d[j + r] for r in range(3)) for j in range(outputs)]).all()


class Case:
    """Random layer and its input, with the output in float64."""

    def __init__(self, rng):
        in_channels, out, taps = int(rng.integers(1, 40)), int(rng.integers(1, 40)), int(rng.integers(1, 13))
        sizes = [1, 2, 3, 5, 16, 31, 100, 200]
        if rng.random() < 0.3:  # pairs of columns
            in_channels, out, taps, sizes = int(rng.integers(16, 30)), int(rng.integers(16, 26)), 3, sizes[:-1]
        self.pair_terms = int(rng.choice([20, 96]))
        self.height, width = (int(n) for n in rng.choice(sizes, 2))
        if taps == 3:
            self.height = min(self.height, 31)
        self.geometry = Geometry((3, taps), 1, [tuple(map(int, rng.integers(-3, 6, 2))) for _ in range(2)])
        try:
            self.shape = self.geometry.output_shape((self.height, width))
        except tconv.TconvError:
            self.shape = (0, 0)
        top = self.geometry.crop[0][0]
        self.reach = slice(max(0, min(top - 2, self.height - 1)), min(self.height, max(1, self.shape[0] + top)))
        self.x = rng.normal(0, 1, (in_channels, self.height, width)).astype("f4")
        self.w = rng.normal(0, 1, (in_channels, out, 3, taps)).astype("f4")
        self.bias = rng.normal(0, 1, out).astype("f4") if rng.random() < 0.7 else None
        self.activation = activation_of(
            [None, "relu", ("prelu", rng.normal(0, 1, out).astype("f4"))][rng.integers(3)], out
        )
        self.anchor = int(rng.integers(0, 4))
        self.panel = int(rng.choice([1, 1 << 30]))  # rows in the shortest segments, or whole

    def truth(self):
        """Return the output [C, H, W] in float64, and the allowed distance of float32 from it."""
        bias = None if self.bias is None else self.bias.astype("f8")
        y = definition.scatter(self.x[None].astype("f8"), self.w.astype("f8"), bias, geometry=self.geometry)
        mass = algebra.mass(np.abs(self.x), np.abs(self.w), self.geometry.crop, self.anchor)
        terms = len(self.x) * self.w.shape[3]
        allowed = EPS * np.sqrt(terms + 8) * (mass + (0 if bias is None else np.abs(bias)[:, None, None]))
        if self.activation is not None:
            self.activation.apply(y)
            allowed = (
                allowed * np.maximum(1, np.abs(np.broadcast_to(self.activation.slopes, y.shape[1])))[:, None, None]
            )
        return y[0], allowed

    def layer(self):
        crop = self.geometry.crop
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(row_groups, "_PAIR_TERMS", self.pair_terms)
            return row_groups.WinogradLayer(self.w, self.bias, self.activation, crop[0][0], crop[1][0])

    def run(self, x, out, rows, layer=None, **more):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(row_groups, "_PANEL", self.panel)
            return (layer or self.layer())(x, self.reach, rows, out, self.anchor, **more)


def cases(seed):
    rng = np.random.default_rng(seed)
    while True:
        case = Case(rng)
        if min(case.shape) > 0:
            return case, rng


@given(seeds)
@settings(max_examples=100)
def test_every_layer_is_the_definition(seed):
    case, _ = cases(seed)
    y, allowed = case.truth()
    out = np.full(y.shape, np.nan, "f4")
    assert case.run(RowBuffer(case.x, 0, case.height), RowBuffer(out, 0, 0), slice(0, y.shape[1]))
    assert (np.abs(out - y) <= allowed).all()


def ring(channels, rows, width, anchor):
    """Return a ring of rows of NaN, with other elements between the rows that must not be changed."""
    return RowBuffer(np.full((channels, rows, width + 3), np.nan, "f4")[:, :, :width], anchor, 0, rows)


@given(seeds, st.integers(1, 4))
@settings(max_examples=100)
def test_cuts_rings_and_threads_do_not_change_a_bit(seed, threads):
    case, rng = cases(seed)
    rows = case.shape[0]
    whole = np.full((len(case.w[0]), *case.shape), np.nan, "f4")
    case.run(RowBuffer(case.x, 0, case.height), RowBuffer(whole, 0, 0), slice(0, rows))
    # the input in a ring as long as all of it or longer, begun anywhere; the output in a ring of groups
    period = case.height + int(rng.integers(0, 5))
    start = -int(rng.integers(0, period))
    x = ring(len(case.x), period, case.x.shape[2], start)
    for piece in x.pieces(case.reach):  # rows that must not be read are NaN
        x.view(piece)[0] = case.x[:, piece]
    out = ring(len(whole), 4 * int(rng.integers(2, 6)), whole.shape[2], case.anchor - 4)
    layer, before = case.layer(), tconv.get_num_threads()
    tconv.set_num_threads(threads)
    try:
        starts = [n for n in range(case.anchor - 4, rows + 4, 4) if 0 < n < rows]
        cuts = sorted({int(n) for n in rng.choice(starts, min(4, len(starts)), replace=False)}) if starts else []
        for begin, end in itertools.pairwise([0, *cuts, rows]):
            for first in range(begin, end, 4) if begin else [0]:
                last = min(first + 4, end) if begin else min(end, out.period - 4)
                case.run(x, out, slice(first, last), layer)
                np.testing.assert_array_equal(out.gathered(slice(first, last))[0], whole[:, first:last])
        assert np.isnan(out.array.base[:, :, whole.shape[2] :]).all()
    finally:
        tconv.set_num_threads(before)


def test_rows_of_many_segments_and_sums_of_many_parts():
    """Random layers of other tests include both: nothing else tests them."""
    random_cases = [cases(seed)[0] for seed in range(300)]
    assert sum(case.panel == 1 and case.shape[1] > 64 for case in random_cases) > 20
    for unit in (1, 2):
        layers = [case.layer() for case in random_cases if algebra.unit_columns(case.w) == unit]
        assert sum(len(layer._ranges) > 1 for layer in layers) > 5


@pytest.mark.parametrize("taps", [255, 256, 257, 300])
def test_rows_of_very_many_taps(taps):
    rng = np.random.default_rng(0)
    w = rng.normal(0, 1, (4, 4, 3, taps)).astype("f4")
    layers = [
        Convolution(w, Geometry((3, taps), 1, [(1, 1), (taps // 2, taps // 2)])),
        Convolution.ordinary(w[:, :, :1, :1]),
    ]
    net = Network([Node(layer, (number,)) for number, layer in enumerate(layers)])
    assert bool(net.anchors) == (taps <= 256)
    x = rng.normal(0, 1, (1, 4, 9, 320)).astype("f4")
    y = definition.scatter(x.astype("f8"), w.astype("f8"), geometry=layers[0].geometry)
    y = definition.scatter(y, layers[1].weight.astype("f8"))
    np.testing.assert_allclose(net(x), y, rtol=0, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize(
    "shape", [(12, 12, 3), (64, 64, 3), (256, 8, 3), (96, 32, 3), (192, 32, 3), (4, 32, 7)], ids=str
)
def test_rounding_stays_near_that_of_the_direct_sum(shape):
    """The root mean square error is at most three times the direct kernel's."""
    rng = np.random.default_rng(0)
    in_channels, out, taps = shape
    x, w = (rng.normal(0, 1, s).astype("f4") for s in ((in_channels, 40, 50), (in_channels, out, 3, taps)))
    g = Geometry((3, taps), 1, [(1, 1), (taps // 2, taps // 2)])
    y = definition.scatter(x[None].astype("f8"), w.astype("f8"), geometry=g)[0]
    direct = tconv.conv_transpose(x[None], w, geometry=g, method="simd")[0]
    got = np.empty_like(direct)
    layer = winograd_f43.row_group_layer(w, None, g, None)
    layer(RowBuffer(x, 0, 40), slice(0, 40), slice(0, 40), RowBuffer(got, 0, 0), 0)
    assert np.sqrt(np.mean((got - y) ** 2)) <= 3 * np.sqrt(np.mean((direct - y) ** 2))


# -- inf and NaN -------------------------------------------------------------------------------------------------


def chain(rng, activation, channels=4):
    """Return a network of three layers; the first two compute rows in groups."""
    size = 0.4 / channels**0.5
    steps = [
        Convolution.ordinary(rng.normal(0, size, shape).astype("f4"), None, 1, activation=activation)
        for shape in ((channels + 1, channels, 3, 3), (channels, channels + 1, 3, 3))
    ]
    steps.append(Convolution.ordinary(rng.normal(0, size, (2, channels, 1, 1)).astype("f4")))
    return Network([Node(step, (number,)) for number, step in enumerate(steps)])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("activation", [None, "relu", "relu6", ("clamp", -1, 1), ("leaky_relu", -0.5)], ids=str)
@pytest.mark.parametrize("strip", [1, 1 << 40])
@pytest.mark.parametrize("channels", [4, 20])
def test_inf_and_nan_spread_as_in_the_direct_form(value, activation, strip, channels, monkeypatch):
    monkeypatch.setattr(networks, "_STRIP", strip)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (1, channels, 40, 30)).astype("f4")
    for row, column in ((7, 3), (22, 29), (39, 0)):
        x[0, int(rng.integers(channels)), row, column] = value
    net = chain(np.random.default_rng(1), activation, channels)
    assert net.anchors
    assert {node.step.grouped.unit for node in net.nodes[:2]} == {1 if channels == 4 else 2}
    with monkeypatch.context() as patch:
        patch.setattr(layers, "row_group_layer", lambda *arguments: None)
        direct = chain(np.random.default_rng(1), activation, channels)
        assert not direct.anchors
        with np.errstate(all="ignore"):
            expected = direct(x)
    with np.errstate(all="ignore"):
        got = net(x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    fine = np.isfinite(expected)
    # errors are in proportion to the inputs of a group
    np.testing.assert_allclose(got[fine], expected[fine], rtol=0, atol=2e-5 * (abs(value) if value == 3e38 else 1))


def test_pairs_of_columns_are_those_of_the_network_whatever_the_strips(monkeypatch):
    """Groups and pairs of each layer begin where those of the next begin to read."""
    x, results = np.random.default_rng(0).random((1, 20, 37, 45), np.float32), []
    for strip in (1, 1 << 14, 1 << 40):
        monkeypatch.setattr(networks, "_STRIP", strip)
        net = chain(np.random.default_rng(1), "relu", 20)
        results.append(net(x))
    assert net.column_anchors == {1: 1, 2: 0}
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


# -- inputs of a network ----------------------------------------------------------------------------------------


def test_pictures_of_any_layout():
    net, rng = chain(np.random.default_rng(1), "relu"), np.random.default_rng(0)
    records = np.zeros((1, 4, 20, 24), [("value", "f4"), ("other", "i2")])
    records["value"] = rng.random(records.shape)
    for x in (
        np.moveaxis(rng.random((20, 24, 4), np.float32), 2, 0)[None],
        rng.random((1, 4, 20, 24), np.float32)[..., ::-1],
        rng.random((1, 4, 20, 48), np.float32)[..., ::2],
        rng.random((1, 4, 24, 20), np.float32).swapaxes(2, 3),
        np.broadcast_to(rng.random((1, 4, 1, 1), np.float32), (1, 4, 20, 24)),
        records["value"],
    ):
        np.testing.assert_array_equal(net(x), net(np.ascontiguousarray(x)))


def test_rows_that_are_not_there_are_refused():
    net = chain(np.random.default_rng(1), None)
    x = np.random.default_rng(0).random((4, 200, 30), np.float32)
    for rows, first, height, outputs, message in [
        (x[:, 100:], 100, 200, slice(0, 200), "x has rows 100 to 200 of the picture; 0 to 200 are needed"),
        (x[:, :50], 0, 200, slice(0, 200), "x has rows 0 to 50"),
        (x, 0, 100_000, slice(0, 100_000), "x has rows 0 to 200"),
        (x[:2], 0, 200, slice(0, 200), r"x has shape \(2, 200, 30\); \[4, h, W\] is needed"),
        (np.concatenate([x, x[:1]]), 0, 200, slice(0, 200), "x has shape"),
        (x[0], 0, 200, slice(0, 200), "x has shape"),
        (x[:, :0], 0, 200, slice(0, 200), "x has shape"),
        (x, 0, 200, slice(-5, 205), "outputs are rows -5 to 205; the output of a picture of 200 rows has 200"),
        (x, 0, 200, slice(9, 3), "outputs are rows 9 to 3"),
    ]:
        with pytest.raises(ShapeError, match=message):
            net.rows(rows, first, height, outputs)


# -- machines ----------------------------------------------------------------------------------------------------

RANDOM = """
import numpy as np, test_winograd_f43 as t
from tconv.models.row_buffer import RowBuffer
for seed in range(30):
    case, _ = t.cases(seed)
    y, allowed = case.truth()
    out = np.full(y.shape, np.nan, "f4")
    assert case.run(RowBuffer(case.x, 0, case.height), RowBuffer(out, 0, 0), slice(0, y.shape[1]))
    assert (np.abs(out - y) <= allowed).all()
"""


@pytest.mark.skipif(not X86, reason="names of x86 chips")
@pytest.mark.parametrize("cpu", CPUS)
def test_every_chip_is_the_definition(cpu, python):
    from llvmlite import binding

    if cpu == "x86-64-v4" and not binding.get_host_cpu_features().get("avx512f"):
        pytest.skip("this machine has no AVX-512")
    python(RANDOM, TCONV_CPU=cpu)


@linux
def test_nothing_outside_of_the_arrays_is_touched(python):
    """Input and output each end where a page begins that may not be touched, or begin where one ends."""
    python(
        GUARDED
        + """
import test_winograd_f43 as t
from tconv.models.row_buffer import RowBuffer
tconv.set_num_threads(3)
regions = [Region(1 << 23) for _ in range(2)]
for seed in range(40):
    case, rng = t.cases(seed)
    y, allowed = case.truth()
    placed = [
        region.place(shape, strides_of(np.random.default_rng(0), shape, True), bool(seed % 2))
        for region, shape in zip(regions, (case.x.shape, y.shape))
    ]
    placed[0][...] = case.x
    assert case.run(RowBuffer(placed[0], 0, case.height), RowBuffer(placed[1], 0, 0), slice(0, y.shape[1]))
    assert (np.abs(placed[1] - y) <= allowed).all()
    regions[1].check(placed[1])
"""
    )


def test_layers_that_it_does_not_apply_to():
    w = np.ones((4, 3, 3, 3), "f4")
    fits = Geometry((3, 3), 1, 1)
    assert winograd_f43.row_group_layer(w, None, fits, None) is not None
    for weight, geometry in (
        (w[:2], fits),
        (np.ones((4, 3, 5, 3), "f4"), Geometry((5, 3))),
        (w, Geometry((3, 3), 2)),
        (w, Geometry((3, 3), 1, 0, (1, 2))),
        (np.ones((4, 2, 3, 3), "f4"), Geometry((3, 3), groups=2)),
        (np.where(np.arange(3) == 1, np.inf, w), fits),
        (np.where(np.arange(3) == 1, np.float32(1e38), w), fits),
        (w.astype("f8"), fits),
    ):
        assert winograd_f43.row_group_layer(weight, None, geometry, None) is None


def test_without_the_kernel_networks_run_directly(python):
    python(
        "import numpy as np, test_winograd_f43 as t\n"
        "net = t.chain(np.random.default_rng(0), 'relu')\n"
        "assert not net.anchors\n"
        "assert net(np.ones((1, 4, 9, 9), 'f4')).shape == (1, 2, 9, 9)\n",
        TCONV_SIMD="0",
    )


# -- skips, bands of columns, and ranges of channels ------------------------------------------------------------------


def added(y, skips):
    """Return the output with its skips, in float64; `skips` are arrays and scales."""
    for rows, scale in skips:
        y = y * float(np.float32(scale)) + rows
    return y


@given(seeds, st.integers(1, 2), st.integers(1, 3))
@settings(max_examples=40)
def test_skips_are_added_behind_the_activation(seed, count, threads):
    case, rng = cases(seed)
    y, allowed = case.truth()
    skips = [(rng.normal(0, 1, y.shape).astype("f4"), float(rng.normal(0, 1))) for _ in range(count)]
    wanted = added(y, skips)
    for rows, scale in skips:
        allowed = allowed * abs(scale) + EPS * (np.abs(y) + np.abs(rows) + np.abs(wanted))
    # rings that begin anywhere, with other numbers beside the columns
    given = []
    for rows, scale in skips:
        window = ring(len(y), case.shape[0] + int(rng.integers(0, 5)), case.shape[1], -int(rng.integers(0, 9)))
        for piece in window.pieces(slice(0, case.shape[0])):
            window.view(piece)[0] = rows[:, piece]
        given.append(Skip(window, scale))
    whole, cut = (np.full(y.shape, np.nan, "f4") for _ in range(2))
    x, layer, before = RowBuffer(case.x, 0, case.height), case.layer(), tconv.get_num_threads()
    tconv.set_num_threads(threads)
    try:
        assert case.run(x, RowBuffer(whole, 0, 0), slice(0, y.shape[1]), layer, skips=given)
        starts = [0, *(n for n in range(case.anchor - 4, y.shape[1], 4) if n > 0), y.shape[1]]
        for begin, end in itertools.pairwise(starts):
            case.run(x, RowBuffer(cut, 0, 0), slice(begin, end), layer, skips=given)
    finally:
        tconv.set_num_threads(before)
    assert (np.abs(whole - wanted) <= allowed).all()
    np.testing.assert_array_equal(cut, whole)


@given(seeds)
@settings(max_examples=100)
def test_bands_of_columns_have_the_bits_of_the_whole(seed):
    """Inputs and outputs are channel ranges of larger buffers."""
    case, rng = cases(seed)
    height, width = case.shape
    taps, wide = case.w.shape[3], case.x.shape[2]
    skip = rng.normal(0, 1, (case.w.shape[1], height, width)).astype("f4")
    whole = np.full(skip.shape, np.nan, "f4")
    x, layer = RowBuffer(case.x, 0, case.height), case.layer()
    case.run(x, RowBuffer(whole, 0, 0), slice(0, height), layer, skips=[Skip(RowBuffer(skip, 0, height), 0.2)])
    cuts = sorted({0, width, *map(int, rng.integers(0, width + 1, 3))})
    shift = case.geometry.crop[1][0] - (taps - 1)
    for begin, end in itertools.pairwise(cuts):
        # all columns that the units of the band read, and some more
        start, stop = begin // layer.unit * layer.unit, -(-end // layer.unit) * layer.unit
        first = min(max(0, start + shift - int(rng.integers(0, 3))), wide - 1)
        last = max(first + 1, min(wide, stop - 1 + shift + taps + int(rng.integers(0, 3))))
        given, out = (np.full((len(a) + 5, *a.shape[1:]), np.nan, "f4") for a in (case.x[:, :, first:last], skip))
        given[3:-2] = case.x[:, :, first:last]
        window = RowBuffer(out[2:-3, :, begin:end], 0, 0)
        case.run(
            RowBuffer(given[3:-2], 0, case.height),
            window,
            slice(0, height),
            layer,
            skips=[Skip(RowBuffer(skip[:, :, begin:end], 0, height), 0.2)],
            left=begin + shift - first,
            column=begin,
        )
        np.testing.assert_array_equal(window.array, whole[:, :, begin:end])
        out[2:-3, :, begin:end] = np.nan
        assert np.isnan(out).all()


@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38])
@pytest.mark.parametrize("skips", [0, 1, 2])
def test_inf_and_nan_spread_as_in_the_direct_form_beside_skips(value, skips):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (5, 20, 40)).astype("f4")
    x[2, 7, 20] = x[1, 18, 3] = value
    step = Convolution.ordinary(rng.normal(0, 0.2, (6, 5, 3, 3)).astype("f4"), None, 1, activation="relu")
    rows = [(rng.normal(0, 1, (6, 20, 40)).astype("f4"), 0.25) for _ in range(skips)]
    got, direct = (np.full((6, 20, 40), np.nan, "f4") for _ in range(2))
    given = [Skip(RowBuffer(array, 0, 20), scale) for array, scale in rows]
    step.in_groups(RowBuffer(x, 0, 20), slice(0, 20), RowBuffer(got, 0, 0), (20, 20), 0, skips=given)
    step.rows(x[None], 0, slice(0, 20), direct[None])
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = added(direct.astype("f8"), rows)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(direct))
    fine = np.isfinite(direct)
    np.testing.assert_allclose(got[fine], wanted[fine], rtol=0, atol=2e-5 * (value if value == 3e38 else 1))
    # the columns of a band, too
    band = np.full((6, 20, 15), np.nan, "f4")
    cut = [Skip(RowBuffer(array[:, :, 12:27], 0, 20), scale) for array, scale in rows]
    step.in_groups(
        RowBuffer(x[:, :, 10:30], 0, 20), slice(0, 20), RowBuffer(band, 0, 0), (20, 20), 0, skips=cut, left=1
    )
    np.testing.assert_array_equal(band, got[:, :, 12:27])
