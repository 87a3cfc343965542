"""Simplified networks: equal to those of the file, rule by rule and at random, with less work."""

from fractions import Fraction
from math import pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconv import Geometry
from tconv.errors import GeometryError, ShapeError
from tconv.models import Convolution, Network, Node
from tconv.models.error_bound import piece
from tconv.models.simplification import shuffle, simplified
from tconv.models.simplification.graph import graph_of
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channels import ChannelRange, Concat
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.snake import Snake
from tconv.models.steps.step import Region
from tconv.models.steps.strided_convolution import StridedConvolution

RNG = np.random.default_rng(7)
SIZES = [(7, 5), (1, 1), (4, 9), (1, 6)]


def numbers(*shape, whole=False):
    """Return random float32 numbers: whole ones for sums that are exact."""
    return (RNG.integers(-4, 5, shape) if whole else RNG.standard_normal(shape)).astype(np.float32)


def ordinary(into, out, k=3, padding=1, bias=True, whole=False, **more):
    """Return a random ordinary convolution."""
    kernel = (k, k) if isinstance(k, int) else k
    weight = numbers(out, into // more.get("groups", 1), *kernel, whole=whole)
    return Convolution.ordinary(weight, numbers(out, whole=whole) if bias else None, padding, **more)


def transposed(into, out, k=4, stride=2, crop=1, whole=False, **more):
    """Return a random transposed convolution."""
    return Convolution(numbers(into, out, k, k, whole=whole), Geometry((k, k), stride, crop), numbers(out), **more)


def strided(into, out, k=3, stride=2, padding=((1, 1), (1, 1))):
    """Return a random strided convolution."""
    return StridedConvolution(numbers(out, into, k, k), numbers(out), (stride, stride), padding)


def chain(*steps):
    """Return the nodes of steps one after the other."""
    return [Node(step, (number,)) for number, step in enumerate(steps)]


def nearest(r, columns=None):
    """Return a nearest interpolation by whole numbers."""
    return Resize((Fraction(r), Fraction(columns or r)))


def kinds(nodes):
    """Return the names of the steps."""
    return [type(node.step).__name__ for node in nodes]


def outputs(nodes, x):
    """Return the output of nodes for a picture [C, H, W], each computed whole, by itself."""
    values, sizes = [x], [x.shape[1:]]
    for node in nodes:
        given, shapes = [values[place] for place in node.inputs], [sizes[place] for place in node.inputs]
        channels = node.step.output_channels([len(each) for each in given])
        size = tuple(node.step.output_extent([each[axis] for each in shapes], axis) for axis in (0, 1))
        y = np.empty((channels, *size), np.float32)
        parts = [Region(each, *(slice(0, n) for n in each.shape[1:])) for each in given]
        node.step.compute(parts, shapes, Region(y, *(slice(0, n) for n in size)))
        values.append(y)
        sizes.append(size)
    return values[-1]


def assert_equal_networks(nodes, sizes=SIZES, channels=None, whole=False):
    """Check that the simplified nodes give the same pictures, and return them."""
    result = simplified(nodes, channels)
    for size in sizes:
        x = numbers(graph_of(nodes, channels).channels(0), *size, whole=whole)
        try:
            expected = outputs(nodes, x)
        except (ShapeError, GeometryError):
            with pytest.raises((ShapeError, GeometryError)):
                outputs(result, x)
            continue
        got = outputs(result, x)
        assert got.shape == expected.shape
        if whole:
            np.testing.assert_array_equal(got, expected)
        else:
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=1e-5)
    return result


# -- activations -------------------------------------------------------------------------------------------------


def test_convolutions_apply_the_activation_behind_them():
    first, relu = ordinary(3, 4), Pointwise("relu")
    assert kinds(assert_equal_networks(chain(first, relu, ordinary(4, 2)))) == ["Convolution"] * 2
    # another node reads the sum before the activation
    nodes = [Node(first, (0,)), Node(relu, (1,)), Node(Sum(), (1, 2))]
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "Pointwise", "Sum"]


# -- constants ---------------------------------------------------------------------------------------------------

PER_CHANNEL = [(4, 1, 1), (1,), (1, 1, 1)]


@pytest.mark.parametrize("shape", PER_CHANNEL)
@pytest.mark.parametrize(
    "before",
    [
        lambda: ordinary(3, 4),
        lambda: ordinary(4, 4, (1, 3), ((0, 0), (1, 2)), groups=2),
        lambda: ordinary(4, 4, dilation=2, bias=False),
        lambda: transposed(3, 4, 5, 3, ((0, 2), (-1, 1))),
        lambda: ordinary(3, 4, activation=("prelu", numbers(4))),
    ],
)
def test_products_and_sums_behind_convolutions_fold_into_them(before, shape):
    layer = before()
    scale = np.abs(numbers(*shape)) + 0.5
    shift = numbers(*shape) if layer.activation is None else np.zeros(1, np.float32)
    nodes = chain(layer, Affine(scale, shift), ordinary(4, 2))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution"] * 2


def test_products_behind_strided_convolutions_fold_into_them():
    nodes = chain(ordinary(3, 3), strided(3, 4), Affine(numbers(4, 1, 1), numbers(4, 1, 1)), ordinary(4, 2))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "StridedConvolution", "Convolution"]


def test_a_negative_product_behind_an_activation_stays():
    layer = ordinary(3, 4, activation="relu")
    assert kinds(assert_equal_networks(chain(layer, Affine(np.float32([-2]))))) == ["Convolution", "Affine"]


@pytest.mark.parametrize("whole", [False, True])
def test_products_and_sums_in_front_of_convolutions_fold_where_no_border_sees_them(whole):
    constants = [numbers(4, 1, 1, whole=whole) for _ in range(2)]
    for after, folds in [
        (ordinary(4, 2, 3, 0, whole=whole), True),
        (ordinary(4, 2, 3, -1, whole=whole), True),
        (ordinary(4, 4, 1, 0, whole=whole, groups=2), True),
        (ordinary(4, 2, 3, 1, whole=whole), False),
        (ordinary(4, 2, 3, ((0, 0), (0, 1)), whole=whole), False),
        (transposed(4, 2), False),
    ]:
        nodes = chain(Affine(*constants), after)
        assert len(assert_equal_networks(nodes, whole=whole and folds)) == 2 - folds
    # without a sum, borders do not matter
    nodes = chain(Affine(constants[0]), transposed(4, 2, 5, 3))
    assert len(assert_equal_networks(nodes)) == 1
    nodes = chain(Affine(*constants), strided(4, 3, padding=((0, 0), (-1, 0))), ordinary(3, 2))
    assert len(assert_equal_networks(nodes)) == 2


def test_products_and_sums_fold_across_paddings_that_repeat_pixels():
    constants = Affine(numbers(4, 1, 1), numbers(4, 1, 1))
    for padding, folds in [
        (Padding(((2, 1), (1, 2)), "reflect"), True),
        (Padding(((2, 1), (1, 2)), "edge", multiple=(2, 2)), True),
        (Padding(((-1, 0), (0, -1))), True),
        (Padding(((-1, 0), (0, 0)), multiple=(2, 2)), False),
        (Padding(((1, 0), (0, 0)), value=1.0), False),
    ]:
        nodes = chain(constants, padding, ordinary(4, 2, 3, 0))
        assert kinds(assert_equal_networks(nodes)) == ["Affine"] * (not folds) + ["Padding", "Convolution"]
    nodes = [*chain(constants, Padding(((1, 1), (1, 1)), "edge"), ordinary(4, 4, 3, 0)), Node(Sum(), (1, 3))]
    assert len(assert_equal_networks(nodes)) == 4


def test_products_and_sums_in_a_row_are_one():
    one, two = Affine(numbers(4, 1, 1), numbers(4, 1, 1)), Affine(np.float32([255]), numbers(4, 1, 1))
    nodes = [Node(one, (0,)), Node(two, (1,)), Node(ordinary(4, 4), (2,)), Node(Sum(), (2, 3))]
    assert kinds(assert_equal_networks(nodes)) == ["Affine", "Convolution", "Sum"]


def test_a_network_of_255ths_with_means_keeps_only_the_shift_before_the_padding():
    mean = np.float32([0.4488, 0.4371, 0.404]).reshape(3, 1, 1) * 255
    steps = Affine(np.float32([255])), Affine(shift=-mean), ordinary(3, 8), ordinary(8, 3), Affine(shift=mean)
    result = assert_equal_networks(chain(*steps, Affine(np.float32([1 / 255]))))
    assert kinds(result) == ["Affine", "Convolution", "Convolution"]


def test_constants_that_differ_between_pixels_stay():
    nodes = chain(ordinary(3, 4), Affine(numbers(4, 7, 5), numbers(1, 1)))
    assert kinds(assert_equal_networks(nodes, [(7, 5)])) == ["Convolution", "Affine"]


def test_weights_that_would_overflow_stay():
    layer = Convolution.ordinary(np.full((1, 1, 1, 1), 1e20, np.float32))
    nodes = chain(layer, Affine(np.float32([1e-30])), Affine(np.float32([1e20])), Affine(np.float32([1e20])))
    network = Network(simplified(nodes))
    np.testing.assert_allclose(network(np.full((1, 1, 1, 1), 1e-30, np.float32)), 1.0, rtol=1e-5)


# -- sums --------------------------------------------------------------------------------------------------------


def test_sums_take_the_factors_of_their_inputs():
    double = Affine(np.float32([0.2]))
    nodes = [
        Node(ordinary(3, 3), (0,)),
        Node(Sum((0.5, 1.0)), (1, 0)),
        Node(double, (2,)),
        Node(Sum(), (3, 0)),
        Node(double, (4,)),
        Node(Sum((1.0, -2.0)), (0, 5)),
    ]
    result = assert_equal_networks(nodes)
    assert kinds(result) == ["Convolution", "Sum", "Sum", "Sum"]
    assert [node.inputs for node in result[1:]] == [(1, 0), (2, 0), (0, 3)]


# -- padding and crops -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("sides", [((1, 1), (1, 1)), ((0, 2), (3, 0)), ((2, 1), (0, 1))])
def test_zero_padding_in_front_of_convolutions_becomes_theirs(sides, whole):
    for after in (
        ordinary(3, 4, 3, 0, whole=whole),
        ordinary(3, 4, (1, 2), 1, whole=whole, dilation=2),
        transposed(3, 4, 4, 2, 1, whole=whole),
        transposed(3, 2, 2, 3, 0, whole=whole),
    ):
        assert len(assert_equal_networks(chain(Padding(sides), after), whole=whole)) == 1
    nodes = chain(ordinary(3, 3), Padding(sides), strided(3, 4), ordinary(4, 1))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "StridedConvolution", "Convolution"]


@pytest.mark.parametrize("whole", [False, True])
def test_crops_behind_convolutions_become_theirs(whole):
    crop = Padding(((-1, 0), (-2, -1)))
    for before in (ordinary(3, 4, whole=whole), transposed(3, 4, 5, 3, ((1, -2), (0, 1)), whole=whole)):
        assert len(assert_equal_networks(chain(before, crop), whole=whole)) == 1


@pytest.mark.parametrize("order", ["channels", "blocks"])
def test_crops_of_whole_blocks_go_in_front_of_a_shuffle(order):
    layer = ordinary(3, 8, dilation=2, padding=2)
    nodes = chain(layer, ChannelsToPixels(2, order), Padding(((-2, 0), (-4, -2))))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "ChannelsToPixels"]
    nodes = chain(layer, ChannelsToPixels(2, order), Padding(((-1, 0), (-4, -2))))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "ChannelsToPixels", "Padding"]


def test_other_padding_stays():
    for step in (
        Padding(((1, 1), (1, 1)), "reflect"),
        Padding(((1, 1), (1, 1)), "edge"),
        Padding(((1, 1), (1, 1)), value=2.0),
        Padding(((-1, 1), (1, 1))),
        Padding(((0, 0), (0, 0)), multiple=(2, 2)),
    ):
        assert len(assert_equal_networks(chain(step, ordinary(3, 2)))) == 2
    # a padding behind a convolution has no bias
    assert len(assert_equal_networks(chain(ordinary(3, 2), Padding(((1, 0), (0, 0)))))) == 2
    assert len(assert_equal_networks(chain(ordinary(3, 2), Padding(((0, 0), (0, 0)), multiple=(2, 2))))) == 2


def test_paddings_in_a_row_are_one():
    nodes = chain(Padding(((1, 0), (0, 2)), value=2.0), Padding(((1, 1), (1, 1)), value=2.0), ordinary(3, 2))
    assert len(assert_equal_networks(nodes)) == 2
    nodes = chain(Padding(((-1, 0), (0, -1))), Padding(((0, -1), (0, 0))), ordinary(3, 2))
    assert len(assert_equal_networks(nodes)) == 2
    nodes = chain(Padding(((1, 0), (0, 0))), Padding(((0, -1), (0, 0))), ordinary(3, 2))
    assert len(assert_equal_networks(nodes)) == 3


# -- steps without effect ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        Padding(((0, 0), (0, 0)), "reflect"),
        nearest(1),
        Resize((Fraction(1), Fraction(1)), "linear"),
        ChannelRange(0, 4),
        Concat(),
        Affine(),
        Affine(np.ones((4, 1, 1), np.float32)),
        ChannelsToPixels(1),
        PixelsToChannels(1, "blocks"),
        Pointwise(None),
        Pointwise(("leaky_relu", 1)),
        Pointwise(("clamp", -np.inf, np.inf)),
    ],
)
def test_steps_without_effect_disappear(step):
    for nodes in (chain(ordinary(3, 4), step, ordinary(4, 2)), chain(ordinary(3, 4), step)):
        assert set(kinds(assert_equal_networks(nodes))) == {"Convolution"}
    assert len(assert_equal_networks(chain(step, ordinary(4, 2)))) == 1


def test_resizing_by_one_stays_where_it_takes_other_pixels():
    for mode, rounding, effect in [("nearest", "floor", False), ("nearest", "ceil", True), ("linear", "floor", True)]:
        step = Resize((1, 1), mode, "tf_half_pixel_for_nn", rounding)
        nodes = chain(ordinary(3, 4), step, ordinary(4, 2))
        assert ("Resize" in kinds(assert_equal_networks(nodes))) == effect


def test_activations_stay_behind_a_resize_to_the_size_of_another_picture():
    nodes = [
        Node(ordinary(3, 4), (0,)),
        Node(nearest(2), (0,)),
        Node(ResizeLike(), (1, 2)),
        Node(Pointwise("relu"), (3,)),
    ]
    assert kinds(assert_equal_networks(nodes)) == kinds(nodes)


def test_a_constant_that_adds_channels_stays():
    nodes = chain(ordinary(3, 1), Affine(np.ones((4, 1, 1), np.float32)))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "Affine"]


def test_shuffles_that_undo_each_other_disappear():
    layer = ordinary(3, 8, activation="relu")
    nodes = chain(layer, ChannelsToPixels(2, "blocks"), PixelsToChannels(2, "blocks"), ordinary(8, 2))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution"] * 2
    # in the other order the blocks of the first decide which pictures there are, and here the order of channels differs
    for orders, r in ((("blocks", "channels"), 2), (("blocks", "blocks"), 1)):
        nodes = chain(ordinary(3, 8), PixelsToChannels(2, orders[0]), ChannelsToPixels(2, orders[1]), ordinary(8, 2))
        assert len(assert_equal_networks(nodes, [(4, 6), (3, 4)])) == 4, r


def test_concatenations_and_ranges_are_read_where_they_come_from():
    one, two = ordinary(3, 4), ordinary(3, 2)
    nodes = [
        Node(one, (0,)),
        Node(two, (0,)),
        Node(Concat(), (1, 2)),
        Node(Concat(), (0, 3)),
        Node(ordinary(9, 3), (4,)),
    ]
    result = assert_equal_networks(nodes)
    assert kinds(result) == ["Convolution", "Convolution", "Concat", "Convolution"]
    assert result[2].inputs == (0, 1, 2)
    nodes = [
        Node(one, (0,)),
        Node(two, (0,)),
        Node(Concat(), (1, 2)),
        Node(ChannelRange(3, 6), (3,)),
        Node(ChannelRange(1, 3), (4,)),
        Node(ordinary(2, 3), (5,)),
    ]
    assert kinds(assert_equal_networks(nodes)) == ["Convolution"] * 2


# -- nodes that are read twice, or never -------------------------------------------------------------------------


def test_equal_nodes_are_one_and_unread_nodes_none():
    layer = ordinary(3, 4)
    twin = Convolution(layer.weight.copy(), layer.geometry, layer.bias.copy())
    nodes = [
        Node(layer, (0,)),
        Node(twin, (0,)),
        Node(ordinary(3, 4), (0,)),  # not read
        Node(Pointwise(("prelu", np.float32([1, 2, 3, 4]))), (2,)),
        Node(Pointwise(("prelu", np.float32([1, 2, 3, 4]))), (1,)),
        Node(Sum(), (4, 5)),
    ]
    result = assert_equal_networks(nodes)
    assert kinds(result) == ["Convolution", "Sum"]
    assert result[1].inputs == (1, 1)
    # other weights
    nodes[1] = Node(Convolution(layer.weight + 1, layer.geometry, layer.bias), (0,))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "Convolution", "Sum"]


def test_convolutions_of_single_pixels_go_into_the_one_before():
    for before in (ordinary(3, 6, whole=True), transposed(3, 6, 5, 3, ((1, -2), (0, 1)), whole=True)):
        nodes = chain(before, ordinary(6, 2, 1, 0, whole=True, activation="relu"))
        assert kinds(assert_equal_networks(nodes)) == ["Convolution"]
    for before, after in [
        (ordinary(3, 4), ordinary(4, 16, 1, 0)),  # more products
        (ordinary(3, 4), ordinary(4, 3, 1, 1)),  # a border of its own bias
        (ordinary(3, 4), ordinary(4, 2, 1, 0, groups=2)),
        (ordinary(4, 4, groups=2), ordinary(4, 2, 1, 0)),
        (ordinary(3, 4, activation="relu"), ordinary(4, 2, 1, 0)),
    ]:
        assert len(assert_equal_networks(chain(before, after))) == 2


# -- nearest interpolation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("r", "k", "padding", "more"),
    [
        ((2, 2), 3, 1, {}),
        ((3, 3), 3, ((0, 1), (2, 1)), {}),
        ((4, 2), (3, 5), 0, {}),
        ((2, 2), 5, 2, {"groups": 2}),
        ((4, 5), 3, 2, {"dilation": 2}),
        ((1, 2), 3, 1, {"activation": ("leaky_relu", 0.2)}),
        ((2, 2), 3, -1, {}),
    ],
)
def test_nearest_interpolation_in_front_of_a_convolution_is_a_transposed_one(r, k, padding, more, whole):
    nodes = chain(nearest(*r), ordinary(4, 6, k, padding, whole=whole, **more))
    result = assert_equal_networks(nodes, whole=whole and "activation" not in more)
    assert kinds(result) == ["Convolution"]
    assert result[0].step.geometry.stride == r


def test_two_interpolations_in_a_row_with_activations():
    lrelu = Pointwise(("leaky_relu", 0.2))
    nodes = chain(
        ordinary(3, 4), nearest(2), ordinary(4, 4), lrelu, nearest(2), lrelu, ordinary(4, 4), lrelu, ordinary(4, 3)
    )
    assert kinds(assert_equal_networks(nodes)) == [
        "Convolution",
        "Convolution",
        "Pointwise",
        "Convolution",
        "Convolution",
    ]


def test_interpolations_that_save_nothing_stay():
    for step, after in [
        (nearest(2), ordinary(3, 2, 1, 0)),
        (Resize((Fraction(1, 2), Fraction(2))), ordinary(3, 2)),
        (Resize((Fraction(3, 2), Fraction(2))), ordinary(3, 2)),
        (Resize((Fraction(2), Fraction(2)), "linear"), ordinary(3, 2)),
        (nearest(2), transposed(3, 2)),
    ]:
        assert len(assert_equal_networks(chain(step, after))) == 2


# -- depth to space ----------------------------------------------------------------------------------------------


@pytest.fixture
def folding(monkeypatch):
    """Fold where another way is faster, too."""
    monkeypatch.setattr(shuffle, "is_worthwhile", lambda step: True)


def test_depth_to_space_folds_where_no_minimal_filtering_runs():
    for layer, folds in ((ordinary(2, 12), True), (ordinary(8, 12, 5, 2), True), (ordinary(8, 12), False)):
        nodes = chain(layer, ChannelsToPixels(2))
        assert len(assert_equal_networks(nodes)) == 2 - (folds or layer.grouped is None)
    nodes = chain(ordinary(2, 12, 5, 2, dilation=2), ChannelsToPixels(2))
    assert len(assert_equal_networks(nodes)) == 2


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("order", ["channels", "blocks"])
@pytest.mark.parametrize(
    "before",
    [
        lambda whole: ordinary(3, 12, whole=whole),
        lambda whole: ordinary(5, 12, 3, ((1, 0), (2, 1)), whole=whole),
        lambda whole: ordinary(5, 8, 5, 2, False, whole=whole, activation="relu6"),
        lambda whole: transposed(3, 8, 3, 2, 1, whole=whole),
    ],
)
def test_depth_to_space_behind_a_convolution_is_one_transposed_convolution(before, order, whole, folding):
    layer = before(whole)
    nodes = chain(layer, ChannelsToPixels(2, order))
    result = assert_equal_networks(nodes, whole=whole and layer.geometry.stride == (1, 1))
    assert kinds(result) == ["Convolution"]
    assert result[0].step.geometry.stride == tuple(2 * s for s in layer.geometry.stride)


def test_groups_stay_groups_where_blocks_fit_them(folding):
    grouped = ordinary(4, 8, groups=2)
    assert kinds(assert_equal_networks(chain(grouped, ChannelsToPixels(2)))) == ["Convolution"]
    assert len(assert_equal_networks(chain(grouped, ChannelsToPixels(2, "blocks")))) == 2
    assert len(assert_equal_networks(chain(ordinary(4, 4, groups=4), ChannelsToPixels(2)))) == 2


def test_activations_and_constants_behind_a_shuffle_go_into_the_convolution_before():
    for order in ("channels", "blocks"):
        for behind in (
            Pointwise(("prelu", numbers(3))),
            Affine(numbers(3, 1, 1), numbers(3, 1, 1)),
            Pointwise(("clamp", -0.5, 0.5)),
        ):
            nodes = chain(ordinary(2, 12), ChannelsToPixels(2, order), behind)
            assert kinds(assert_equal_networks(nodes)) == ["Convolution"]
            nodes = chain(ordinary(8, 48, dilation=2), ChannelsToPixels(4, order), behind)
            assert kinds(assert_equal_networks(nodes)) == ["Convolution", "ChannelsToPixels"]
    # slopes of their own for each phase
    nodes = chain(ordinary(2, 12), Pointwise(("prelu", numbers(12))), ChannelsToPixels(2))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution", "ChannelsToPixels"]


def test_a_bias_of_phases_moves_with_a_crop():
    nodes = chain(ordinary(2, 8), ChannelsToPixels(2), Padding(((-1, 0), (-3, -2))))
    (node,) = assert_equal_networks(nodes)
    assert node.step.bias.shape == (2, 2, 2)


def test_a_bias_of_phases_does_not_depend_on_strips_and_is_in_the_error_bound():
    nodes = simplified(chain(ordinary(2, 27, activation=("leaky_relu", 0.1)), ChannelsToPixels(3), ordinary(3, 8)))
    network, x = Network(nodes), numbers(2, 11, 6)
    assert nodes[0].step.bias.shape == (3, 3, 3)
    whole = network(x[None])[0]
    for start in range(0, 33, 4):
        rows = slice(start, min(start + 4, 33))
        np.testing.assert_array_equal(network.rows(x, 0, 11, rows), whole[:, rows])
    for columns in (slice(0, 5), slice(5, 6), slice(7, 18)):
        stream = network.stream((11, 6), lambda rows, span: x[:, rows, span], columns=columns)
        np.testing.assert_array_equal(stream.rows(slice(0, 33)), whole[:, :, columns])
    exact = piece(network, x.astype(np.float64), (slice(0, 11), slice(0, 6)), (11, 6), (slice(0, 33), slice(0, 18)))
    assert (np.abs(exact.values - whole) <= exact.error).mean() > 0.999
    np.testing.assert_allclose(exact.values, whole, atol=1e-4)


def test_inf_and_nan_spread_no_further():
    x = numbers(1, 3, 7, 6)
    x[0, 0, 2, 3], x[0, 1, 5, 0] = np.inf, np.nan
    for nodes in (
        chain(nearest(2), ordinary(3, 4)),
        chain(ordinary(3, 12), ChannelsToPixels(2)),
        chain(Padding(((1, 2), (0, 1))), ordinary(3, 4, 3, 0)),
        chain(ordinary(3, 4), Padding(((-1, 0), (-1, -1)))),
    ):
        before, after = Network(nodes)(x), Network(simplified(nodes))(x)
        np.testing.assert_array_equal(np.isfinite(before), np.isfinite(after))


# -- activations spelled out -------------------------------------------------------------------------------------


def scaled(factor, shift=0.0):
    """Return a product and a sum with numbers."""
    return Affine(np.float32([factor]), np.float32([shift]))


TIMES = Combination("multiply")


SPELLED = {
    "silu": [Node(Pointwise("sigmoid"), (1,)), Node(TIMES, (1, 2))],
    "silu, turned": [Node(Pointwise("sigmoid"), (1,)), Node(TIMES, (2, 1))],
    "silu by tanh": [
        Node(scaled(0.5), (1,)),
        Node(Pointwise("tanh"), (2,)),
        Node(scaled(0.5, 0.5), (3,)),
        Node(TIMES, (1, 4)),
    ],
    "swish": [Node(scaled(1.702), (1,)), Node(Pointwise("sigmoid"), (2,)), Node(TIMES, (1, 3))],
    "mish": [Node(Pointwise("softplus"), (1,)), Node(Pointwise("tanh"), (2,)), Node(TIMES, (1, 3))],
    "gelu": [
        Node(scaled(1 / sqrt(2)), (1,)),
        Node(Pointwise("erf"), (2,)),
        Node(scaled(1, 1), (3,)),
        Node(TIMES, (1, 4)),
        Node(scaled(0.5), (5,)),
    ],
    "gelu, halved first": [
        Node(scaled(0.5), (1,)),
        Node(scaled(1 / sqrt(2)), (1,)),
        Node(Pointwise("erf"), (3,)),
        Node(scaled(1, 1), (4,)),
        Node(TIMES, (2, 5)),
    ],
    "gelu, half of the gate": [
        Node(scaled(1 / sqrt(2)), (1,)),
        Node(Pointwise("erf"), (2,)),
        Node(scaled(1, 1), (3,)),
        Node(scaled(0.5), (4,)),
        Node(TIMES, (5, 1)),
    ],
    "gelu_tanh": [
        Node(TIMES, (1, 1)),
        Node(TIMES, (2, 1)),
        Node(scaled(0.044715), (3,)),
        Node(Sum(), (1, 4)),
        Node(scaled(sqrt(2 / pi)), (5,)),
        Node(Pointwise("tanh"), (6,)),
        Node(scaled(1, 1), (7,)),
        Node(scaled(0.5), (1,)),
        Node(TIMES, (9, 8)),
    ],
    "gelu_tanh by a power": [
        Node(Pointwise(("power", 3.0)), (1,)),
        Node(Sum((1.0, 0.044715)), (1, 2)),
        Node(scaled(sqrt(2 / pi)), (3,)),
        Node(Pointwise("tanh"), (4,)),
        Node(scaled(0.5, 0.5), (5,)),
        Node(TIMES, (1, 6)),
    ],
    "hard_swish": [
        Node(scaled(1, 3), (1,)),
        Node(Pointwise("relu6"), (2,)),
        Node(TIMES, (1, 3)),
        Node(scaled(1 / 6), (4,)),
    ],
    "hard_swish by limits of 0 and 1": [
        Node(scaled(1 / 6, 0.5), (1,)),
        Node(Pointwise(("clamp", 0, 1)), (2,)),
        Node(TIMES, (3, 1)),
    ],
}


@pytest.mark.parametrize("name", SPELLED)
def test_activations_spelled_out_are_one_step(name):
    wanted = name.split(",")[0].split(" ")[0]
    result = assert_equal_networks([Node(ordinary(3, 3), (0,)), *SPELLED[name]])
    found = [getattr(node.step, "activation", None) for node in result]
    assert [each[0] if isinstance(each, tuple) else each for each in found] == [None, wanted]


ALPHA, RATE = (Affine(np.float32([[[0.5]], [[2]], [[1.5]]]) ** power) for power in (1, -1))

SNAKES = {
    "power": [
        Node(ALPHA, (1,)),
        Node(Pointwise("sin"), (2,)),
        Node(Pointwise(("power", 2.0)), (3,)),
        Node(RATE, (4,)),
        Node(Sum(), (1, 5)),
    ],
    "product, turned": [
        Node(ALPHA, (1,)),
        Node(Pointwise("sin"), (2,)),
        Node(TIMES, (3, 3)),
        Node(Sum((0.5, 1)), (4, 1)),
    ],
    "square without alpha": [Node(Pointwise("sin"), (1,)), Node(Pointwise("square"), (2,)), Node(Sum(), (1, 3))],
}


@pytest.mark.parametrize("name", SNAKES)
def test_snake_spelled_out_is_one_step(name):
    result = assert_equal_networks([Node(ordinary(3, 3), (0,)), *SNAKES[name]])
    assert [type(node.step) for node in result] == [Convolution, Snake]


def test_sums_that_are_no_snake_stay():
    inside = [Node(ordinary(3, 3), (0,)), Node(ordinary(3, 3), (0,)), Node(ALPHA, (1,)), Node(Pointwise("sin"), (3,))]
    square = Node(Pointwise("square"), (4,))
    for end in (
        [square, Node(Sum(), (2, 5))],  # of another value
        [square, Node(Sum((2.0, 1.0)), (1, 5))],
        [Node(Pointwise(("power", 3.0)), (4,)), Node(Sum(), (1, 5))],
        [square, Node(scaled(1, 1), (5,)), Node(Sum(), (1, 6))],
    ):
        assert not any(isinstance(node.step, Snake) for node in assert_equal_networks([*inside, *end]))


def test_products_that_are_no_activation_stay():
    # a gate of another value, and one of a single channel
    nodes = [
        Node(ordinary(3, 3), (0,)),
        Node(ordinary(3, 3), (0,)),
        Node(Pointwise("sigmoid"), (2,)),
        Node(TIMES, (1, 3)),
    ]
    assert len(assert_equal_networks(nodes)) == 4


def test_leaky_relu_by_maximum():
    nodes = [Node(ordinary(3, 3), (0,)), Node(scaled(0.2), (1,)), Node(Combination("maximum"), (2, 1))]
    assert kinds(assert_equal_networks(nodes)) == ["Convolution"]
    nodes[1] = Node(scaled(1.5), (1,))
    assert len(assert_equal_networks(nodes)) == 3


@pytest.mark.parametrize(
    "limits", [("relu", ("clamp", -9, 0.5)), ("relu6", "relu"), (("clamp", 1, 2), ("clamp", -2, -1))]
)
def test_limits_of_limits_are_limits(limits):
    nodes = chain(ordinary(3, 3), *map(Pointwise, limits))
    assert kinds(assert_equal_networks(nodes)) == ["Convolution"]


# -- strides of 1 ------------------------------------------------------------------------------------------------


def test_strided_convolutions_of_stride_1_are_ordinary():
    nodes = chain(strided(3, 4, 3, 1, ((1, 0), (2, 1))))
    assert kinds(simplified(nodes)) == ["Convolution"]
    expected = Network(chain(Convolution.ordinary(nodes[0].step.weight, nodes[0].step.bias, ((1, 0), (2, 1)))))
    x = numbers(1, 3, 5, 6)
    np.testing.assert_array_equal(Network(simplified(nodes))(x), expected(x))


# -- all together ------------------------------------------------------------------------------------------------


def random_nodes(rng):
    """Return nodes of all kinds, each reading earlier ones, with their channels and sizes."""
    into = 4
    nodes, channels, sizes = [], [into], [(8, 6)]

    def add(step, *inputs):
        try:
            size = tuple(step.output_extent([sizes[place][axis] for place in inputs], axis) for axis in (0, 1))
        except (ShapeError, GeometryError):  # a crop that leaves nothing
            return
        if max(size) > 64:
            return
        channels.append(step.output_channels([channels[place] for place in inputs]))
        nodes.append(Node(step, inputs))
        sizes.append(size)

    add(ordinary(into, 4), 0)
    for _ in range(rng.integers(3, 14)):
        place = int(rng.integers(max(0, len(sizes) - 4), len(sizes)))
        c, (h, w) = channels[place], sizes[place]
        twins = [each for each in range(len(sizes)) if sizes[each] == sizes[place]]
        other = int(rng.choice(twins))
        fits = channels[other] == c or 1 in (channels[other], c)
        kind = rng.integers(17)
        if kind == 0 and c < 64:
            add(ordinary(c, int(rng.choice([1, 4, 8])), int(rng.choice([1, 3])), int(rng.integers(0, 2))), place)
        elif kind == 1:
            add(Pointwise([None, "relu", ("prelu", numbers(c)), ("clamp", -0.5, 2)][rng.integers(4)]), place)
        elif kind == 2 and fits:
            add(Sum(tuple(float(each) for each in rng.choice([1, 0.2, -1], 2))), place, other)
        elif kind == 3 and fits:
            add(Combination(str(rng.choice(["multiply", "maximum", "minimum"]))), place, other)
        elif kind == 4:
            shape = [(c, 1, 1), (1,)][rng.integers(2)]
            shift = numbers(*shape) if rng.random() < 0.5 else np.zeros(1, np.float32)
            add(Affine(numbers(*shape), shift), place)
        elif kind == 5 and c + channels[other] < 64:
            add(Concat(), place, other)
        elif kind == 6 and c > 1:
            start = int(rng.integers(0, c - 1))
            add(ChannelRange(start, int(rng.integers(start + 1, c + 1))), place)
        elif kind == 7 and c % 4 == 0:
            add(ChannelsToPixels(2, str(rng.choice(["channels", "blocks"]))), place)
        elif kind == 8 and h % 2 == w % 2 == 0 and c <= 8:
            add(PixelsToChannels(2, str(rng.choice(["channels", "blocks"]))), place)
        elif kind == 9:
            mode = str(rng.choice(["constant", "edge", "reflect"]))
            most = 2 if min(h, w) > 2 else 1
            sides = rng.integers(-1 if min(h, w) > 3 else 0, most, (2, 2))
            add(Padding(tuple(map(tuple, sides.tolist())), mode, float(rng.choice([0, 0, 1]))), place)
        elif kind == 10:
            add(nearest(int(rng.integers(1, 3))), place)
        elif kind == 11:
            add(Resize((Fraction(2), Fraction(2)), "linear"), place)
        elif kind == 12:
            add(GlobalMean(), place)
        elif kind == 13 and c < 64:
            add(transposed(c, 4, int(rng.integers(1, 5)), 2, int(rng.integers(-1, 1))), place)
        elif kind == 14 and c < 64 and min(h, w) > 3:
            add(strided(c, 4, 3, int(rng.integers(1, 3))), place)
        elif kind == 15 and nodes and nodes[-1].inputs:
            add(nodes[-1].step, *nodes[-1].inputs)  # once more
        elif kind == 16 and c % 2 == 0 and c < 64:
            add(ordinary(c, 8, groups=2), place)
    return nodes, sizes[0]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_simplified_random_networks_equal_the_original(seed):
    rng = np.random.default_rng(seed)
    nodes, size = random_nodes(rng)
    result = assert_equal_networks(nodes, [size], 4)
    assert len(result) <= len(nodes)
    assert kinds(simplified(result, 4)) == kinds(result)


def test_nodes_that_do_not_fit_are_left_for_the_network_to_refuse():
    for nodes in (
        chain(ordinary(3, 4), ordinary(5, 2)),
        [Node(ordinary(3, 4), (0,)), Node(Sum(), (1, 7))],
        [Node(ordinary(3, 4), ())],
    ):
        assert simplified(nodes) == nodes
        with pytest.raises((ShapeError, GeometryError)):
            Network(nodes)
    assert simplified([]) == []
    assert kinds(simplified(chain(Padding(((0, 0), (0, 0)))))) == ["Padding"]


def test_long_chains_and_wide_networks_end():
    half = scaled(0.5)
    nodes = [Node(ordinary(3, 3), (0,)), *(Node(TIMES, (number, number)) for number in range(1, 3000))]
    assert len(simplified(nodes)) == 3000
    unread = [*nodes, Node(Pointwise("relu"), (1,))]
    assert kinds(simplified(unread)) == ["Convolution"]
    wide = [Node(ordinary(3, 3), (0,)), *(Node(half, (1,)) for _ in range(3000)), Node(Concat(), (2, 3001))]
    assert kinds(simplified(wide)) == ["Convolution", "Concat"]
    assert kinds(simplified(chain(nearest(5000), ordinary(3, 3)))) == ["Resize", "Convolution"]


def test_large_networks():
    nodes = [Node(ordinary(3, 8), (0,))]
    for _ in range(69):
        start = len(nodes)
        places = [start]
        for number in range(5):
            nodes.append(Node(Concat(), tuple(places)))
            nodes.append(Node(ordinary(8 + 4 * number, 8 if number == 4 else 4), (len(nodes),)))
            nodes.append(Node(Pointwise(("leaky_relu", 0.2)), (len(nodes),)))
            places.append(len(nodes))
        nodes.append(Node(Affine(np.float32([0.2])), (len(nodes),)))
        nodes.append(Node(Sum(), (len(nodes), start)))
    assert (len(nodes), len(simplified(nodes))) == (1 + 69 * 17, 1 + 69 * 10)
