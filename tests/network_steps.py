"""Random steps of networks and random networks of them, for the tests of tconv.models.steps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tconv import TconvError
from tconv.models import Convolution, Network, Node
from tconv.models.steps.arithmetic import OPERATIONS, Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.functions import FUNCTIONS
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import ChannelMean, Pooling
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.sample_positions import MODES, POSITIONS, ROUNDING
from tconv.models.steps.snake import Snake
from tconv.models.steps.step import Region
from tconv.models.steps.strided_convolution import StridedConvolution

STEPS = (
    "sum", "combination", "affine", "pointwise", "concat", "range", "to_pixels", "to_channels", "padding", "crop_like",
    "resize", "resize_like", "channel_mean", "pool", "strided", "snake",
)  # fmt: skip
SMOOTH = [name for name in FUNCTIONS if name not in ("floor", "ceil", "round")]
"""Functions without jumps: beside a jump no error is small."""


def whole(step, given, dtype="f4"):
    """Return the whole output [C', H', W'] of a step for inputs [C, H, W]."""
    sizes = [each.shape[-2:] for each in given]
    height, width = (step.output_extent([size[axis] for size in sizes], axis) for axis in (0, 1))
    out = np.full((step.output_channels([each.shape[-3] for each in given]), height, width), np.nan, dtype)
    parts = [Region(each.astype(dtype), slice(0, each.shape[-2]), slice(0, each.shape[-1])) for each in given]
    step.compute(parts, sizes, Region(out, slice(0, height), slice(0, width)))
    return out


def part(rng, size):
    """Return a random part of an axis of this size, not empty."""
    start = int(rng.integers(0, size))
    return slice(start, int(rng.integers(start + 1, size + 1)))


def rectangle(step, given, spans, dtype="f4"):
    """Return a part of the output, computed from the rows and columns of the inputs alone that the step names."""
    sizes = [each.shape[-2:] for each in given]
    parts = []
    for number, each in enumerate(given):
        read = [step.source(number, span, [size[axis] for size in sizes], axis) for axis, span in enumerate(spans)]
        for axis, span in enumerate(read):
            assert 0 <= span.start < span.stop <= each.shape[1 + axis], (step, span, each.shape)
        parts.append(Region(np.ascontiguousarray(each[:, read[0], read[1]].astype(dtype)), *read))
    shape = [span.stop - span.start for span in spans]
    out = np.full((step.output_channels([len(each) for each in given]), *shape), np.nan, dtype)
    step.compute(parts, sizes, Region(out, *spans))
    return out


def pairs(rng, low, high):
    return tuple((int(rng.integers(low, high)), int(rng.integers(low, high))) for _ in "hw")


def numbers(rng, low, high):
    return tuple(int(n) for n in rng.integers(low, high, 2))


def function(rng):
    """Return a random activation that bends nothing to extremes."""
    name = rng.choice([n for n in SMOOTH if n not in ("log", "rsqrt", "reciprocal", "exp", "power", "sqrt")])
    return {"hard_sigmoid": (str(name), 0.2, 0.5), "elu": (str(name), 0.7)}.get(str(name), str(name))


def strided(rng, into):
    """Return a random convolution with strides."""
    groups = int(rng.choice([g for g in (1, 1, 2, 3) if into % g == 0]))
    out, kernel = groups * int(rng.integers(1, 5)), numbers(rng, 1, 5)
    weight = (rng.normal(0, 1, (out, into // groups, *kernel)) / np.sqrt(into * np.prod(kernel))).astype("f4")
    bias = rng.normal(0, 0.3, out).astype("f4") if rng.random() < 0.7 else None
    activation = [None, "relu", ("leaky_relu", 0.2)][rng.integers(3)]
    return StridedConvolution(
        weight, bias, numbers(rng, 1, 4), pairs(rng, 0, 3), numbers(rng, 1, 3), groups, activation
    )


def one_input(rng, kind, channels):
    """Return a random step with one input."""
    if kind == "affine":
        shape = [(1,), (channels, 1, 1)][rng.integers(2)]
        return Affine(rng.normal(0, 1, shape).astype("f4"), rng.normal(0, 1, shape).astype("f4"))
    if kind == "pointwise":
        return Pointwise(function(rng))
    if kind == "snake":
        return Snake(*(rng.uniform(0.1, 2, [1, channels][rng.integers(2)]).astype("f4") for _ in range(2)))
    if kind == "range":
        span = part(rng, channels)
        return ChannelRange(span.start, span.stop)
    if kind in ("to_pixels", "to_channels"):
        order = ["channels", "blocks"][rng.integers(2)]
        fits = [r for r in (1, 2, 3) if channels % r**2 == 0]
        return ChannelsToPixels(int(rng.choice(fits)), order) if kind == "to_pixels" else PixelsToChannels(2, order)
    if kind == "padding":
        mode = ["constant", "reflect", "edge"][rng.integers(3)]
        return Padding(pairs(rng, -2, 4), mode, float(rng.normal()), numbers(rng, 1, 4))
    if kind == "resize":
        factors = tuple(Fraction(int(rng.integers(1, 7)), int(rng.integers(1, 5))) for _ in "hw")
        mode, positions = str(rng.choice(MODES)), [None, *POSITIONS][rng.integers(len(POSITIONS) + 1)]
        return Resize(factors, mode, positions, str(rng.choice(list(ROUNDING))), by_size=bool(rng.random() < 0.3))
    if kind == "channel_mean":
        return ChannelMean()
    if kind == "pool":
        kernel = numbers(rng, 1, 4)
        padding = tuple(tuple(int(n) for n in rng.integers(0, k, 2)) for k in kernel)
        flags = (bool(n) for n in rng.integers(0, 2, 2))
        return Pooling(["mean", "max"][rng.integers(2)], kernel, numbers(rng, 1, 4), padding, *flags)
    return strided(rng, channels)


def two_inputs(rng, kind):
    """Return a random step with two inputs."""
    if kind == "sum":
        return Sum(tuple(float(n) for n in rng.choice([1.0, -1.0, 0.2, 3.0], 2)))
    if kind == "combination":
        return Combination(str(rng.choice([name for name in OPERATIONS if name != "divide"])))
    if kind == "concat":
        return Concat()
    if kind == "crop_like":
        return CropLike(tuple(Fraction(int(n), 2) for n in rng.integers(1, 4, 2)))
    return ResizeLike(mode=str(rng.choice(MODES)), positions=["half_pixel", "align_corners"][rng.integers(2)])


def random_network(rng, most=9):
    """Return a network of all kinds of steps and a picture that it takes: a convolution, and steps on any outputs."""
    while True:
        channels, shape = int(rng.integers(1, 9)), tuple(int(n) for n in rng.integers(1, 20, 2))
        weight = rng.normal(0, 0.5, (int(rng.choice([1, 4, 6, 8, 12])), channels, 3, 3)).astype("f4")
        nodes = [Node(Convolution.ordinary(weight, None, 1), (0,))]
        for _ in range(int(rng.integers(1, most))):
            kind = str(rng.choice(STEPS))
            network = Network(nodes)
            sizes = network.sizes(shape)
            at = len(nodes) if rng.random() < 0.8 else int(rng.integers(0, len(nodes) + 1))
            if kind in ("sum", "combination", "concat", "crop_like", "resize_like"):
                fit = [
                    n
                    for n in range(len(nodes) + 1)
                    if kind in ("crop_like", "resize_like")
                    or (sizes[n] == sizes[at] and (kind == "concat" or network.channels[n] == network.channels[at]))
                ]
                node = Node(two_inputs(rng, kind), (at, int(rng.choice(fit))))
            else:
                node = Node(one_input(rng, kind, network.channels[at]), (at,))
            try:
                larger = Network([*nodes, node])
                size = larger.output_shape(shape)
            except TconvError:
                continue
            if larger.channels[-1] * size[0] * size[1] < 20_000:
                nodes.append(node)
        if len(nodes) > 1:
            return Network(nodes), rng.normal(0, 1, (channels, *shape)).astype("f4")
