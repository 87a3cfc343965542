"""PaddlePaddle in a process of its own: random native arguments, its own example, the code it is given."""

from __future__ import annotations

import inspect

import numpy as np
import paddle
import pytest
from harness import Conformance, check_adjoint, check_code, check_layer, meets_fault
from paddle.nn import functional

import tconv
from random_calls import integers, random_sizes, whole_numbers
from random_calls.shapes import check_shapes
from tconv.errors import ArgumentError, GeometryError, ShapeError

CALLS = {1: functional.conv1d_transpose, 2: functional.conv2d_transpose, 3: functional.conv3d_transpose}
FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


def native(x, w, bias, arguments):
    assert not meets_fault("paddle_ends_process", "paddle", x, w, arguments)
    tensors = [None if array is None else paddle.to_tensor(array) for array in (x, w, bias)]
    return CALLS[w.ndim - 2](*tensors, **arguments).numpy()


def random_call(rng, ndim):
    """Draw x, weight, bias and native arguments, some of them illegal."""
    sizes = random_sizes(rng, ndim, s=(1, 4), dilated=0.5, groups=(1, 1, 1, 2, 3))
    n, k, s, d = sizes.n, sizes.k, list(sizes.s), list(sizes.d)
    last = bool(rng.random() < 0.3)
    arguments = {"stride": s, "dilation": d, "groups": sizes.groups}
    if last or rng.random() < 0.5:
        arguments["data_format"] = FORMATS[ndim][last]
    pairs = [list(integers(rng, 2, (0, 3))) for _ in range(ndim)]
    form = rng.choice(["int", "axes", "flat", "pairs", "SAME", "same", "VALID", ""])
    outer = [[0, 0], [0, 0]]
    if form == "int":
        arguments["padding"] = pairs[0][0]
    elif form == "axes":
        arguments["padding"] = [a for a, _ in pairs]
    elif form == "flat":
        arguments["padding"] = [side for pair in pairs for side in pair]
    elif form == "pairs":
        arguments["padding"] = [outer[0], *pairs, outer[1]] if last else [*outer, *pairs]
    elif form:
        arguments["padding"] = str(form)
    chance = rng.random()
    if chance < 0.35:
        arguments["output_padding"] = [
            int(rng.integers(0, max(pair) + (rng.random() < 0.05))) for pair in zip(s, d, strict=True)
        ]
    elif chance < 0.75:
        try:
            base = tconv.dialect("paddle").geometry(kernel=k, input=n, **arguments).output_shape(n)
        except tconv.TconvError:
            base = [3] * ndim
        arguments["output_size"] = [
            L + int(rng.integers(-(rng.random() < 0.1), s_ + (rng.random() < 0.1)))
            for L, s_ in zip(base, s, strict=True)
        ]
    for name in ("stride", "dilation", "output_padding", "output_size"):
        if name in arguments and rng.random() < 0.3:
            arguments[name] = arguments[name][0]
    illegal = rng.random()
    if illegal < 0.01:
        arguments["padding"] = "FULL"
    elif illegal < 0.02:
        arguments["padding"] = [-1] * ndim
    elif illegal < 0.03:
        arguments["padding"] = [pairs[0], *outer, *pairs[1:]]
    elif illegal < 0.04:
        arguments["data_format"] = "CHWN"
    elif illegal < 0.05:
        arguments["stride"] = [*s, 1]
    elif illegal < 0.06 and "output_size" in arguments:
        arguments["output_padding"] = [0] * ndim
    elif illegal < 0.07:
        arguments["stride"] = 0
    batch, channels = sizes.batch, sizes.c_in + (illegal > 0.98)
    x = whole_numbers(rng, [batch, *n, channels] if last else [batch, channels, *n])
    w = whole_numbers(rng, [sizes.c_in, sizes.out_per_group, *k])
    return x, w, whole_numbers(rng, [sizes.c_out]) if rng.random() < 0.5 else None, arguments


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_native_arguments(ndim):
    rng = np.random.default_rng(ndim)
    conformance = Conformance("paddle", native)
    for _ in range({1: 1500, 2: 2000, 3: 800}[ndim]):
        conformance.check(*random_call(rng, ndim))
    print(conformance.tally)
    assert conformance.tally["fault: paddle_output_padding_from_stride"] > 10
    assert conformance.tally["equal"] > 300
    assert conformance.tally["refused"] > 100


def test_the_adjoint():
    rng, checked = np.random.default_rng(5), 0
    for _ in range(400):
        x, w, _, arguments = random_call(rng, int(rng.integers(1, 4)))
        if str(arguments.get("padding")).upper() == "SAME":
            arguments.pop("output_size", None)  # several inputs can have this size: see the next test
        checked += check_adjoint("paddle", x, w, arguments)
    assert checked > 200


def test_conv_with_same_and_output_size_gives_the_largest_input():
    """Inputs of 3 and of 4 can have the output size 10."""
    arguments = {"dialect": "paddle", "stride": 3, "padding": "SAME", "output_size": 10}
    w = np.ones((1, 1, 4), "f")
    for n in (3, 4):
        y = tconv.conv_transpose(np.ones((1, 1, n), "f"), w, **arguments)
        assert y.shape == (1, 1, 10)
        assert tconv.conv(y, w, **arguments).shape == (1, 1, 4)


def test_code_runs():
    tally = check_code("paddle", {"paddle": paddle}, wrap=paddle.to_tensor, groups=[1, 2, 3])
    assert tally["one call"] > 30
    assert tally["call and slice"] > 50
    assert not tally["cannot be expressed"]


def test_weights_are_pytorchs():
    w = whole_numbers(np.random.default_rng(0), (6, 2, 3, 4))
    for groups in (1, 3):
        np.testing.assert_array_equal(tconv.convert(w, source="torch", target="paddle", groups=groups), w)
        np.testing.assert_array_equal(tconv.convert(w, source="paddle", target="torch", groups=groups), w)


def test_its_own_example():
    x = np.float32([[[4, 0, 9, 7], [8, 0, 9, 2]]])
    w = np.float32([[[7, 0]], [[4, 2]]])
    y = tconv.conv_transpose(x, w, dialect="paddle")
    np.testing.assert_array_equal(y, np.float32([[[60, 16, 99, 75, 4]]]))
    np.testing.assert_array_equal(y, native(x, w, None, {}))


def test_same_is_not_s_times_n():
    """The padding of a convolution over n, and a dilation that is dropped: (n, k, s) and the size."""
    for n, k, s, size in ((4, 3, 2, 8), (5, 3, 2, 9), (4, 3, 3, 10), (6, 5, 2, 12), (3, 1, 4, 9)):
        g = tconv.dialect("paddle").geometry(kernel=k, input=n, stride=s, padding="SAME", dilation=3)
        assert g.output_shape(n) == (size,)
        assert g.dilation == (1,)
        x, w = np.ones((1, 1, n), "f"), np.ones((1, 1, k), "f")
        assert native(x, w, None, {"stride": s, "padding": "SAME", "dilation": 3}).shape == (1, 1, size)


def test_an_empty_batch():
    x, w = np.ones((0, 2, 3, 4), "f"), np.ones((2, 3, 2, 2), "f")
    arguments = {"stride": 2, "output_padding": 1}
    assert tconv.conv_transpose(x, w, dialect="paddle", **arguments).shape == native(x, w, None, arguments).shape


def test_what_is_refused():
    x, w = np.ones((1, 2, 4, 4), "f"), np.ones((2, 3, 3, 3), "f")
    call = lambda **arguments: tconv.conv_transpose(x, w, dialect="paddle", **arguments)  # noqa: E731
    with pytest.raises(ArgumentError, match='padding is \'FULL\'; Paddle takes "SAME" or "VALID"'):
        call(padding="FULL")
    with pytest.raises(ArgumentError, match="output_size was given together with output_padding"):
        call(stride=2, output_size=9, output_padding=[0, 0])
    with pytest.raises(
        ShapeError, match="output_size is 11 on spatial axis 0; for an input of 4 Paddle can return 9 to 10"
    ):
        call(stride=2, output_size=11)
    with pytest.raises(GeometryError, match=r"padding is \(\(-1, -1\), \(-1, -1\)\); Paddle needs it to be at least 0"):
        call(padding=-1)
    with pytest.raises(
        GeometryError, match="output_padding is 2 on spatial axis 0; Paddle needs it smaller than the stride"
    ):
        call(stride=2, output_padding=2)
    with pytest.raises(
        ArgumentError, match='data_format is \'NCDHW\'; with 2 spatial axes it must be "NCHW" or "NHWC"'
    ):
        call(data_format="NCDHW")
    with pytest.raises(GeometryError, match="the pairs of batch and channels must be"):
        call(padding=[[1, 1], [0, 0], [0, 0], [0, 0]])


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    default = inspect.signature(paddle.nn.BatchNorm2D).parameters["epsilon"].default
    assert tconv.dialect("paddle").batchnorm_eps == default == 1e-5


def test_its_shapes():
    check_shapes(lambda sizes: paddle.zeros(sizes).shape)
    check_shapes(paddle.to_tensor)


@pytest.mark.parametrize(("ndim", "groups"), [(1, 1), (2, 2), (2, 1), (3, 1)])
def test_layers_are_taken(ndim, groups):
    kind = (paddle.nn.Conv1DTranspose, paddle.nn.Conv2DTranspose, paddle.nn.Conv3DTranspose)[ndim - 1]
    layer = kind(4, 6, 3, stride=2, padding=1, output_padding=1, groups=groups)
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    run = lambda x: layer(paddle.to_tensor(x)).numpy()  # noqa: E731
    check_layer(layer, run, "paddle", weight, bias, (2, 4, *[5] * ndim), groups)
    conv = paddle.nn.Conv2D(4, 8, 3)
    model = paddle.nn.Sequential(conv, paddle.nn.PixelShuffle(2))
    assert tconv.checkerboard(model).score == tconv.checkerboard(conv.weight.numpy(), pixel_shuffle=2).score


def test_an_output_size_is_taken_beside_a_layer():
    layer = paddle.nn.Conv2DTranspose(2, 3, 3, stride=2)
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 6)).astype("f")
    for size in ([11, 13], [12, 14], [11, 14]):
        expected = layer(paddle.to_tensor(x), output_size=size).numpy()
        np.testing.assert_allclose(tconv.conv_transpose(x, layer, output_size=size), expected, atol=1e-5)
