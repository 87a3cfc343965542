"""Flax's linen.ConvTranspose and nnx.ConvTranspose in a process of their own: random native arguments, code, weights."""

from __future__ import annotations

import inspect
import re

import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import Conformance, check_adjoint, check_code, check_layer
from xla import check_all

import tconv
from random_calls import random_sizes, whole_numbers
from tconv.errors import ArgumentError, GeometryError, ShapeError


def linen(x, w, bias, arguments):
    features = w.shape[-2] if arguments.get("transpose_kernel") else w.shape[-1]
    layer = flax.linen.ConvTranspose(features, w.shape[:-2], use_bias=bias is not None, **arguments)
    params = {"kernel": w} if bias is None else {"kernel": w, "bias": bias}
    return layer.apply({"params": params}, x)


def nnx(x, w, bias, arguments):
    ends = w.shape[:-3:-1] if arguments.get("transpose_kernel") else w.shape[-2:]
    layer = flax.nnx.ConvTranspose(
        *ends,
        w.shape[:-2],
        use_bias=bias is not None,
        kernel_init=lambda key, shape, dtype: w,
        bias_init=lambda key, shape, dtype: bias,
        rngs=flax.nnx.Rngs(0),
        **arguments,
    )
    return layer(x)


def random_padding(rng, extents):
    pairs = [tuple(e - 1 - int(v) for v in rng.integers(-2, max(3, e + 1), 2)) for e in extents]
    choices = [
        str(rng.choice(["SAME", "VALID"])),
        str(rng.choice(["same", "SAME_LOWER", "CAUSAL"])),
        int(rng.integers(-1, 4)),
        [int(v) for v in rng.integers(-1, 4, len(extents))],
        pairs,
        tuple(pairs),
        [list(pair) for pair in pairs],  # for linen only
        [pairs[0][0], *pairs[1:]],
        [1] * (len(extents) + 1),
    ]
    return choices[int(rng.choice(9, p=[0.35, 0.05, 0.1, 0.1, 0.1, 0.15, 0.05, 0.05, 0.05]))]


def random_call(rng, ndim):
    """Draw x, weight, bias and native arguments, some of them illegal."""
    sizes = random_sizes(rng, ndim, n=(1, 4), k=(1, 5), strided=0.8, dilated=0.4)
    c_in, c_out = sizes.c_in, sizes.c_out
    arguments = {"strides": list(sizes.s), "kernel_dilation": list(sizes.d)}
    for name in list(arguments):
        chance = rng.random()
        if max(arguments[name]) == 1 and chance < 0.6:
            arguments[name] = None
        elif len(set(arguments[name])) == 1 and chance < 0.8:
            arguments[name] = arguments[name][0]
        elif chance < 0.05:
            arguments[name] = [1] * (ndim + 1)
    if rng.random() < 0.95:
        arguments["padding"] = random_padding(rng, sizes.extent)
    if rng.random() < 0.5:
        arguments["transpose_kernel"] = bool(rng.random() < 0.7)
    ends = [c_out, c_in] if arguments.get("transpose_kernel") else [c_in, c_out]
    x = whole_numbers(rng, [*([] if rng.random() < 0.2 else [sizes.batch]), *sizes.n, c_in])
    w = whole_numbers(rng, [*sizes.k, *ends])
    return x, w, whole_numbers(rng, [c_out]) if rng.random() < 0.3 else None, arguments


@pytest.mark.parametrize("layer", [linen, nnx])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_native_arguments(layer, ndim):
    rng = np.random.default_rng([ndim, 0, layer is nnx])
    conformance = Conformance("flax", layer)
    count = {1: 300, 2: 300, 3: 150}[ndim]
    calls = [random_call(rng, ndim) for _ in range(count)]
    for *_, arguments in calls:
        if layer is nnx and isinstance(arguments.get("padding"), list):
            arguments["padding"] = [tuple(pair) if isinstance(pair, list) else pair for pair in arguments["padding"]]
    check_all(conformance, calls)
    print(layer.__name__, dict(conformance.tally))
    assert conformance.tally["equal"] > count // 2
    assert conformance.tally["refused"] > count // 15
    assert sum(count for key, count in conformance.tally.items() if key.startswith("fault")) < 5


def test_flaxs_own_examples():
    x = jnp.ones((1, 8, 3))
    layer = flax.linen.ConvTranspose(features=4, kernel_size=(3,), padding="VALID")
    expected, variables = layer.init_with_output(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    assert kernel.shape == (3, 3, 4)
    got = tconv.conv_transpose(x, kernel, variables["params"]["bias"], dialect="flax", padding="VALID")
    assert got.shape == expected.shape == (1, 10, 4)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    other = flax.nnx.ConvTranspose(3, 4, (3,), padding="VALID", rngs=flax.nnx.Rngs(0))
    got = tconv.conv_transpose(x, other.kernel[...], other.bias[...], dialect="flax", padding="VALID")
    np.testing.assert_allclose(got, other(x), rtol=1e-5, atol=1e-6)


def test_what_it_is_not():
    x, w = np.ones((1, 15, 15, 3), "f"), np.ones((6, 6, 4, 3), "f")
    with pytest.raises(ArgumentError, match='"CIRCULAR", which wraps the full result around and adds it up'):
        tconv.conv_transpose(x, w, dialect="flax", strides=2, padding="CIRCULAR", transpose_kernel=True)
    with pytest.raises(ShapeError, match=r"2 of them for the batch.*Write x\.reshape\(-1, \*x\.shape\[-3:\]\)"):
        tconv.conv_transpose(x[None], w, dialect="flax", transpose_kernel=True)
    for padding in (None, 1.5, ["SAME", "SAME"], "CAUSAL"):
        with pytest.raises(ArgumentError, match="padding is"):
            tconv.conv_transpose(x, w, dialect="flax", padding=padding, strides=2, transpose_kernel=True)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GeometryError, {"strides": 1.5}, "strides is 1.5; an integer is needed. Write strides=2, for example"),
        (GeometryError, {"strides": (2, None)}, "strides is (2, None), of unknown size on axis 1; every entry must be an integer. Write strides=(2, 2), for example"),
        (GeometryError, {"kernel_dilation": 0}, "kernel_dilation is 0; it must be at least 1. Write kernel_dilation=1"),
        (GeometryError, {"kernel_dilation": (n for n in (1, 1))}, "; an integer is needed. Write kernel_dilation=2"),
        (ArgumentError, {"padding": np.ones((2, 2))}, "padding is an array of shape (2, 2); a name, one int, or per spatial axis an int or a pair (lo, hi) is needed. Write padding=((1, 1), (1, 1))"),
        (ArgumentError, {"padding": {1, 2}}, "padding is {1, 2}; a name, one int"),
        (GeometryError, {"padding": [(1, "a"), 1]}, "padding contains (1, 'a'); one (lo, hi) pair of integers per spatial axis is needed"),
        (GeometryError, {"padding": [1]}, "which has 1 entry; there are 2 spatial axes. Write padding=((1, 1), (1, 1)): one"),
        (ArgumentError, {"transpose_kernel": np.ones(2)}, "transpose_kernel is array([1., 1.]); True or False is needed"),
    ],
)  # fmt: skip
def test_values_that_mean_nothing(kind, arguments, message):
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 2, 3), "f")
    with pytest.raises(kind, match=re.escape(message)):
        tconv.plan(x, w, dialect="flax", **arguments)


def test_weights_both_ways():
    w = whole_numbers(np.random.default_rng(2), (6, 5, 3, 2))
    stored = tconv.convert(w, source="torch", target="flax")
    assert np.array_equal(stored, w[:, :, ::-1, ::-1].transpose(2, 3, 0, 1))
    transposed = tconv.convert(w, source="torch", target="flax", transpose_kernel=True)
    assert np.array_equal(transposed, w.transpose(2, 3, 1, 0))
    assert np.array_equal(tconv.convert(jnp.asarray(stored), source="flax", target="torch"), w)


def test_arguments_and_code():
    names = {"flax": flax, "jax": jax, "np": np}
    tally = check_code("flax", names, count=60, groups=(1, 1, 1, 2), wrap=jnp.asarray)
    print(dict(tally))
    assert tally["one call"] > 30


def test_conv_is_the_adjoint():
    rng = np.random.default_rng(3)
    assert sum(check_adjoint("flax", *(c := random_call(rng, ndim))[:2], c[3]) for ndim in (1, 2, 3) * 30) > 50


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    """Both APIs have the same."""
    nnx = inspect.signature(flax.nnx.BatchNorm.__init__).parameters["epsilon"].default
    assert tconv.dialect("flax").batchnorm_eps == flax.linen.BatchNorm.epsilon == nnx == 1e-5


@pytest.mark.parametrize("transpose_kernel", [False, True])
@pytest.mark.parametrize(("ndim", "padding"), [(1, "SAME"), (2, "VALID"), (2, 2)])
def test_layers_are_taken(ndim, padding, transpose_kernel):
    channels = (6, 4) if transpose_kernel else (4, 6)
    layer = flax.nnx.ConvTranspose(
        4,
        6,
        kernel_size=(3,) * ndim,
        strides=(2,) * ndim,
        padding=padding,
        transpose_kernel=transpose_kernel,
        rngs=flax.nnx.Rngs(0),
        bias_init=jax.nn.initializers.normal(),
    )
    weight, bias = np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])
    assert weight.shape[-2:] == channels
    if transpose_kernel:
        with pytest.raises(ArgumentError):
            tconv.convert(layer, source="torch", target="torch")
        np.testing.assert_array_equal(
            np.asarray(tconv.convert(layer, target="torch")),
            tconv.convert(weight, source="flax", target="torch", transpose_kernel=True),
        )
        return

    def run(x):
        return layer(x)

    run.wrap = jnp.asarray
    check_layer(layer, run, "flax", weight, bias, (2, *[5] * ndim, 4))
    with pytest.raises(tconv.TconvError, match=r"weight is a flax.linen.ConvTranspose, which has no weight of its own"):
        tconv.prepare(flax.linen.ConvTranspose(3, (2, 2)))


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_the_mask_of_a_layer_is_applied_to_its_kernel(transpose_kernel):
    rng = np.random.default_rng(0)
    shape = (3, 3, 6, 4) if transpose_kernel else (3, 3, 4, 6)
    layer = flax.nnx.ConvTranspose(
        4,
        6,
        kernel_size=(3, 3),
        strides=(2, 2),
        mask=jnp.asarray(rng.integers(0, 2, shape), "float32"),
        transpose_kernel=transpose_kernel,
        rngs=flax.nnx.Rngs(0),
    )
    x = rng.standard_normal((1, 5, 7, 4)).astype("f")
    np.testing.assert_allclose(tconv.conv_transpose(x, layer), np.asarray(layer(x)), atol=1e-5)
