"""The operator in XLA's standard operators: exact on random calls, compiled and not, and with symbolic sizes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xla  # noqa: F401  (its flags, set before JAX starts, make compilation faster)
from jax import export
from jax_releases import enable_x64
from standard_cases import Call, check, longer, random_call

from random_calls import whole_numbers
from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.jax import standard


def eagerly(function, *arrays):
    return function(*map(jnp.asarray, arrays))


def compiled(function, *arrays):
    return jax.jit(function)(*map(jnp.asarray, arrays))


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_equals_the_definition(ndim):
    rng = np.random.default_rng(ndim)
    spans = {"n": (1, 3), "k": (1, 3), "s": (1, 2)} if ndim == 4 else {}
    for _ in range({1: 10, 2: 12, 3: 4, 4: 1}[ndim]):
        check(standard, random_call(rng, (ndim,), **spans), compiled)


def test_equals_the_definition_uncompiled():
    rng = np.random.default_rng(5)
    for _ in range(3):
        check(standard, longer(rng, random_call(rng, (1, 2))), eagerly)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "float16", jnp.bfloat16])
def test_dtypes(dtype):
    rng = np.random.default_rng(6)
    for _ in range(3):
        check(standard, random_call(rng, (1, 2), dtype, n=(1, 3), k=(1, 3), in_per_group=(1, 2)), compiled)


def test_double_precision():
    rng = np.random.default_rng(7)
    with enable_x64(True):
        for dtype in ("float64", "int64", "complex128"):
            for _ in range(2):
                check(standard, random_call(rng, (1, 2), dtype), compiled)


def test_symbolic_sizes():
    """A program exported once runs any batch and any spatial sizes."""
    rng = np.random.default_rng(8)
    for ndim in (1, 2):
        for _ in range(3):
            call = random_call(rng, (ndim,), plain=1, batch=(1, 3), n=(3, 5))
            symbols = export.symbolic_shape(
                ", ".join(["b", *"hwd"[:ndim]]), constraints=[*(f"{a}>=3" for a in "hwd"[:ndim])]
            )
            check(standard, call, partial(exported, symbols, call))


def exported(symbols, call, function, *arrays):
    """Run a function that is exported with symbols for the sizes of x and y."""
    batch, *spatial = symbols
    g, known = call.geometry, call.x.shape[1:-1]
    outputs = [n * s + L - s * m for n, s, L, m in zip(spatial, g.stride, call.y.shape[1:-1], known, strict=True)]
    sizes = {id(call.x): (batch, *spatial, call.x.shape[-1]), id(call.y): (batch, *outputs, call.y.shape[-1])}
    specs = [jax.ShapeDtypeStruct(sizes.get(id(array), array.shape), array.dtype) for array in arrays]
    return export.deserialize(export.export(jax.jit(function))(*specs).serialize()).call(*arrays)


LAYERS = {  # each runs one of the forms of jax/lax_operations.py
    "XLA's own": (Geometry((4, 4), 2, 1), (6, 5), 8, 8),
    "XLA's own, split": (Geometry((4, 4), 2, 1, 1, 2), (6, 5), 8, 8),
    "would end the process": (Geometry((2, 5), 2, ((1, 1), (0, 0))), (3, 2), 4, 4),
    "sums of products": (Geometry((4, 4), 2, 1, 1, 16), (6, 5), 16, 16),
    "im2col": (Geometry((3, 3), 2, 1, 1, 12), (6, 5), 48, 24),
    "taps first": (Geometry((3, 3, 3), 2, ((1, 0),) * 3), (3, 4, 5), 8, 1),
    "k == s": (Geometry((2, 2), 2), (6, 5), 8, 8),
}


@pytest.mark.parametrize("name", LAYERS)
def test_forms_of_the_cpu(name):
    g, inputs, c_in, c_out = LAYERS[name]
    rng = np.random.default_rng(9)
    x = whole_numbers(rng, (2, *inputs, c_in))
    w = whole_numbers(rng, (c_in, c_out // g.groups, *g.kernel))
    y = whole_numbers(rng, (2, *g.output_shape(inputs), c_out))
    data, weight_layout = DataLayout.of("N*C", g.ndim), WeightLayout.of("*IO", g.ndim)
    for dtype in ("float32", jnp.bfloat16):
        check(standard, Call(g, data, weight_layout, data, *(each.astype(dtype) for each in (x, w, y))), compiled)
