"""MLX in a process of its own: random native arguments of its three calls and of conv_general, its own example."""

from __future__ import annotations

import inspect

import mlx.core as mx
import mlx.nn
import numpy as np
import pytest
from harness import Conformance, check_adjoint, check_code, meets_fault

import tconv
from random_calls import integers, random_sizes, whole_numbers
from tconv.errors import ArgumentError, GeometryError

CALLS = {1: mx.conv_transpose1d, 2: mx.conv_transpose2d, 3: mx.conv_transpose3d}


def native(x, w, bias, arguments):
    y = np.array(CALLS[w.ndim - 2](mx.array(x), mx.array(w), **arguments))
    return y if bias is None else y + bias  # the functions have no bias


def general(x, w, bias, arguments):
    y = np.array(mx.conv_general(mx.array(x), mx.array(w), **arguments))
    return y if bias is None else y + bias


def random_arrays(rng, ndim):
    """Draw x, weight, bias and sizes; now and then with channels that do not match."""
    groups = (1, 1, 2, 3) if ndim < 3 or rng.random() < 0.1 else (1,)
    sizes = random_sizes(rng, ndim, s=(1, 4), groups=groups)
    c_in, c_out = sizes.c_in + (rng.random() < 0.02), sizes.c_out + (rng.random() < 0.02)
    x, w = whole_numbers(rng, (sizes.batch, *sizes.n, c_in)), whole_numbers(rng, (c_out, *sizes.k, sizes.in_per_group))
    return x, w, whole_numbers(rng, (c_out,)) if rng.random() < 0.3 else None, sizes


def one_or_all(rng, values):
    """Draw the first number alone, or one per axis."""
    return values[0] if len(values) == 1 or rng.random() < 0.3 else values


def random_call(rng, ndim):
    x, w, bias, sizes = random_arrays(rng, ndim)
    arguments = {"stride": one_or_all(rng, sizes.s), "groups": sizes.groups}
    if rng.random() < 0.6:
        arguments["padding"] = one_or_all(rng, integers(rng, ndim, (-1 if rng.random() < 0.2 else 0, 3)))
    if rng.random() < 0.5:
        arguments["output_padding"] = one_or_all(rng, integers(rng, ndim, (-1 if rng.random() < 0.2 else 0, 6)))
    if rng.random() < 0.5:
        arguments["dilation"] = one_or_all(rng, sizes.d)
    if (illegal := rng.random()) < 0.04:
        arguments |= {"stride": 0} if illegal < 0.02 else {"padding": (1,) * (ndim + 1)}
    return x, w, bias, arguments


def random_general_call(rng, ndim):
    x, w, bias, sizes = random_arrays(rng, ndim)
    arguments = {"input_dilation": one_or_all(rng, sizes.s), "groups": sizes.groups}
    if rng.random() < 0.5:
        arguments["kernel_dilation"] = one_or_all(rng, sizes.d)
    if rng.random() < 0.7:
        arguments["padding"] = one_or_all(rng, integers(rng, ndim, (-1 if rng.random() < 0.2 else 0, 6)))
        if rng.random() < 0.6:
            arguments["padding"] = tuple(list(integers(rng, ndim, (0, 6))) for _ in range(2))
    if rng.random() < 0.6:
        arguments["flip"] = bool(rng.random() < 0.7)
    if (illegal := rng.random()) < 0.04:
        arguments |= {"kernel_dilation": 0} if illegal < 0.02 else {"padding": ([1] * ndim, [0] * ndim, [2] * ndim)}
    return x, w, bias, arguments


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(
    ("name", "call", "draw"), [("mlx", native, random_call), ("mlx_general", general, random_general_call)]
)
def test_random_native_arguments(name, call, draw, ndim):
    rng = np.random.default_rng(ndim)
    conformance = Conformance(name, call)
    for _ in range({1: 1500, 2: 1500, 3: 600}[ndim]):
        conformance.check(*draw(rng, ndim))
    print(conformance.tally)
    assert conformance.tally["equal"] > 300
    assert conformance.tally["refused"] > 50


@pytest.mark.parametrize(("name", "draw"), [("mlx", random_call), ("mlx_general", random_general_call)])
def test_the_adjoint(name, draw):
    rng, checked = np.random.default_rng(5), 0
    for _ in range(300):
        x, w, _, arguments = draw(rng, int(rng.integers(1, 4)))
        checked += check_adjoint(name, x, w, arguments)
    assert checked > 150


@pytest.mark.parametrize("name", ["mlx", "mlx_general"])
def test_code_runs(name):
    names = {"mlx": mlx}
    flat = check_code(name, names, wrap=mx.array, ranks=(1, 2), groups=[1, 2, 3])
    assert not flat["cannot be expressed"]
    tally = flat + check_code(name, names, wrap=mx.array, ranks=(3, 3), groups=[1, 2], count=60)
    assert tally["one call"] > 80
    assert tally["call and slice"] > 15
    assert tally["cannot be expressed"] > 10  # groups in 3-D


def test_weights():
    w = whole_numbers(np.random.default_rng(0), (6, 2, 3, 4))  # PyTorch's: 6 in, 2 out a group
    direct = w.reshape(3, 2, 2, 3, 4).transpose(0, 2, 3, 4, 1).reshape(6, 3, 4, 2)  # [C_out, *k, C_in/g]
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="mlx", groups=3), direct)
    np.testing.assert_array_equal(tconv.convert(direct, source="mlx", target="torch", groups=3), w)
    flipped = direct[:, ::-1, ::-1]
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="mlx_general", groups=3), flipped)
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="mlx_general", groups=3, flip=True), direct)


def test_its_own_layers():
    """nn.ConvTranspose1d, 2d and 3d with the sizes of their documentation's rule; the layer has no groups."""
    rng = np.random.default_rng(0)
    for layer, shape in (
        (mlx.nn.ConvTranspose1d, (9,)),
        (mlx.nn.ConvTranspose2d, (9, 8)),
        (mlx.nn.ConvTranspose3d, (4, 5, 3)),
    ):
        module = layer(4, 6, 3, stride=2, padding=1, output_padding=1)
        x = rng.standard_normal((2, *shape, 4)).astype("float32")
        arguments = {"stride": 2, "padding": 1, "output_padding": 1}
        y = tconv.conv_transpose(x, np.array(module.weight), np.array(module.bias), dialect="mlx", **arguments)
        assert y.shape == (2, *(2 * n for n in shape), 6)
        np.testing.assert_allclose(y, np.array(module(mx.array(x))), rtol=1e-5, atol=1e-6)


def test_an_empty_batch():
    x, w = np.ones((0, 3, 4, 2), "f"), np.ones((3, 2, 2, 2), "f")
    assert tconv.conv_transpose(x, w, dialect="mlx", stride=2).shape == native(x, w, None, {"stride": 2}).shape


def test_the_crop_that_is_taken_from_the_input():
    """padding beyond extent - 1: the input loses an element on each side, where the output should lose one."""
    x, w = whole_numbers(np.random.default_rng(0), (1, 5, 1)), whole_numbers(np.random.default_rng(1), (1, 3, 1))
    arguments = {"stride": 2, "padding": 3}
    assert tconv.conv_transpose(x, w, dialect="mlx", **arguments).shape == (1, 5, 1)
    assert meets_fault("mlx_crop_from_input", "mlx", x, w, arguments)
    theirs = native(x, w, None, arguments)
    np.testing.assert_array_equal(theirs, native(x[:, 1:-1], w, None, {"stride": 2, "padding": 2}))
    assert theirs.shape == (1, 3, 1)


def test_what_is_refused():
    x, w = np.ones((1, 4, 4, 4, 2), "f"), np.ones((4, 3, 3, 3, 1), "f")
    with pytest.raises(GeometryError, match="groups is 2 with 3 spatial axes; MLX has groups in 1-D and 2-D only"):
        tconv.conv_transpose(x, w, dialect="mlx", groups=2)
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((4, 3, 3, 2), "f")
    with pytest.raises(ArgumentError, match="stride is 2; conv_general is a transposed convolution only with stride=1"):
        tconv.conv_transpose(x, w, dialect="mlx_general", stride=2)
    with pytest.raises(ArgumentError, match=r"padding is .*; an int, one int per axis, or two lists are needed"):
        tconv.conv_transpose(x, w, dialect="mlx_general", padding=([1, 1], [0, 0], [0, 0]))


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    default = inspect.signature(mlx.nn.BatchNorm).parameters["eps"].default
    for name in ("mlx", "mlx_general"):
        assert tconv.dialect(name).batchnorm_eps == default == 1e-5
