"""Networks: every layer equals the definition for any strips, and the command checks its results."""

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import tracemalloc
import warnings
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import tconv
from tconv import Geometry, TconvError, definition
from tconv.errors import FileError, GeometryError, ShapeError
from tconv.io.picture_reading import open_picture
from tconv.kernels.activation import activation_of
from tconv.models import Convolution, Model, Network, Node, Pointwise, Sum, layers, load, network, photo
from tconv.models.error_bound import piece
from tconv.models.image_model import edge_extended
from tconv.models.running.picture import RowStream
from tconv.models.simplification import simplified
from tconv.upsampling import learned, torch_comparison
from tconv.weights.interpolation import upsample

ACTIVATIONS = [None, "relu", "relu6", ("leaky_relu", 0.2), ("clamp", -0.5, 0.5), "prelu"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Run every test in a directory of its own, without PyTorch, which is only loaded in processes of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch_comparison, "times", lambda model, pixels: None)
    return tmp_path


@contextmanager
def cut(strip, threads):
    """Run networks with strips of so many bytes and so many threads."""
    before = network._STRIP, tconv.get_num_threads()
    network._STRIP = strip
    tconv.set_num_threads(threads)
    try:
        yield
    finally:
        network._STRIP = before[0]
        tconv.set_num_threads(before[1])


# -- random networks ---------------------------------------------------------------------------------------------


def activation(rng, channels):
    found = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
    return ("prelu", rng.uniform(-0.5, 1.5, channels).astype("f4")) if found == "prelu" else found


def convolution(rng, into, out, kind, groups=1):
    """Return a random convolution: same size, valid, with an uneven crop, or enlarging."""
    pair = [int(n) for n in rng.integers(1, 6, 2)]
    dilation = [int(n) for n in rng.choice([1, 1, 1, 2, 3], 2)]
    if groups == 1 and rng.random() < 0.5:  # what is made in groups of rows, if it has the channels
        pair[0], dilation = 3, [1, 1]
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, pair, strict=True)]
    bias = rng.normal(0, 0.3, out).astype("f4") if rng.random() < 0.7 else None
    size = np.sqrt(into // groups * pair[0] * pair[1])
    if kind == "enlarge":
        stride = [int(n) for n in rng.integers(1, 5, 2)]
        crop = [(int(rng.integers(0, 2)), int(rng.integers(-1, 2))) for _ in stride]
        weight = (rng.normal(0, 1, (into, out // groups, *pair)) / size).astype("f4")
        return Convolution(weight, Geometry(pair, stride, crop, dilation, groups), bias, activation(rng, out))
    padding = {
        "same": [((e - 1) // 2, e - 1 - (e - 1) // 2) for e in extent],
        "valid": [(0, 0)] * 2,
        "uneven": [(int(rng.integers(0, e + 2)), int(rng.integers(0, e + 2))) for e in extent],
    }[kind]
    weight = (rng.normal(0, 1, (out, into // groups, *pair)) / size).astype("f4")
    return Convolution.ordinary(weight, bias, padding, dilation, groups, activation(rng, out))


def random_network(rng):
    """1 to 8 nodes, sums of earlier outputs of one shape among them, and outputs that no node reads."""
    nodes, channels = [], [int(rng.integers(1, 10))]
    sizes = [(1, 1, 0, 0)]  # along each axis, the output is slope * input + offset
    for number in range(1, int(rng.integers(1, 9)) + 1):
        at = number - 1 if rng.random() < 0.7 else int(rng.integers(0, number))
        alike = [j for j in range(number) if (channels[j], sizes[j]) == (channels[at], sizes[at])]
        kind = rng.choice(["same", "same", "valid", "uneven", "enlarge", "sum", "pointwise"])
        if kind == "sum" and number > 1:
            nodes.append(Node(Sum(), (at, int(rng.choice(alike)))))
            channels.append(channels[at])
            sizes.append(sizes[at])
        elif kind == "pointwise" and number > 1:
            nodes.append(Node(Pointwise(activation(rng, channels[at])), (at,)))
            channels.append(channels[at])
            sizes.append(sizes[at])
        else:
            groups = int(rng.choice([g for g in (1, 1, 2, 3) if channels[at] % g == 0]))
            out = channels[at] if rng.random() < 0.4 else groups * int(rng.integers(1, 7))
            kind = "same" if kind in ("sum", "pointwise") else kind
            step = convolution(rng, channels[at], out, kind, groups if out % groups == 0 else 1)
            (a, b), (c, d) = (step.geometry.output_shape((n, n)) for n in (64, 65))
            slope = c - a, d - b
            old = sizes[at]
            sizes.append(
                (
                    old[0] * slope[0],
                    old[1] * slope[1],
                    old[2] * slope[0] + a - 64 * slope[0],
                    old[3] * slope[1] + b - 64 * slope[1],
                )
            )
            nodes.append(Node(step, (at,)))
            channels.append(out)
    return Network(nodes)


def evaluated(net, x):
    """Return the output for x [1, C, H, W] by the definition in float64, and the allowed error of float32."""
    made = [x.astype("f8")]
    for node in net.nodes:
        given = [made[place] for place in node.inputs]
        if isinstance(node.step, Sum):
            y, bend = given[0] + given[1], None
        elif isinstance(node.step, Pointwise):
            y, bend = given[0].copy(), activation_of(node.step.activation, given[0].shape[1])
        else:
            step = node.step
            bias = None if step.bias is None else step.bias.astype("f8")
            y = definition.scatter(given[0], step.weight.astype("f8"), bias, geometry=step.geometry)
            bend = activation_of(step.activation, step.channels[1])
        if bend is not None:
            slopes = np.broadcast_to(bend.slopes, y.shape[1])[:, None, None]
            y = np.clip(np.where(y < 0, slopes * y, y), bend.low, bend.high)
        made.append(y)
    return made[-1], 2e-5 * max(1, max(np.abs(each).max() for each in made))


def drawn(seed, most=14, area=40_000):
    """Return a random network, a picture of a size that it takes, and the generator."""
    rng = np.random.default_rng(seed)
    while True:
        net = random_network(rng)
        shape = [
            (1, 1),
            (1, int(rng.integers(2, most))),
            (int(rng.integers(2, most)), 1),
            tuple(map(int, rng.integers(1, most, 2))),
        ]
        height, width = shape[rng.choice(4, p=[0.05, 0.1, 0.1, 0.75])]
        try:
            sizes = net.sizes((height, width))
        except TconvError:
            continue
        if max(h * w for h, w in sizes) <= area:
            return net, rng.normal(0, 1, (1, net.channels[0], height, width)).astype("f4"), rng


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=120)
def test_a_random_network_is_the_definition(seed):
    net, x, _ = drawn(seed)
    y, allowed = evaluated(net, x)
    made = net(x)
    assert made.dtype == np.float32
    assert made.shape == y.shape == (1, net.channels[-1], *net.output_shape(x.shape[2:]))
    np.testing.assert_allclose(made, y, rtol=0, atol=allowed)


def test_random_networks_have_layers_that_run_in_groups():
    """Some also have groups that do not begin at the first row."""
    nets = [drawn(seed)[0] for seed in range(200)]
    assert sum(len(net.anchors) > 1 for net in nets) > 5
    assert sum(any(net.anchors.values()) for net in nets) > 20


@given(seeds, st.integers(0, 17), st.integers(1, 4))
@settings(max_examples=150)
def test_rows_have_the_same_bits_for_any_strips(seed, strip, threads):
    net, x, rng = drawn(seed, most=40)
    height = x.shape[2]
    with cut(1 << 40, 1):
        whole = net(x)[0]
    total = whole.shape[1]
    with cut(1 << strip, threads):
        np.testing.assert_array_equal(net(x)[0], whole)
        edges = [0, *sorted(rng.integers(0, total + 1, int(rng.integers(0, 5)))), total]
        for start, stop in itertools.pairwise(map(int, edges)):
            if start == stop:
                continue
            window = net.window(slice(start, stop), height)
            assert 0 <= window.start < window.stop <= height
            # one row more than needed is allowed
            first, last = max(0, window.start - int(rng.integers(0, 2))), window.stop + int(rng.integers(0, 2))
            rows = net.rows(x[0, :, first:last], first, height, slice(start, stop))
            np.testing.assert_array_equal(rows, whole[:, start:stop])


def test_kernels_that_are_taller_than_the_picture():
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 7), (7, 1), (3, 2)]:
        first = Convolution.ordinary(rng.normal(0, 0.1, (2, 1, 15, 13)).astype("f4"), None, [(7, 7), (6, 6)])
        second = Convolution(rng.normal(0, 0.1, (2, 1, 20, 21)).astype("f4"), Geometry((20, 21), 2, [(9, 9), (9, 10)]))
        net = Network([Node(first, (0,)), Node(second, (1,))])
        x = rng.normal(0, 1, (1, 1, *shape)).astype("f4")
        y, allowed = evaluated(net, x)
        for threads in (1, 4):
            with cut(1, threads):
                np.testing.assert_allclose(net(x), y, rtol=0, atol=allowed)


def test_one_network_in_four_threads():
    rng = np.random.default_rng(3)
    net, _, _ = drawn(11)
    pictures = [rng.normal(0, 1, (1, net.channels[0], 20 + n, 30 + n)).astype("f4") for n in range(8)]
    expected = [net(x) for x in pictures]
    fresh = Network(
        [
            Node(
                n.step
                if not isinstance(n.step, Convolution)
                else Convolution(n.step.weight, n.step.geometry, n.step.bias, n.step.activation),
                n.inputs,
            )
            for n in net.nodes
        ]
    )
    faults = []

    def work(turn):
        for number in range(24):
            at = (number * (turn + 1)) % len(pictures)
            if not np.array_equal(fresh(pictures[at]), expected[at]):
                faults.append(at)

    with cut(1 << 12, 2):
        threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


def test_several_pictures_at_once():
    net, x, rng = drawn(5)
    many = np.concatenate([x, rng.normal(0, 1, (2, *x.shape[1:])).astype("f4")])
    np.testing.assert_array_equal(net(many), np.concatenate([net(each[None]) for each in many]))


@given(seeds, st.integers(1, 3))
@example(1281, 1)  # its largest nodes are read by none
@settings(max_examples=25)
def test_memory_does_not_grow_with_the_height_and_is_predicted(seed, threads):
    net, _, rng = drawn(seed)
    height, width = 3000, 8
    try:
        shape = net.output_shape((height, width))
    except TconvError:
        return
    x = rng.normal(0, 1, (net.channels[0], height, width)).astype("f4")
    with cut(1 << 15, threads):
        out = np.empty((net.channels[-1], *shape), "f4")
        rows = slice(0, shape[0])
        net.rows(x, 0, height, rows, out)  # allocates and compiles
        tracemalloc.start()
        net.rows(x, 0, height, rows, out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # prepared layers and Python's own objects take a little more
        assert peak <= net.scratch_bytes((height, width)) + 300_000
        if max(net.channels) * max(w for _, w in net.sizes((height, width))) < 1000:
            assert net.scratch_bytes((10 * height, width)) <= 2 * net.scratch_bytes((height, width))


# -- the definition's pieces -------------------------------------------------------------------------------------


@given(seeds)
@settings(max_examples=80)
def test_a_piece_equals_the_definition(seed):
    net, x, rng = drawn(seed)
    y, _ = evaluated(net, x)
    shape = x.shape[2:]
    for _ in range(3):
        outputs = []
        for size in y.shape[2:]:
            start, stop = sorted(int(n) for n in rng.integers(0, size + 1, 2))
            start = min(start, size - 1)
            outputs.append(slice(start, max(start + 1, stop)))
        rows, columns = (net.window(span, shape[axis], axis) for axis, span in enumerate(outputs))
        found = piece(net, x[0, :, rows, columns].astype("f8"), (rows, columns), shape, tuple(outputs))
        np.testing.assert_allclose(found.values, y[0, :, *outputs], rtol=0, atol=1e-11 * max(1, np.abs(y).max()))
        # the network's output is within the allowed error
        assert (np.abs(net(x)[0, :, *outputs] - found.values) <= found.error + 1e-30).all()


def allowed(net, x):
    """Return the allowed and the actual errors [C, H, W] of the whole output for x [1, C, H, W]."""
    shape = x.shape[2:]
    whole = tuple(slice(0, n) for n in net.output_shape(shape))
    found = piece(net, x[0].astype("f8"), tuple(slice(0, n) for n in shape), shape, whole)
    return found.error, np.abs(net(x)[0] - found.values)


@pytest.mark.parametrize("level", [0, 1e-3, 0.5, 1])
@pytest.mark.parametrize("pattern", ["flat", "stripes", "noise"])
def test_the_allowed_error_covers_our_networks_and_little_more(level, pattern):
    """In flat pictures and in patterns rounding errors are equal, not independent."""
    net = photo(2).network
    x = np.full((1, 1, 50, 50), level, "f4")
    if pattern == "stripes":
        x[..., ::3] *= np.float32(0.3)
    elif pattern == "noise":
        x *= np.random.default_rng(0).random(x.shape, np.float32)
    most, error = allowed(net, x)
    assert (error <= most + 1e-30).all()
    assert most.max() <= 2e-4 * level + 4e-6  # where a step of 8 bits is 4e-3


def test_equal_errors_add_up():
    """A difference that cancels leaves the same error everywhere in a flat picture, and sums collect it."""
    difference = np.float32([[[[1000.3, -1000.3]]]])
    box = np.ones((1, 1, 15, 15), "f4")
    layers = [Convolution.ordinary(difference), Convolution.ordinary(box), Convolution.ordinary(box)]
    net = Network([Node(layer, (number,)) for number, layer in enumerate(layers)])
    errors = []
    for level in np.random.default_rng(0).random(20):
        most, error = allowed(net, np.full((1, 1, 40, 41), level, "f4"))
        assert (error <= most).all()
        errors.append((error / most).max())
    assert max(errors) > 0.01


@pytest.mark.parametrize("limits", [("clamp", 0, 1), "relu", ("clamp", -1, 0)])
@pytest.mark.parametrize("alone", [False, True])
def test_an_output_at_a_limit_may_be_beside_it(limits, alone):
    """A value that is 0 up to rounding is clipped on one side only, as in black and white areas."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (1, 4, 1, 1)).astype("f4")
    weight[0, 3] = -weight[0, :3].astype("f8").sum()
    spread = np.ones((4, 1, 1, 1), "f4")
    layers = [Node(Convolution.ordinary(spread), (0,))]
    layers.append(Node(Convolution.ordinary(weight, activation=None if alone else limits), (1,)))
    if alone:
        layers.append(Node(Pointwise(limits), (2,)))
    most, error = allowed(Network(layers), rng.random((1, 1, 150, 150), np.float32))
    assert error.max() > 0
    assert (error <= most + 1e-30).all()


def test_errors_with_one_cause_cancel():
    """Two layers together leave a picture unchanged: 10 * 10x - 9.9 * 10x. A fault of a hundredth is detected."""
    spread, gather = np.float32([10, 10]).reshape(2, 1, 1, 1), np.float32([10, -9.9]).reshape(1, 2, 1, 1)
    net = Network(
        [Node(Convolution.ordinary(spread if n % 2 == 0 else gather), (n,)) for n in range(12)],
    )
    x = np.random.default_rng(0).random((1, 1, 9, 9), np.float32)
    most, error = allowed(net, x)
    np.testing.assert_allclose(net(x), x, rtol=1e-3)
    assert (error <= most).all()
    assert most.max() < 0.01


def test_a_network_of_large_weights_that_cancel_passes_the_check(run):
    """The command accepts it."""
    first = np.float32([1000.3, -1000.3]).reshape(1, 1, 1, 2)
    box = np.ones((1, 1, 15, 15), "f4")
    last = Convolution(np.full((1, 1, 2, 2), 1e-3, "f4"), Geometry((2, 2), 2))
    pads = [[(0, 0), (1, 0)], 7, 7]
    layers = [Convolution.ordinary(w, None, pad) for w, pad in zip([first, box, box], pads, strict=True)]
    described("w.safetensors", Network([Node(layer, (n,)) for n, layer in enumerate([*layers, last])]), "bicubic")
    for level in (77, 180, 201):
        Image.fromarray(np.full((64, 64), level, "u1")).save("a.png")
        assert run("a.png", "--weights", "w.safetensors", "-o", "b.png", "--overwrite")[0] == 0


def test_rounding_beside_black_reaches_a_group_of_rows():
    """With minimal filtering, the rounding error at an exact zero reaches all rows of its group."""
    rng = np.random.default_rng(0)
    steps_of = [rng.normal(0, 0.3, (8, into, 3, 3)).astype("f4") for into in (1, 8, 8, 8)]
    layers = [Convolution.ordinary(weight, None, 1, activation="relu") for weight in steps_of]
    net = Network(
        [Node(layer, (n,)) for n, layer in enumerate([*layers, Convolution.ordinary(np.ones((1, 8, 1, 1), "f4"))])]
    )
    assert net.anchors
    for seed in range(10):
        x = np.random.default_rng(seed).random((1, 1, 48, 48), np.float32)
        x[:, :, :22] = 0
        most, error = allowed(net, x)
        assert (error <= most + 1e-37).all()


# -- models ------------------------------------------------------------------------------------------------------


def small(channels=1, scale=2, border=0, seed=0, bias=0.05):
    """Return a network of two layers with this border: a valid convolution, and a transposed one."""
    rng = np.random.default_rng(seed)
    side = 2 * border + 1
    first = rng.normal(0, 0.3 / side, (4, channels, side, side)).astype("f4")
    second = rng.normal(0, 0.3, (4, channels, 2 * scale, 2 * scale)).astype("f4")
    geometry = Geometry((2 * scale, 2 * scale), scale, [(scale // 2, scale - scale // 2)] * 2)
    layers = [
        Convolution.ordinary(first, np.full(4, bias, "f4"), 0, activation=("leaky_relu", 0.1)),
        Convolution(second, geometry),
    ]
    return Network([Node(layer, (number,)) for number, layer in enumerate(layers)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("border", [0, 1, 3])
def test_scale_and_border_follow_from_the_sizes(channels, scale, border):
    net = small(channels, scale, border)
    model = Model.of(net, "mine")
    assert (model.scale, model.border, model.name) == (scale, border, "mine")
    x = np.random.default_rng(1).random((channels, 7, 5)).astype("f4")
    wide = np.pad(x, ((0, 0), (border, border), (border, border)), mode="edge")
    assert net.output_shape(wide.shape[1:]) == (7 * scale, 5 * scale)
    np.testing.assert_array_equal(model(x), net(wide[None])[0])
    added = model._replace(adds="bicubic")(x)
    np.testing.assert_allclose(added, model(x) + upsample(x, scale, "bicubic"), atol=1e-6)


def test_networks_that_are_not_models():
    ones = np.ones

    def net(weight, *geometry):
        return Network([Node(Convolution(ones(weight, "f4"), Geometry(weight[2:], *geometry)), (0,))])

    with pytest.raises(
        ShapeError, match=r"mine has 2 input and 3 output channels; as many of both are needed: 1 .luma., 3"
    ):
        Model.of(net((2, 3, 4, 4), 2, 1), "mine")
    with pytest.raises(ShapeError, match="mine has 1 input and 3 output channels"):
        Model.of(net((1, 3, 4, 4), 2, 1), "mine")
    assert Model.of(net((1, 1, 3, 3), 1, 1), "mine").scale == 1
    with pytest.raises(ShapeError, match="a square must become a square"):
        Model.of(net((1, 1, 4, 4), (2, 3), 0), "mine")
    for crop in (0, [(1, 0)] * 2, [(2, 1)] * 2):  # too large, or no whole pixels
        with pytest.raises(ShapeError, match="that is not a picture with a border of whole pixels"):
            Model.of(net((1, 1, 4, 4), 2, crop), "mine")
    with pytest.raises(
        ShapeError, match=r"mine does not take a picture of \(16384, 16384\): node 1: the output would be"
    ):
        Model.of(net((1, 1, 4, 4), 2, 40000), "mine")
    with pytest.raises(ShapeError, match="mine adds to 'cubic'; one of nearest, bilinear"):
        Model.of(net((1, 1, 4, 4), 2, 1), "mine", "cubic")
    with pytest.raises(ShapeError, match=r"picture has shape \(2, 5, 5\)"):
        Model.of(net((1, 1, 4, 4), 2, 1), "mine")(ones((2, 5, 5)))


def padded(*pads):
    """Return a network of 3 x 3 means with these pads (above, below), the same left and right, then scale 2."""
    mean = np.full((1, 1, 3, 3), 1 / 9, "f4")
    layers = [Convolution.ordinary(mean, padding=[pad, pad]) for pad in pads]
    layers.append(Convolution(np.ones((1, 1, 2, 2), "f4"), Geometry((2, 2), 2)))
    return Network([Node(layer, (number,)) for number, layer in enumerate(layers)])


@pytest.mark.parametrize(
    ("pads", "border"),
    [
        ([(1, 1)], 0),
        ([(0, 0)], 1),
        ([(2, 0), (0, 2)], 0),
        ([(0, 0), (2, 2)], 0),
        ([(1, 0), (0, 1)], 1),
        ([(1, 1), (2, 0), (0, 0), (0, 2)], 1),
        ([(0, 0)] * 100, 100),
    ],
)
def test_padding_that_is_centred_shifts_nothing(pads, border):
    model = Model.of(padded(*pads), "mine")
    assert (model.scale, model.border) == (2, border)
    x = np.zeros((1, 11, 11), "f4")
    x[0, 4, 6] = 1
    y = model(x)[0]
    rows, columns = np.indices(y.shape)
    if len(pads) < 5:  # the middle of the dot stays where it was
        assert (rows * y).sum() / y.sum() == pytest.approx(2 * 4.5 - 0.5, abs=1e-4)
        assert (columns * y).sum() / y.sum() == pytest.approx(2 * 6.5 - 0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("pads", "even", "span"),
    [
        ([(2, 0)], [(1, 1)], "i-2 to i+0"),
        ([(0, 2)], [(1, 1)], "i+0 to i+2"),
        ([(1, 0), (1, 0)], [(1, 0), (0, 1)], "i-3 to i+1"),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_padding_that_shifts_the_picture_is_refused(pads, even, span, axis):
    nodes = []
    for one, other in zip(padded(*pads).nodes, padded(*even).nodes, strict=True):
        crop = [other.step.geometry.crop[1]] * 2
        crop[axis] = one.step.geometry.crop[axis]
        geometry = layers.replace_crop(one.step.geometry, crop)
        nodes.append(Node(Convolution(one.step.weight, geometry), one.inputs))
    name = ("rows", "columns")[axis]
    with pytest.raises(ShapeError) as caught:
        Model.of(Network(nodes), "mine")
    assert f"mine computes the output {name} of pixel i from the input {name} {span}, which would shift" in str(
        caught.value
    )
    assert str(caught.value).endswith("Write a padding (crop) that is the same on both sides")


def test_graphs_that_do_not_fit():
    layer = Convolution.ordinary(np.ones((2, 2, 3, 3), "f4"), padding=1)
    with pytest.raises(GeometryError, match="has no convolution"):
        Network([Node(Pointwise("relu"), (0,))])
    for inputs in [(1,), (2,), (-1,), ()]:
        with pytest.raises(GeometryError, match="node 1 reads"):
            Network([Node(layer, inputs)])
    with pytest.raises(ShapeError, match="node 2: it has a weight for 3 input channels; it is given"):
        Network([Node(layer, (0,)), Node(Convolution.ordinary(np.ones((1, 3, 1, 1), "f4")), (1,))])
    with pytest.raises(ShapeError, match="node 1 has a bias of"):
        Network([Node(Convolution.ordinary(np.ones((2, 2, 3, 3), "f4"), np.ones(3, "f4")), (0,))])
    with pytest.raises(TconvError, match="activation is 'swish'; None, "):
        Network([Node(Convolution.ordinary(np.ones((2, 2, 3, 3), "f4"), activation="swish"), (0,))])
    with pytest.raises(ShapeError, match=r"node 2: it combines \[9, 7\] rows"):
        Network([Node(Convolution.ordinary(np.ones((2, 2, 3, 3), "f4")), (0,)), Node(Sum(), (0, 1))]).sizes((9, 9))
    for groups in (0, 3):
        with pytest.raises(TconvError):
            Convolution.ordinary(np.ones((2, 2, 3, 3), "f4"), groups=groups)


# -- the command -------------------------------------------------------------------------------------------------


def described(path, net, adds=None, beside=False, **more):
    """Write a network of convolutions as a described .safetensors file."""
    from safetensors.numpy import save_file

    tensors, layers = {}, []
    for number, node in enumerate(net.nodes):
        step = node.step
        layer = {"name": f"n{number + 1}", "inputs": [f"n{place}" if place else "input" for place in node.inputs]}
        if isinstance(step, Sum):
            layer |= {"op": "add"}
        else:
            bend = step.activation
            if isinstance(bend, tuple):
                if bend[0] == "prelu":
                    tensors[f"{number}.slopes"] = bend[1]
                    bend = ["prelu", f"{number}.slopes"]
                layer["activation"] = list(bend)
            elif bend is not None:
                layer["activation"] = bend
            if isinstance(step, Pointwise):
                layer |= {"op": "activation"}
            else:
                g = step.geometry
                tensors[f"{number}.weight"] = step.weight
                layer |= {"op": "conv_transpose", "weight": f"{number}.weight", "stride": g.stride}
                layer |= {"padding": g.crop, "dilation": g.dilation, "groups": g.groups}
                if step.bias is not None:
                    tensors[f"{number}.bias"] = step.bias
                    layer["bias"] = f"{number}.bias"
        layers.append(layer)
    text = json.dumps({"format": 1, "adds": adds, "layers": layers} | more)
    save_file(tensors, path, None if beside else {"tconv": text})
    if beside:
        Path(path).with_suffix(".json").write_text(text)


def faults(monkeypatch, spoil):
    """Replace the rows of a network's stream by faulty ones."""
    honest = RowStream.rows
    monkeypatch.setattr(RowStream, "rows", lambda self, *given: spoil(self, honest(self, *given)))


def picture(path, *shape, dtype="u1", seed=0):
    """Write noise [H, W] or [H, W, C] as a picture; return it as [C, H, W]."""
    x = np.random.default_rng(seed).integers(0, 256 ** np.dtype(dtype).itemsize, shape).astype(dtype)
    if dtype == "u1":
        Image.fromarray(x).save(path)
    else:
        kind = "rgb" if x.ndim == 3 else "minisblack"
        tifffile.imwrite(path, x, photometric=kind, extrasamples=["unassalpha"] if x.shape[2:] == (4,) else None)
    return np.moveaxis(x.reshape(*shape[:2], -1), 2, 0)


@pytest.mark.parametrize("words", [["--model", "photo"], ["--weights", "w.safetensors"]])
@pytest.mark.parametrize("fault", ["a weight", "a layer", "a row", "NaN"])
def test_a_faulty_network_is_found_and_nothing_is_written(run, monkeypatch, words, fault):
    described("w.safetensors", small(3))
    picture("a.png", 30, 30, 3)
    before = sorted(os.listdir())
    assert run("a.png", *words, "-o", "b.png")[0] == 0
    os.remove("b.png")
    if fault == "a weight":
        honest, spoiled = Convolution.rows, []

        def rows(self, x, first, outputs, out, **place):
            if not spoiled:  # the first layer that runs, and only that one
                weight = self.weight.copy()
                weight.flat[np.argmax(np.abs(weight))] += 1
                spoiled.append((self, Convolution(weight, self.geometry, self.bias, self.activation)))
            self = spoiled[0][1] if self is spoiled[0][0] else self
            honest(self, x, first, outputs, out, **place)

        monkeypatch.setattr(Convolution, "rows", rows)
    elif fault == "a layer":
        honest = Network.stream

        def skipped(self, *given, **more):
            at = next(n for n, node in enumerate(self.nodes) if node.step.activation is not None)
            step = self.nodes[at].step
            plain = Node(Convolution(step.weight, step.geometry, step.bias), self.nodes[at].inputs)
            return honest(Network([*self.nodes[:at], plain, *self.nodes[at + 1 :]]), *given, **more)

        monkeypatch.setattr(Network, "stream", skipped)
    else:

        def spoil(self, y):
            y[:, ::7] = np.nan if fault == "NaN" else np.roll(y[:, ::7], 1, 2)
            return y

        faults(monkeypatch, spoil)
    code, _, err = run("a.png", *words, "-o", "b.png")
    assert code == 1
    assert err.startswith("tconv: the check failed: output (channel ")
    assert "Nothing was written" in err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1, 3), (11, 7), (25, 31, 3), (6, 5, 4), (1, 1, 4)], ids=str)
@pytest.mark.parametrize("words", [[], ["--weights", "luma"], ["--weights", "rgb"], ["--weights", "bicubic"]], ids=str)
def test_pictures_of_all_kinds(run, words, shape, dtype):
    """The stored pixels equal the model's output, and opacity is interpolated."""
    if words:
        made = {"luma": (small(1, 2, 1), None), "rgb": (small(3, 2, 0), None), "bicubic": (small(3, 2, 2), "bicubic")}
        described("w.safetensors", *made[words[1]])
        words = ["--weights", "w.safetensors"]
    model = load("w.safetensors") if words else photo(2)
    x = picture("a.png" if dtype == "u1" else "a.tif", *shape, dtype=dtype)
    code, _, err = run("a.png" if dtype == "u1" else "a.tif", *words, "-o", "b.png")
    assert (code, err) == (0, "")
    y = open_picture(Path("b.png")).read()
    height, width = shape[:2]
    assert y.shape == (len(x), 2 * height, 2 * width)
    assert y.dtype == x.dtype
    if len(shape) == 3 and model.network.channels[0] == 1 and model.adds is None:
        return  # grey of a colour picture: only that it runs
    top = float(np.iinfo(dtype).max)
    colours = x[:3].astype("f8") / top
    opacity = x[3:4] / top if len(x) == 4 else np.ones((1, height, width))
    exact = model((colours * opacity).astype("f4")).astype("f8")
    if len(x) == 4:
        alpha = upsample(opacity, 2)
        assert np.abs(y[3] - np.clip(top * alpha[0], 0, top)).max() <= 0.5 + 1e-5 * top
        exact = np.divide(exact, alpha, out=np.zeros_like(exact), where=alpha > 0.1)
        seen = np.broadcast_to(alpha > 0.1, exact.shape)
    else:
        seen = np.ones(exact.shape, bool)
    np.testing.assert_array_less(np.abs(y[:3] - np.clip(top * exact, 0, top))[seen], 0.5 + 2e-5 * top)


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_float_pictures_keep_their_numbers(run, kind):
    x = np.random.default_rng(0).normal(0, 3, (9, 8, 3) if kind == "rgb" else (9, 8)).astype("f4")
    tifffile.imwrite("a.tif", x, photometric="rgb" if kind == "rgb" else "minisblack")
    assert run("a.tif")[0] == 0
    y = open_picture(Path("a_x2.tif")).read()
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, photo(2)(np.moveaxis(x.reshape(9, 8, -1), 2, 0)), atol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("words", [[], ["--kernel", "bicubic"], ["--scale", "5"]], ids=str)
@pytest.mark.parametrize("kind", ["flat", "noise", "one pixel is NaN"])
def test_numbers_whose_sums_overflow_are_refused_as_such(run, words, kind):
    x = np.full((50, 52, 3), 3.4e38, "f4")
    if kind != "flat":
        x *= np.random.default_rng(0).random(x.shape, np.float32)
    if kind == "one pixel is NaN":
        x[0, 0] = np.nan
    tifffile.imwrite("a.tif", x, photometric="rgb")
    code, _, err = run("a.tif", *words, "-o", "b.tif")
    assert code == 1
    assert err.startswith(
        "tconv: the image has numbers up to 3.4e+38, and sums of those overflow float32, which ends at"
    )
    assert not Path("b.tif").exists()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("scale", [2, 5, 6])
def test_infinite_values_spread_as_in_the_definition(run, scale, value):
    x = np.random.default_rng(0).random((50, 45, 3)).astype("f4")
    x[20, 22, 1] = value
    tifffile.imwrite("a.tif", x, photometric="rgb")
    assert run("a.tif", "--scale", scale, "-o", "b.tif")[0] == 0
    y = open_picture(Path("b.tif")).read()
    assert not np.isfinite(y[:, 20 * scale, 22 * scale]).any()
    assert np.isfinite(y[:, 0]).all()


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 6, 7, 8, 9, 11])
def test_every_scale_keeps_pixels_in_their_places(run, scale):
    """A gradient stays a gradient and a dot stays in place, at every scale."""
    dot = np.zeros((17, 19), "u2")
    dot[8, 6] = 60000
    tifffile.imwrite("a.tif", dot, photometric="minisblack")
    assert run("a.tif", "--scale", scale, "-o", "b.png")[0] == 0
    y = open_picture(Path("b.png")).read()[0].astype("f8")
    assert y.shape == (17 * scale, 19 * scale)
    for axis, at in ((0, 8), (1, 6)):
        weight = y.sum(1 - axis)
        middle = (weight * np.arange(len(weight))).sum() / weight.sum()
        assert middle == pytest.approx((at + 0.5) * scale - 0.5, abs=0.15 * scale)


@pytest.mark.parametrize("scale", [4, 5, 6, 7, 11])
def test_detail_at_other_scales_is_interpolated_where_it_belongs(run, scale, monkeypatch):
    """Interpolating the output of a model that repeats every pixel keeps linear pictures linear."""
    times = 2 if scale in (4, 6) else 3
    repeat = Convolution(np.ones((1, 1, times, times), "f4"), Geometry((times, times), times))
    model = Model.of(Network([Node(repeat, (0,))]), "repeat")
    upsampler = learned.LearnedUpsampler(model, scale, "repeat")
    height, width = 6, 40
    x = np.broadcast_to(np.arange(width, dtype="f4"), (1, height, width)) / 64
    rows = slice(0, scale * height)
    window = upsampler.window(rows, height)
    frame = learned.Frame(height, 1.0, False)
    y = upsampler.strip(edge_extended(x, window, 1), window.start, rows, frame)
    assert y.shape == (1, scale * height, scale * width)
    places = (np.arange(scale * width) + 0.5) / scale - 0.5
    # repeating shifts each pixel by at most half a pixel, and not to one side only
    error = (y[0, 0] * 64 - places)[3 * scale : -3 * scale]
    assert np.abs(error).max() <= 0.51
    assert abs(error.reshape(-1, scale).mean()) < 0.02


@pytest.mark.parametrize(
    ("scale", "words", "note"),
    [
        ("2", "photo-large x2 (a network of 15 convolutions, added to bicubic)", None),
        ("1.5", "photo-large x2 (a network of 15 convolutions, added to bicubic): x2 by the network, then x0.75", None),
        ("3", "photo x3 (a network of 14 convolutions", "photo-large is a network of x2; x3 is photo's"),
        ("4", "photo x4 (a network of 14 convolutions", "photo-large is a network of x2; x4 is photo's"),
        ("5/2", "photo x3 (a network of 14 convolutions", "photo-large is a network of x2; x3 is photo's"),
    ],
)
def test_the_large_network_by_name(run, scale, words, note):
    picture("a.png", 6, 7, 3)
    code, out, _ = run("a.png", "--model", "photo-large", "--scale", scale, "-o", "b.png")
    assert code == 0
    assert words in out
    assert (note in out) if note else ("photo-large is" not in out)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exact = tconv.upsample("a.png", Fraction(scale), model="photo-large")
    assert [(str(each.message), each.filename) for each in caught] == ([(note, __file__)] if note else [])
    with Image.open("b.png") as made:
        np.testing.assert_array_equal(np.asarray(made), exact)
    same = tconv.models.photo(2, "large") if scale == "2" else None
    small = tconv.upsample("a.png", Fraction(scale), weights=same) if same else tconv.upsample("a.png", Fraction(scale))
    assert np.array_equal(exact, small) == (scale != "1.5")


@pytest.mark.parametrize(
    ("size", "runs"), [({"scale": 3}, 3), ({"scale": 4}, 4), ({"width": 20}, 3), ({"width": 14}, 2)]
)
def test_an_array_is_warned_of_the_network_that_runs_instead(size, runs):
    small = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tconv.upsample([small, small], **size, model="photo-large")
    words = [] if runs == 2 else [f"photo-large is a network of x2; x{runs} is photo's"]
    assert [str(each.message) for each in caught] == words


@given(st.integers(1, 60), st.integers(1, 40), st.sampled_from([2, 3, 4, 5, 7]), st.integers(1, 5), seeds)
@settings(max_examples=40)
def test_strips_of_a_learned_picture_leave_no_seam(height, width, scale, pieces, seed):
    upsampler = learned.from_name("photo", scale)
    x = np.random.default_rng(seed).integers(0, 256, (3, height, width)).astype("f4")
    frame = learned.Frame(height, 255.0, False)

    def made(rows):
        window = upsampler.window(rows, height)
        return upsampler.strip(edge_extended(x, window, 1), window.start, rows, frame)

    whole = made(slice(0, scale * height))
    edges = sorted({0, scale * height, *np.random.default_rng(seed).integers(0, scale * height, pieces).tolist()})
    parts = [made(slice(*pair)) for pair in itertools.pairwise(edges)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=0, atol=2e-4)


MEASURED = """
import sys
import numpy as np
from tconv.upsampling import learned
from tconv.upsampling.definition_check import Check
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.strips import enlarge, predicted_bytes

def run(channels, height, width):
    x = np.random.default_rng(0).integers(0, 256, (channels, height, width)).astype("u1")
    values = StoredValues(x.dtype, channels in (2, 4))
    out = np.empty((channels, scale * height, scale * width), "u1")
    check = Check(x, upsampler, values, 1)
    enlarge(x, upsampler, values, out, check)
    check.compare(out)
    return predicted_bytes((1, *x.shape), upsampler, values)

def peak():  # ru_maxrss would know the parent's
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

scale, channels = map(int, sys.argv[1:])
upsampler = learned.from_name("photo", scale)
run(channels, 20, 20)
before = peak()
predicted = run(channels, 900, 1400)
print(peak() - before, predicted)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.parametrize(("scale", "channels"), [(2, 4), (3, 3), (5, 1), (5, 3), (7, 3)])
def test_the_memory_of_a_run_is_predicted(scale, channels):
    """Peak memory of a whole process, with the memory pooled for later outputs."""
    words = [sys.executable, "-c", MEASURED, str(scale), str(channels)]
    output = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    peak, predicted = map(int, output.split())
    assert 0.4 * predicted < peak <= predicted + 20_000_000  # modules that are loaded late, and the check


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "--model", "photo", "--scale", "1"], "--scale is 1, and --model makes pictures larger. Write --scale 2"),
        (["a.png", "--model", "cartoon"], "--model is 'cartoon'; there are photo and photo-large. Write --model photo, or --weights FILE"),
        (["a.png", "--model", "photo-big"], "--model is 'photo-big'; there are photo and photo-large. Write --model photo-large, or --weights FILE"),
        (["a.npy", "--model", "photo"], "a.npy contains feature maps, and --model is for pictures. Write --kernel bicubic, or the name of a picture"),
        (["a.npy", "--weights", "w.safetensors"], "a.npy contains feature maps, and --weights is for pictures"),
        (["a.png", "--model", "photo", "--kernel", "bicubic"], "--model and --kernel were given; each selects an upsampling method. Use one of them"),
        (["a.png", "--weights", "w.safetensors", "--kernel", "bicubic"], "--kernel and --weights were given"),
        (["a.png", "--model", "photo", "--weights", "w.safetensors"], "--model and --weights were given"),
        (["a.png", "--weights", "w.safetensors", "--scale", "1"], "--scale is 1, and --weights makes pictures larger. Write --scale 2, or --kernel bicubic"),
        (["a.png", "--weights", "none.onnx"], "none.onnx does not exist, or is not a file"),
        (["a.png", "--weights", "a.png"], "a.png ends in .png; .onnx, .param (ncnn), .safetensors, or .pth"),
        (["a.png", "--weights", "d.onnx"], "d.onnx is a folder; a file of weights is needed"),
        (["five.tif", "--model", "photo"], "the picture has 5 channels; 1 (grey) or 3 (red, green, blue), and opacity, are needed. Use a picture of those, or interpolate: --kernel bicubic"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_refusals(run, words, message):
    described("w.safetensors", small(3))
    picture("a.png", 4, 4, 3)
    np.save("a.npy", np.ones((2, 2)))
    os.mkdir("d.onnx")
    tifffile.imwrite("five.tif", np.ones((4, 4, 5), "u1"), photometric="minisblack", planarconfig="contig")
    before = sorted(os.listdir())
    code, out, err = run(*words)
    assert (code, "output" in out) == (1, False)
    assert err.startswith(f"tconv: {message}")
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_a_multiple_of_the_networks_own_scale(run):
    described("w.safetensors", small(3))
    picture("a.png", 5, 4, 3)
    for scale, words in [(2, []), (2, ["--scale", "2"]), (6, ["--scale", "6"])]:
        assert run("a.png", "--weights", "w.safetensors", *words, "-o", "b.png", "--overwrite")[0] == 0
        assert open_picture(Path("b.png")).read().shape == (3, 5 * scale, 4 * scale)


def test_feature_maps_and_scale_1_are_interpolated(run):
    np.save("a.npy", np.ones((2, 2)))
    picture("a.png", 4, 4, 3)
    assert "by bicubic" in run("a.npy")[1]
    assert "filtered by bicubic" in run("a.png", "--scale", 1)[1]


# -- described .safetensors files --------------------------------------------------------------------------------


def models_of(rng, count):
    """Return random networks that are models: random layers, then one that enlarges to 1 or 3 channels."""
    made = []
    while len(made) < count:
        net = random_network(rng)
        channels = net.channels[0]
        if channels not in (1, 3):
            continue
        try:
            made.append(Model.of(net, "random"))
        except (ShapeError, TconvError):
            scale = int(rng.integers(2, 4))
            last = rng.normal(0, 0.3, (net.channels[-1], channels, scale, scale)).astype("f4")
            grown = Network([*net.nodes, Node(Convolution(last, Geometry((scale, scale), scale)), (len(net.nodes),))])
            try:
                made.append(Model.of(grown, "random"))
            except (ShapeError, TconvError):
                continue
    return made


@pytest.mark.parametrize("beside", [False, True])
def test_a_described_network_comes_back(beside):
    rng = np.random.default_rng(4)
    for model in models_of(rng, 12):
        described("w.safetensors", model.network, "lanczos", beside)
        found = load("w.safetensors")
        assert (found.scale, found.border, found.adds) == (model.scale, model.border, "lanczos")
        x = rng.normal(0, 1, (1, model.network.channels[0], 40, 30)).astype("f4")
        channels = model.network.channels[0]
        same = Network(simplified(model.network.nodes, channels), channels)
        np.testing.assert_array_equal(found.network(x), same(x))
        Path("w.json").unlink(missing_ok=True)


def test_ordinary_convolutions_and_layers_in_a_row():
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    w = {"0.weight": (6, 1, 5, 5), "0.bias": (6,), "0.slopes": (6,), "1.weight": (6, 1, 3, 3), "2.weight": (6, 1, 4, 4)}
    w = {name: rng.normal(0, 0.3, shape).astype("f2") for name, shape in w.items()}
    layers = [
        {"op": "conv", "weight": "0.weight", "bias": "0.bias", "padding": 2, "activation": ["prelu", "0.slopes"]},
        {"op": "conv", "weight": "1.weight", "groups": 6, "padding": [2, 2], "dilation": 2, "name": "deep"},
        {"op": "activation", "activation": ["leaky_relu", 0.25]},
        {"op": "add", "inputs": ["3", "deep"]},
        {"op": "conv_transpose", "weight": "2.weight", "stride": 2, "padding": 1},
    ]
    save_file(w, "w.safetensors", {"tconv": json.dumps({"format": 1, "layers": layers})})
    model = load("w.safetensors")
    x = rng.random((1, 1, 9, 8)).astype("f4")
    y, allowed = evaluated(model.network, x)
    np.testing.assert_allclose(model.network(x), y, atol=allowed)
    assert (model.scale, model.border, model.adds) == (2, 0, None)
    # the first layer by hand
    first = model.network.nodes[0].step
    expected = np.zeros((6, 9, 8))
    wide = np.pad(x[0, 0].astype("f8"), 2)
    for c in range(6):
        for i in range(9):
            for j in range(8):
                expected[c, i, j] = (w["0.weight"][c, 0].astype("f8") * wide[i : i + 5, j : j + 5]).sum()
    expected += w["0.bias"].astype("f8")[:, None, None]
    expected = np.where(expected < 0, w["0.slopes"].astype("f8")[:, None, None] * expected, expected)
    np.testing.assert_allclose(Network([Node(first, (0,))])(x)[0], expected, atol=1e-5)


GOOD = [
    {"op": "conv", "weight": "a", "bias": "b", "padding": 1, "activation": "relu", "name": "one"},
    {"op": "conv_transpose", "weight": "c", "stride": 2, "padding": 1},
]


def changed(number, **words):
    return [layer | words if at == number else layer for at, layer in enumerate(GOOD)]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "its description is []; a JSON object is needed"),
        ("3", ""),
        ("null", "its description is null; a JSON object is needed"),
        ({}, "'format' is missing"),
        ({"format": 1}, "'layers' is missing"),
        ({"format": 2, "layers": GOOD}, "its format is 2; this version of tconv reads 1"),
        ({"format": 1, "layers": {}}, "'layers' is {}; a list of layers is needed"),
        ({"format": 1, "layers": [1]}, "layer 1: it is 1; an object is needed"),
        ({"format": 1, "layers": []}, "'layers' is []; at least one layer is needed"),
        ({"format": 1, "layers": [{}]}, "'op' is missing"),
        (changed(0, op="pool"), "layer 1: its op is 'pool'; one of conv, conv_transpose, add, activation, multiply,"),
        (changed(0, op={}), "layer 1: its op is {}"),
        (changed(0, padded=1), "layer 1: it has 'padded'; activation, bias, dilation"),
        (changed(0, weight="z"), "there is no tensor 'z'; there are"),
        (changed(0, weight=None), "layer 1: 'weight' is null; the name of a tensor is needed"),
        (changed(0, weight=["a"]), "'weight' is [\"a\"]; the name"),
        (changed(0, weight="b"), "b has shape (4,); 4 axes are needed"),
        (changed(0, bias="a"), "a has shape (4, 1, 3, 3); 1 axes are needed"),
        (changed(0, bias="d"), "layer 1 has a bias of (3,); (4,)"),
        (changed(0, groups=0), "groups is 0"),
        (changed(0, groups=3), "layer 1: its weight has shape (4, 1, 3, 3); 3 groups do not divide it"),
        (changed(0, groups="x"), "layer 1: groups is 'x'; an integer is needed"),
        (changed(0, dilation=0), "dilation is 0"),
        (changed(0, padding="same"), "layer 1: padding is 'same'; an integer is needed"),
        (changed(0, padding=[[1], 1]), 'Write "padding": [[1, 1], [1, 1]]'),
        (changed(0, activation="swish"), "layer 1: its activation is 'swish'. Write it as a layer after it"),
        (changed(0, activation=["prelu"]), "activation is"),
        (changed(0, activation=["prelu", "d"]), 'its activation is ["prelu", "d"]; "relu"'),
        (changed(0, activation=["prelu", "none"]), "layer 1: there is no tensor 'none'"),
        (changed(0, activation={"a": 1}), "'activation' is {\"a\": 1}; a name, or a list"),
        (changed(0, activation=[]), "activation is"),
        (changed(0, activation=3), "'activation' is 3; a name, or a list of a name and numbers, is needed"),
        (changed(0, inputs=["two"]), "layer 1: it reads 'two', which is not the name of a layer before it"),
        (changed(0, inputs=["one"]), "layer 1: it reads 'one', which is not the name of a layer before it"),
        (changed(1, inputs=[]), "layer 2 reads ()"),
        (changed(1, inputs=3), "layer 2: 'inputs' is 3; a list of names is needed"),
        (changed(1, inputs=[[]]), "layer 2: it reads [], which is not the name of a layer before it"),
        (changed(1, inputs=["one", "input"]), "layer 2: it has a weight for 4 input channels"),
        (changed(1, inputs=["input"]), "layer 2: it has a weight for 4 input channels; it is given 1"),
        (changed(1, name="one"), "layer 2: its name 'one' is already taken"),
        (changed(1, name="input"), "layer 2: its name 'input' is already taken"),
        (changed(1, stride=0), "stride is 0"),
        (changed(1, op="add", activation="relu"), "layer 2: it is a sum with an activation"),
        ([GOOD[0], {"op": "add", "inputs": ["one"]}], "layer 2: it is a sum of 1 input"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_descriptions_that_are_refused(description, message):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    shapes = {"a": (4, 1, 3, 3), "b": (4,), "c": (4, 1, 4, 4), "d": (3,)}
    tensors = {name: rng.normal(0, 1, shape).astype("f4") for name, shape in shapes.items()}
    if isinstance(description, list):
        description = {"format": 1, "layers": description}
    text = description if isinstance(description, str) else json.dumps(description)
    save_file(tensors, "w.safetensors", {"tconv": json.dumps({"format": 1, "layers": GOOD})})
    assert load("w.safetensors").scale == 2
    save_file(tensors, "w.safetensors", {"tconv": text})
    with pytest.raises(FileError) as caught:
        load("w.safetensors")
    assert str(caught.value).startswith("w.safetensors does not describe a network that can be run: ")
    assert message in str(caught.value)
    save_file(tensors, "w.safetensors")
    Path("w.json").write_text(text)
    with pytest.raises(FileError, match=r"w\.safetensors does not describe a network"):
        load("w.safetensors")


JUNK = [None, 0, -1, 1.5, "", "x", "a", [], {}, [[]], [None], True, 1e400, [1, 2, 3], ["a"], 10**30, {"a": 1}, [["b"]]]
JUNK += [float("nan"), ["prelu"], ["clamp", 1], ["clamp", "a", "b"], ["leaky_relu", None], [[1, 2], [3]], "input"]
PYTHON = re.compile(
    r"out of range|unpack|unhashable|not iterable|subscriptable|object has no|NoneType|codec|expected \d|: '[^']*'$|: $"
)
"""Parts of Python's own error messages, which no message of tconv may contain."""


def test_altered_descriptions_are_read_or_refused():
    """Any value may stand anywhere; the message names the layer in the terms of the description."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    shapes = {"a": (4, 1, 3, 3), "b": (4,), "c": (4, 1, 4, 4), "d": (3,)}
    tensors = {name: rng.normal(0, 1, shape).astype("f4") for name, shape in shapes.items()}
    layers = [
        {"op": "conv", "weight": "a", "bias": "b", "padding": [[1, 1], [1, 1]], "activation": ["prelu", "b"]},
        {"op": "activation", "activation": ["clamp", 0, 1], "name": "two"},
        {"op": "add", "inputs": ["1", "two"]},
        {"op": "conv_transpose", "weight": "c", "stride": [2, 2], "padding": 1, "dilation": 1, "groups": 1},
    ]
    save_file(tensors, "w.safetensors")
    messages = []
    for number in range(1500):
        description = json.loads(json.dumps({"format": 1, "adds": "bicubic", "layers": layers}))
        where, key = (
            [(description, "format"), (description, "adds"), (description, "layers")][number % 3]
            if number % 10 == 0
            else (description["layers"], int(rng.integers(4)))
        )
        if number % 10:
            where = where[key]
            key = list(where)[rng.integers(len(where))]
        if number % 7 == 0:
            del where[key]
        elif number % 7 == 1 and isinstance(where[key], list):
            where[key][rng.integers(len(where[key]))] = JUNK[rng.integers(len(JUNK))]
        else:
            where[key] = JUNK[rng.integers(len(JUNK))]
        text = json.dumps(description).encode()
        if number % 11 == 0:
            text = text.replace(text[(at := int(rng.integers(len(text)))) : at + 1], b"\xff", 1)
        Path("w.json").write_bytes(text)
        try:
            load("w.safetensors")
        except TconvError as error:
            messages.append(str(error))
    assert len(messages) > 1000
    assert [message for message in messages if PYTHON.search(message) or "crop is" in message] == []


def test_weights_that_are_refused(run):
    from safetensors.numpy import save_file

    picture("a.png", 4, 4)
    layers = json.dumps({"format": 1, "layers": GOOD})
    good = {"a": np.ones((4, 1, 3, 3), "f4"), "b": np.ones(4, "f4"), "c": np.ones((4, 1, 4, 4), "f4")}
    bad = good["a"].copy()
    bad[1, 0, 2, 1] = np.nan

    def refused(message, words=None):
        code, _, err = run("a.png", "--weights", "w.safetensors")
        assert code == 1
        assert err.startswith(f"tconv: {message}")
        assert err.count("\n") == 1

    save_file(good | {"a": bad}, "w.safetensors", {"tconv": layers})
    refused("w.safetensors: a contains inf or NaN in float32; finite weights are needed")
    save_file(good | {"a": good["a"].astype("i4")}, "w.safetensors", {"tconv": layers})
    refused("w.safetensors: a has dtype int32; floats are needed. Write it as float32")
    save_file(good | {"a": good["a"].astype("f8") * 1e300}, "w.safetensors", {"tconv": layers})
    refused("w.safetensors: a contains inf or NaN")
    save_file(good, "w.safetensors")
    refused("w.safetensors has no description of its layers. Write one into the metadata under 'tconv', or into w.json")
    save_file(
        {name: np.repeat(value, 2, 0) if name == "c" else value for name, value in good.items()},
        "w.safetensors",
        {"tconv": layers},
    )
    refused("w.safetensors does not describe a network that can be run: layer 2: it has a weight for 8 input channels")
    save_file(good, "w.safetensors", {"tconv": json.dumps({"format": 1, "layers": GOOD[:1]})})
    refused("w.safetensors has 1 input and 4 output channels")
    save_file(good, "w.safetensors", {"tconv": json.dumps({"format": 1, "layers": GOOD, "adds": ["bicubic"]})})
    refused("w.safetensors adds to ['bicubic']; one of nearest")
    Path("w.safetensors").write_bytes(Path("a.png").read_bytes())
    refused("w.safetensors is damaged, or not a .safetensors file")
    Path("w.safetensors").write_bytes(b"")
    refused("w.safetensors is damaged, or not a .safetensors file")
    os.remove("w.safetensors")
    os.mkdir("w.safetensors")
    refused("w.safetensors is a folder; a file of weights is needed")


@pytest.mark.parametrize("part", ["cut", "changed"])
def test_a_damaged_file_is_read_or_refused_and_never_crashes(part):
    described("whole.safetensors", small(1))
    whole = Path("whole.safetensors").read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    refused = 0
    for place in [*range(0, head, 5), *rng.integers(head, len(whole), 40).tolist()]:
        data = bytearray(whole[:place] if part == "cut" else whole)
        if part == "changed":
            data[place] ^= int(rng.integers(1, 256))
        Path("w.safetensors").write_bytes(data)
        try:
            model = load("w.safetensors")
            if model.scale * (1 + model.border) < 100:
                model(np.ones((1, 3, 3), "f4"))
        except TconvError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("dtype", ["u1", "i8", "?", "c8"])
def test_integers_are_refused_because_their_white_is_unknown(dtype):
    with pytest.raises(tconv.errors.DtypeError, match=r"floats from 0 \(black\) to 1 \(white\) are needed"):
        photo(2)(np.zeros((3, 4, 5), dtype))


def test_fusing_leaves_the_output_where_it_is():
    """An unread node between a convolution and its activation must not become the last one."""
    twice, hundred = (Convolution(np.full((1, 1, 1, 1), w, np.float32), Geometry((1, 1))) for w in (2, 100))
    nodes = [Node(twice, (0,)), Node(hundred, (0,)), Node(Pointwise("relu"), (1,))]
    x = np.ones((1, 1, 2, 2), np.float32)
    np.testing.assert_array_equal(Network(simplified(nodes))(x), Network(nodes)(x))


def test_a_model_in_a_line_and_pictures_in_another_order_of_axes():
    assert repr(photo(2)) == f"Model(photo x2: scale 2, {len(photo(2).network.methods())} convolutions, luma 0..1)"
    assert "multiple of it" in Model.block.__doc__
    with pytest.raises(ShapeError, match=r"Write picture\.transpose\(2, 0, 1\) for \[H, W, C\]"):
        photo(2)(np.zeros((20, 30, 3), np.float32))
    with pytest.raises(ShapeError, match=r"Write picture\[None\]"):
        photo(2)(np.zeros((20, 30), np.float32))
