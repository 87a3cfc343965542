"""tinygrad in a process of its own, on its Python interpreter: random native arguments, its own example."""

from __future__ import annotations

import inspect
import os

os.environ |= {"DEV": "PYTHON", "CACHELEVEL": "0"}  # its CPU device needs clang; and no cache file in the home folder

import numpy as np
import pytest
import tinygrad
from harness import Conformance, check_adjoint, check_code, check_layer, meets_fault

import tconv
from random_calls import integers, random_sizes, whole_numbers
from random_calls.shapes import check_shapes
from tconv.errors import GeometryError


def native(x, w, bias, arguments):
    x, w, bias = (None if array is None else tinygrad.Tensor(array) for array in (x, w, bias))
    return x.conv_transpose2d(w, bias, **arguments).numpy()


def random_call(rng, ndim, largest):
    """Draw x, weight, bias and native arguments, often small ones, because every shape takes a compilation."""
    draw = lambda span: integers(rng, ndim, span)  # noqa: E731
    span = (1, largest - 1)
    channels = (1, 1, 2, 2, 5, 7) if ndim == 1 else (1, 2)
    sizes = random_sizes(
        rng, ndim, n=span, k=span, s=(1, 4), d=(1, 2), groups=(1, 1, 1, 2), in_per_group=channels, out_per_group=(1, 2)
    )
    arguments = {"stride": sizes.s}
    if sizes.groups > 1:
        arguments["groups"] = sizes.groups
    if rng.random() < 0.7:
        form = rng.integers(0, 3)
        padding = draw((0, 2))
        arguments["padding"] = padding[0] if form == 0 else padding if form == 1 else draw((-1, 3)) + padding
    if rng.random() < 0.5:
        arguments["output_padding"] = draw((0, 3))
    if rng.random() < 0.5:
        arguments["dilation"] = sizes.d
    for name in ("stride", "output_padding", "dilation"):
        if name in arguments and rng.random() < 0.3:
            arguments[name] = arguments[name][0]
    illegal = rng.random()
    if illegal < 0.05:
        arguments["padding"] = (1,) * (2 * ndim + 1)
    x = whole_numbers(rng, (1 + (ndim == 1 and rng.random() < 0.3), sizes.c_in + (illegal > 0.95), *sizes.n))
    w = whole_numbers(rng, (sizes.c_in, sizes.out_per_group, *sizes.k))
    return x, w, whole_numbers(rng, (sizes.c_out,)) if rng.random() < 0.3 else None, arguments


@pytest.mark.parametrize(("ndim", "count", "largest"), [(1, 150, 5), (2, 30, 4), (3, 12, 3)])
def test_random_native_arguments(ndim, count, largest):
    rng = np.random.default_rng(ndim)
    conformance = Conformance("tinygrad", native)
    for _ in range(count):
        conformance.check(*random_call(rng, ndim, largest))
    print(conformance.tally)
    assert conformance.tally["equal"] > count / 3
    assert conformance.tally["refused"] > count / 20


def test_the_adjoint():
    rng, checked = np.random.default_rng(5), 0
    for _ in range(200):
        x, w, _, arguments = random_call(rng, int(rng.integers(1, 4)), 5)
        checked += check_adjoint("tinygrad", x, w, arguments)
    assert checked > 100


def test_code_runs():
    numpy_of = lambda tensor: tensor.numpy()  # noqa: E731
    tally = check_code("tinygrad", {}, wrap=tinygrad.Tensor, unwrap=numpy_of, ranks=(1, 2), count=16)
    assert tally["one call"] > 3
    assert tally["call and slice"] > 3
    assert not tally["cannot be expressed"]


def test_weights_are_pytorchs():
    w = whole_numbers(np.random.default_rng(0), (6, 2, 3, 4))
    for groups in (1, 3):
        np.testing.assert_array_equal(tconv.convert(w, source="torch", target="tinygrad", groups=groups), w)
        np.testing.assert_array_equal(tconv.convert(w, source="tinygrad", target="torch", groups=groups), w)


def test_its_own_example():
    """The docstring of Tensor.conv_transpose2d."""
    t, w = tinygrad.Tensor.arange(9).reshape(1, 1, 3, 3), tinygrad.Tensor.ones(1, 1, 2, 2)
    expected = t.conv_transpose2d(w).numpy()
    y = tconv.conv_transpose(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)), dialect="tinygrad")
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(y[0, 0], [[0, 1, 3, 2], [3, 8, 12, 7], [9, 20, 24, 13], [6, 13, 15, 8]])


def test_an_empty_batch():
    x, w = np.ones((0, 2, 3), "f"), np.ones((2, 3, 2), "f")
    assert tconv.conv_transpose(x, w, dialect="tinygrad", stride=2).shape == native(x, w, None, {"stride": 2}).shape


def test_what_is_refused():
    x, w = np.ones((1, 2, 4), "f"), np.ones((2, 3, 3), "f")
    with pytest.raises(
        GeometryError, match=r"padding is \(1, 1, 1\), which has 3 entries; one int, 1 entries or 2 are needed"
    ):
        tconv.conv_transpose(x, w, dialect="tinygrad", padding=(1, 1, 1))
    with pytest.raises(GeometryError, match="stride is 0; it must be at least 1"):
        tconv.conv_transpose(x, w, dialect="tinygrad", stride=0)
    np.testing.assert_array_equal(native(x, w, None, {"stride": 0}), native(x, w, None, {"stride": 1}))  # silently


def test_its_onnx_importer():
    """SAME and pads as ONNX has them; VALID as SAME_LOWER, the listed fault."""
    from tinygrad.nn.onnx import onnx_ops

    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (1, 2, 4)), whole_numbers(rng, (2, 1, 4))

    def imported(**arguments):
        return onnx_ops["ConvTranspose"](tinygrad.Tensor(x), tinygrad.Tensor(w), **arguments).numpy()

    meant = lambda **arguments: tconv.conv_transpose(x, w, dialect="onnx", **arguments)  # noqa: E731
    for arguments in (
        {"pads": [1, 0]},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER", "output_padding": [1]},
        {"output_shape": [9]},
    ):
        arguments |= {"strides": [2], "dilations": [2]}
        np.testing.assert_array_equal(imported(**arguments), meant(**arguments))
    valid = {"auto_pad": "VALID", "strides": [2]}
    np.testing.assert_array_equal(imported(**valid), meant(**valid | {"auto_pad": "SAME_LOWER"}))
    conformance = Conformance("onnx", lambda x, w, bias, arguments: imported(**arguments), versions="tinygrad")
    for extra in ({}, {"output_padding": [1]}, {"dilations": [2]}, {"strides": [4]}, {"output_shape": [9]}):
        conformance.check(x, w, None, valid | extra)
    assert conformance.tally == {"equal": 2, "fault: tinygrad_onnx_valid": 3, "output of fault: tinygrad_onnx_valid": 3}


def test_a_crop_beyond_the_full_result():
    """It is refused if the other side is extended, which is a listed fault."""
    x, w = np.ones((1, 2, 4), "f"), np.ones((2, 1, 3), "f")
    arguments = {"padding": (7, 0), "output_padding": 3}
    assert meets_fault("tinygrad_crop_and_extension", "tinygrad", x, w, arguments)
    assert tconv.conv_transpose(x, w, dialect="tinygrad", **arguments).shape == (1, 1, 2)
    with pytest.raises(ValueError):
        native(x, w, None, arguments)


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    from tinygrad.nn import BatchNorm

    assert tconv.dialect("tinygrad").batchnorm_eps == inspect.signature(BatchNorm).parameters["eps"].default == 1e-5


def test_its_shapes():
    check_shapes(lambda sizes: tinygrad.Tensor.empty(*sizes).shape)


def test_layers_are_taken():
    from tinygrad.nn import ConvTranspose2d

    layer = ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
    weight, bias = layer.weight.numpy(), layer.bias.numpy()
    run = lambda x: layer(tinygrad.Tensor(x)).numpy()  # noqa: E731
    check_layer(layer, run, "tinygrad", weight, bias, (1, 2, 3, 3), 2)
