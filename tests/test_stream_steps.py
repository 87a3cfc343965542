"""Steps of networks along time: the same bits for any cuts, arrays, sessions and lengths, and the windows they state."""

from fractions import Fraction

import numpy as np
import pytest

from stream_steps import cut, in_parts, numbers, whole
from tconv import Geometry
from tconv.errors import ShapeError
from tconv.models import Convolution, Node
from tconv.models.steps.arithmetic import OPERATIONS, Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.depth_to_space import ChannelsToPixels
from tconv.models.steps.functions import FUNCTIONS
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import ChannelMean, GlobalMean, Pooling
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.snake import Snake
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.streaming.stream_graph import StreamGraph

ACTIVATIONS = {name: (name, 2.5) if name == "power" else name for name in FUNCTIONS} | {
    "prelu": ("prelu", np.linspace(-1, 1, 6)),
    "relu": "relu",
    "relu6": "relu6",
    "leaky_relu": ("leaky_relu", 0.2),
    "clamp": ("clamp", -0.5, 1.5),
    "elu, 0.7": ("elu", 0.7),
}
CONSTANTS = numbers(np.random.default_rng(0), 2, 6)


def convolution(k, s=1, d=1, lo=0, hi=0, groups=1):
    rng = np.random.default_rng([k, s, d])
    weight = numbers(rng, 6, 4 // groups, 1, k)
    return Convolution(weight, Geometry((1, k), (1, s), ((0, 0), (lo, hi)), (1, d), groups), numbers(rng, 4))


def strided(k, s, lo, hi, d=1):
    rng = np.random.default_rng([k, s, d])
    return StridedConvolution(
        numbers(rng, 5, 6, 1, k), numbers(rng, 5), (1, s), ((0, 0), (lo, hi)), (1, d), 1, ("leaky_relu", 0.1)
    )


ONE = {
    **{f"activation {name}": Pointwise(activation) for name, activation in ACTIVATIONS.items()},
    "snake": Snake(*np.abs(CONSTANTS)),
    "affine": Affine(CONSTANTS[0].reshape(-1, 1, 1), CONSTANTS[1].reshape(-1, 1, 1)),
    "range": ChannelRange(1, 4),
    "mean of channels": ChannelMean(),
    "zeros": Padding(((0, 0), (3, 2))),
    "numbers": Padding(((0, 0), (1, 4)), value=tuple(CONSTANTS[0])),
    "reflected": Padding(((0, 0), (5, 4)), "reflect"),
    "repeated": Padding(((0, 0), (5, 4)), "edge"),
    "reflected to a multiple": Padding(((0, 0), (2, 0)), "reflect", multiple=(1, 7)),
    "repeated to a multiple": Padding(((0, 0), (0, 0)), "edge", multiple=(1, 5)),
    "cropped": Padding(((0, 0), (-3, -2))),
    "cropped and repeated": Padding(((0, 0), (-3, 2)), "edge"),
    "repeated and cropped": Padding(((0, 0), (2, -3)), "edge"),
    "nearest x 3": Resize((1, 3)),
    "nearest x 3/2": Resize((1, Fraction(3, 2))),
    "nearest / 2": Resize((1, Fraction(1, 2))),
    "linear x 2": Resize((1, 2), "linear"),
    "linear x 5/3": Resize((1, Fraction(5, 3)), "linear"),
    "linear / 3": Resize((1, Fraction(1, 3)), "linear"),
    "cubic x 4": Resize((1, 4), "cubic"),
    "cubic x 40/17": Resize((1, Fraction(40, 17)), "cubic"),
    "cubic x 2/3": Resize((1, Fraction(2, 3)), "cubic"),
    "mean of 4, stride 3": Pooling("mean", (1, 4), (1, 3), ((0, 0), (1, 2))),
    "mean with a part": Pooling("mean", (1, 5), (1, 3), ((0, 0), (2, 0)), ceil=True),
    "mean with zeros and a part": Pooling("mean", (1, 4), (1, 3), ((0, 0), (2, 1)), ceil=True, counts_padding=True),
    "max of 3": Pooling("max", (1, 3), (1, 1), ((0, 0), (1, 1))),
    "max of 2 with a part": Pooling("max", (1, 2), (1, 2), ceil=True),
    "strided 4, 2": strided(4, 2, 1, 1),
    "strided 7, 3, dilated": strided(7, 3, 5, 2, 2),
    "strided 1, 2": strided(1, 2, 0, 0),
    "strided, cropped": strided(3, 2, -2, -1),
    "transposed 8, 4": convolution(8, 4, 1, 2, 2),
    "transposed 16, 5": convolution(16, 5, 1, 5, 6),
    "transposed 3, 5": convolution(3, 5, 1, 0, -2),
    "convolution 7, dilated": convolution(7, 1, 3, 9, 9),
    "convolution of groups": convolution(3, 1, 1, 2, 0, 2),
}
TWO = {
    "sum": Sum(),
    "difference": Sum((1.0, -1.0)),
    "weighted sum": Sum((0.3, 1.7)),
    **{name: Combination(name) for name in OPERATIONS},
    "concat": Concat(),
    "crop": CropLike((1, 1)),
}


def special(rng, *shape):
    """Return numbers with zeros of both signs, equal ones, and very small and large ones among them."""
    x = numbers(rng, *shape)
    for value in (0, -0.0, 1e-40, 80, -80, 3e4, 1e30):
        x[rng.random(shape) < 0.02] = value
    return x


def assert_bits(found, wanted):
    """Compare bits, zeros' signs too; any NaN equals any other."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(np.nan_to_num(found).view(np.uint32), np.nan_to_num(wanted).view(np.uint32))


def every_other(x):
    """Return an equal array that has gaps."""
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, np.float32)[..., ::2]
    wide[...] = x
    return wide


def channels_last(x):
    """Return an equal array whose channels lie side by side."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, 3, 1, 2)


def part_of_a_longer(x):
    """Return an equal array that is a window of a longer one, and does not begin at a vector's border."""
    longer = np.full((*x.shape[:-1], x.shape[-1] + 11), np.nan, np.float32)[..., 3 : 3 + x.shape[-1]]
    longer[...] = x
    return longer


ARRANGEMENTS = [np.ascontiguousarray, every_other, channels_last, part_of_a_longer]


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_the_bits_depend_on_no_cut(name):
    check_cuts(name, 70)


def check_cuts(name, length):
    """Compare the output over random cuts and arrays with the whole."""
    rng = np.random.default_rng(list(name.encode()))
    step = ONE.get(name) or TWO[name]
    inputs = [special(rng, 2, 6, 1, length) for _ in range(1 if name in ONE else 2)]
    y = whole(step, *inputs)
    for longest, known in ((1, False), (5, True), (40, False)):
        borders = cut(rng, y.shape[-1], longest)
        for arrange in ARRANGEMENTS[:: 1 if longest > 5 else 4]:
            assert_bits(in_parts(step, borders, *inputs, known=known, arrange=arrange), y)
    assert_bits(whole(step, *(x[1:] for x in inputs)), y[1:])


@pytest.mark.parametrize("name", ONE)
def test_short_inputs_are_cut_alike(name):
    rng = np.random.default_rng(list(name.encode()))
    step = ONE[name]
    for length in (1, 2, 3, 5, 6, 7, 8, 11):
        x = special(rng, 1, 6, 1, length)
        try:
            y = whole(step, x)
        except ValueError:  # too short
            continue
        assert_bits(in_parts(step, list(range(y.shape[-1] + 1)), x, known=True), y)


@pytest.mark.parametrize("name", [name for name in ONE if name.startswith(("activation", "snake", "mean of c"))])
def test_the_bits_of_long_arrays_are_those_of_single_samples(name):
    rng = np.random.default_rng(9)
    x = special(rng, 1, 6, 1, 40_000)
    y = whole(ONE[name], x)
    for start in rng.integers(0, 39_900, 10):
        stop = start + int(rng.integers(1, 90))
        assert_bits(in_parts(ONE[name], [start, stop], x), y[..., start:stop])


REFUSED = {
    "a mean over all of time": GlobalMean(),
    "the length of another value": ResizeLike(),
    "Write align_corners=False": Resize((1, 2), "linear", "align_corners"),
    "or a whole factor": Resize((1, Fraction(3, 2)), "linear", by_size=True),
    "positions by the factor": Resize((1, Fraction(1, 2)), "linear", "half_pixel_symmetric"),
    'Write positions="half_pixel"': Resize((1, Fraction(1, 2)), "linear", "pytorch_half_pixel"),
    "a row becomes 2 rows; streams have one": ChannelsToPixels(2),
    "a row becomes 4 rows": Padding(((1, 2), (0, 0))),
}


@pytest.mark.parametrize("message", REFUSED)
def test_steps_that_depend_on_the_whole_are_refused(message):
    with pytest.raises(ShapeError, match=message):
        StreamGraph([Node(REFUSED[message], (0,))], 4)


def test_convolutions_without_the_kernel_have_one_order_of_sums(python):
    text = """
import numpy as np, pytest, test_stream_steps as t
for name in t.ONE:
    if isinstance(t.ONE[name], (t.Convolution, t.StridedConvolution)):
        t.check_cuts(name, 30)
        t.test_short_inputs_are_cut_alike(name)
"""
    python(text, TCONV_SIMD=0)


def test_weights_that_are_not_finite_have_one_order_of_sums():
    rng = np.random.default_rng(4)
    for step in (convolution(8, 4), strided(5, 2, 1, 1)):
        step.weight[1, 1, 0, 1] = np.inf
        x = numbers(rng, 1, 6, 1, 60)
        y = whole(step, x)
        assert np.isfinite(y).any()
        np.testing.assert_array_equal(in_parts(step, cut(rng, y.shape[-1], 9), x), y)
