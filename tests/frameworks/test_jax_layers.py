"""Layers of Flax, Haiku and Equinox on tconv: as weights, through tconv.jax.intercept, and with initial weights."""

from __future__ import annotations

import doctest
import importlib

import xla  # noqa: F401  (sets the flags that compile quickly, before JAX starts)

# isort: split
import equinox as eqx
import flax
import flax.linen as nn
import flax.nnx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tconv
import tconv.jax

# -- interceptors ------------------------------------------------------------------------------------------------------


PRIMITIVES = ("tconv_conv_transpose", "tconv_conv_transpose_bias")


def runs_on_tconv(call, *arrays):
    return any(name in str(jax.make_jaxpr(call)(*arrays)) for name in PRIMITIVES)


def intercepted(layer):
    def apply(variables, x, **named):
        with nn.intercept_methods(tconv.jax.intercept):
            return layer.apply(variables, x, **named)

    return apply


FLAX = [
    ({}, (2, 5, 4, 6), True),
    ({"strides": 2, "padding": "VALID", "use_bias": False}, (2, 5, 4, 6), True),
    ({"strides": (2, 3), "kernel_dilation": (1, 2), "padding": 1}, (5, 4, 6), True),
    ({"strides": (2, 2), "padding": ((0, 1), (2, 1)), "transpose_kernel": True}, (2, 3, 5, 4, 6), True),
    ({"strides": (2, 2), "mask": np.tri(3)[:, :, None, None] * np.ones((3, 3, 6, 4))}, (1, 5, 4, 6), True),
    ({"strides": (2, 2), "param_dtype": jnp.float16, "precision": "highest"}, (1, 5, 4, 6), True),
    ({"strides": (2, 2), "dtype": jnp.bfloat16}, (1, 5, 4, 6), True),
    ({"strides": (2, 2), "padding": "CIRCULAR"}, (1, 5, 4, 6), False),
    ({"strides": (2, 2), "preferred_element_type": jnp.float32}, (1, 5, 4, 6), False),
    ({"strides": (2, 2), "kernel_init": nn.with_partitioning(nn.initializers.normal(), ("a", "b", None, None))}, (1, 5, 4, 6), True),
]  # fmt: skip


@pytest.mark.parametrize(("words", "shape", "on_tconv"), FLAX, ids=range(len(FLAX)))
def test_layers_of_flax(words, shape, on_tconv):
    layer = nn.ConvTranspose(4, (3, 3), **{"bias_init": nn.initializers.normal(), **words})
    x = jax.random.normal(jax.random.key(0), shape)
    variables = layer.init(jax.random.key(1), x)
    ours = intercepted(layer)
    assert runs_on_tconv(ours, variables, x) == on_tconv

    def results(apply):
        loss = lambda variables, x: (apply(variables, x).astype("f") ** 2).sum()  # noqa: E731
        return apply(variables, x), jax.grad(loss, (0, 1))(variables, x)

    rounding = 0.05 if words.get("dtype") == jnp.bfloat16 else 1e-4
    for one, other in zip(*(jax.tree.leaves(results(apply)) for apply in (jax.jit(ours), layer.apply)), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=rounding * float(abs(other).max()))


def test_what_stays_with_flax():
    """Layers without parameters, with other channels, with a call of their own, and other layers."""
    layer, x = nn.ConvTranspose(4, (3, 3), (2, 2)), jnp.ones((1, 4, 4, 6))
    with nn.intercept_methods(tconv.jax.intercept):
        variables = layer.init(jax.random.key(0), x)
        with pytest.raises(flax.errors.ScopeParamShapeError):
            layer.apply(variables, jnp.ones((1, 4, 4, 5)))
        with pytest.raises(flax.errors.ScopeCollectionNotFound):
            layer.apply({"params": {}}, x)
        with pytest.raises(ValueError, match="padding"):
            nn.ConvTranspose(4, (3, 3), (2, 2), padding="other").apply(variables, x)
        with pytest.raises(ValueError, match="Mask needs to have the same shape"):
            nn.ConvTranspose(4, (3, 3), (2, 2), mask=jnp.ones((3, 3, 1, 1))).apply(variables, x)
        with pytest.raises(flax.errors.ScopeParamShapeError):
            nn.ConvTranspose(5, (3, 3), (2, 2)).apply(variables, x)
        assert layer.apply(variables, inputs=x).shape == (1, 8, 8, 4)

    class Own(nn.ConvTranspose):
        @nn.compact
        def __call__(self, inputs):
            return super().__call__(inputs) + 1

    class Renamed(nn.ConvTranspose):
        pass

    for kind, plus in ((Own, 1), (Renamed, 0)):
        layer = kind(4, (3, 3), (2, 2))
        expected = nn.ConvTranspose(4, (3, 3), (2, 2)).apply(variables, x) + plus
        np.testing.assert_allclose(intercepted(layer)(variables, x), expected, atol=1e-5)
    dense = nn.Dense(3)
    variables = dense.init(jax.random.key(0), x)
    assert np.array_equal(intercepted(dense)(variables, x), dense.apply(variables, x))


def test_a_model_of_flax_trains_as_before():
    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.BatchNorm(use_running_average=False)(nn.ConvTranspose(8, (4, 4), (2, 2))(x)))
            return nn.ConvTranspose(1, (4, 4), (2, 2))(x)

    model, x = Decoder(), jax.random.normal(jax.random.key(0), (4, 3, 3, 6))
    variables = model.init(jax.random.key(1), x)
    target = jnp.ones((4, 12, 12, 1))

    def trained(apply):
        @jax.jit
        def step(params, state):
            def loss(params):
                y, changed = apply({"params": params, **state}, x, mutable=["batch_stats"])
                return ((y - target) ** 2).mean(), changed

            (value, changed), gradients = jax.value_and_grad(loss, has_aux=True)(params)
            return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), changed

        params, state, values = variables["params"], {"batch_stats": variables["batch_stats"]}, []
        for _ in range(5):
            value, params, state = step(params, state)
            values.append(value)
        return np.array(values)

    ours, theirs = trained(intercepted(model)), trained(model.apply)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert ours[-1] < ours[0]


HAIKU = [
    (hk.Conv2DTranspose, (4, 3, 2), {}, (2, 5, 4, 6), True),
    (hk.Conv2DTranspose, (4, (3, 2), (2, 1)), {"padding": "VALID", "with_bias": False}, (5, 4, 6), True),
    (hk.Conv2DTranspose, (4, 3, 2), {"data_format": "NCHW", "output_shape": (9, 8)}, (2, 6, 5, 4), True),
    (hk.Conv1DTranspose, (4, 8, 4), {"padding": ((5, 3),)}, (2, 5, 6), True),
    (hk.Conv3DTranspose, (2, 2, 2), {}, (1, 2, 3, 4, 3), True),
    (hk.Conv2DTranspose, (4, 3, 2), {"mask": np.tri(3)[:, :, None, None] * np.ones((3, 3, 4, 6))}, (1, 5, 4, 6), True),
    (hk.Conv2D, (4, 3, 2), {}, (1, 5, 4, 6), False),
]


@pytest.mark.parametrize(("kind", "sizes", "words", "shape", "on_tconv"), HAIKU, ids=range(len(HAIKU)))
def test_layers_of_haiku(kind, sizes, words, shape, on_tconv):
    def plain(x):
        return kind(*sizes, b_init=hk.initializers.RandomNormal(), **words)(x)

    def ours(x):
        with hk.intercept_methods(tconv.jax.intercept):
            return plain(x)

    x = jax.random.normal(jax.random.key(0), shape)
    transformed, reference = (hk.without_apply_rng(hk.transform(each)) for each in (ours, plain))
    params = transformed.init(jax.random.key(1), x)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), params, reference.init(jax.random.key(1), x)))
    assert runs_on_tconv(transformed.apply, params, x) == on_tconv

    def results(apply):
        return apply(params, x), jax.grad(lambda params, x: (apply(params, x) ** 2).sum(), (0, 1))(params, x)

    for one, other in zip(
        *(jax.tree.leaves(results(apply)) for apply in (jax.jit(transformed.apply), reference.apply)), strict=True
    ):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-4 * float(abs(other).max()))


def test_what_stays_with_haiku():
    def model(x, padding="SAME"):
        with hk.intercept_methods(tconv.jax.intercept):
            return hk.Conv2DTranspose(4, 3, 2, padding=padding)(x)

    x = jnp.ones((1, 4, 4, 6))
    transformed = hk.without_apply_rng(hk.transform(model))
    params = transformed.init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="rank"):
        transformed.apply(params, x[0, 0])
    with pytest.raises(ValueError, match="does not match"):
        transformed.apply(params, x[..., :5])
    with pytest.raises(TypeError, match="same dtypes"):
        transformed.apply(params, x.astype("float16"))
    with pytest.raises(ValueError, match="padding"):
        transformed.apply(params, x, padding="other")

    def cast(next_getter, value, context):
        return next_getter(value).astype("float16")

    def model_in_halves(x):
        with hk.custom_getter(cast):
            return model(x)

    halves = hk.without_apply_rng(hk.transform(model_in_halves))
    assert halves.apply(params, x.astype("float16")).dtype == "float16"


def test_a_patch_would_outlive_its_context(monkeypatch):
    """The reason against a patch of jax.lax: programs are remembered by their function."""
    calls = []
    real = jax.lax.conv_transpose

    def patched(*arguments, **named):
        calls.append(1)
        return real(*arguments, **named)

    def up(x, w):
        return jax.lax.conv_transpose(x, w, (2,), "SAME")

    x, w = jnp.ones((1, 4, 2)), jnp.ones((3, 2, 1))
    before, inside = jax.jit(lambda x, w: up(x, w)), jax.jit(lambda x, w: up(x, w))
    before(x, w)
    with monkeypatch.context() as context:
        context.setattr(jax.lax, "conv_transpose", patched)
        before(x, w)
        assert not calls  # compiled before: not reached
        inside(x, w)
        assert len(calls) == 1
    assert inside(x, w).shape == (1, 8, 1)
    assert len(calls) == 1  # the program that was traced inside runs on, with what was patched in


# -- layers as weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [{}, {"padding": "VALID", "use_bias": False}, {"transpose_kernel": True}])
def test_layers_of_flax_are_weights(words):
    """Gradients reach the parameters of a layer that is given as a weight."""
    channels = (5, 3) if not words.get("transpose_kernel") else (4, 4)
    layer = flax.nnx.ConvTranspose(*channels, (4, 3), (2, 2), **words, rngs=flax.nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, 6, 5, channels[0]))

    def gradients(call):
        loss = lambda layer, x: (call(layer, x) ** 2).sum()  # noqa: E731
        return jax.tree.leaves(flax.nnx.jit(flax.nnx.grad(loss, argnums=(0, 1)))(layer, x))

    ours = gradients(lambda layer, x: tconv.conv_transpose(x, layer))
    theirs = gradients(lambda layer, x: layer(x))
    assert len(ours) == len(theirs) > 1
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_layers_of_equinox_are_weights(groups):
    layer = eqx.nn.ConvTranspose2d(4, 6, 3, 2, padding=1, groups=groups, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (3, 4, 6, 5))

    def gradients(call):
        loss = lambda layer: (jax.vmap(lambda x: call(layer, x))(x) ** 2).sum()  # noqa: E731
        return jax.tree.leaves(eqx.filter_jit(eqx.filter_grad(loss))(layer))

    ours = gradients(lambda layer, x: tconv.conv_transpose(x, layer))
    theirs = gradients(lambda layer, x: layer(x))
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_initial_weights_of_layers():
    """Flax's layers take them, also inside of jit; other layers get their arrays."""
    make = tconv.jax.initializers
    layer = nn.ConvTranspose(3, (4, 4), (2, 2), kernel_init=make.bilinear(2), use_bias=False)
    x = jnp.full((1, 5, 5, 3), 7.0)
    parameters = jax.jit(layer.init)(jax.random.key(0), x)
    np.testing.assert_allclose(layer.apply(parameters, x)[:, 2:-2, 2:-2], 7, rtol=1e-6)
    layer = flax.nnx.ConvTranspose(
        8, 3, (4, 4), (2, 2), padding="VALID", kernel_init=make.icnr(2), rngs=flax.nnx.Rngs(0)
    )
    y = layer(jax.random.normal(jax.random.key(1), (1, 5, 5, 8)))
    assert y.std() > 0.1
    np.testing.assert_allclose(y[:, ::2, ::2], y[:, 1::2, 1::2], atol=1e-5)
    equinox = eqx.nn.ConvTranspose2d(8, 3, 4, 2, key=jax.random.key(0))
    weight = make.icnr(equinox.stride, dialect="equinox")(jax.random.key(0), equinox.weight.shape)
    equinox = eqx.tree_at(lambda layer: layer.weight, equinox, weight)
    y = equinox(jax.random.normal(jax.random.key(1), (8, 5, 5)))
    np.testing.assert_allclose(y[:, ::2, ::2], y[:, 1::2, 1::2], atol=1e-5)


def test_examples():
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(importlib.import_module("tconv.jax.layer_calls"), optionflags=flags).failed == 0
