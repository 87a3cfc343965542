"""Every dialect's words on JAX's tracers, in a process of its own: results, gradients, transforms, errors, weights."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import re

import xla  # noqa: F401  (sets the flags that compile quickly, before JAX starts)

# isort: split
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from traced_calls import random_native_calls

import tconv
import tconv.jax
from random_calls import whole_numbers
from tconv.errors import ArgumentError, ArrayError, DtypeError, GeometryError, MethodError, ShapeError


@contextlib.contextmanager
def wide():
    """Let JAX have dtypes of 64 bits."""
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def run(call, x, weight, bias=None):
    return tconv.conv_transpose(x, weight, bias, dialect=call.dialect, **call.native)


@pytest.mark.parametrize("seed", range(2))
def test_every_dialect_inside_of_jit(seed):
    """Results, both gradients, and the convolution, in one program."""
    calls = random_native_calls(seed, 3)
    cotangents = [call.cotangent(np.random.default_rng(7)) for call in calls]

    @jax.jit
    def program(arrays, cotangents):
        results = []
        for call, (x, weight, bias), cotangent in zip(calls, arrays, cotangents, strict=True):
            y, pull = jax.vjp(lambda x, w, b, call=call: run(call, x, w, b), x, weight, bias)
            results.append((y, *pull(cotangent), tconv.conv(cotangent, weight, dialect=call.dialect, **call.native)))
        return results

    arrays = [(jnp.asarray(c.x), jnp.asarray(c.weight), None if c.bias is None else jnp.asarray(c.bias)) for c in calls]
    results = program(arrays, [jnp.asarray(each) for each in cotangents])
    for call, cotangent, (y, dx, dw, db, u) in zip(calls, cotangents, results, strict=True):
        assert np.array_equal(y, call.y), call
        expected = tconv.conv(cotangent, call.weight, dialect=call.dialect, **call.native)
        assert np.array_equal(u, expected), call
        assert np.array_equal(dx, expected), call
        rng = np.random.default_rng(8)
        for _ in range(2):
            direction = whole_numbers(rng, call.weight.shape)
            assert (np.asarray(dw, "d") * direction).sum() == call.direction(np.random.default_rng(7), direction), call
        if call.bias is not None:
            assert np.asarray(db).sum() == cotangent.sum(), call


def test_every_dialect_under_vmap():
    calls = random_native_calls(11, 1)

    @jax.jit
    def program(xs):
        return [jax.vmap(lambda x, c=c: run(c, x, jnp.asarray(c.weight)))(x) for c, x in zip(calls, xs, strict=True)]

    xs = [np.stack([call.x, 2 * call.x, -call.x]) for call in calls]
    for call, x, y in zip(calls, xs, program([jnp.asarray(x) for x in xs]), strict=True):
        assert np.array_equal(y, np.stack([run(call, one, call.weight) for one in x])), call


def test_scan_remat_and_gradients_of_gradients():
    x, w = jnp.ones((1, 4, 4, 2)), jnp.arange(18.0).reshape(3, 3, 2, 1) / 10
    up = lambda x, w: tconv.conv_transpose(x, w, dialect="flax", strides=2)  # noqa: E731
    same = lambda x, w: jax.lax.conv_transpose(x, w, (2, 2), "SAME")  # noqa: E731

    def scanned(call):
        step = lambda total, x: (total + jax.checkpoint(call)(x, w).sum(), call(x, w))  # noqa: E731
        return jax.lax.scan(step, 0.0, jnp.stack([x, 2 * x]))

    for ours, theirs in zip(scanned(up), scanned(same), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)

    def second(call):
        first = jax.grad(lambda w: (call(x, w) ** 3).sum())
        return jax.jit(jax.grad(lambda w: (first(w) ** 2).sum()))(w)

    np.testing.assert_allclose(second(up), second(same), rtol=1e-5)
    tangents = [jax.jvp(call, (x, w), (x, 3 * w)) for call in (up, same)]
    for ours, theirs in zip(*tangents, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_every_dtype(dtype):
    rng = np.random.default_rng(3)
    x, w = (jnp.asarray(whole_numbers(rng, shape), dtype) for shape in ((2, 5, 4, 3), (3, 2, 3, 2)))
    up = lambda x, w: tconv.conv_transpose(x, w, dialect="jax", strides=(2, 2), padding="SAME")  # noqa: E731
    got = jax.jit(up)(x, w)
    assert got.dtype == dtype
    assert (got == up(x, w)).all()


def test_integers_are_summed_in_int64():
    x, w = jnp.full((1, 3, 1), 100, "int8"), jnp.full((2, 1, 1), 100, "uint8")
    up = jax.jit(lambda x, w: tconv.conv_transpose(x, w, dialect="jax", strides=(1,), padding="VALID"))
    with pytest.raises(DtypeError, match=r"the result is int64, .*jax_enable_x64"):
        up(x, w)
    with wide():
        y = up(x, w)
        assert y.dtype == "int64"
        assert y.ravel().tolist() == [10000, 20000, 20000, 10000]


def test_geometry_and_four_axes():
    g = tconv.Geometry((2, 1, 3, 2), (1, 2, 1, 2), ((0, 1), (-1, 0), (1, 1), (0, 0)))
    rng = np.random.default_rng(6)
    x, w = whole_numbers(rng, (1, 2, 3, 2, 3, 2)), whole_numbers(rng, (2, 2, *g.kernel))
    y = jax.jit(lambda x, w: tconv.conv_transpose(x, w, geometry=g))(x, w)
    assert np.array_equal(y, tconv.conv_transpose(x, w, geometry=g))


def test_unknown_sizes():
    """A program is exported for any size, where the arguments mean the same for all."""
    w = jnp.asarray(whole_numbers(np.random.default_rng(0), (3, 2, 3, 4)))

    def exported(text, function):
        x = jax.ShapeDtypeStruct(jax.export.symbolic_shape(text), "float32")
        return jax.export.export(jax.jit(function))(x)

    for text, dialect, arguments in (
        ("b, h, w, 3", "flax", {"strides": 2}),
        ("b, h, w, 3", "jax", {"strides": (2, 3), "padding": "VALID", "rhs_dilation": (1, 2)}),
        ("b, 4, 5, 3", "haiku", {"stride": 2, "output_shape": (8, 9)}),
    ):
        weight = w.swapaxes(2, 3) if dialect == "haiku" else w
        up = lambda x: tconv.conv_transpose(x, weight, dialect=dialect, **arguments)  # noqa: B023, E731
        program = exported(text, up)
        for batch in (1, 3):
            x = jnp.asarray(whole_numbers(np.random.default_rng(batch), (batch, 4, 5, 3)))
            assert np.array_equal(program.call(x), up(x)), text
    with pytest.raises(ShapeError, match=r"x has shape \(b, h, h, 3\), and what these arguments of the haiku dialect"):
        exported(
            "b, h, h, 3",
            lambda x: tconv.conv_transpose(x, w.swapaxes(2, 3), dialect="haiku", stride=2, output_shape=(8, 8)),
        )
    with pytest.raises(ShapeError, match=r"of an unknown number of channels. Write jax.export with numbers as the siz"):
        exported("1, 4, 4, c", lambda x: tconv.conv_transpose(x, w, dialect="flax"))
    with pytest.raises(ShapeError, match=r"x has shape \(b, h, 3\), with 3 axes; .* needs 4"):
        exported("b, h, 3", lambda x: tconv.conv_transpose(x, w, dialect="jax", strides=(2, 2), padding="SAME"))
    with pytest.raises(ShapeError, match=r"has 3 input channels as Flax reads it; x has 5"):
        exported("b, h, h, 5", lambda x: tconv.conv_transpose(x, w, dialect="flax"))
    with pytest.raises(ShapeError, match=r"weight has shape \(k, 3, 3, 2\), of unknown size on axis 0"):
        exported("k, 3, 3, 2", lambda w: tconv.conv_transpose(jnp.ones((1, 4, 4, 3)), w, dialect="flax"))


def test_what_is_refused():
    x, w = jnp.ones((1, 4, 4, 3)), jnp.ones((3, 3, 3, 2))
    flax_call = {"dialect": "flax", "strides": 2}

    def traced(function, *arrays):
        return jax.jit(function)(*arrays)

    for argument, value in (("out", x), ("method", "taps")):
        with pytest.raises(
            ArgumentError,
            match=rf"{argument}= was given, and the call is differentiated or traced, so it runs on JAX's primitives. "
            rf"Leave out {argument}=, or write the call outside of the transform",
        ):
            traced(
                lambda x, argument=argument, value=value: tconv.conv_transpose(x, w, **flax_call, **{argument: value}),
                x,
            )
    with pytest.raises(ArrayError, match=r"mixes libraries: weight is from numpy, others from jax; .*jnp.asarray\(wei"):
        traced(lambda x: tconv.conv_transpose(x, np.ones((3, 3, 3, 2), "f"), **flax_call), x)
    with pytest.raises(ArrayError, match=r"mixes libraries: x is from numpy, others from jax"):
        traced(lambda w: tconv.conv_transpose(np.ones((1, 4, 4, 3), "f"), w, **flax_call), w)
    with pytest.raises(DtypeError, match=r"x is float32 and weight is float16; .* Write weight.astype\(jnp.float32\)"):
        traced(lambda x, w: tconv.conv_transpose(x, w, **flax_call), x, w.astype("float16"))
    with pytest.raises(DtypeError, match=r"x has dtype key<\w+>; numbers are needed"):
        traced(lambda x: tconv.conv_transpose(x, w, **flax_call), jax.random.split(jax.random.key(0), (1, 4, 4, 3)))
    with pytest.raises(GeometryError, match=r"strides is .*Trace.*; an integer is needed"):
        traced(lambda x, s: tconv.conv_transpose(x, w, dialect="flax", strides=s), x, 2)
    with pytest.raises(MethodError):  # outside of transforms the method is NumPy's
        tconv.conv_transpose(x, w, **flax_call, method="none")
    with pytest.raises(ArrayError, match=r"x is a JAX tracer.*tconv\.jax\.conv_transpose inside"):
        traced(tconv.prepare(w, **flax_call), x)
    deleted = jnp.ones((1, 4, 4, 3))
    deleted.delete()
    with pytest.raises(ArrayError, match=r"x is a JAX array whose numbers cannot be read here \(.*deleted"):
        tconv.conv_transpose(deleted, w, **flax_call)


# -- initial weights -----------------------------------------------------------------------------------------------------


LAYOUTS = [
    ("flax", (4, 6, 8, 8), {}),
    ("flax", (4, 6, 8, 8), {"transpose_kernel": True}),
    ("haiku", (4, 6, 8, 8), {}),
    ("equinox", (8, 8, 4, 6), {}),
    ("jax", (8, 4, 6, 8), {"dimension_numbers": ("NHWC", "OHWI", "NHWC")}),
    ("torch", (8, 8, 4, 6), {}),
]


@pytest.mark.parametrize(("dialect", "shape", "layout"), LAYOUTS)
def test_initial_weights_in_every_layout(dialect, shape, layout):
    """Their canonical form has the numbers of tconv.initializers."""
    make = tconv.jax.initializers
    bilinear = make.bilinear((2, 3), dialect=dialect, **layout)(None, shape)
    assert bilinear.shape == shape
    expected = tconv.initializers.bilinear((8, 8, 4, 6), (2, 3))
    assert np.array_equal(tconv.convert(np.asarray(bilinear), source=dialect, target="torch", **layout), expected)
    weight = make.icnr((2, 3), dialect=dialect, **layout)(jax.random.key(0), shape)
    assert weight.shape == shape
    canonical = np.asarray(tconv.convert(np.asarray(weight), source=dialect, target="torch", **layout))
    small = canonical[..., ::2, ::3]
    assert np.array_equal(tconv.initializers.icnr((8, 8, 4, 6), (2, 3), draw=lambda shape: small), canonical)
    assert 0.8 < weight.std() / np.sqrt(2 / (8 * 4)) < 1.2


def test_initial_weights_from_other_initializers_and_in_other_dtypes():
    """An initializer that is given makes the small weight in the same layout."""
    make = tconv.jax.initializers
    inner = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    weight = make.icnr(2, init=inner)(jax.random.key(0), (4, 4, 64, 16), jnp.bfloat16)
    assert weight.dtype == "bfloat16"
    assert abs(float(weight.astype("f").std()) - (1 / (64 * 4)) ** 0.5) < 2e-3
    drawn = inner(jax.random.key(0), (2, 2, 64, 16), jnp.bfloat16)
    assert np.array_equal(weight[::-1][::2][::-1, 1::2], drawn)
    grouped = make.bilinear(2, 4, dialect="equinox")(None, (4, 1, 4, 4))
    np.testing.assert_array_equal(grouped[3, 0, 0] * 16, [1, 3, 3, 1])
    with wide():
        third = make.bilinear(3)(None, (5, 1, 1), jnp.float64)
        assert abs(third[0, 0, 0] - 1 / 3) < 1e-15


def test_initial_weights_that_are_refused():
    make = tconv.jax.initializers
    with pytest.raises(GeometryError, match=r"needs 5 taps or more. Write a kernel of 5, with padding 1"):
        make.bilinear(3)(None, (4, 4, 1, 1))
    with pytest.raises(GeometryError, match="below the stride 4"):
        make.icnr(4)(jax.random.key(0), (3, 3, 1, 1))
    with pytest.raises(ShapeError, match=r"shape is 3; the shape of a weight is needed"):
        make.bilinear(2)(None, 3)
    with pytest.raises(ShapeError, match=r"Flax's layout needs at least one spatial axis"):
        make.bilinear(2)(None, (3, 3))
    with pytest.raises(ShapeError, match=re.escape("init returned (2,); (2, 2, 8, 3) is needed. Write init=")):
        make.icnr(2, init=lambda key, shape, dtype: jnp.ones(2))(None, (4, 4, 8, 3))
    with pytest.raises(ArgumentError, match=r"init is 'he'; a function \(key, shape, dtype\) is needed"):
        make.icnr(2, init="he")
    with pytest.raises(ArgumentError, match="strides= changes no weight layout of flax"):
        make.bilinear(2, dialect="flax", strides=2)(None, (4, 4, 1, 1))


@pytest.mark.parametrize("name", ["tconv.jax.initializers", "tconv.jax.dialect_calls"])
def test_examples(name):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0
