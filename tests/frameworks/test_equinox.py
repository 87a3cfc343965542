"""equinox.nn.ConvTranspose in a process of its own: random native arguments, code, weights."""

from __future__ import annotations

import inspect
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import Conformance, check_adjoint, check_code, check_layer
from xla import check_all

import tconv
from random_calls import random_sizes, whole_numbers
from tconv.errors import ArgumentError, GeometryError, ShapeError

KEY = jax.random.key(0)
LAYERS = {1: eqx.nn.ConvTranspose1d, 2: eqx.nn.ConvTranspose2d, 3: eqx.nn.ConvTranspose3d}


def native(x, w, bias, arguments):
    inputs = w.shape[1] * arguments.get("groups", 1)
    # its shapes alone: the random weights would be compiled for each
    layer = eqx.filter_eval_shape(
        LAYERS[w.ndim - 2], inputs, w.shape[0], w.shape[2:], use_bias=bias is not None, key=KEY, **arguments
    )
    arrays = (w,) if bias is None else (w, bias.reshape(layer.bias.shape))
    where = lambda layer: (layer.weight,) if bias is None else (layer.weight, layer.bias)  # noqa: E731
    return eqx.tree_at(where, layer, arrays)(x)


def random_padding(rng, ndim):
    pair = lambda: [int(v) for v in rng.integers(-2, 4, 2)]  # noqa: E731
    choices = [
        str(rng.choice(["SAME", "SAME_LOWER", "VALID"])),
        str(rng.choice(["same", "Same_Lower", "FULL"])),
        int(rng.integers(-1, 4)),
        [int(v) for v in rng.integers(-1, 4, ndim)],
        [tuple(pair()) for _ in range(ndim)],
        tuple(pair() for _ in range(ndim)),
        [(1, 1)] * (ndim + 1),
        [1] * (ndim - 1) + [(1, 1)],  # an int and a pair do not mix; alone it is a pair
    ]
    return choices[int(rng.choice(8, p=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]))]


def random_call(rng, ndim):
    """Draw x, weight, bias and native arguments, some of them illegal."""
    sizes = random_sizes(rng, ndim, n=(1, 4), k=(1, 5), strided=0.8, groups=(1, 1, 2, 3))
    s = list(sizes.s)
    arguments = {"stride": s, "padding": random_padding(rng, ndim), "groups": sizes.groups}
    if rng.random() < 0.5:
        limit = 1 if rng.random() < 0.2 else 0  # now and then of the stride itself
        arguments["output_padding"] = [int(rng.integers(0, stride + limit)) for stride in s]
        if rng.random() < 0.1:
            arguments["output_padding"] = -1
    if rng.random() < 0.4:
        arguments["dilation"] = list(sizes.d)
    for name in ("stride", "dilation", "output_padding"):
        if isinstance(arguments.get(name), list) and rng.random() < 0.4:
            arguments[name] = arguments[name][0] if len(set(arguments[name])) == 1 else tuple(arguments[name])
    if rng.random() < 0.1:
        arguments["padding_mode"] = str(rng.choice(["zeros", "REFLECT", "NONE"]))
    if rng.random() < 0.05:
        arguments[str(rng.choice(["stride", "dilation", "output_padding"]))] = [1] * (ndim + 1)
    x = whole_numbers(rng, [sizes.c_in, *sizes.n])
    w = whole_numbers(rng, [sizes.c_out, sizes.in_per_group, *sizes.k])
    return x, w, whole_numbers(rng, [sizes.c_out]) if rng.random() < 0.3 else None, arguments


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(2))
def test_random_native_arguments(ndim, seed):
    rng = np.random.default_rng([ndim, seed])
    conformance = Conformance("equinox", native)
    count = {1: 400, 2: 400, 3: 200}[ndim]
    check_all(conformance, [random_call(rng, ndim) for _ in range(count)])
    print(dict(conformance.tally))
    assert conformance.tally["equal"] > count // 2
    assert conformance.tally["refused"] > count // 10
    assert sum(count for key, count in conformance.tally.items() if key.startswith("fault")) < 5


def test_output_padding_shrinks_same():
    x, w = np.ones((1, 4), "f"), np.ones((1, 1, 4), "f")
    sizes = {
        p: tconv.conv_transpose(x, w, dialect="equinox", stride=2, padding=p, output_padding=1).shape[1]
        for p in ("SAME", "SAME_LOWER", "VALID")
    }
    assert sizes == {"SAME": 7, "SAME_LOWER": 7, "VALID": 11}


def test_the_general_layer_takes_its_arguments_in_another_order():
    rng = np.random.default_rng(0)
    x, w = whole_numbers(rng, (3, 5, 4)), whole_numbers(rng, (2, 3, 3, 3))
    expected = tconv.conv_transpose(x, w, dialect="equinox", stride=2, padding=1, output_padding=0)
    general = eqx.nn.ConvTranspose(2, 3, 2, 3, 2, 1, 0, use_bias=False, key=KEY)
    special = eqx.nn.ConvTranspose2d(3, 2, 3, 2, 0, 1, use_bias=False, key=KEY)
    for layer in (general, special):
        assert np.array_equal(eqx.tree_at(lambda layer: layer.weight, layer, w)(x), expected)


def test_the_documented_transpose_of_a_layer():
    """Equinox's own recipe for the exact transpose of a Conv is what tconv.conv is the adjoint of."""
    rng = np.random.default_rng(1)
    weight = whole_numbers(rng, (4, 3, 3, 3))  # of Conv2d 3 -> 4
    flipped = np.flip(weight, (2, 3)).swapaxes(0, 1)
    layer = eqx.nn.Conv2d(3, 4, 3, stride=2, padding=1, use_bias=False, key=KEY)
    x = whole_numbers(rng, (3, 7, 9))
    expected = eqx.tree_at(lambda layer: layer.weight, layer, weight)(x)
    assert np.array_equal(tconv.conv(x, flipped, dialect="equinox", stride=2, padding=1), expected)


def test_weights_both_ways():
    w = whole_numbers(np.random.default_rng(2), (6, 2, 3, 5))  # torch, 3 groups: 6 -> 6 channels
    stored = tconv.convert(w, source="torch", target="equinox", groups=3)
    per_group = [part[:, :, ::-1, ::-1].swapaxes(0, 1) for part in np.split(w, 3)]
    assert np.array_equal(stored, np.concatenate(per_group))
    back = tconv.convert(jnp.asarray(stored), source="equinox", target="torch", groups=3)
    assert isinstance(back, jax.Array)
    assert np.array_equal(back, w)


def test_arguments_and_code():
    names = {"eqx": eqx, "jax": jax, "np": np}
    tally = check_code("equinox", names, count=60, ranks=(1, 4), groups=(1, 2, 3), wrap=jnp.asarray)
    print(dict(tally))
    assert tally["one call"] > 40


def test_conv_is_the_adjoint():
    rng = np.random.default_rng(3)
    assert sum(check_adjoint("equinox", *(c := random_call(rng, ndim))[:2], c[3]) for ndim in (1, 2, 3) * 30) > 50


def test_what_it_is_not():
    x, w = np.ones((2, 4, 4), "f"), np.ones((3, 2, 3, 3), "f")
    with pytest.raises(ShapeError, match=r"x has shape \(1, 2, 4, 4\).*needs 3: \[C, h, w\]"):
        tconv.conv_transpose(x[None], w, dialect="equinox")
    with pytest.raises(
        ArgumentError,
        match=r"Write x = np\.pad\(x, \[\(0, 0\), \(2, 2\), \(2, 2\)\], 'wrap'\), the call without padding_mode=, "
        r"and y = y\[:, 2:-2, 2:-2\]",
    ):
        tconv.conv_transpose(x, w, dialect="equinox", padding="SAME", padding_mode="circular")
    with pytest.raises(GeometryError, match="output_padding is 1 on spatial axis 0; Equinox needs it smaller"):
        tconv.conv_transpose(x, w, dialect="equinox", output_padding=1)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GeometryError, {"stride": (2, "2")}, "stride is (2, '2'); every entry must be an integer. Write stride=(2, 2), for example"),
        (GeometryError, {"dilation": [1, 0]}, "dilation is (1, 0); every entry must be at least 1. Write dilation=(1, 1), for example"),
        (GeometryError, {"groups": 1.0}, "groups is 1.0; an integer is needed. Write groups=1, for example"),
        (GeometryError, {"output_padding": None}, "output_padding is None; an integer is needed. Write output_padding=1"),
        (ArgumentError, {"padding": [1, (1, 1)]}, "padding is [1, (1, 1)]; one integer per spatial axis, or one pair (lo, hi) per axis, is needed. Write padding=((1, 1), (1, 1))"),
        (GeometryError, {"padding": [1, None]}, "padding contains None; one (lo, hi) pair of integers per spatial axis is needed"),
        (GeometryError, {"padding": [(1, 2, 3), (1, 1)]}, "padding contains (1, 2, 3); one (lo, hi) pair"),
        (GeometryError, {"padding": np.ones((2, 2))}, "padding contains array([1., 1.]); one (lo, hi) pair"),
        (GeometryError, {"padding": (n for n in (1, 1))}, "; an integer is needed. Write padding=1, for example"),
        (GeometryError, {"padding": [1, 1, 1]}, "padding is [1, 1, 1], which has 3 entries; there are 2 spatial axes. Write padding=((1, 1), (1, 1)): one"),
        (ArgumentError, {"padding_mode": np.ones(2)}, "padding_mode is array([1., 1.]); "),
    ],
)  # fmt: skip
def test_values_that_mean_nothing(kind, arguments, message):
    x, w = np.ones((2, 4, 4), "f"), np.ones((3, 2, 3, 3), "f")
    with pytest.raises(kind, match=re.escape(message)):
        tconv.plan(x, w, dialect="equinox", **arguments)


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    default = inspect.signature(eqx.nn.BatchNorm).parameters["eps"].default
    assert tconv.dialect("equinox").batchnorm_eps == default == 1e-5


@pytest.mark.parametrize(("ndim", "groups", "padding"), [(1, 1, 1), (2, 2, 0), (2, 1, "SAME"), (3, 1, 1)])
def test_layers_are_taken(ndim, groups, padding):
    layer = eqx.nn.ConvTranspose(ndim, 4, 6, 3, stride=2, padding=padding, groups=groups, key=jax.random.key(0))

    def run(x):
        return jax.vmap(layer)(x) if x.ndim == ndim + 2 else layer(x)

    run.wrap = jnp.asarray
    weight, bias = np.asarray(layer.weight), np.asarray(layer.bias).reshape(-1)
    check_layer(layer, run, "equinox", weight, bias, (4, *[5] * ndim), groups)
