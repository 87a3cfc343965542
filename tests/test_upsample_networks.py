"""`tconv upsample --weights` with heavy networks: sizes, ranges, orders, progress, threads, and the check of each layer."""

import json
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import tconv
from tconv import Geometry
from tconv.errors import ArgumentError, CheckError, ShapeError
from tconv.models import (
    Affine,
    ChannelsToPixels,
    Combination,
    Concat,
    Convolution,
    GlobalMean,
    Model,
    Network,
    Node,
    Padding,
    PixelsToChannels,
    Pointwise,
    Resize,
    Sum,
)
from tconv.models.image_model import edge_extended
from tconv.models.layer_check import LayerCheck
from tconv.models.running.column_sums import ColumnSums
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.upsampling import learned
from tconv.upsampling.block_means import BlockMeans
from tconv.upsampling.inputs import ArrayInput
from tconv.upsampling.run import Run
from tconv.upsampling.target_size import TargetSize
from tconv.upsampling.upsampler_selection import Selection

rng = np.random.default_rng


def conv(into, out, size=3, seed=0, activation=None, padding=None, scale=1.0):
    """Return an ordinary convolution with random weights that keep the size of numbers."""
    weight = rng(seed).standard_normal((out, into, size, size)).astype("f4") * np.float32(scale / (into**0.5 * size))
    bias = rng(seed + 1).standard_normal(out).astype("f4") * np.float32(0.05)
    return Convolution.ordinary(weight, bias, size // 2 if padding is None else padding, activation=activation)


def chain(*steps):
    return [Node(step, (number,)) for number, step in enumerate(steps)]


def enhancer(channels=3, scale=2, depth=3, width=16, border=False):
    """Return a network like Real-ESRGAN's small ones: the enlarged picture plus what convolutions find in it."""
    padding = 0 if border else None
    steps = [conv(channels, width, activation=("leaky_relu", 0.1), padding=padding)]
    steps += [
        conv(width, width, seed=seed, activation=("leaky_relu", 0.1), padding=padding) for seed in range(1, depth)
    ]
    steps += [conv(width, channels * scale**2, seed=99, scale=0.05, padding=padding), ChannelsToPixels(scale)]
    nodes = chain(*steps)
    lost = -(depth + 1) if border else 0
    nodes.append(Node(Padding(((lost, lost), (lost, lost))), (0,)))
    nodes.append(Node(Resize((scale, scale), "nearest"), (len(nodes),)))
    nodes.append(Node(Sum(), (len(nodes) - 2, len(nodes))))
    return Network(nodes)


def u_net(channels=3, crop=0):
    """Return a network of scale 1 with one stride of 2 inside: it takes even sizes."""
    down = StridedConvolution(
        rng(3).standard_normal((8, 8, 2, 2)).astype("f4") * np.float32(0.2), np.zeros(8, "f4"), (2, 2)
    )
    up = Convolution(rng(4).standard_normal((8, 8, 2, 2)).astype("f4") * np.float32(0.2), Geometry((2, 2), 2))
    return Network(
        [
            Node(conv(channels, 8, activation="relu"), (0,)),
            Node(down, (1,)),
            Node(conv(8, 8, seed=5, activation="relu"), (2,)),
            Node(up, (3,)),
            Node(Sum(), (1, 4)),
            Node(conv(8, channels, seed=6, scale=0.1), (5,)),
            Node(Sum(), (6, 0)),
        ]
    )


def gated(channels=3):
    """Return a network with a gate that reads the mean of the whole picture."""
    return Network(
        [
            Node(conv(channels, 8, activation="relu"), (0,)),
            Node(GlobalMean(), (1,)),
            Node(conv(8, 8, 1, seed=2), (2,)),
            Node(Pointwise("sigmoid"), (3,)),
            Node(Combination("multiply"), (1, 4)),
            Node(conv(8, 4 * channels, seed=3, scale=0.1), (5,)),
            Node(ChannelsToPixels(2), (6,)),
            Node(Resize((2, 2), "nearest"), (0,)),
            Node(Sum(), (7, 8)),
        ]
    )


def noise(*shape, seed=0):
    return rng(seed).integers(0, 256, shape).astype("u1")


# -- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (enhancer(), (2, 0, 1)),
        (enhancer(scale=3, border=True), (3, 4, 1)),
        (u_net(), (1, 0, 2)),
        (gated(), (2, 0, 1)),
        (Network(chain(conv(3, 3))), (1, 0, 1)),
        (Network(chain(conv(3, 3, padding=0))), (1, 1, 1)),
        (Network(chain(PixelsToChannels(4), conv(48, 48), ChannelsToPixels(4)), 3), (1, 0, 4)),
    ],
)
def test_scale_border_and_block_are_found(network, found):
    model = Model.of(network, "mine")
    assert (model.scale, model.border, model.block) == found


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (6, 6), (7, 10), (8, 5)])
def test_sizes_that_a_network_does_not_take_are_met_by_copies_of_the_edge(size):
    network = u_net()
    x = rng(0).random((3, *size)).astype("f4")
    even = edge_extended(edge_extended(x, slice(0, size[0] + size[0] % 2), 1), slice(0, size[1] + size[1] % 2), 2)
    expected = network(even[None])[0, :, : size[0], : size[1]]
    np.testing.assert_array_equal(Model.of(network, "mine")(x), expected)


def test_padding_by_reflection_of_a_small_picture():
    network = Network(chain(Padding(((3, 3), (3, 3)), "reflect"), conv(3, 3, 7, padding=0)))
    model = Model.of(network, "mine")
    assert (model.scale, model.border, model.added(2, 0), model.added(4, 0)) == (1, 0, 2, 0)
    assert model(np.ones((3, 1, 2), "f4")).shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([conv(12, 12), PixelsToChannels(2), conv(48, 12)], "turns .* into .*: it makes pictures smaller"),
        ([conv(3, 3), GlobalMean()], "its output does not grow with the picture"),
        ([conv(3, 3), Resize((Fraction(3, 2), Fraction(3, 2)), "nearest")], "its scale is 3/2"),
        ([conv(3, 3), Resize((2, 3), "nearest")], "a square must become a square"),
        ([conv(3, 4)], "mine has 3 input and 4 output channels"),
    ],
)
def test_networks_that_are_not_of_pictures(steps, message):
    with pytest.raises(ShapeError, match=message):
        Model.of(Network(chain(*steps)), "mine")


def test_a_shift_is_found_behind_strides_and_means():
    shifted = Convolution.ordinary(np.ones((3, 3, 3, 3), "f4"), padding=[(2, 0), (1, 1)])
    nodes = [*gated().nodes, Node(shifted, (9,)), Node(shifted, (10,))]
    with pytest.raises(ShapeError, match="would shift the picture"):
        Model.of(Network(nodes), "mine")


# -- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1), (0.5, 3)])
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_ranges_and_orders(low, high, order):
    network = enhancer()
    x = rng(1).random((3, 9, 7)).astype("f4")
    model = Model.of(network, "mine", value_range=(low, high), order=order)
    given = (x if order == "RGB" else x[::-1]) * (high - low) + low
    made = (network(given[None].astype("f4"))[0] - low) / (high - low)
    np.testing.assert_allclose(model(x), made if order == "RGB" else made[::-1], atol=2e-6)
    grey = model(x[:1])
    assert grey.shape == (1, 18, 14)


def test_options_of_range_and_order(run, tmp_path, monkeypatch):
    picture = noise(12, 10, 3)
    model = Model.of(enhancer(), "mine")
    stated = model.stated((0, 255), "BGR")
    made = tconv.upsample(picture, weights=model, value_range="0..255", channel_order="bgr", threads=1)
    np.testing.assert_array_equal(made, tconv.upsample(picture, weights=stated))
    assert not np.array_equal(made, tconv.upsample(picture, weights=model))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture).save("a.png")
    for words, message in [
        (["--value-range", "255"], "--value-range is 255; the network's numbers for black and for white are needed"),
        (["--value-range", "1..0"], "--value-range is 1..0"),
        (["--channel-order", "gbr"], "--channel-order is gbr; rgb or bgr is needed. Write --channel-order bgr"),
        (["--threads", "0"], "--threads is 0; a whole number from 1 to 1024 is needed. Write --threads "),
        (["--threads", "x"], "--threads is x; a whole number"),
        (["--threads=-1"], "--threads is -1; a whole number"),
        (["--value-range", "0..255"], "--value-range was given without --weights; .*Write --weights FILE"),
    ]:
        code, out, err = run("a.png", *words)
        assert (code, out) == (1, "")
        assert re.search(message, err)
    with pytest.raises(ArgumentError, match=r"value_range is \(255, 0\); .*Write value_range=\(0, 255\)"):
        tconv.upsample(picture, weights=model, value_range=(255, 0))
    with pytest.raises(ArgumentError, match=r"channel_order is BGR, and luma reads 1 channel. Leave it out"):
        tconv.upsample(picture, weights=Model.of(enhancer(1), "luma"), channel_order="bgr")


def test_threads_are_restored():
    before = tconv.get_num_threads()
    with pytest.raises(ShapeError):
        tconv.upsample(noise(4, 4, 5), weights=Model.of(enhancer(), "mine"), threads=1)
    assert tconv.get_num_threads() == before


def test_a_wrong_range_is_a_warning():
    mean = np.float32(255 * 0.45)
    nodes = [
        Node(Affine(np.ones(1, "f4"), np.full(1, -mean, "f4")), (0,)),
        Node(conv(3, 3, 1, scale=0.0), (1,)),
        Node(Affine(np.ones(1, "f4"), np.full(1, mean, "f4")), (2,)),
        Node(Affine(np.full(1, 0.5, "f4")), (0,)),
        Node(Sum((0.5, 1.0)), (3, 4)),
    ]
    # half of the picture, and half of a mean grey of 0..255
    nodes.append(Node(Convolution.ordinary(np.eye(3, dtype="f4")[:, :, None, None]), (5,)))
    model = Model.of(Network(nodes), "mine")
    with pytest.warns(UserWarning, match=r"the output of mine is far from the picture; .*Write value_range=\(0, 255\)"):
        tconv.upsample(noise(9, 9, 3), weights=model)
    # of floats that are no picture, the model is not to blame
    with pytest.warns(UserWarning, match="white is 1 for floats") as issued:
        tconv.upsample(noise(9, 9, 3).astype("f4"), weights=model)
    assert [str(each.message) for each in issued] == ["values up to 255; white is 1 for floats. Divide by 255"]


@pytest.mark.parametrize(("stated", "words"), [((-1, 1), "without value_range it is near"), (None, None)])
def test_a_wrong_range_that_keeps_the_mean_is_a_warning(stated, words, recwarn):
    """Of numbers from -1 to 1 this network loses those below 0: dark becomes grey, and the mean stays nearly the same."""
    eye = np.eye(3, dtype="f4")[:, :, None, None]
    model = Model.of(Network(chain(Convolution.ordinary(eye, activation="relu"))), "mine")
    tconv.upsample(noise(60, 70, 3), weights=model, value_range=stated)
    texts = [str(each.message) for each in recwarn]
    assert texts == ([f"the output of mine is far from the picture; {words}. Leave it out"] if words else [])


def test_other_numbers_than_a_pictures_are_one_warning(recwarn):
    model = Model.of(enhancer(), "mine")
    tconv.upsample(noise(20, 24, 3).astype("f4") * 200, weights=model, value_range=(-1, 1))
    assert [str(each.message)[:12] for each in recwarn] == ["values up to"]


def test_block_means_do_not_depend_on_the_parts():
    x = rng(5).random((2, 70, 41), "f4")
    x[0, 3, 4] = np.nan
    whole, parts = BlockMeans(70, 41), BlockMeans(70, 41)
    whole.add(x)
    for rows in (slice(0, 3), slice(3, 64), slice(64, 70)):
        for columns in (slice(0, 20), slice(20, 41)):
            parts.add(x[:, rows, columns], rows.start, columns.start)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-12)
    assert whole.values.shape == (2, 9, 6)
    np.testing.assert_allclose(whole.values[1, 0, 0], x[1, :8, :7].mean(), rtol=1e-6)


# -- pictures ----------------------------------------------------------------------------------------------------

NETWORKS = {"enhancer": enhancer(), "border": enhancer(border=True), "u_net": u_net(), "gated": gated()}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (1, 13), (300, 3), (31, 22)])
def test_pictures_of_any_size(name, size, monkeypatch):
    """In strips of a few rows, with every layer checked, the bits are those of the network on the whole picture."""
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    monkeypatch.setattr(learned.LearnedUpsampler, "strip_bytes", 4000)
    model = Model.of(NETWORKS[name], "mine")
    picture = rng(2).random((*size, 3)).astype("f4")
    made = tconv.upsample(picture, weights=model)
    np.testing.assert_array_equal(np.moveaxis(made, 2, 0), model(np.moveaxis(picture, 2, 0)))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("target", [{"scale": 4}, {"scale": Fraction(3, 2)}, {"width": 37}])
@pytest.mark.parametrize("bands", [1, 3])
def test_other_sizes_in_strips_and_bands(name, target, bands, monkeypatch):
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    model = Model.of(NETWORKS[name], "mine")
    picture = noise(20, 24, 4)
    whole = tconv.upsample(picture, weights=model, **target)
    monkeypatch.setattr(learned.LearnedUpsampler, "strip_bytes", 3000)
    full = learned.LearnedUpsampler.bands
    monkeypatch.setattr(
        learned.LearnedUpsampler,
        "bands",
        lambda self, shape: learned.even_parts(full(self, shape)[-1].stop, bands),
    )
    np.testing.assert_array_equal(tconv.upsample(picture, weights=model, **target), whole)


@pytest.mark.parametrize(
    ("target", "words", "note"),
    [
        ({"scale": Fraction(3)}, "x2 by the network, then x1.5 by bicubic", "x1.5"),
        ({"scale": Fraction(16)}, "x2 by the network, then x8 by bicubic", "x8"),
        ({"scale": Fraction(3, 2)}, "x2 by the network, then x0.75 by bicubic", None),
        ({"width": 20}, "x2 by the network, then made that size by bicubic", None),
    ],
)
def test_a_network_runs_once_at_its_own_scale(target, words, note):
    selection = Selection(TargetSize(**target), weights=Model.of(enhancer(), "mine"))
    method = selection.for_pictures().fitted(12, 14)
    assert words in method.text
    assert method.notes == ([f"the network runs once, x2; the other {note} is bicubic interpolation"] if note else [])


def test_added_lines_are_named():
    model = Model.of(u_net(), "mine")
    upsampler = learned.LearnedUpsampler(model, 1, "mine")
    assert upsampler.plan_notes((3, 8, 9)) == ["1 column of copies is added, as the network takes multiples of 2"]
    upsampler = learned.LearnedUpsampler(model._replace(beyond="reflect"), 1, "mine")
    assert upsampler.plan_notes((3, 9, 9)) == [
        "1 row and 1 column of reflection are added, as the network takes multiples of 2"
    ]


def test_scale_1_keeps_the_size(run, tmp_path, monkeypatch):
    model = Model.of(u_net(), "mine")
    picture = noise(15, 12, 3)
    assert tconv.upsample(picture, weights=model).shape == (15, 12, 3)
    assert tconv.upsample(picture, 1, weights=model).shape == (15, 12, 3)
    assert tconv.upsample(picture, 2, weights=model).shape == (30, 24, 3)
    assert tconv.upsample(picture, weights=model, width=6).shape == (8, 6, 3)
    with pytest.raises(ArgumentError, match="scale is 1, and weights makes pictures larger"):
        tconv.upsample(picture, 1, weights=Model.of(enhancer(), "mine"))


def test_nan_reaches_what_reads_it():
    model = Model.of(enhancer(), "mine")
    picture = rng(3).random((30, 30, 3)).astype("f4")
    picture[4, 5] = np.nan
    made = tconv.upsample(picture, weights=model)
    bad = np.isnan(made).any(2)
    assert bad[8, 10]
    assert not bad[20:].any()


@pytest.mark.parametrize("name", ["border", "u_net"])
@pytest.mark.parametrize("size", [(1, 6), (2, 9), (23, 5)])
def test_borders_by_reflection(name, size, monkeypatch):
    """For a network that is checked square by square, and layer by layer, the reflection is NumPy's."""
    network = NETWORKS[name]
    model = Model.of(network, "mine", beyond="reflect")
    picture = rng(4).random((*size, 3)).astype("f4")
    x = np.moveaxis(picture, 2, 0)
    sides = [(model.border, model.border + model.added(n, axis)) for axis, n in enumerate(size)]
    expected = network(np.pad(x, [(0, 0), *sides], mode="reflect")[None])[0]
    expected = expected[:, : model.scale * size[0], : model.scale * size[1]]
    np.testing.assert_array_equal(model(x), expected)
    for layered in (False, True):
        monkeypatch.setattr(learned.LearnedUpsampler, "layered", layered)
        np.testing.assert_array_equal(np.moveaxis(tconv.upsample(picture, weights=model), 2, 0), expected)


@pytest.mark.parametrize(("dtype", "white"), [("u1", 255), ("u2", 65535), ("f4", 1), ("f2", 1)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_dtypes_and_opacity(dtype, white, channels, monkeypatch):
    """Colours are those of the network on colours that count by their opacity; the opacity is interpolated."""
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    model = Model.of(u_net(), "mine", value_range=(-1, 1))
    values = rng(5).random((8, 11, channels))
    if channels in (2, 4):
        values[..., -1] = np.maximum(values[..., -1], 0.25)
    picture = (values * white).astype(dtype)
    made = tconv.upsample(picture, weights=model)
    assert (made.shape, made.dtype) == (picture.shape, picture.dtype)
    x = np.moveaxis(picture.astype("f8") / white, 2, 0)
    alpha = x[-1:] if channels in (2, 4) else 1.0
    colours = model((x[: channels - (channels in (2, 4))] * alpha).astype("f4")) / alpha
    if white > 1:
        colours = np.clip(colours, 0, 1)
    expected = np.concatenate([colours, x[-1:]]) if channels in (2, 4) else colours
    step = {"u1": 1 / 255, "u2": 2 / 65535, "f4": 1e-6, "f2": 2e-3}[dtype]
    np.testing.assert_allclose(np.moveaxis(made.astype("f8") / white, 2, 0), expected, atol=step)


def test_bands(monkeypatch):
    """A network of five bands takes pictures of five bands, and refuses others."""
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    model = Model.of(enhancer(5), "five")
    picture = rng(6).random((9, 8, 5)).astype("f4")
    made = tconv.upsample(picture, weights=model)
    np.testing.assert_array_equal(np.moveaxis(made, 2, 0), model(np.moveaxis(picture, 2, 0)))
    with pytest.raises(ShapeError, match="the picture has 3 channels; 5 are needed"):
        tconv.upsample(picture[..., :3], weights=model)


def test_a_tall_picture_of_three_columns(monkeypatch):
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    monkeypatch.setattr(learned.LearnedUpsampler, "strip_bytes", 200_000)
    model = Model.of(enhancer(width=8, border=True), "mine")
    picture = noise(20_000, 3, 3)
    made = tconv.upsample(picture, weights=model)
    assert made.shape == (40_000, 6, 3)
    top = tconv.upsample(picture[:2000], weights=model)
    np.testing.assert_array_equal(made[:3900], top[:3900])


# -- the check ---------------------------------------------------------------------------------------------------


def checked(model, picture):
    run = Run(ArrayInput(np.moveaxis(picture, 2, 0), False, False), Selection(weights=model).for_pictures())
    return run.execute()[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_checked(name, monkeypatch):
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    model = Model.of(NETWORKS[name], "mine")
    check = checked(model, noise(40, 30, 3))
    computed = [node for node in model.network.nodes if not isinstance(node.step, Concat)]
    assert check.layers >= len(computed)
    assert check.layers == check.layers_in_all
    assert check.layer_outputs > 100
    assert 0 < check.layer_share < 1


def test_a_deep_network_is_checked_by_layers():
    deep = enhancer(depth=40, width=24)
    assert learned.LearnedUpsampler(Model.of(deep, "mine"), 2, "mine").layered
    assert not learned.LearnedUpsampler(Model.of(enhancer(), "mine"), 2, "mine").layered
    assert not learned.from_name("photo", 2).layered


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
def test_a_wrong_layer_is_found(number, monkeypatch):
    """One weight is wrong after it was packed: the computed layer differs from the layer that the check knows."""
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    network = enhancer()
    model = Model.of(network, "mine")
    picture = noise(24, 24, 3)
    assert checked(model, picture).layers
    step = network.nodes[number - 1].step
    if isinstance(step, Convolution):
        step.weight[1, 1, 1, 1] += np.float32(0.1)
    else:
        original = type(step).compute

        def wrong(self, given, sizes, out):
            original(self, given, sizes, out)
            if out.values.dtype == np.float32:
                out.values[..., 0, :, :] += np.float32(0.01)

        monkeypatch.setattr(type(step), "compute", wrong)
    with pytest.raises(CheckError, match=rf"the check failed: layer \d+ of {len(network.nodes)} .*Nothing was written"):
        checked(model, picture)


@pytest.mark.parametrize(
    ("network", "number"), [(u_net, 1), (u_net, 4), (u_net, 6), (gated, 1), (gated, 3), (gated, 6)]
)
def test_a_wrong_weight_is_found_behind_skips_strides_and_gates(network, number, monkeypatch):
    """Also in layers whose skip, or whose pixel shuffle, is computed with them."""
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    network = network()
    model = Model.of(network, "mine")
    picture = noise(24, 24, 3)
    assert checked(model, picture).layers
    weight = network.nodes[number - 1].step.weight
    weight[1, 1, 0, 0] += np.float32(0.1)
    with pytest.raises(CheckError, match=r"the check failed: layer \d+ of \d+ .*Nothing was written"):
        checked(model, picture)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda sums, total: total * 1.001, r"layer 2 of 9 \(GlobalMean\) computed [\d.e-]+ at channel \d"),
        (lambda sums, total: total + np.nan, r"layer 2 of 9 \(GlobalMean\) computed nan at channel \d"),
    ],
)
def test_a_wrong_mean_is_found(fault, message, monkeypatch):
    honest = ColumnSums.total
    monkeypatch.setattr(ColumnSums, "total", lambda self: fault(self, honest(self)))
    with pytest.raises(CheckError, match=message):
        checked(Model.of(gated(), "mine"), noise(24, 24, 3))


def test_pixels_that_are_missing_in_a_mean_are_found(monkeypatch):
    honest = LayerCheck.add_to_mean
    monkeypatch.setattr(LayerCheck, "add_to_mean", lambda self, place, values: honest(self, place, values[..., 1:]))
    with pytest.raises(CheckError, match=r"layer 2 of 9 \(GlobalMean\) added 552 pixels of layer 1, which has 576"):
        checked(Model.of(gated(), "mine"), noise(24, 24, 3))


def test_rows_that_change_after_they_were_computed_are_found(monkeypatch):
    monkeypatch.setattr(learned.LearnedUpsampler, "layered", True)
    honest = LayerCheck.check

    def spoiled(self, numbers, given, out):
        honest(self, numbers, given, out)
        if numbers[-1] == 1:  # what the next layer reads is not what was computed
            for seen in self._seen[1]:
                seen.values[...] += 1

    monkeypatch.setattr(LayerCheck, "check", spoiled)
    with pytest.raises(CheckError, match=r"layer \d of 8 .* reads other numbers than layer 1 computed"):
        checked(Model.of(enhancer(), "mine"), noise(24, 24, 3))


# -- the command -------------------------------------------------------------------------------------------------

ENHANCE = """
import sys, numpy as np
sys.path.insert(0, {tests!r})
from test_upsample_networks import enhancer
from tconv.models import Model
from tconv.upsampling import learned
import tconv.models, tconv.cli
learned.load = lambda path: Model.of(enhancer(depth={depth}, width={width}), "deep")
sys.exit(tconv.cli.main(sys.argv[1:]))
"""


def command(*arguments, depth=3, width=16, **options):
    from pathlib import Path

    code = ENHANCE.format(tests=str(Path(__file__).parent), depth=depth, width=width)
    return subprocess.Popen(
        [sys.executable, "-c", code, "upsample", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_command_reports_layers(tmp_path):
    Image.fromarray(noise(40, 50, 3)).save(tmp_path / "a.png")
    with command("a.png", "--weights", "deep", depth=40, width=24, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert re.search(
        r"check +[\d,]+ random outputs of every layer of the network and [\d,]+ of the picture agree with the "
        r"definition: differences are at most \d+% of what is allowed\n",
        out,
    )
    with command("a.png", "--weights", "deep", "--json", depth=40, width=24, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    facts = json.loads(out)
    assert facts["check"]["layers"] == facts["check"]["layers_in_all"] > 40
    assert facts["seconds"]["load"] > 0
    assert 0 < facts["check"]["layer_share"] < 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
def test_an_interrupt_leaves_no_file(tmp_path):
    Image.fromarray(noise(900, 900, 3)).save(tmp_path / "a.png")
    with command("a.png", "--weights", "deep", "-o", "b.png", depth=40, width=64, cwd=tmp_path) as process:
        for line in process.stdout:  # the plan is printed before the run
            if line.startswith("plan"):
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_progress_is_finer_than_strips():
    """Shares of the work add up to 1, for one picture in one strip too."""
    shares = []
    run = Run(
        ArrayInput(np.moveaxis(noise(200, 60, 3), 2, 0), False, False),
        Selection(weights=Model.of(enhancer(), "m")).for_pictures(),
    )
    run.execute(shares.append)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0


def test_the_files_of_a_batch_are_named_while_they_run(tmp_path):
    from tconv.upsampling.file_batch import FileBatch

    for name, height in (("a.png", 8), ("b.png", 5)):
        Image.fromarray(noise(height, 6, 3)).save(tmp_path / name)
    batch = FileBatch([tmp_path], Selection(weights=Model.of(enhancer(), "mine")), tmp_path / "large")
    begun, shares = [], []
    assert len(list(batch.run(shares.append, begin=lambda *file: begun.append(file)))) == 2
    assert begun == [("a.png", 16 * 12), ("b.png", 10 * 12)]
    assert sum(shares) == pytest.approx(2)


def test_a_file_is_loaded_with_a_range():
    from importlib.resources import as_file, files

    with as_file(files("tconv.models") / "data" / "photo_x2.safetensors") as path:
        assert tconv.models.load(path, value_range=(0, 255)).value_range == (0, 255)
        with pytest.raises(ArgumentError, match="channel_order is 'GBR'; RGB or BGR is needed"):
            tconv.models.load(path, channel_order="GBR")
        with pytest.raises(ArgumentError, match=r"value_range is \(1, 0\); two rising numbers"):
            tconv.models.load(path, value_range=(1, 0))
