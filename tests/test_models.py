"""Networks: every layer equals the definition however the rows are cut, and the command checks what it writes."""

import json
import os
import threading
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tconv
from tconv import Geometry, TconvError, definition
from tconv.activation import activation_of
from tconv.cli import learned, main, rival, sample
from tconv.errors import FileError, GeometryError, ShapeError
from tconv.images import open_picture
from tconv.interpolation import upsample
from tconv.models import Convolution, Model, Network, Node, Pointwise, Sum, load, network, photo
from tconv.models.truth import piece

ACTIVATIONS = [None, "relu", "relu6", ("leaky_relu", 0.2), ("clamp", -0.5, 0.5), "prelu"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test in a directory of its own, without PyTorch: that is loaded in processes of its own only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rival, "times", lambda model, pixels: None)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run in this process: (exit code, stdout, stderr)."""

    def call(*words):
        code = main(["upsample", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@contextmanager
def cut(strip, threads, band):
    """Rows in strips of so many bytes, by so many threads, bands of so many times what one row needs."""
    before = network._STRIP, network._LEAST_BAND, tconv.get_num_threads()
    network._STRIP, network._LEAST_BAND = strip, band
    tconv.set_num_threads(threads)
    try:
        yield
    finally:
        network._STRIP, network._LEAST_BAND = before[:2]
        tconv.set_num_threads(before[2])


# -- random networks ---------------------------------------------------------------------------------------------


def activation(rng, channels):
    found = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
    return ("prelu", rng.uniform(-0.5, 1.5, channels).astype("f4")) if found == "prelu" else found


def convolution(rng, into, out, kind, groups=1):
    """A random one: it keeps the size, is valid, crops unevenly, or enlarges."""
    pair = [int(n) for n in rng.integers(1, 6, 2)]
    dilation = [int(n) for n in rng.choice([1, 1, 1, 2, 3], 2)]
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
    """1 to 8 nodes, sums of earlier outputs of one shape among them, and outputs that nobody reads."""
    nodes, channels = [], [int(rng.integers(1, 7))]
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
            out = channels[at] if rng.random() < 0.4 else groups * int(rng.integers(1, 4))
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
    """The output for x [1, C, H, W] by the definition in float64, and how far float32 may be from it."""
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
    """A random network with a picture that it takes, and a generator for more."""
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


@given(seeds, st.integers(0, 17), st.integers(1, 4), st.integers(1, 2))
@settings(max_examples=150)
def test_rows_are_the_same_bits_however_they_are_cut(seed, strip, threads, band):
    net, x, rng = drawn(seed, most=40)
    height = x.shape[2]
    with cut(1 << 40, 1, 1):
        whole = net(x)[0]
    total = whole.shape[1]
    with cut(1 << strip, threads, band):
        np.testing.assert_array_equal(net(x)[0], whole)
        edges = [0, *sorted(rng.integers(0, total + 1, int(rng.integers(0, 5)))), total]
        for start, stop in zip(map(int, edges), map(int, edges[1:]), strict=False):
            if start == stop:
                continue
            window = net.window(slice(start, stop), height)
            assert 0 <= window.start < window.stop <= height
            # a row more than is needed does no harm
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
            with cut(1, threads, 1):
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

    with cut(1 << 12, 2, 1):
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
@settings(max_examples=25)
def test_memory_does_not_grow_with_the_height_and_is_foretold(seed, threads):
    net, _, rng = drawn(seed)
    height, width = 3000, 8
    try:
        shape = net.output_shape((height, width))
    except TconvError:
        return
    x = rng.normal(0, 1, (net.channels[0], height, width)).astype("f4")
    with cut(1 << 15, threads, 1):
        out = np.empty((net.channels[-1], *shape), "f4")
        rows = slice(0, shape[0])
        net.rows(x, 0, height, rows, out)  # makes ready
        tracemalloc.start()
        net.rows(x, 0, height, rows, out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # layers in front of the kernel, and what Python itself needs, are a little more
        assert peak <= net.scratch_bytes((height, width)) + 300_000
        if max(net.channels) * max(w for _, w in net.sizes((height, width))) < 1000:
            assert net.scratch_bytes((10 * height, width)) <= 2 * net.scratch_bytes((height, width))
