"""Runs of networks: concatenations in place, sums in the epilogue, bands of columns, means over the picture, and memory."""

import itertools
import tracemalloc
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tconv
from tconv import Geometry, TconvError
from tconv.errors import ShapeError
from tconv.models import Convolution, Network, Node, Pointwise, Sum, network
from tconv.models.steps.arithmetic import Affine, Combination
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.depth_to_space import ChannelsToPixels
from tconv.models.steps.padding import Padding
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize

seeds = st.integers(0, 2**32 - 1)
PIXEL = 9
"""Margin of values of one pixel, which are only read by gates."""
KINDS = ["conv", "conv", "conv", "dense", "sum", "concat", "range", "affine", "combination", "point", "crop"]


@contextmanager
def cut(strip, threads=1):
    """Run networks with strips of so many bytes."""
    before = network._STRIP, tconv.get_num_threads()
    network._STRIP = strip
    tconv.set_num_threads(threads)
    try:
        yield
    finally:
        network._STRIP = before[0]
        tconv.set_num_threads(before[1])


def convolution(rng, into, out, kernel=None, **more):
    kernel = kernel or [(3, 3), (3, 3), (3, 1), (1, 1), (5, 2)][rng.integers(5)]
    weight = (rng.normal(0, 1, (out, into, *kernel)) / np.sqrt(into * kernel[0] * kernel[1])).astype("f4")
    bias = rng.normal(0, 0.3, out).astype("f4")
    bend = [None, "relu", ("leaky_relu", 0.2), ("prelu", rng.uniform(0, 1, out).astype("f4"))][rng.integers(4)]
    padding = [(k // 2, k - 1 - k // 2) for k in kernel]
    return Convolution.ordinary(weight, bias, padding, activation=bend, **more)


class Builder:
    """Random network with dense blocks, skips of any distance, gates, and values that two concatenations want."""

    def __init__(self, rng, means):
        self.rng, self.means = rng, means
        self.nodes, self.channels, self.margin = [], [int(rng.integers(1, 7))], [0]

    def add(self, step, *inputs, margin=None):
        self.nodes.append(Node(step, inputs))
        self.channels.append(step.output_channels([self.channels[place] for place in inputs]))
        self.margin.append(max(self.margin[place] for place in inputs) if margin is None else margin)
        return len(self.nodes)

    def pick(self, like=None, channels=False):
        places = [place for place in range(len(self.nodes) + 1) if self.margin[place] < PIXEL]
        if like is not None:
            places = [
                place
                for place in places
                if self.margin[place] == self.margin[like]
                and (not channels or self.channels[place] == self.channels[like])
            ]
        recent = [place for place in places if place >= len(self.nodes) - 2]
        return int(self.rng.choice(recent if recent and self.rng.random() < 0.5 else places))

    def conv(self, place, out=None):
        out = out or (self.channels[place] if self.rng.random() < 0.6 else int(self.rng.integers(1, 9)))
        return self.add(convolution(self.rng, self.channels[place], out), place)

    def dense(self):
        """A dense block as ncnn and ONNX write it, with a scaled sum at its end."""
        rng, x = self.rng, self.pick()
        parts, wide = [x], x
        for _ in range(int(rng.integers(1, 4))):
            parts.append(self.add(convolution(rng, self.channels[wide], int(rng.integers(1, 6)), (3, 3)), wide))
            nested = rng.random() < 0.3 and len(parts) > 2
            wide = self.add(Concat(), *([wide, parts[-1]] if nested else parts))
        last = self.add(convolution(rng, self.channels[wide], self.channels[x], (3, 3)), wide)
        y = self.add(Sum((0.25, 1.0)), last, x)
        if rng.random() < 0.5:
            other = self.pick(x, channels=True)
            if other != y:
                self.add(Sum((0.5, 1.0)), y, other)

    def step(self):
        rng, kind = self.rng, self.rng.choice(KINDS)
        place = self.pick()
        if kind == "conv":
            self.conv(place)
        elif kind == "dense":
            self.dense()
        elif kind == "sum":
            self.add(Sum(tuple(map(float, rng.choice([1, 0.5, -1], 2)))), place, self.pick(place, channels=True))
        elif kind == "concat":
            self.add(Concat(), *(self.pick(place) for _ in range(int(rng.integers(1, 4)))))
        elif kind == "range":
            start, stop = sorted(map(int, rng.choice(self.channels[place] + 1, 2, replace=False)))
            self.add(ChannelRange(start, stop), place)
        elif kind == "affine":
            self.add(Affine(np.float32(0.5), rng.normal(0, 1, (self.channels[place], 1, 1)).astype("f4")), place)
        elif kind == "combination":
            self.add(Combination(str(rng.choice(["maximum", "minimum"]))), place, self.pick(place, channels=True))
        elif kind == "crop" and self.margin[place] < 2:
            self.add(Padding(((-1, -1), (-1, -1))), place, margin=self.margin[place] + 1)
        else:
            self.add(Pointwise(("clamp", -2.0, 2.0)), place)
        if self.means and rng.random() < 0.3:
            self.gate(len(self.nodes))

    def gate(self, place):
        mean = self.add(GlobalMean(), place, margin=PIXEL)
        gate = self.add(convolution(self.rng, self.channels[mean], self.channels[place], (1, 1)), mean)
        gate = self.add(Pointwise(("clamp", 0.0, 1.0)), gate)
        self.add(Combination("multiply"), place, gate, margin=self.margin[place])

    def network(self):
        rng = self.rng
        self.conv(0, int(rng.integers(4, 9)))
        for _ in range(int(rng.integers(1, 8))):
            self.step()
        if self.means and not any(isinstance(node.step, GlobalMean) for node in self.nodes):
            self.gate(len(self.nodes))
        end = rng.random()
        if end < 0.3:
            up = Convolution(rng.normal(0, 0.3, (self.channels[-1], 3, 4, 4)).astype("f4"), Geometry((4, 4), 2, 1))
            up = self.add(up, len(self.nodes))
            if self.margin[-1] == 0:
                low = self.add(convolution(rng, self.channels[0], 3, (1, 1)), 0)
                self.add(Sum(), up, self.add(Resize((Fraction(2), Fraction(2)), "linear"), low))
        elif end < 0.5:
            self.add(ChannelsToPixels(2), self.conv(len(self.nodes), 8))
        elif end < 0.6:
            self.add(
                Concat(),
                len(self.nodes),
                len(self.nodes) - 1 if self.margin[-1] == self.margin[-2] else len(self.nodes),
            )
        return Network(self.nodes)


def drawn(seed, means=False):
    """Return a random network, and a picture [C, H, W] of a size that it takes."""
    rng = np.random.default_rng(seed)
    while True:
        net = Builder(rng, means).network()
        shape = [(1, 1), (1, 9), (9, 1), (int(rng.integers(1, 40)), int(rng.integers(1, 40)))][
            rng.choice(4, p=[0.05, 0.05, 0.05, 0.85])
        ]
        try:
            net.sizes(shape)
        except TconvError:
            continue
        x = rng.normal(0, 1, (net.channels[0], *shape)).astype("f4")
        if rng.random() < 0.2:
            x.flat[rng.integers(0, x.size, 2)] = rng.choice([np.inf, np.nan, -np.inf], 2)
        return net, x, rng


def separately(net, x):
    """Return the output of the nodes one by one, each over the whole picture, in float32 and float64."""
    made, sizes = [x], net.sizes(x.shape[1:])
    for number, node in enumerate(net.nodes, 1):
        out = np.empty((net.channels[number], *sizes[number]), x.dtype)
        given = [network.Region(made[place], *(slice(0, n) for n in sizes[place])) for place in node.inputs]
        node.step.compute(
            given,
            [sizes[place] for place in node.inputs],
            network.Region(out, slice(0, out.shape[1]), slice(0, out.shape[2])),
        )
        made.append(out)
    return made[-1]


@given(seeds)
@settings(max_examples=60)
def test_a_run_equals_its_nodes_one_by_one(seed):
    net, x, _ = drawn(seed)
    y = net(x[None])[0]
    with np.errstate(all="ignore"):
        expected = separately(net, x)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
    finite = np.isfinite(y)
    large = max(1, np.abs(expected[finite]).max(initial=0))
    np.testing.assert_allclose(y[finite], expected[finite], rtol=0, atol=1e-4 * large)


@given(seeds, st.integers(6, 16), st.integers(1, 3))
@settings(max_examples=60)
def test_strips_have_the_bits_of_the_whole(seed, strip, threads):
    net, x, rng = drawn(seed)
    with cut(1 << 40):
        whole = net(x[None])[0]
    total = whole.shape[1]
    with cut(1 << strip, threads):
        np.testing.assert_array_equal(net(x[None])[0], whole)
        for start, stop in itertools.pairwise([0, *sorted(map(int, rng.integers(0, total + 1, 3))), total]):
            if start < stop:
                window = net.window(slice(start, stop), x.shape[1])
                rows = net.rows(x[:, window], window.start, x.shape[1], slice(start, stop))
                np.testing.assert_array_equal(rows, whole[:, start:stop])


def test_random_networks_have_all_that_is_tested():
    nets = [drawn(seed)[0] for seed in range(100)]
    plans = [net._picture((9, 9), None).stream_plan(slice(0, 3)) for net in nets if len(net.channels) > 3]
    assert sum(bool(net.fusions) for net in nets) > 10
    assert sum(any(len(fusion.skips) == 2 for fusion in net.fusions.values()) for net in nets) > 2
    assert sum(len(plan.placement.views) > 2 for plan in plans) > 3
    assert sum(bool(plan.placement.copies) for plan in plans) > 3


def test_convolutions_of_one_row_column_or_pixel_count_for_all_of_what_is_added():
    rng = np.random.default_rng(6)
    crops = Padding(((0, -8), (0, 0))), Padding(((0, 0), (-6, 0))), Padding(((-4, -4), (0, -6)))
    x = rng.normal(0, 1, (1, 16, 9, 7)).astype("f4")
    for smaller, inputs in itertools.product((*crops, GlobalMean()), [(3, 1), (1, 3)]):
        first, second, last = (convolution(rng, 16, 16, (3, 3)) for _ in range(3))
        nodes = Node(first, (0,)), Node(smaller, (1,)), Node(second, (2,)), Node(Sum(), inputs), Node(last, (4,))
        net = Network(nodes)
        assert net.fusions
        np.testing.assert_allclose(net(x)[0], separately(net, x[0]), rtol=0, atol=1e-4)


def test_pictures_of_the_caller_stay_as_they_are():
    rng = np.random.default_rng(2)
    shuffle, half = ChannelsToPixels(2), Fraction(1, 2)
    last = Node(CropLike((half, half)), (2, 0)), Node(ResizeLike(mode="linear"), (2, 0))
    x = rng.normal(0, 1, (4, 30, 6)).astype("f4")
    for node, rows in itertools.product(last, [slice(0, 12), slice(3, 15)]):
        net = Network([Node(convolution(rng, 4, 4, (3, 3)), (0,)), Node(shuffle, (1,)), node])
        window, before = net.window(rows, 30), x.copy()
        with cut(64):
            y = net.rows(x[:, window], window.start, 30, rows)
        np.testing.assert_array_equal(x, before)
        np.testing.assert_array_equal(y, net(x[None])[0, :, rows])


# -- bands, streams and means ------------------------------------------------------------------------------------


def streamed(net, x, rng, bands, **options):
    """Return the output of streams over these bands of columns, asked for random strips."""
    parts, total = [], net.output_shape(x.shape[1:])[0]
    for band in bands:
        loaded = [0]

        def load(rows, columns, loaded=loaded):
            assert loaded[-1] in (0, rows.start)  # the rows follow each other
            loaded.append(rows.stop)
            return x[:, rows, columns]

        stream = net.stream(x.shape[1:], load, columns=band, **options)
        edges = sorted({0, total, *map(int, rng.integers(0, total + 1, 3))})
        parts.append(np.concatenate([stream.rows(slice(*ends)) for ends in itertools.pairwise(edges)], 1))
    return np.concatenate(parts, 2)


def cuts(rng, total, most=5):
    edges = sorted({0, total, *map(int, rng.integers(0, total + 1, int(rng.integers(1, most))))})
    return [slice(*ends) for ends in itertools.pairwise(edges)]


@given(seeds, st.integers(6, 16))
@settings(max_examples=60)
def test_streams_over_bands_have_the_bits_of_the_whole(seed, strip):
    net, x, rng = drawn(seed)
    with cut(1 << 40):
        whole = net(x[None])[0]
    with cut(1 << strip):
        np.testing.assert_array_equal(streamed(net, x, rng, cuts(rng, whole.shape[2])), whole)


@given(seeds, st.integers(6, 16))
@settings(max_examples=60)
def test_means_do_not_depend_on_strips_bands_and_what_is_kept(seed, strip):
    net, x, rng = drawn(seed, means=True)
    if rng.random() < 0.3:
        x = np.tile(x, (1, 1, 800 // x.shape[2] + 1))
    if not net.has_means:
        return
    with cut(1 << 40):
        whole = net(x[None])[0]
        with np.errstate(all="ignore"):
            expected = separately(net, x)
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(whole), finite)
        large = max(1, np.abs(expected[finite]).max(initial=0))
        np.testing.assert_allclose(whole[finite], expected[finite], rtol=0, atol=1e-4 * large)
    memory = int(rng.choice([1, 1 << 10, 1 << 14, 1 << 17, 1 << 40]))
    with cut(1 << strip):
        means = net.means(x.shape[1:], lambda rows, columns: x[:, rows, columns], memory=memory)
        bands = net.bands(x.shape[1:], memory) if rng.random() < 0.5 else cuts(rng, whole.shape[2])
        np.testing.assert_array_equal(streamed(net, x, rng, bands, means=means, memory=memory), whole)


@given(seeds)
@settings(max_examples=30)
def test_small_memory_gives_bands_and_the_same_bits(seed):
    net, x, rng = drawn(seed)
    whole = net(x[None])[0]
    out = net.rows(x, 0, x.shape[1], slice(0, whole.shape[1]), memory=int(rng.integers(1, 1 << 15)))
    np.testing.assert_array_equal(out, whole)


# -- edges -------------------------------------------------------------------------------------------------------


def dense_network(rng, channels=4, blocks=2, scale=2):
    """Return a small RRDB: dense blocks, skips over one and over all of them, nearest interpolation behind."""
    nodes = []

    def add(step, *inputs):
        nodes.append(Node(step, inputs))
        return len(nodes)

    head = x = add(convolution(rng, 3, channels, (3, 3)), 0)
    for _ in range(blocks):
        outer = x
        for _ in range(2):
            parts, wide = [x], x
            for _ in range(3):
                into = channels * len(parts)
                parts.append(add(convolution(rng, into, channels, (3, 3)), wide))
                wide = add(Concat(), *parts)
            last = add(convolution(rng, channels * len(parts), channels, (3, 3)), wide)
            x = add(Sum((0.2, 1.0)), last, x)
        x = add(Sum((0.2, 1.0)), x, outer)
    x = add(Sum(), head, add(convolution(rng, channels, channels, (3, 3)), x))
    x = add(Resize((Fraction(scale), Fraction(scale))), x)
    add(convolution(rng, channels, 3, (3, 3)), x)
    return Network(nodes)


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (17, 1), (7, 5), (3000, 3)], ids=str)
def test_pictures_of_odd_shapes(shape):
    rng = np.random.default_rng(0)
    net = dense_network(rng)
    x = rng.normal(0, 1, (3, *shape)).astype("f4")
    expected = separately(net, x)
    for strip in (1, 1 << 21):
        with cut(strip):
            whole = net(x[None])[0]
        np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_array_equal(streamed(net, x, rng, cuts(rng, whole.shape[2])), whole)


def test_a_dense_block_copies_only_what_lives_longest_and_adds_in_its_last_layer():
    net = dense_network(np.random.default_rng(0))
    plan = net._picture((200, 200), None).stream_plan(slice(0, 400))
    kinds = [type(task.step).__name__ for task in plan.tasks]
    assert "Concat" not in kinds
    assert "Sum" not in kinds
    assert kinds.count("ChannelRange") == len(plan.placement.copies) <= 1
    assert max(len(fusion.skips) for fusion in net.fusions.values()) == 2


def peak(call):
    """Return the most bytes that Python and NumPy have at a time, without the packed weights of the first call."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("means", [False, True])
@pytest.mark.parametrize("memory", [1 << 21, None])
def test_memory_is_predicted(monkeypatch, means, memory):
    monkeypatch.setattr("tconv._memory._POOL_MINIMUM", 1 << 60)  # NumPy's memory is counted, that of the pool is not
    rng = np.random.default_rng(0)
    net = dense_network(rng, 12)
    if means:
        gate = [
            Node(GlobalMean(), (1,)),
            Node(convolution(rng, 12, 12, (1, 1)), (2,)),
            Node(Combination("multiply"), (1, 3)),
        ]
        later = [Node(node.step, tuple(place and place + 3 for place in node.inputs)) for node in net.nodes[1:]]
        later[0] = Node(later[0].step, (4,))
        net = Network([net.nodes[0], *gate, *later])
    shape = 160, 330
    x = rng.normal(0, 1, (3, *shape)).astype("f4")
    out = np.empty((3, 320, 660), "f4")

    def run():
        found = net.means(shape, lambda rows, columns: x[:, rows, columns], memory=memory)
        for band in net.bands(shape, memory):
            stream = net.stream(
                shape, lambda rows, columns: x[:, rows, columns], columns=band, means=found, memory=memory
            )
            for start in range(0, 320, 40):
                stream.rows(slice(start, start + 40), out[:, start : start + 40, band])
            del stream

    predicted = net.scratch_bytes(shape, memory)
    assert 0.8 * predicted <= peak(run) <= 1.1 * predicted + 1_200_000
    assert (len(net.bands(shape, memory)) > 1) == (memory is not None)


def test_a_network_that_reads_means_says_so():
    layers = [convolution(np.random.default_rng(0), 2, 2, (3, 3)) for _ in range(2)]
    net = Network([Node(layers[0], (0,)), Node(GlobalMean(), (1,)), Node(Sum(), (1, 2)), Node(layers[1], (3,))])
    assert net.has_means
    x = np.zeros((2, 20, 10), "f4")
    with pytest.raises(ShapeError, match="means over the whole picture"):
        net.rows(x[:, :19], 0, 20, slice(0, 1))
    with pytest.raises(ShapeError, match=r"Write means=network.means\(shape, load\)"):
        net.stream((20, 10), lambda rows, columns: x[:, rows, columns])
    assert "passes    2" in net.plan_text((20, 10))
    assert net.window(slice(4, 6), 20) == slice(2, 8)


def test_a_mean_may_be_the_output_or_the_only_reader_of_the_picture():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (3, 20, 300)).astype("f4")
    conv, one = convolution(rng, 3, 4, (3, 3)), convolution(rng, 3, 4, (1, 1))
    for nodes in ([Node(conv, (0,)), Node(GlobalMean(), (1,))], [Node(GlobalMean(), (0,)), Node(one, (1,))]):
        net = Network(nodes, 3)
        np.testing.assert_allclose(net(x[None])[0], separately(net, x), atol=1e-6)


class Observer:
    """Watch that wants a few places of every node, and recomputes them."""

    def __init__(self, net, sizes):
        self.net, self.sizes, self.share, self.checked = net, sizes, 0.0, set()

    def advance(self, share):
        self.share += share

    def wanted(self, number, rows, columns):
        return [(slice(rows.start, rows.start + 1), slice(columns.start, min(columns.start + 3, columns.stop)))]

    def check(self, numbers, given, out):
        self.checked.add(numbers[-1])
        regions = dict(given)
        for number in numbers:
            node = self.net.nodes[number - 1]
            values = np.empty((self.net.channels[number], *out.values.shape[1:]), "f4")
            regions[number] = network.Region(values, out.rows, out.columns)
            node.step.compute(
                [regions[place] for place in node.inputs], [self.sizes[p] for p in node.inputs], regions[number]
            )
        np.testing.assert_allclose(regions[numbers[-1]].values, out.values, rtol=0, atol=1e-4)

    def add_to_mean(self, place, values):
        """Count nothing."""

    def check_mean(self, number, mean):
        self.checked.add(number)


def test_an_observer_sees_what_is_read_and_computed():
    rng = np.random.default_rng(0)
    net = dense_network(rng)
    x = rng.normal(0, 1, (3, 33, 21)).astype("f4")
    watch = Observer(net, net.sizes((33, 21)))
    with cut(1 << 12):
        net.rows(x, 0, 33, slice(0, 66), watch=watch)
    assert watch.share == pytest.approx(1)
    assert len(watch.checked) > 15
