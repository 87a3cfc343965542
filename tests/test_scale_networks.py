"""Networks and models tile by tile: the bits of the whole, shared plans, means over pictures, copies, halo work."""

from __future__ import annotations

import pickle
import threading
from functools import cache

import numpy as np
import pytest

import tconv.models
from network_steps import random_network
from tconv import Geometry
from tconv.errors import ArrayError, DtypeError, ShapeError, TconvError, TooLargeError
from tconv.models import Combination, Convolution, GlobalMean, Model, Network, Node, Padding, Pointwise, Sum
from tconv.models.layer_check import LayerCheck
from tconv.models.running.run import StripRun
from tconv.models.running.work import task_work
from tconv.models.steps.depth_to_space import ChannelsToPixels
from tconv.models.steps.resizing import Resize
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.scale.operators.chain import ChainOperator
from tconv.scale.operators.layer import LayerOperator, computed
from tconv.scale.operators.model import ModelOperator
from tconv.scale.operators.network import NetworkOperator
from tconv.scale.operators.reading import operator_of
from tconv.scale.stores.memory_array import ArraySource
from tconv.streaming.layer_digest import fingerprint
from tile_checks import assert_tiles, bits, random_tiles, tile

photo = cache(tconv.models.photo)


def normal(rng, *shape):
    return rng.normal(0, 0.4, shape).astype("f4")


def squeezed(nodes, channels, rng):
    """Return nodes with a squeeze-and-excitation block behind them: a mean over the whole picture."""
    at = len(nodes)
    weight, bias = normal(rng, channels, channels, 1, 1), normal(rng, channels)
    return [
        *nodes,
        Node(GlobalMean(), (at,)),
        Node(Convolution.ordinary(weight, bias), (at + 1,)),
        Node(Pointwise("sigmoid"), (at + 2,)),
        Node(Combination("multiply"), (at, at + 3)),
    ]


def network_of(rng, into=3, *, means=0, strided=False, mode="reflect"):
    """Return a network that doubles pictures: grouped rows, a skip, perhaps a U-Net's stride and means."""
    nodes = [
        Node(Padding(((2, 2), (2, 2)), mode), (0,)),
        Node(Convolution.ordinary(normal(rng, 8, into, 5, 5), normal(rng, 8), activation="relu"), (1,)),
    ]
    if strided:
        down = StridedConvolution(normal(rng, 12, 8, 3, 3), normal(rng, 12), (2, 2), ((1, 1), (1, 1)))
        up = Convolution(normal(rng, 12, 8, 4, 4), Geometry((4, 4), 2, 1), normal(rng, 8))
        nodes += [Node(down, (2,)), Node(up, (3,)), Node(Sum(), (2, 4))]
    for _ in range(means):
        nodes.append(Node(Convolution.ordinary(normal(rng, 8, 8, 3, 3), normal(rng, 8), 1), (len(nodes),)))
        nodes = squeezed(nodes, 8, rng)
    nodes.append(Node(Convolution.ordinary(normal(rng, 4 * into, 8, 3, 3), normal(rng, 4 * into), 1), (len(nodes),)))
    return Network([*nodes, Node(ChannelsToPixels(2), (len(nodes),))], into)


def whole_of(network, x):
    return network(x[None])[0]


# -- networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_tiles_of_random_networks_have_the_bits_of_the_whole(seed):
    rng, done, shared = np.random.default_rng(seed), 0, 0
    while done < 8:
        network, x = random_network(rng)
        sizes = tuple(int(size + rng.integers(0, 120)) for size in x.shape[1:])
        try:
            totals = network.output_shape(sizes)
        except ShapeError:
            continue
        x = normal(rng, network.channels[0], *sizes)
        if done % 3 == 0:
            x.flat[rng.integers(x.size)] = rng.choice([np.inf, np.nan])
        whole, operator = whole_of(network, x), NetworkOperator(network)
        for outputs in random_tiles(rng, totals, 12):
            got = tile(operator, x, outputs, larger=rng.integers(0, 3, 2).tolist())
            steps = [node.step for node in network.nodes]
            np.testing.assert_array_equal(bits(got), bits(whole[:, *outputs]), err_msg=f"{outputs} {sizes} {steps}")
            shared += network.tile_plans(sizes).plan(*outputs)[1] != [(0, 0), (0, 0)]
        done += 1
    assert shared > 10  # plans of other places, which this test is about, too


@pytest.mark.parametrize("sizes", [(1, 1), (1, 30), (30, 1), (37, 41), (130, 9)])
@pytest.mark.parametrize("strided", [False, True])
def test_tiles_of_every_side_have_the_bits_of_the_whole(sizes, strided):
    rng = np.random.default_rng(sum(sizes))
    sizes = tuple(size + (size % 2 if strided else 0) for size in sizes)
    network = network_of(rng, 3, strided=strided, mode="edge")
    x = normal(rng, 3, *sizes)
    assert_tiles(rng, NetworkOperator(network), x, whole_of(network, x), 6)


def test_a_window_of_a_network_that_is_one_smaller_is_wrong():
    rng = np.random.default_rng(3)
    nodes = [Node(Convolution.ordinary(normal(rng, 2, 2, 5, 5), normal(rng, 2), 2), (at,)) for at in range(3)]
    network, sizes, outputs = Network(nodes), (40, 50), (slice(17, 23), slice(20, 31))
    operator, x = NetworkOperator(network), normal(rng, 2, 40, 50)
    whole, window = whole_of(network, x)[:, *outputs], operator.window(outputs, sizes)
    assert window == (slice(11, 29), slice(14, 37))
    for axis in (0, 1):
        for inside, at in ((True, window[axis].start), (True, window[axis].stop - 1), (False, window[axis].stop)):
            changed = x.copy()
            changed[(slice(None),) * (axis + 1) + (at,)] += 1
            assert np.array_equal(whole_of(network, changed)[:, *outputs], whole) != inside


def test_equal_tiles_share_a_plan():
    network = photo(2).network
    plans, moved = network.tile_plans((20_000, 30_000)), set()
    for row in range(1, 30):
        for column in range(1, 30):
            span = slice(512 * row, 512 * row + 512), slice(512 * column, 512 * column + 512)
            plan, moves = plans.plan(*span)
            moved.add(id(plan))
            # its rows and columns, moved, are those that the tile needs
            window = network.region_window(span, (20_000, 30_000))
            for axis, (own, (_, by)) in enumerate(zip((plan.rows[0], plan.columns[0]), moves, strict=True)):
                assert (own.start + by, own.stop + by) == (window[axis].start, window[axis].stop)
    assert len(moved) == 1


def test_resizes_by_sizes_share_no_plan():
    """Positions of a resize to a size repeat only where the step is a fraction with a small denominator."""
    rng = np.random.default_rng(4)
    first = Node(Convolution.ordinary(normal(rng, 3, 3, 3, 3), normal(rng, 3), 1), (0,))
    for positions, shares in (("half_pixel", True), ("align_corners", False)):
        network = Network([first, Node(Resize((2, 2), "linear", positions), (1,))])
        plans = network.tile_plans((101, 97))
        assert (plans.plan(slice(90, 100), slice(90, 100))[1] != [(0, 0), (0, 0)]) == shares
        x = normal(rng, 3, 101, 97)
        assert_tiles(rng, NetworkOperator(network), x, whole_of(network, x), 6)


def test_threads_share_a_network():
    rng = np.random.default_rng(5)
    network = network_of(rng)
    x = normal(rng, 3, 120, 90)
    whole, operator, wrong = whole_of(network, x), NetworkOperator(network_of(np.random.default_rng(5))), []

    def run(seed):
        tiles = random_tiles(np.random.default_rng(seed), whole.shape[1:], 12)
        wrong.extend(each for each in tiles if not np.array_equal(tile(operator, x, each), whole[:, *each]))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not wrong


@pytest.mark.parametrize("switch", ["machine code", "weights of inf"])
def test_tiles_of_matrix_products_have_the_bits_of_the_whole(monkeypatch, switch):
    rng = np.random.default_rng(6)
    if switch == "machine code":
        monkeypatch.setattr("tconv.kernels.simd.direct.reason_unavailable", lambda: "it is off in this test")
        monkeypatch.setattr("tconv.kernels.simd.winograd_f43.reason_unavailable", lambda: "it is off in this test")
    network = network_of(rng, strided=True, means=1)
    if switch == "weights of inf":
        network.nodes[1].step.weight[2, 3, 1, 1] = np.inf
    network = Network(network.nodes)
    x = normal(rng, 3, 30, 24)
    operator = NetworkOperator(network)
    assert "rows of taps" in operator.method
    context = operator.prepare(lambda region: x[:, *region].copy(), (30, 24), 10**8)
    whole = computed(operator, x)
    np.testing.assert_array_equal(bits(whole), bits(whole_of(network, x)))
    assert_tiles(rng, operator, x, whole, 3, context)


def test_regions_refuse_what_does_not_fit():
    network, outputs = photo(2).network, (slice(0, 10), slice(0, 10))
    window = network.region_window(outputs, (50, 60))
    x = np.zeros((1, *(span.stop for span in window)), np.float32)
    with pytest.raises(ArrayError, match="x has dtype float64; float32 is needed"):
        network.region(x.astype("f8"), window, (50, 60), outputs)
    with pytest.raises(ShapeError, match=r"x has shape \(1, 38, 34\); \(1, 38, 35\) is needed for the window"):
        network.region(x[:, :, :-1], window, (50, 60), outputs)
    with pytest.raises(ShapeError, match=r"is needed\. Network\.region_window returns it"):
        network.region(x[:, 1:], (slice(1, 38), window[1]), (50, 60), outputs)
    with pytest.raises(ShapeError, match="the output has 40 rows and 60 columns"):
        network.region(x, window, (50, 60), (slice(0, 10), slice(55, 61)))


# -- means over the whole picture --------------------------------------------------------------------------------


@pytest.mark.parametrize("strided", [False, True])
def test_means_are_those_of_the_whole_whatever_the_tiles(strided):
    rng = np.random.default_rng(7)
    network = network_of(rng, means=2, strided=strided)
    x, reads = normal(rng, 3, 96, 300), []
    operator = pickle.loads(pickle.dumps(NetworkOperator(network)))

    def read(region):
        reads.append([span.stop - span.start for span in region])
        return x[:, *region].copy()

    many = operator.prepare(read, (96, 300), 10**8)
    assert reads == [[96, 300]] * 2  # once for each mean
    few = operator.prepare(read, (96, 300), 1_800_000 + operator.constant_bytes)
    assert len(reads) > 20
    assert few.keys() == many.keys()
    for name, values in few.items():
        assert values.nbytes == 4 * 8
        np.testing.assert_array_equal(bits(values), bits(many[name]))
    assert_tiles(rng, operator, x, whole_of(network, x), 4, few)
    with pytest.raises(TooLargeError, match=r"the means over the whole picture need .* Write a larger max_memory"):
        operator.prepare(read, (96, 300), 1000)


def test_a_mean_of_the_input_itself():
    rng = np.random.default_rng(8)
    nodes = [
        Node(GlobalMean(), (0,)),
        Node(Combination("maximum"), (0, 1)),
        Node(Convolution.ordinary(normal(rng, 4, 3, 3, 3), normal(rng, 4), 1), (2,)),
    ]
    network = Network(nodes, 3)
    x = normal(rng, 3, 70, 50)
    operator = NetworkOperator(network)
    context = operator.prepare(lambda region: x[:, *region].copy(), (70, 50), 10**7)
    assert_tiles(rng, operator, x, whole_of(network, x), 4, context)


def test_a_watch_sees_the_rows_and_columns_of_the_picture():
    rng = np.random.default_rng(9)
    network = network_of(rng)
    x, sizes = normal(rng, 3, 100, 110), (100, 110)
    shares, checked = [], []

    class Seen(LayerCheck):
        def check(self, numbers, given, out):
            checked.append((numbers[-1], out.rows, out.columns))
            super().check(numbers, given, out)

    watch = Seen(network, sizes, None, shares.append)
    whole, operator = whole_of(network, x), NetworkOperator(network)
    for row in range(0, 200, 50):
        for column in range(0, 220, 55):
            outputs = slice(row, row + 50), slice(column, column + 55)
            window = operator.window(outputs, sizes)
            out = np.empty((3, 50, 55), np.float32)
            operator.compute(x[:, *window].copy(), window, sizes, outputs, out, None, watch)
            np.testing.assert_array_equal(out, whole[:, *outputs])
    assert sum(shares) == pytest.approx(1, rel=1e-6)
    assert any(rows.start >= 60 for _, rows, _ in checked)


# -- models ------------------------------------------------------------------------------------------------------


def assert_model(rng, model, x, count=4):
    """Assert that tiles of a model have the bits of `model(x)`."""
    operator = pickle.loads(pickle.dumps(ModelOperator(model, len(x), x.dtype)))
    context = operator.prepare(lambda region: x[:, *region].copy(), x.shape[1:], 10**8)
    whole = model(x)
    np.testing.assert_array_equal(bits(computed(operator, x)), bits(whole))
    assert operator.channels == (len(x), len(whole))
    assert_tiles(rng, operator, x, whole, count, context)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_of_the_shipped_models_have_the_bits_of_the_whole(scale, channels):
    rng = np.random.default_rng(scale)
    for sizes in ((1, 1), (1, 9), (37, 23)):
        assert_model(rng, photo(scale), rng.random((channels, *sizes), dtype=np.float32), 3)


@pytest.mark.parametrize("into", [1, 3, 4])
@pytest.mark.parametrize("means", [0, 1])
def test_tiles_of_models_with_ranges_orders_borders_and_blocks(into, means):
    rng = np.random.default_rng(into)
    for strided, adds in ((False, "lanczos"), (False, None), (True, None)):
        network = network_of(rng, into, means=means, strided=strided)
        beyond = str(rng.choice(["edge", "reflect"]))
        model = Model.of(network, "test", adds, ((0, 255), (-1, 1))[strided], "BGR", beyond=beyond)
        assert model.block == 1 + strided
        for channels in {1: (1, 3), 3: (1, 3)}.get(into, (into,)):
            assert_model(rng, model, rng.random((channels, 17, 23)), 2)


def test_models_fit_the_source():
    model = photo(2)
    grey = operator_of(model, ArraySource(np.zeros((1, 1, 5, 6), np.float64)))
    assert (grey.channels, grey.dtype, grey.result) == ((1, 1), np.float64, np.float32)
    assert operator_of(grey, ArraySource(np.zeros((1, 3, 5, 6), np.float32))).channels == (3, 3)
    with pytest.raises(ShapeError, match=r"the picture has 4 channels; 1 or 3 are needed"):
        operator_of(model, ArraySource(np.zeros((1, 4, 5, 6), np.float32)))
    with pytest.raises(DtypeError, match=r"the picture has dtype uint8; floats from 0 \(black\) to 1"):
        operator_of(model, ArraySource(np.zeros((1, 3, 5, 6), np.uint8)))
    assert isinstance(operator_of(model.network), NetworkOperator)


def test_networks_are_parts_of_chains():
    rng = np.random.default_rng(12)
    before = LayerOperator(normal(rng, 2, 3, 4, 4), normal(rng, 3), Geometry((4, 4), 2, 1))
    chain = ChainOperator([before, NetworkOperator(network_of(rng, means=1))])
    x = normal(rng, 2, 20, 17)
    context = chain.prepare(lambda region: x[:, *region].copy(), (20, 17), 10**8)
    assert list(context) == [f"1.{number}" for number in chain.operators[1].network.mean_nodes]
    assert_tiles(rng, chain, x, computed(chain, x), 2, context)


def test_fingerprints_know_every_setting():
    rng = np.random.default_rng(13)
    network = network_of(rng)
    changed = pickle.loads(pickle.dumps(network))
    changed.nodes[1].step.bias[0] += 1
    model = Model.of(network, "test", None)
    models = [
        model,
        model._replace(network=changed),
        model._replace(adds="bicubic"),
        model._replace(value_range=(0.0, 255.0)),
        model._replace(order="BGR"),
        model._replace(beyond="reflect"),
    ]
    digests = [fingerprint(ModelOperator(each, 3)) for each in models]
    digests += [fingerprint(ModelOperator(model, 1)), fingerprint(NetworkOperator(network))]
    assert len({*digests}) == len(digests)
    assert fingerprint(pickle.loads(pickle.dumps(ModelOperator(model, 3)))) == digests[0]


# -- work and memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_halo_work_of_the_shipped_networks(scale):
    """Tiles of 1024 pixels of the picture compute 1.04 times the work of the whole, 512 ones 1.08 times."""
    network = photo(scale).network
    operator, sizes = NetworkOperator(network), (20_000, 20_000)
    every = network.sizes(sizes)
    pairs = zip(network.nodes, network.channels[1:], every[1:], strict=True)
    whole = sum(task_work(node.step, channels, size) for node, channels, size in pairs)
    for side, most in ((1024, 1.04), (512, 1.08)):
        outputs = tuple(slice(4 * side * scale, 5 * side * scale) for _ in "hw")
        share = whole * (side * scale) ** 2 / (every[-1][0] * every[-1][1])
        assert 1 < operator.work(outputs, sizes) / share < most


@pytest.mark.parametrize("seed", range(3))
def test_tiles_below_each_other_compute_no_row_twice_and_have_the_bits_of_the_whole(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    network = network_of(rng, 3, means=seed % 2, strided=seed > 0, mode="edge")
    x, rows = normal(rng, 3, 200, 40), []
    whole, operator = whole_of(network, x), NetworkOperator(network)
    context = operator.prepare(lambda region: x[:, *region].copy(), (200, 40), 10**8)
    real = StripRun.advance

    def advance(run):
        before, after = real(run)
        rows.append(after[1] - before[1])
        return before, after

    monkeypatch.setattr(StripRun, "advance", advance)
    for left in (0, 40):
        computed_rows = []
        for top in range(0, 400, 40):
            rows.clear()
            outputs = slice(top, top + 40), slice(left, left + 40)
            got = tile(operator, x, outputs, context)
            np.testing.assert_array_equal(bits(got), bits(whole[:, *outputs]), err_msg=str(outputs))
            computed_rows.append(sum(rows))
        # of the first layer: two tiles show that they follow each other, then each has the rows of its own
        assert computed_rows[1] > 22
        assert computed_rows.count(20) >= 5


def test_a_tile_of_another_picture_does_not_go_on():
    rng = np.random.default_rng(14)
    network = network_of(rng, mode="edge")
    operator, pictures = NetworkOperator(network), [normal(rng, 3, 200, 40) for _ in "ab"]
    pictures.append(pictures[0].copy())
    pictures[2][:, :110] += 1  # the same from the middle on
    wholes = [whole_of(network, x) for x in pictures]
    for turn, top in enumerate(range(0, 400, 40)):
        outputs = slice(top, top + 40), slice(0, 40)
        for number in ((0,), (1, 0), (0, 2))[turn % 3]:
            got = tile(operator, pictures[number], outputs)
            np.testing.assert_array_equal(bits(got), bits(wholes[number][:, *outputs]))


def test_memory_does_not_grow_with_the_picture():
    operator = NetworkOperator(photo(2).network)
    outputs = slice(2048, 3072), slice(2048, 3072)
    small, large = (operator.scratch_bytes(outputs, sizes) for sizes in ((4000, 4000), (100_000, 100_000)))
    assert large == small < 60_000_000
    with pytest.raises(TconvError):
        operator.output_sizes((5, 5))
