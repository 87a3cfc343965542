"""Descriptions of networks in .safetensors files: every op becomes its step, and bad values are refused by name."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tconv import Geometry, TconvError
from tconv.errors import FileError
from tconv.models import Convolution, Network, Node, load
from tconv.models.readers.described_layers import OPS
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import ChannelMean, GlobalMean, Pooling
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.strided_convolution import StridedConvolution

RNG = np.random.default_rng(0)
TENSORS = {
    name: (RNG.normal(0, 1, shape) / 5).astype("f4")
    for name, shape in {
        "head": (8, 1, 3, 3), "down": (8, 8, 3, 3), "up": (8, 8, 2, 2), "gate": (8, 8, 1, 1), "tail": (4, 8, 3, 3), "s": (8,),
        "b": (8,),
    }.items()
}  # fmt: skip
W = TENSORS
LAYERS = [
    ({"op": "pad", "padding": [[1, 1], [1, 1]], "mode": "reflect", "multiple": 2}, Padding(((1, 1), (1, 1)), "reflect", 0.0, (2, 2))),
    ({"op": "conv", "weight": "head", "bias": "b", "padding": 1, "activation": ["prelu", "s"], "name": "head"}, Convolution.ordinary(W["head"], W["b"], 1, activation=("prelu", W["s"]))),
    ({"op": "conv", "weight": "down", "stride": 2, "padding": [[1, 1], [1, 1]], "name": "down"}, StridedConvolution(W["down"], None, (2, 2), ((1, 1), (1, 1)))),
    ({"op": "activation", "activation": "silu"}, Pointwise("silu")),
    ({"op": "picture_mean"}, GlobalMean()),
    ({"op": "conv", "weight": "gate"}, Convolution.ordinary(W["gate"])),
    ({"op": "activation", "activation": ["hard_sigmoid", 0.2, 0.5]}, Pointwise(("hard_sigmoid", 0.2, 0.5))),
    ({"op": "multiply", "inputs": ["4", "7"]}, Combination("multiply")),
    ({"op": "conv_transpose", "weight": "up", "stride": 2}, Convolution(W["up"], Geometry((2, 2), 2))),
    ({"op": "crop", "scale": 1, "inputs": ["9", "head"], "name": "same"}, CropLike((1, 1))),
    ({"op": "add", "inputs": ["same", "head"], "scales": [0.2, 1]}, Sum((0.2, 1.0))),
    ({"op": "affine", "scale": "s", "shift": 0.5, "name": "all"}, Affine(W["s"].reshape(-1, 1, 1), np.full((1, 1, 1), 0.5, "f4"))),
    ({"op": "channels", "start": 0, "stop": 3, "name": "low"}, ChannelRange(0, 3)),
    ({"op": "channels", "start": 3, "stop": 8, "inputs": ["all"], "name": "high"}, ChannelRange(3, 8)),
    ({"op": "concat", "inputs": ["high", "low"]}, Concat()),
    ({"op": "channel_mean", "name": "mean"}, ChannelMean()),
    ({"op": "add", "inputs": ["15", "mean"], "scales": [1, -1], "name": "centred"}, Sum((1.0, -1.0))),
    ({"op": "max_pool", "kernel": 3, "stride": 1, "padding": 1, "name": "large"}, Pooling("max", (3, 3), (1, 1), ((1, 1), (1, 1)))),
    ({"op": "mean_pool", "kernel": [3, 3], "padding": 1, "inputs": ["centred"], "counts_padding": True}, Pooling("mean", (3, 3), (1, 1), ((1, 1), (1, 1)), False, True)),
    ({"op": "maximum", "inputs": ["large", "19"]}, Combination("maximum")),
    ({"op": "minimum", "inputs": ["20", "centred"]}, Combination("minimum")),
    ({"op": "activation", "activation": ["clamp", -3, 3]}, Pointwise(("clamp", -3, 3))),
    ({"op": "divide", "inputs": ["22", "7"]}, Combination("divide")),
    ({"op": "activation", "activation": ["clamp", -3, 3]}, Pointwise(("clamp", -3, 3))),
    ({"op": "resize", "scale": "1/2", "mode": "cubic", "name": "half"}, Resize((Fraction(1, 2), Fraction(1, 2)), "cubic")),
    ({"op": "resize", "mode": "linear", "positions": "align_corners", "inputs": ["half", "24"]}, ResizeLike((1, 1), "linear", "align_corners")),
    ({"op": "conv", "weight": "tail", "padding": 1}, Convolution.ordinary(W["tail"], None, 1)),
    ({"op": "crop", "padding": [[1, 1], [1, 1]]}, Padding(((-1, -1), (-1, -1)))),
    ({"op": "depth_to_space", "block": 2, "order": "blocks", "name": "x2"}, ChannelsToPixels(2, "blocks")),
    ({"op": "space_to_depth", "block": 2}, PixelsToChannels(2)),
    ({"op": "depth_to_space", "block": 2}, ChannelsToPixels(2)),
    ({"op": "crop", "scale": 2, "inputs": ["31", "input"]}, CropLike((2, 2))),
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(layers, **more):
    from safetensors.numpy import save_file

    save_file(TENSORS, "w.safetensors", {"tconv": json.dumps({"format": 1, "layers": layers} | more)})


def nodes():
    """Return the network of LAYERS by hand."""
    places, result = {"input": 0}, []
    for number, (layer, step) in enumerate(LAYERS, 1):
        inputs = layer.get("inputs")
        result.append(Node(step, (number - 1,) if inputs is None else tuple(places[name] for name in inputs)))
        places[layer.get("name", str(number))] = number
    return result


def test_every_op_becomes_its_step():
    assert {layer["op"] for layer, _ in LAYERS} == set(OPS)
    save([layer for layer, _ in LAYERS])
    found, by_hand = load("w.safetensors").network, Network(nodes())
    for shape in [(12, 9), (7, 8), (4, 21)]:
        x = np.random.default_rng(1).normal(0, 1, (1, 1, *shape)).astype("f4")
        y = by_hand(x)
        assert y.shape[2:] == (2 * shape[0], 2 * shape[1])
        np.testing.assert_allclose(found(x), y, rtol=0, atol=1e-5 * np.abs(y).max())


ENLARGE = {"op": "resize", "scale": 2, "mode": "nearest"}


def test_a_first_convolution_with_a_stride_shows_the_channels():
    first = {"op": "conv", "weight": "head", "stride": 2, "padding": 1}
    save([first, {"op": "conv", "weight": "tail", "padding": 1}, {"op": "depth_to_space", "block": 2}, ENLARGE])
    assert load("w.safetensors").network.channels[0] == 1


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"op": "resize"}, "layer 2: it resizes a picture to the size of another, and reads 1 inputs"),
        ({"op": "resize", "scale": 0}, "'scale' is 0; a number above 0 is needed"),
        ({"op": "resize", "scale": "2/0"}, "'scale' is '2/0'; a number above 0 is needed"),
        ({"op": "resize", "scale": [2, 2, 2]}, "'scale' is [2, 2, 2]; a number above 0"),
        ({"op": "resize", "scale": 1e9}, "'scale' is 1000000000.0; a number above 0"),
        ({"op": "resize", "scale": 2, "mode": "bilinear"}, "'mode' is 'bilinear'; one of nearest, linear, cubic is needed"),
        ({"op": "resize", "scale": 2, "positions": "corners"}, "'positions' is 'corners'; one of half_pixel"),
        ({"op": "depth_to_space"}, "'block' is missing"),
        ({"op": "depth_to_space", "block": 3}, "layer 2: 8 channels are not divided by blocks of 3 x 3"),
        ({"op": "depth_to_space", "block": 2, "order": "DCR"}, "'order' is 'DCR'; one of channels, blocks is needed"),
        ({"op": "pad", "padding": 10**9}, "'padding' is 1000000000; numbers up to 16384 are read"),
        ({"op": "pad", "mode": "wrap", "padding": 1}, "'mode' is 'wrap'; one of constant, reflect, edge is needed"),
        ({"op": "pad", "value": "0", "padding": 1}, "'value' is '0'; a number is needed"),
        ({"op": "crop"}, "'padding' is missing"),
        ({"op": "crop", "padding": -1}, "it crops by numbers below 0. Write a layer of op pad"),
        ({"op": "channels"}, "it takes channels null to null"),
        ({"op": "channels", "start": 4, "stop": 9}, "layer 2: it takes channels 4 to 9 of 8"),
        ({"op": "affine", "scale": "head"}, "head has shape (8, 1, 3, 3); 1 axes are needed"),
        ({"op": "add", "scales": [1]}, "'scales' is [1]; a list of two numbers is needed"),
        ({"op": "add", "scales": [1, "x"]}, "'scales' is 'x'; a number is needed"),
        ({"op": "max_pool"}, "'kernel' is missing"),
        ({"op": "max_pool", "kernel": 2, "padding": 2}, "it pools by (2, 2) with padding"),
        ({"op": "max_pool", "kernel": 2, "counts_padding": True}, "it has 'counts_padding'; ceil, inputs, kernel"),
        ({"op": "mean_pool", "kernel": 2, "ceil": 1}, "'ceil' is 1; true or false is needed"),
        ({"op": "activation", "activation": "foo"}, "or, as a layer of op activation, sigmoid, "),
        ({"op": "conv", "weight": "head"}, "layer 2: it has a weight for 1 input channels; it is given 8"),
        ({"op": "activation", "activation": ["elu", "a"]}, "there is no tensor 'a'"),
        ({"op": "activation", "activation": ["elu", 1, 2]}, "elu has 1 finite number"),
        ({"op": "activation", "activation": ["sigmoid", 1]}, "sigmoid has no number"),
        ({"op": "multiply", "activation": "relu"}, "it is multiply with an activation. Write the activation as a layer"),
        ({"op": "conv", "weight": "down", "activation": "gelu"}, "its activation is 'gelu'. Write it as a layer after it"),
        ({"op": "conv", "weight": "down", "stride": [2, 0]}, "stride is (2, 0)"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_layers_that_are_refused(layer, message):
    save([LAYERS[1][0], layer, ENLARGE])
    with pytest.raises(FileError) as caught:
        load("w.safetensors")
    assert str(caught.value).startswith("w.safetensors does not describe a network that can be run: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"range": [0]}, "its range is [0]; the numbers of black and white are needed. Write [0, 255]"),
        ({"range": [255, 0]}, "its range is [255, 0]"),
        ({"range": "0..255"}, "'range' is '0..255'; a list of two numbers is needed"),
        ({"order": "bgr"}, 'its order is \'bgr\'; "RGB" or "BGR" is needed'),
        ({"channels": 0}, "channels is 0; it must be at least 1"),
        ({"channels": 2}, "it has a weight for 1 input channels; it is given 2"),
    ],
)
def test_pictures_that_are_refused(more, message):
    save([LAYERS[1][0], ENLARGE], **more)
    with pytest.raises(FileError, match=re.escape(message)):
        load("w.safetensors")


JUNK = [None, 0, -1, 1.5, "", "x", "s", "head", [], {}, [[]], [None], True, 1e300, [1, 2, 3], ["s"], 10**30, {"a": 1}]
JUNK += [
    float("nan"),
    float("inf"),
    ["elu"],
    ["elu", "s"],
    ["power", 2],
    [[1, 2], [3]],
    "input",
    "1/3",
    "9" * 50,
    -(10**6),
]
PYTHON = re.compile(
    r"out of range|unpack|unhashable|not iterable|subscriptable|object has no|NoneType|codec|: '[^']*'$|: $"
)
"""Parts of Python's own error messages, which no message of tconv may contain."""


def test_altered_descriptions_are_read_or_refused():
    """Any value may stand anywhere."""
    from safetensors.numpy import save_file

    save_file(TENSORS, "w.safetensors")
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(300):
        layers = [dict(layer) for layer, _ in LAYERS]
        layer = layers[rng.integers(len(layers))]
        if rng.random() < 0.15:
            del layer[list(layer)[rng.integers(len(layer))]]
        elif rng.random() < 0.3:
            keys = sorted(OPS[layer["op"]].keys)
            layer[keys[rng.integers(len(keys))] if keys else "inputs"] = JUNK[rng.integers(len(JUNK))]
        else:
            layer[list(layer)[rng.integers(len(layer))]] = JUNK[rng.integers(len(JUNK))]
        Path("w.json").write_text(json.dumps({"format": 1, "layers": layers}))
        try:
            load("w.safetensors")
        except TconvError as error:
            messages.append(str(error))
    assert len(messages) > 150
    assert [message for message in messages if PYTHON.search(message)] == []
