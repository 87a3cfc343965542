"""Steps of networks: each equals its definition and the runtimes that have it, and any part of it equals the whole."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import network_steps as ns
from tconv import TconvError
from tconv.errors import ArgumentError, ShapeError
from tconv.models import Convolution, Network, Node
from tconv.models.error_bound import piece
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.functions import FUNCTIONS
from tconv.models.steps.padding import Padding
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import ChannelMean, GlobalMean, Pooling
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize
from tconv.models.steps.sample_positions import MODES, ROUNDING
from tconv.models.steps.snake import Snake
from tconv.models.steps.strided_convolution import StridedConvolution

seeds = st.integers(0, 2**32 - 1)


def drawn(rng, kind):
    """Return a random step of a kind, and inputs that it takes."""
    while True:
        channels = int(rng.choice([1, 2, 4, 8, 9]))
        shape = tuple(int(n) for n in rng.integers(1, 14, 2))
        if kind in ("sum", "combination", "concat", "crop_like", "resize_like"):
            step = ns.two_inputs(rng, kind)
            other = shape if kind in ("sum", "combination", "concat") else tuple(int(n) for n in rng.integers(1, 14, 2))
            more = [rng.normal(0, 1, (channels, *other)).astype("f4")]
        else:
            step, more = ns.one_input(rng, kind, channels), []
        given = [rng.normal(0, 1, (channels, *shape)).astype("f4"), *more]
        try:
            step.output_channels([len(each) for each in given])
            for axis in (0, 1):
                step.output_extent([each.shape[1 + axis] for each in given], axis)
        except TconvError:
            continue
        return step, given


@pytest.mark.parametrize("kind", ns.STEPS)
def test_a_part_of_a_step_has_the_bits_of_the_whole(kind):
    rng = np.random.default_rng(list(kind.encode()))
    for _ in range(40):
        step, inputs = drawn(rng, kind)
        if rng.random() < 0.3:
            inputs[0][:, rng.integers(inputs[0].shape[1])] = [np.nan, np.inf, -np.inf][rng.integers(3)]
        y = ns.whole(step, inputs)
        for _ in range(4):
            spans = [ns.part(rng, n) for n in y.shape[1:]]
            np.testing.assert_array_equal(ns.rectangle(step, inputs, spans), y[:, spans[0], spans[1]])


@pytest.mark.parametrize("kind", ns.STEPS)
def test_a_part_reads_only_what_the_whole_reads(kind):
    rng = np.random.default_rng(list(kind.encode()))
    for _ in range(40):
        step, inputs = drawn(rng, kind)
        for axis in (0, 1):
            sizes = [each.shape[1 + axis] for each in inputs]
            outer = ns.part(rng, step.output_extent(sizes, axis))
            inner = ns.part(rng, outer.stop - outer.start)
            inner = slice(outer.start + inner.start, outer.start + inner.stop)
            for number in range(len(inputs)):
                more, less = (step.source(number, span, sizes, axis) for span in (outer, inner))
                assert more.start <= less.start < less.stop <= more.stop, (step, outer, inner)


@pytest.mark.parametrize("kind", ns.STEPS)
def test_a_step_in_float32_is_the_step_in_float64(kind):
    rng = np.random.default_rng(list(kind.encode()))
    for _ in range(30):
        step, inputs = drawn(rng, kind)
        y, exact = ns.whole(step, inputs), ns.whole(step, inputs, "f8")
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, exact, rtol=3e-6, atol=3e-6 * max(1, np.abs(exact).max()))


@given(seeds)
@settings(max_examples=100)
def test_a_random_network_is_within_the_allowed_error_of_its_pieces(seed):
    rng = np.random.default_rng(seed)
    network, x = ns.random_network(rng)
    y, shape = network(x[None])[0], x.shape[1:]
    for _ in range(2):
        outputs = tuple(ns.part(rng, n) for n in y.shape[1:])
        rows, columns = (network.window(span, shape[axis], axis) for axis, span in enumerate(outputs))
        found = piece(network, x[:, rows, columns].astype("f8"), (rows, columns), shape, outputs)
        assert (np.abs(y[:, *outputs] - found.values) <= found.error + 1e-30).all()


@given(seeds, st.integers(1, 17))
@settings(max_examples=60)
def test_rows_of_a_random_network_have_the_same_bits_for_any_cut(seed, cuts):
    rng = np.random.default_rng(seed)
    network, x = ns.random_network(rng)
    y = network(x[None])[0]
    edges = [0, *sorted(rng.integers(0, y.shape[1] + 1, cuts % 4)), y.shape[1]]
    for start, stop in itertools.pairwise(edges):
        if start < stop:
            window = network.window(slice(start, stop), x.shape[1])
            rows = network.rows(x[:, window], window.start, x.shape[1], slice(int(start), int(stop)))
            np.testing.assert_array_equal(rows, y[:, start:stop])


# -- other runtimes ----------------------------------------------------------------------------------------------


def onnx_run(op, x, initializers=(), **attributes):
    """Return the output of one node in ONNX Runtime for x [C, H, W]; None stands for an input that is left out."""
    names = ["x", *(None if array is None else f"i{number}" for number, array in enumerate(initializers))]
    constants = [
        onnx.numpy_helper.from_array(array, f"i{number}")
        for number, array in enumerate(initializers)
        if array is not None
    ]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in "xy"]
    node = helper.make_node(op, [name or "" for name in names], ["y"], **attributes)
    graph = helper.make_graph([node], "g", sides[:1], sides[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x[None]})[0][0]


ONNX_POSITIONS = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric", "align_corners"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("positions", ONNX_POSITIONS)
def test_resize_is_onnx_runtimes(mode, positions):
    rng = np.random.default_rng(list((mode + positions).encode()))
    for rounding in list(ROUNDING) * 3 if mode == "nearest" else ["floor"] * 10:
        # quarters and halves are exact in float32, in which ONNX Runtime computes positions; their centres are not
        divisors = [1] if (mode, positions) == ("nearest", "half_pixel_symmetric") else [1, 1, 2, 4]
        factors = tuple(Fraction(int(rng.integers(1, 9)), int(rng.choice(divisors))) for _ in "hw")
        x = rng.normal(0, 1, (2, *rng.integers(4, 14, 2))).astype("f4")
        y = ns.whole(Resize(factors, mode, positions, rounding, coefficient=-0.6), [x])
        expected = onnx_run(
            "Resize", x, [None, np.float32([1, 1, *map(float, factors)])],
            mode=mode, coordinate_transformation_mode=positions, nearest_mode=rounding, cubic_coeff_a=-0.6,
        )  # fmt: skip
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-5)
        to = tuple(int(n) for n in rng.integers(2, 25, 2))
        if mode == "nearest":  # its positions are quotients that float32 rounds to another side
            continue
        expected = onnx_run(
            "Resize", x, [None, None, np.int64([1, 2, *to])], mode=mode, coordinate_transformation_mode=positions,
        )  # fmt: skip
        y = ns.whole(ResizeLike(mode=mode, positions=positions), [x, np.zeros((1, *to))])
        np.testing.assert_allclose(y, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize(("order", "mode"), [("channels", "CRD"), ("blocks", "DCR")])
@pytest.mark.parametrize("r", [1, 2, 3])
def test_depth_to_space_is_onnx_runtimes(order, mode, r):
    x = np.random.default_rng(r).normal(0, 1, (5 * r * r, 3, 4)).astype("f4")
    y = ns.whole(ChannelsToPixels(r, order), [x])
    np.testing.assert_array_equal(y, onnx_run("DepthToSpace", x, blocksize=r, mode=mode))
    np.testing.assert_array_equal(ns.whole(PixelsToChannels(r, order), [y]), x)
    if mode == "DCR":
        np.testing.assert_array_equal(onnx_run("SpaceToDepth", y, blocksize=r), x)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padding_is_onnx_runtimes(mode):
    rng = np.random.default_rng(0)
    for _ in range(15):
        (top, bottom), (left, right) = sides = ns.pairs(rng, 0, 4)
        x = rng.normal(0, 1, (2, *rng.integers(4, 9, 2))).astype("f4")
        pads = [np.int64([0, 0, top, left, 0, 0, bottom, right]), np.float32(0.7)]
        expected = onnx_run("Pad", x, pads if mode == "constant" else pads[:1], mode=mode)
        np.testing.assert_array_equal(ns.whole(Padding(sides, mode, 0.7), [x]), expected)


def test_padding_to_a_multiple_reflects_at_the_border_of_the_picture():
    x = np.arange(7, dtype="f4").reshape(1, 1, 7)
    y = ns.whole(Padding(((0, 0), (2, 1)), "reflect", multiple=(1, 4)), [x])
    np.testing.assert_array_equal(y, [[[2, 1, 0, 1, 2, 3, 4, 5, 6, 5, 4, 3]]])
    y = ns.whole(Padding(((0, 0), (0, 1)), "constant", (7.0,), (3, 1)), [x])
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (0, 2), (0, 1)], constant_values=7))
    with pytest.raises(ShapeError, match=r"3 columns cannot be reflected by \(0, 5\); more of them are needed"):
        Padding(((0, 0), (0, 0)), "reflect", multiple=(1, 8)).output_extent([3], 1)


@pytest.mark.parametrize(("operation", "op"), [("mean", "AveragePool"), ("max", "MaxPool")])
def test_pooling_is_onnx_runtimes(operation, op):
    rng = np.random.default_rng(0)
    for number in range(40):
        kernel, stride = ns.numbers(rng, 1, 5), ns.numbers(rng, 1, 4)
        padding = tuple(tuple(int(n) for n in rng.integers(0, k, 2)) for k in kernel)
        ceil, counts = bool(number % 2), number % 4 > 1 and operation == "mean"
        # a window that is rounded up may be larger than the picture
        least = [max(1, k - s + 1) if ceil else 5 for k, s in zip(kernel, stride, strict=True)]
        x = rng.normal(0, 1, (2, *rng.integers(least, 14))).astype("f4")
        attributes = {"count_include_pad": int(counts)} if operation == "mean" else {}
        expected = onnx_run(
            op, x, kernel_shape=kernel, strides=stride, pads=[p[0] for p in padding] + [p[1] for p in padding],
            ceil_mode=int(ceil), **attributes,
        )  # fmt: skip
        y = ns.whole(Pooling(operation, kernel, stride, padding, ceil, counts), [x])
        assert y.shape == expected.shape, (kernel, stride, padding, ceil, x.shape)
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6)


def test_strided_convolutions_are_onnx_runtimes():
    rng = np.random.default_rng(0)
    for _ in range(60):
        into = int(rng.choice([1, 2, 4, 6]))
        step = ns.strided(rng, into)
        x = rng.normal(0, 1, (into, *rng.integers(1, 16, 2))).astype("f4")
        try:
            y = ns.whole(step, [x])
        except ShapeError:
            continue
        (top, bottom), (left, right) = step.padding
        bias = np.zeros(len(step.weight), "f4") if step.bias is None else step.bias
        expected = onnx_run(
            "Conv", x, [step.weight, bias], strides=step.stride, pads=[top, left, bottom, right],
            dilations=step.dilation, group=step.groups,
        )  # fmt: skip
        if step.activation is not None:
            expected = np.where(
                expected < 0, (0 if step.activation == "relu" else np.float32(0.2)) * expected, expected
            )
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


def test_a_strided_convolution_reads_no_pixel_that_no_tap_reads():
    """Zeros of its inner kernel do not spread inf and NaN."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        step = replace(ns.strided(rng, 2), activation=None)
        x = rng.normal(0, 1, (2, *rng.integers(4, 16, 2))).astype("f4")
        x[rng.integers(2), rng.integers(x.shape[1]), rng.integers(x.shape[2])] = [np.nan, np.inf, -np.inf][
            rng.integers(3)
        ]
        try:
            y, exact = ns.whole(step, [x]), ns.whole(step, [x], "f8")
        except ShapeError:
            continue
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(exact))
        np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-5)


def ncnn_run(layer, x, inputs=1):
    """Return the output of one line of a .param file for x [C, H, W]."""
    ncnn = pytest.importorskip("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    kind, rest = layer.split(" ", 1)
    assert net.load_param_mem(f"7767517\n2 2\nInput x 0 1 x\n{kind} y 1 1 x y {rest}\n") == 0
    extractor = net.create_extractor()
    extractor.input("x", ncnn.Mat(np.ascontiguousarray(x)).clone())
    code, y = extractor.extract("y")
    assert code == 0
    return np.array(y)


@pytest.mark.parametrize(
    ("layer", "step"),
    [
        ("Interp 0=1 1=2.0 2=3.0", Resize((2, 3))),
        ("Interp 0=1 1=1.5 2=0.5", Resize((Fraction(3, 2), Fraction(1, 2)))),
        ("Interp 0=2 1=2.0 2=4.0", Resize((2, 4), "linear")),
        ("Interp 0=2 1=0.5 2=1.5", Resize((Fraction(1, 2), Fraction(3, 2)), "linear")),
        ("Interp 0=2 1=2.0 2=3.0 6=1", Resize((2, 3), "linear", "align_corners")),
        ("Interp 0=3 1=2.0 2=2.0", Resize((2, 2), "cubic")),
        ("Interp 0=3 1=0.5 2=0.75", Resize((Fraction(1, 2), Fraction(3, 4)), "cubic")),
        ("PixelShuffle 0=2", ChannelsToPixels(2)),
        ("PixelShuffle 0=2 1=1", ChannelsToPixels(2, "blocks")),
        ("Reorg 0=2", PixelsToChannels(2)),
        ("Reorg 0=2 1=1", PixelsToChannels(2, "blocks")),
        ("Padding 0=1 1=2 2=3 3=0 4=0 5=0.5", Padding(((1, 2), (3, 0)), "constant", 0.5)),
        ("Padding 0=1 1=2 2=3 3=0 4=1", Padding(((1, 2), (3, 0)), "edge")),
        ("Padding 0=1 1=2 2=3 3=0 4=2", Padding(((1, 2), (3, 0)), "reflect")),
        ("Pooling 0=0 1=3 2=2 3=0 5=1", Pooling("max", (3, 3), (2, 2))),
        ("Swish", Pointwise("silu")),
        ("Mish", Pointwise("mish")),
        ("GELU", Pointwise("gelu")),
        ("GELU 0=1", Pointwise("gelu_tanh")),
        ("HardSigmoid 0=0.2 1=0.5", Pointwise(("hard_sigmoid", 0.2, 0.5))),
        ("HardSwish 0=0.2 1=0.5", Pointwise(("hard_swish", 0.2, 0.5))),
        ("ELU 0=0.3", Pointwise(("elu", 0.3))),
        ("SELU 0=1.6 1=1.1", Pointwise(("selu", 1.6, 1.1))),
        ("Sigmoid ", Pointwise("sigmoid")),
        ("TanH ", Pointwise("tanh")),
        ("Erf ", Pointwise("erf")),
    ],
    ids=str,
)
def test_steps_are_ncnns(layer, step):
    rng = np.random.default_rng(0)
    for shape in [(8, 6, 10), (4, 12, 8)]:
        x = rng.normal(0, 1, shape).astype("f4")
        layer = layer if " " in layer else layer + " "
        np.testing.assert_allclose(ns.whole(step, [x]), ncnn_run(layer, x), rtol=2e-5, atol=2e-5)


# -- activations -------------------------------------------------------------------------------------------------


def test_activations_keep_their_limits():
    """No NaN where a limit exists, and no warning."""
    x = np.float32([[[np.inf, -np.inf, 3e38, -3e38, 1e4, -1e4, 0.0, -0.0, 1e-40]]])
    limits = {
        "sigmoid": (1, 0), "tanh": (1, -1), "silu": (np.inf, 0), "gelu": (np.inf, 0), "gelu_tanh": (np.inf, 0),
        "mish": (np.inf, 0), "hard_sigmoid": (1, 0), "hard_swish": (np.inf, 0), "elu": (np.inf, -1),
        "softplus": (np.inf, 0), "softsign": (1, -1), "erf": (1, -1), "exp": (np.inf, 0), "abs": (np.inf, np.inf),
        "reciprocal": (0, 0), "square": (np.inf, np.inf),
    }  # fmt: skip
    for dtype in ("f4", "f8"):
        for name, (high, low) in limits.items():
            y = ns.whole(Pointwise(name), [x], dtype)[0, 0]
            assert (y[0], y[1]) == (high, low), name
            assert name in ("abs", "square") or y[3] == low or abs(y[3]) < 1e-37, name
            assert np.isnan(ns.whole(Pointwise(name), [np.full((1, 1, 1), np.nan, dtype)], dtype)).all(), name
    assert np.signbit(ns.whole(Pointwise("reciprocal"), [np.float32([[[-0.0]]])])).all()


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_an_activation_has_an_error_of_a_few_half_steps(name):
    """Its float64 form, which is another one for erf and gelu, is the measure."""
    activation = ("power", 2.5) if name == "power" else name
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, s, 20_000) for s in (1e-3, 0.3, 1, 3, 10)]).astype("f4").reshape(1, 1, -1)
    x = np.abs(x) if name in ("log", "sqrt", "rsqrt", "power") else x
    y, exact = ns.whole(Pointwise(activation), [x]), ns.whole(Pointwise(activation), [x], "f8")
    bound = Pointwise(activation).magnitudes
    size = np.abs(exact) if bound is None else np.maximum(np.abs(exact), ns.whole(bound, [np.abs(x)], "f8"))
    size = np.maximum(size, np.finfo(np.float32).tiny)
    within = size < np.finfo(np.float32).max
    assert (np.abs(y - exact)[within] <= 7 * np.finfo(np.float32).eps / 2 * size[within]).all()


def test_slopes_of_prelu_have_one_axis():
    slopes = np.float32([0.1, 0.2, 0.3])
    x = np.random.default_rng(0).normal(0, 1, (3, 4, 5)).astype("f4")
    expected = np.where(x < 0, slopes[:, None, None] * x, x)
    for shape in [(3,), (3, 1, 1), (1, 3, 1, 1)]:
        np.testing.assert_array_equal(ns.whole(Pointwise(("prelu", slopes.reshape(shape))), [x]), expected)
    for shape in [(3, 1), (1, 1, 3), (1, 3)]:
        with pytest.raises(ArgumentError, match="one, or one per channel, is needed"):
            Pointwise(("prelu", slopes.reshape(shape)))
    with pytest.raises(ArgumentError, match=r"prelu has slopes of shape \(3, 4, 5\)"):
        Pointwise(("prelu", x))


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (("elu", 1, 2), 'elu has 1 finite number. Write ("elu", 1)'),
        (("elu", "x"), "elu has 1 finite number"),
        (("elu", 1e39), "elu has 1 finite number"),
        (("power",), "power has 1 finite number"),
        (("hard_sigmoid", 0.2), "hard_sigmoid has 2 finite numbers"),
        (("hard_swish", -1, 0.5), "its first number must be above 0"),
        (("sigmoid", 1), 'sigmoid has no number. Write "sigmoid"'),
        ("swoosh", "activation is 'swoosh'"),
    ],
)
def test_activations_that_are_refused(activation, message):
    with pytest.raises(ArgumentError) as caught:
        Pointwise(activation).output_channels([3])
    assert message in str(caught.value)


# -- the check ---------------------------------------------------------------------------------------------------


def test_snake_keeps_its_limits():
    x = np.float32([[[0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 5e-39]]])
    y = ns.whole(Snake(np.float32([2]), np.float32([0.5])), [x])
    np.testing.assert_array_equal(y[0, 0], np.float32([0, 0, np.nan, np.nan, np.nan, 1e30, -1e30, 5e-39]))
    with pytest.raises(ShapeError, match=r"alpha of snake has shape \(3,\); \(2,\) or \(1,\) is needed"):
        Snake(np.ones(3, "f4"), np.ones(1, "f4")).output_channels([2])


def test_means_over_channels_normalize_layers():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (7, 5, 6)).astype("f4")
    scale, shift = rng.normal(1, 0.1, (2, 7, 1, 1)).astype("f4")
    nodes = [
        Node(Convolution.ordinary(np.eye(7, dtype="f4")[:, :, None, None]), (0,)),
        Node(ChannelMean(), (1,)),
        Node(Sum((1.0, -1.0)), (1, 2)),
        Node(Pointwise("square"), (3,)),
        Node(ChannelMean(), (4,)),
        Node(Affine(np.ones(1, "f4"), np.float32([1e-6])), (5,)),
        Node(Pointwise("sqrt"), (6,)),
        Node(Combination("divide"), (3, 7)),
        Node(Affine(scale, shift), (8,)),
    ]
    wide = x.astype("f8")
    expected = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-6) * scale + shift
    network = Network(nodes)
    np.testing.assert_allclose(network(x[None])[0], expected, rtol=0, atol=5e-6)
    whole = slice(0, 5), slice(0, 6)
    found = piece(network, x.astype("f8"), whole, (5, 6), whole)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-11)
    assert (np.abs(network(x[None])[0] - found.values) <= found.error).all()
    assert found.error.max() < 1e-4


def test_differences_of_large_numbers_have_their_errors():
    """255 x - 114 is nearly 0 for some x, and its error is that of the product."""
    one = Convolution.ordinary(np.float32([[[[1]]]]))
    x = np.linspace(0.4470, 0.4471, 4000, dtype="f4").reshape(1, 1, 40, 100)
    whole = slice(0, 40), slice(0, 100)
    for steps in (
        [Affine(np.float32([255.0]), np.float32([-114.0]))],
        [Affine(np.float32([255.0])), Affine(np.ones(1, "f4"), np.float32([-114.0]))],
        [Padding(((0, 0), (0, 0))), Sum((255.0, -255.0))],
    ):
        inputs = [(1,), (2, 2) if isinstance(steps[-1], Sum) else (2,)]
        network = Network([Node(one, (0,)), *map(Node, steps, inputs)])
        found = piece(network, x[0].astype("f8"), whole, (40, 100), whole)
        assert (np.abs(network(x)[0] - found.values) <= found.error + 1e-30).all()


def test_known_means_stand_for_the_whole_picture():
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.3, (4, 4, 1, 1)).astype("f4")
    nodes = [
        Node(Convolution.ordinary(rng.normal(0, 0.3, (4, 2, 3, 3)).astype("f4"), None, 1), (0,)),
        Node(GlobalMean(), (1,)),
        Node(Convolution.ordinary(weight), (2,)),
        Node(Pointwise("sigmoid"), (3,)),
        Node(Combination("multiply"), (1, 4)),
    ]
    network = Network(nodes)
    x = rng.normal(0, 1, (2, 9, 8)).astype("f4")
    whole = slice(0, 9), slice(0, 8)
    first = Network(nodes[:1])(x[None])[0]
    exact = piece(network, x.astype("f8"), whole, (9, 8), whole)
    assert (np.abs(network(x[None])[0] - exact.values) <= exact.error).all()
    found = piece(network, x.astype("f8"), whole, (9, 8), whole, {2: first.astype("f8").mean((1, 2))})
    np.testing.assert_allclose(found.values, exact.values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["strided", "affine", "sum", "resize", "pointwise", "padding", "snake"])
def test_a_changed_number_of_a_step_is_found(kind):
    """The check compares with the network as it is described, so a step that is computed otherwise shows."""
    rng = np.random.default_rng(0)
    head = Convolution.ordinary(rng.normal(0, 0.5, (4, 1, 3, 3)).astype("f4"), None, 1)
    weight = rng.normal(0, 0.3, (4, 4, 3, 3)).astype("f4")
    changed = weight.copy()
    changed[2, 1, 0, 2] *= np.float32(1.001)
    right, wrong, inputs = {
        "strided": (StridedConvolution(weight, stride=(2, 2)), StridedConvolution(changed, stride=(2, 2)), (1,)),
        "affine": (Affine(np.float32([0.3])), Affine(np.float32([0.30001])), (1,)),
        "sum": (Sum((0.2, 1.0)), Sum((0.20002, 1.0)), (1, 1)),
        "resize": (Resize((2, 2), "cubic"), Resize((2, 2), "cubic", coefficient=-0.7501), (1,)),
        "pointwise": (Pointwise(("elu", 0.5)), Pointwise(("elu", 0.50005)), (1,)),
        "snake": (Snake(weight[:, 0, 0, 0], weight[:, 1, 0, 2]), Snake(weight[:, 0, 0, 0], changed[:, 1, 0, 2]), (1,)),
        "padding": (Padding(((1, 1), (1, 1)), "reflect"), Padding(((1, 1), (1, 1)), "edge"), (1,)),
    }[kind]
    x = rng.normal(0, 1, (1, 1, 12, 13)).astype("f4")
    networks = [Network([Node(head, (0,)), Node(step, inputs)]) for step in (right, wrong)]
    whole = tuple(slice(0, n) for n in networks[0].output_shape((12, 13)))
    found = piece(networks[0], x[0].astype("f8"), (slice(0, 12), slice(0, 13)), (12, 13), whole)
    assert (np.abs(networks[0](x)[0] - found.values) <= found.error + 1e-30).all()
    assert (np.abs(networks[1](x)[0] - found.values) > found.error + 1e-30).any()


def test_a_crop_to_another_picture_needs_its_pixels():
    assert CropLike((2, Fraction(1, 2))).output_extent([9, 4], 0) == 8
    with pytest.raises(ShapeError, match="7 rows cannot be cropped to 8; as many or more are needed"):
        CropLike((2, 2)).output_extent([7, 4], 0)
    with pytest.raises(ShapeError, match="reads 1 inputs; 2 are needed"):
        CropLike().output_channels([3])


@pytest.mark.parametrize("kind", ["pointwise", "to_channels", "padding", "resize", "channel_mean", "pool", "snake"])
def test_steps_of_one_input_refuse_two(kind):
    with pytest.raises(ShapeError, match="it reads 2 inputs; 1 is needed"):
        ns.one_input(np.random.default_rng(3), kind, 4).output_channels([4, 4])
