"""Haiku's transposed convolutions in a process of their own: random native arguments, code, weights."""

from __future__ import annotations

import inspect
import re

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import Conformance, check_adjoint, check_code
from xla import check_all

import tconv
from random_calls import random_sizes, whole_numbers
from tconv.errors import ArgumentError, DialectError, GeometryError, ShapeError

LAYERS = {1: hk.Conv1DTranspose, 2: hk.Conv2DTranspose, 3: hk.Conv3DTranspose}
LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def native(x, w, bias, arguments):
    ndim = w.ndim - 2
    arguments = {"data_format": "channels_last", **arguments}
    layer = hk.transform(
        lambda x: LAYERS[ndim](w.shape[-2], w.shape[:-2], with_bias=bias is not None, name="up", **arguments)(x)
    )
    params = {"w": w}
    if bias is not None:
        first = arguments["data_format"].startswith(("NC", "channels_first"))
        params["b"] = bias.reshape(-1, *[1] * ndim) if first else bias
    return layer.apply({"up": params}, None, x)


def random_padding(rng, k):
    pairs = [tuple(size - 1 - int(v) for v in rng.integers(-2, max(3, size + 1), 2)) for size in k]
    choices = [
        str(rng.choice(["SAME", "VALID"])),
        str(rng.choice(["same", "SAME_LOWER", "FULL"])),
        pairs,
        tuple(list(pair) for pair in pairs),
        1,
        [1] * len(k),
    ]
    return choices[int(rng.choice(6, p=[0.5, 0.1, 0.2, 0.1, 0.05, 0.05]))]


def random_call(rng, ndim):
    """Draw x, weight, bias and native arguments, some of them illegal."""
    sizes = random_sizes(rng, ndim, n=(1, 4), k=(1, 5), strided=0.8, dilated=0)
    n, k, s, c_in, c_out = sizes.n, sizes.k, sizes.s, sizes.c_in, sizes.c_out
    arguments = {"stride": list(s)}
    if rng.random() < 0.5:
        arguments["padding"] = str(rng.choice(["SAME", "VALID"])) if rng.random() < 0.9 else random_padding(rng, k)
        stray = 1 if rng.random() < 0.3 else 0
        same = arguments["padding"] == "SAME"
        low = [s_ * (n_ - 1) + (1 if same else k_) for n_, k_, s_ in zip(n, k, s, strict=True)]
        arguments["output_shape"] = [
            max(1, int(rng.integers(first - stray, first + s_ + stray))) for first, s_ in zip(low, s, strict=True)
        ]
    elif rng.random() < 0.95:
        arguments["padding"] = random_padding(rng, k)
    for name in ("stride", "output_shape"):
        if name in arguments and len(set(arguments[name])) == 1 and rng.random() < 0.5:
            arguments[name] = arguments[name][0] if rng.random() < 0.6 else arguments[name][:1]
        elif name in arguments and rng.random() < 0.03:
            arguments[name] = [2] * (ndim + 1)
    shape, first = [*n, c_in], False
    if rng.random() < 0.6:
        formats = [
            "channels_last",
            "channels_first",
            f"N{LETTERS[ndim]}C",
            f"NC{LETTERS[ndim]}",
            "N..C",
            "NC...",
            "BTD",
            "HWC",
            "nchw",
        ]
        arguments["data_format"] = str(rng.choice(formats, p=[0.2, 0.2, 0.2, 0.2, 0.05, 0.05, 0.04, 0.03, 0.03]))
        first = arguments["data_format"].startswith(("NC", "channels_first"))
        shape = [c_in, *n] if first else shape
    x = whole_numbers(rng, [*([] if rng.random() < 0.2 else [sizes.batch]), *shape])
    w = whole_numbers(rng, [*k, c_out, c_in])
    return x, w, whole_numbers(rng, [c_out]) if rng.random() < 0.3 else None, arguments


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(2))
def test_random_native_arguments(ndim, seed):
    rng = np.random.default_rng([ndim, seed])
    conformance = Conformance("haiku", native)
    count = {1: 400, 2: 400, 3: 200}[ndim]
    check_all(conformance, [random_call(rng, ndim) for _ in range(count)])
    print(dict(conformance.tally))
    assert conformance.tally["equal"] > count // 2
    assert conformance.tally["refused"] > count // 10
    assert sum(count for key, count in conformance.tally.items() if key.startswith("fault")) < 5


def test_what_it_is_not():
    x, w = np.ones((1, 4, 4, 3), "f"), np.ones((3, 3, 4, 3), "f")
    with pytest.raises(
        ShapeError, match=r"output_shape has 9 .* 'SAME' convolution with stride 2 reduces to 5; x has 4"
    ):
        tconv.conv_transpose(x, w, dialect="haiku", stride=2, output_shape=9)
    with pytest.raises(ArgumentError, match="together with output_shape"):
        tconv.conv_transpose(x, w, dialect="haiku", stride=2, output_shape=8, padding=[(1, 1), (1, 1)])
    with pytest.raises(ArgumentError, match="data_format is 'HWC'"):
        tconv.conv_transpose(x, w, dialect="haiku", data_format="HWC")
    with pytest.raises(DialectError, match=r"Haiku cannot express 2 groups.*nor a dilation"):
        tconv.dialect("haiku").arguments(tconv.Geometry((3, 3), dilation=2, groups=2))


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GeometryError, {"output_shape": [8, None]}, "output_shape is (8, None), of unknown size on axis 1; every entry must be an integer. Write output_shape=(8, 8), for example"),
        (GeometryError, {"output_shape": "8"}, "output_shape is '8'; an integer is needed. Write output_shape=(8, 8), for example"),
        (GeometryError, {"output_shape": [[8]]}, "output_shape is [8]; an integer is needed. Write output_shape=(8, 8)"),
        (GeometryError, {"output_shape": (n for n in (8, 8))}, "; an integer is needed. Write output_shape=(8, 8)"),
        (GeometryError, {"output_shape": [1, 8, 8, 3]}, "which has 4 entries; there are 2 spatial axes. Write output_shape=(8, 8)"),
        (GeometryError, {"stride": [2.0]}, "stride is 2.0; an integer is needed. Write stride=2, for example"),
        (GeometryError, {"stride": np.array([2, 1.5])}, "stride is (np.float64(2.0), np.float64(1.5)); every entry must be an integer"),
        (GeometryError, {"stride": b"2"}, "stride is b'2'; an integer is needed"),
        (ArgumentError, {"padding": [1, 1]}, "padding is [1, 1]; one pair (lo, hi) per spatial axis is needed. Write padding=((1, 1), (1, 1))"),
        (ArgumentError, {"padding": [{1, 2}] * 2}, "padding is [{1, 2}, {1, 2}]; one pair (lo, hi) per spatial axis is needed"),
        (GeometryError, {"padding": [(1, None), (1, 1)]}, "padding contains (1, None); one (lo, hi) pair of integers per spatial axis is needed"),
        (ArgumentError, {"output_shape": 8, "padding": np.ones((2, 2))}, "padding is an array of shape (2, 2) together with output_shape"),
        (ArgumentError, {"data_format": np.array(["NHWC", "NCHW"])}, "data_format is array(['NHWC', 'NCHW'], dtype='<U4'); \"channels_last\" or"),
    ],
)  # fmt: skip
def test_values_that_mean_nothing(kind, arguments, message):
    x, w = np.ones((1, 4, 4, 2), "f"), np.ones((3, 3, 3, 2), "f")
    with pytest.raises(kind, match=re.escape(message)):
        tconv.plan(x, w, dialect="haiku", **{"stride": 2, **arguments})


def test_weights_both_ways():
    w = whole_numbers(np.random.default_rng(2), (6, 5, 3, 2))
    stored = tconv.convert(w, source="torch", target="haiku")
    assert np.array_equal(stored, w[:, :, ::-1, ::-1].transpose(2, 3, 1, 0))
    assert np.array_equal(tconv.convert(jnp.asarray(stored), source="haiku", target="torch"), w)


def test_arguments_and_code():
    names = {"hk": hk, "jax": jax, "np": np}
    tally = check_code("haiku", names, count=75, ranks=(1, 4), groups=(1, 1, 1, 2), wrap=jnp.asarray)
    print(dict(tally))
    assert tally["one call"] > 20


def test_conv_is_the_adjoint():
    """Also of the call with output_shape, which is the shape of what conv is given."""
    rng = np.random.default_rng(3)
    checked = 0
    for ndim in (1, 2, 3) * 40:
        x, w, _, arguments = random_call(rng, ndim)
        checked += check_adjoint("haiku", x, w, arguments)
        if "output_shape" not in arguments:
            continue
        try:
            y = tconv.conv_transpose(x, w, dialect="haiku", **arguments)
        except tconv.TconvError:
            continue
        v = whole_numbers(rng, y.shape)
        u = tconv.conv(
            v, w, dialect="haiku", **{name: value for name, value in arguments.items() if name != "output_shape"}
        )
        assert (u.astype(float) * x).sum() == (v.astype(float) * y).sum()
        checked += 1
    assert checked > 60


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    default = inspect.signature(hk.BatchNorm).parameters["eps"].default
    assert tconv.dialect("haiku").batchnorm_eps == default == 1e-5
