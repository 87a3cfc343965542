"""Steps of networks against PyTorch's own functions, in float64 where that shows more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import network_steps as ns
from tconv.errors import ShapeError
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import Pooling
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.strided_convolution import StridedConvolution

RNG = np.random.default_rng(0)
NAMES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}


def picture(channels, *shape):
    return RNG.normal(0, 1, (channels, *shape)).astype("f4")


def test_pixel_shuffle_and_unshuffle():
    for r in (1, 2, 3, 4):
        x = picture(3 * r * r, 4, 5)
        y = ns.whole(ChannelsToPixels(r), [x])
        np.testing.assert_array_equal(y, functional.pixel_shuffle(torch.from_numpy(x), r))
        np.testing.assert_array_equal(ns.whole(PixelsToChannels(r), [y]), x)
        np.testing.assert_array_equal(
            ns.whole(PixelsToChannels(r), [y]), functional.pixel_unshuffle(torch.from_numpy(y), r)
        )


def test_strided_convolutions():
    done = 0
    while done < 80:
        into = int(RNG.choice([1, 2, 3, 4, 6]))
        step = ns.strided(RNG, into)
        x = picture(into, *RNG.integers(1, 20, 2))
        try:
            y, wide = ns.whole(step, [x]), ns.whole(step, [x], "f8")
        except ShapeError:
            continue
        (top, bottom), (left, right) = step.padding
        given = functional.pad(torch.from_numpy(x).double()[None], (left, right, top, bottom))
        bias = None if step.bias is None else torch.from_numpy(step.bias).double()
        weight = torch.from_numpy(step.weight).double()
        expected = functional.conv2d(given, weight, bias, step.stride, 0, step.dilation, step.groups)[0]
        if step.activation is not None:
            expected = functional.leaky_relu(expected, 0.0 if step.activation == "relu" else 0.2)
        np.testing.assert_allclose(wide, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(y, expected, rtol=0, atol=3e-6)
        done += 1


@pytest.mark.parametrize(("k", "s"), [(1, 2), (2, 2), (3, 2), (4, 2), (5, 3), (1, 3)])
def test_strided_convolutions_of_networks(k, s):
    """Wide enough for every loop of the kernel."""
    weight = (RNG.normal(0, 1, (24, 16, k, k)) / (4 * k)).astype("f4")
    step = StridedConvolution(weight, None, (s, s), ((k // 2, k // 2), (k // 2, k // 2)))
    x = picture(16, 37, 150)
    expected = functional.conv2d(
        torch.from_numpy(x)[None].double(), torch.from_numpy(weight).double(), None, s, k // 2
    )[0]
    np.testing.assert_allclose(ns.whole(step, [x]), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("mode", list(NAMES))
@pytest.mark.parametrize("corners", [False, True])
def test_interpolation(mode, corners):
    if mode == "nearest" and corners:
        return
    words = {} if mode == "nearest" else {"align_corners": corners}
    positions = "align_corners" if corners else None
    for _ in range(25):
        x = picture(2, *RNG.integers(1, 14, 2))
        given = torch.from_numpy(x)[None]
        to = ns.numbers(RNG, 1, 30)
        expected = functional.interpolate(given, size=to, mode=NAMES[mode], **words)[0]
        y = ns.whole(ResizeLike(mode=mode, positions=positions), [x, np.zeros((1, *to))])
        np.testing.assert_allclose(y, expected, rtol=0, atol=3e-5)
        factors = ns.numbers(RNG, 1, 6)
        expected = functional.interpolate(given, scale_factor=factors, mode=NAMES[mode], **words)[0]
        np.testing.assert_allclose(ns.whole(Resize(factors, mode, positions), [x]), expected, rtol=0, atol=3e-5)


def test_nearest_exact_is_a_rule_of_positions():
    for _ in range(25):
        x, to = picture(2, *RNG.integers(1, 14, 2)), ns.numbers(RNG, 1, 30)
        expected = functional.interpolate(torch.from_numpy(x)[None], size=to, mode="nearest-exact")[0]
        y = ns.whole(ResizeLike(mode="nearest", positions="tf_half_pixel_for_nn"), [x, np.zeros((1, *to))])
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padding(mode):
    for _ in range(25):
        (top, bottom), (left, right) = sides = ns.pairs(RNG, 0, 5)
        x = picture(2, *RNG.integers(5, 9, 2))
        words = {"value": 0.25} if mode == "constant" else {}
        name = {"edge": "replicate"}.get(mode, mode)
        expected = functional.pad(torch.from_numpy(x)[None], (left, right, top, bottom), name, **words)[0]
        np.testing.assert_array_equal(ns.whole(Padding(sides, mode, 0.25), [x]), expected)


def test_pooling():
    for number in range(60):
        kernel, stride = ns.numbers(RNG, 1, 5), ns.numbers(RNG, 1, 4)
        pads = tuple(int(RNG.integers(0, k // 2 + 1)) for k in kernel)
        x, ceil, counts = picture(2, *RNG.integers(5, 14, 2)), bool(number % 2), bool(number % 4 // 2)
        given, padding = torch.from_numpy(x)[None], tuple((p, p) for p in pads)
        y = ns.whole(Pooling("max", kernel, stride, padding, ceil), [x])
        np.testing.assert_array_equal(y, functional.max_pool2d(given, kernel, stride, pads, ceil_mode=ceil)[0])
        y = ns.whole(Pooling("mean", kernel, stride, padding, ceil, counts), [x])
        expected = functional.avg_pool2d(given, kernel, stride, pads, ceil, counts)[0]
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


ACTIVATIONS = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "silu": functional.silu, "gelu": functional.gelu, "mish": functional.mish, "elu": functional.elu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"), "hard_sigmoid": functional.hardsigmoid, "hard_swish": functional.hardswish,
    "selu": functional.selu, "softplus": functional.softplus, "softsign": functional.softsign, "erf": torch.erf, "exp": torch.exp,
    "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "square": torch.square, "abs": torch.abs,
    "reciprocal": torch.reciprocal, "negate": torch.neg, "floor": torch.floor, "ceil": torch.ceil,
    "round": torch.round, "sin": torch.sin, "cos": torch.cos,
}  # fmt: skip


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations(name):
    x = np.concatenate([RNG.normal(0, s, 5000) for s in (1e-3, 0.3, 1, 3, 10, 40)]).astype("f4").reshape(1, 1, -1)
    expected = ACTIVATIONS[name](torch.from_numpy(x).double()).numpy()
    # PyTorch's softplus is x from 20 on, which is 2e-9 off
    atol = {"softplus": 3e-9}.get(name, 1e-14)
    np.testing.assert_allclose(ns.whole(Pointwise(name), [x], "f8"), expected, rtol=1e-12, atol=atol)
    y, finite = ns.whole(Pointwise(name), [x]), np.isfinite(expected) & (np.abs(expected) < 1e38)
    half_steps = (
        np.abs(y - expected) / (np.finfo(np.float32).eps / 2) / np.maximum(np.abs(expected), np.minimum(np.abs(x), 1))
    )
    assert half_steps[finite].max() < 7
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
