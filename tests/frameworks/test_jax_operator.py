"""`tconv.jax.conv_transpose` in a process of its own: exact inside and outside of compiled programs, for all input."""

from __future__ import annotations

import doctest
import importlib
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xla  # noqa: F401  (before JAX: its flags make compilation faster)
from jax_releases import enable_x64
from standard_cases import random_call as random_operator_call
from test_jax import random_call

import tconv
import tconv.jax
from random_calls import whole_numbers
from tconv.dialects import DataLayout, WeightLayout
from tconv.errors import ArgumentError, ArrayError, DtypeError, GeometryError, ShapeError, TconvError, TooLargeError
from tconv.jax import operator

CALLS_PER_PROGRAM = 25
up = tconv.jax.conv_transpose


def in_programs(function, calls):
    """Return `function(*arrays, call)` of each call, compiled in programs of many."""
    results = []
    for first in range(0, len(calls), CALLS_PER_PROGRAM):
        part = calls[first : first + CALLS_PER_PROGRAM]
        program = jax.jit(
            lambda arrays, part=part: [function(*each, call) for each, (_, call) in zip(arrays, part, strict=True)]
        )
        results += program([arrays for arrays, _ in part])
    return results


# -- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_equals_the_dialect(ndim):
    """Random calls in lax's words, legal ones and others: the same numbers, or an error of the same kind and text."""
    rng = np.random.default_rng(ndim)
    legal, refused = [], 0
    for _ in range({1: 400, 2: 300, 3: 100, 4: 50}[ndim]):
        x, w, bias, arguments = random_call(rng, ndim)
        arguments = {"strides": None, "padding": None, **arguments}
        try:
            expected = tconv.conv_transpose(x, w, bias, dialect="jax", **arguments)
        except TconvError as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                jax.eval_shape(lambda x, w, b, arguments=arguments: up(x, w, **arguments, bias=b), x, w, bias)
            refused += 1
        else:
            legal.append(((x, w, bias), (arguments, expected)))
    for y, (_, (arguments, expected)) in zip(
        in_programs(lambda x, w, b, call: up(x, w, **call[0], bias=b), legal), legal, strict=True
    ):
        assert y.shape == expected.shape, arguments
        assert np.array_equal(y, expected), arguments
    assert refused > 5
    assert len(legal) > 2 * refused / 3


def test_equals_the_dialect_outside_of_programs():
    rng = np.random.default_rng(5)
    done = 0
    while done < 25:
        x, w, bias, arguments = random_call(rng, 1 + done % 2)
        try:
            expected = tconv.conv_transpose(x, w, bias, dialect="jax", **arguments)
        except TconvError:
            continue
        assert np.array_equal(up(x, w, **{"strides": None, "padding": None, **arguments}, bias=bias), expected)
        done += 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "complex64"])
def test_layouts_groups_and_gradients(dtype):
    """`apply`, `adjoint` and the gradients of both, in any layout, with groups and batches from 0 on."""
    rng = np.random.default_rng(6)
    spans = {} if dtype == "float32" else {"n": (1, 3), "k": (1, 3), "in_per_group": (1, 2)}
    count = 60 if dtype == "float32" else 20
    calls = [random_operator_call(rng, (1, 2, 3), dtype, **spans) for _ in range(count)]

    def all_three(x, w, y, call):
        g, layouts = call.geometry, (call.data, call.weight_layout, call.result)
        forward = lambda x, w: operator.apply(x, w, None, g, *layouts)  # noqa: E731
        adjoint = lambda y, w: operator.adjoint(y, w, g, *layouts[::-1])  # noqa: E731
        _, pull = jax.vjp(forward, x, w) if dtype != "int32" else (None, lambda y: (None, None))
        return forward(x, w), adjoint(y, w), *pull(y)

    given = [((call.x, call.weight, call.y), call) for call in calls]
    for results, call in zip(in_programs(all_three, given), calls, strict=True):
        expected = call.forward, call.adjoint, call.adjoint, call.weight_gradient
        for got, exact in zip(results, expected, strict=True):
            if got is not None:
                assert got.dtype == exact.dtype
                np.testing.assert_array_equal(got, exact, f"{call.geometry} {call.data} {call.weight_layout}")


DTYPES = ["bool", "int8", "uint8", "int16", "int32", "float16", "bfloat16", "float32", "complex64", "float8_e4m3fn"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_mean_what_they_mean_in_lax(dtype):
    rng = np.random.default_rng(3)
    x, w = (jnp.asarray(whole_numbers(rng, shape)).astype(dtype) for shape in ((2, 5, 4, 3), (3, 2, 3, 2)))
    for preferred in (None, "int32", "uint32", "float32", "complex64"):
        call = lambda f, p=preferred: f(x, w, (2, 2), "SAME", preferred_element_type=p)  # noqa: E731
        try:
            theirs = call(jax.lax.conv_transpose)
        except TypeError:
            with pytest.raises(DtypeError, match="preferred_element_type is"):
                call(up)
        else:
            ours = call(up)
            assert (ours.dtype, ours.weak_type) == (theirs.dtype, theirs.weak_type)
            assert (ours == theirs).all()
    planned = tconv.jax.plan(x, w, (2, 2), "SAME")
    assert (planned.method == "simd") == (dtype in ("float16", "bfloat16", "float32"))


def test_double_precision_and_numpy():
    rng = np.random.default_rng(4)
    x, w = rng.normal(size=(2, 5, 3)), rng.normal(size=(4, 3, 2))
    assert up(x, w, (2,), "SAME").dtype == np.float32  # as all of JAX
    with enable_x64(True):
        y = jax.jit(lambda x, w: up(x, w, (2,), "SAME", bias=[1, 2]))(x, w)
        assert y.dtype == np.float64
        np.testing.assert_allclose(
            y, tconv.conv_transpose(x, w, [1, 2], dialect="jax", strides=(2,), padding="SAME"), 1e-13
        )
        assert tconv.jax.plan(x, w, (2,), "SAME").method == "simd"
    weak = jnp.broadcast_to(1.0, (1, 4, 3)), jnp.broadcast_to(1.0, (3, 3, 2))
    assert up(*weak, (2,), "SAME").weak_type == jax.lax.conv_transpose(*weak, (2,), "SAME").weak_type


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("of", ["x", "weight"])
def test_numbers_that_are_not_finite(number, of):
    rng = np.random.default_rng(7)
    x, w = whole_numbers(rng, (2, 16, 16, 8)), whole_numbers(rng, (4, 4, 8, 16))
    (x if of == "x" else w)[1, 2, 3, 4] = number
    arguments = {"strides": (2, 2), "padding": "SAME"}
    expected = tconv.conv_transpose(x, w, dialect="jax", **arguments)
    np.testing.assert_array_equal(jax.jit(lambda x, w: up(x, w, **arguments))(x, w), expected)


def test_groups_are_those_of_lax():
    rng = np.random.default_rng(8)
    x, w = whole_numbers(rng, (2, 5, 6, 4)), whole_numbers(rng, (3, 4, 2, 6))
    pads = [(1, 2), (3, 1)]
    theirs = jax.lax.conv_general_dilated(
        x, w, (1, 1), pads, (2, 3), dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
    )
    assert np.array_equal(up(x, w, (2, 3), pads, feature_group_count=2), theirs)
    # with transpose_kernel=True: the gradient of a convolution with groups
    w = whole_numbers(rng, (3, 4, 3, 4))
    conv = lambda y: jax.lax.conv_general_dilated(  # noqa: E731
        y, w, (2, 3), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
    )
    y = np.zeros((2, 2 * 4 + 3, 3 * 5 + 4, 6), "f")
    (theirs,) = jax.linear_transpose(conv, y)(x)
    ours = up(x, w, (2, 3), "VALID", transpose_kernel=True, feature_group_count=2)
    assert np.array_equal(ours, theirs)


def test_crop_and_output_padding():
    rng = np.random.default_rng(9)
    x, w = whole_numbers(rng, (2, 5, 3)), whole_numbers(rng, (4, 3, 2))
    full = up(x, w, (2,), "VALID")
    assert np.array_equal(up(x, w, (2,), None, crop=[(1, 3)]), full[:, 1:-3])
    assert np.array_equal(up(x, w, (2,), None, crop=1, output_padding=1), full[:, 1:])
    assert np.array_equal(up(x, w, (2,), None, crop=-1, bias=[1, 2])[:, 0], np.float32([[1, 2], [1, 2]]))


def test_without_spatial_axes():
    rng = np.random.default_rng(10)
    x, w = whole_numbers(rng, (2, 3)), whole_numbers(rng, (3, 4))
    assert np.array_equal(up(x, w, (), "SAME", bias=[1, 2, 3, 4]), x @ w + np.arange(1, 5))
    with pytest.raises(ArgumentError, match="no spatial axes"):
        up(x, w, (), "SAME", feature_group_count=3)


def test_empty_batch_and_channels():
    w = jnp.ones((3, 3, 2))
    assert jax.jit(lambda x: up(x, w, (2,), "SAME"))(jnp.ones((0, 4, 3))).shape == (0, 8, 2)
    y = up(jnp.ones((1, 4, 0)), jnp.ones((3, 0, 2)), (2,), "SAME", bias=[1, 2])
    assert (y == jnp.array([1, 2])).all()
    grads = jax.grad(lambda x, w: up(x, w, (2,), "SAME").sum(), (0, 1))(jnp.ones((0, 4, 3)), w)
    assert grads[0].shape == (0, 4, 3)
    assert not grads[1].any()


# -- bad input -----------------------------------------------------------------------------------------------------


X, W = np.ones((1, 4, 3), "f"), np.ones((3, 3, 2), "f")
BAD = [
    (DtypeError, lambda: up(X, jnp.ones((3, 3, 2), "bfloat16"), (2,), "SAME"), "lhs is float32, and rhs bfloat16; one dtype is needed. Write rhs.astype('float32')"),
    (ArrayError, lambda: up([[[1.0]]], W, (2,), "SAME"), "lhs is a builtins.list; an array of JAX or NumPy is needed. Write jnp.asarray(lhs)"),
    (ArrayError, lambda: up(None, W, (2,), "SAME"), "lhs is a builtins.NoneType; an array of JAX or NumPy is needed. Write lhs=jnp.ones((1, 8, 8, 3)), for example"),
    (ArrayError, lambda: up(X, "w", (2,), "SAME"), "rhs is a builtins.str; an array of JAX or NumPy is needed. Write rhs=jnp.ones((4, 4, 3, 8)), for example"),
    (ArrayError, lambda: up(X, {"kernel": W}, (2,), "SAME"), 'Write params["kernel"] for rhs, and bias=params["bias"]'),
    (ArgumentError, lambda: up(X, W, (2,), None), "Write padding=((1, 1),), or crop=0 for the full output"),
    (DtypeError, lambda: up(X.astype("u1"), W, (2,), "SAME"), "lhs is uint8, and rhs float32; one dtype is needed. Write lhs.astype('float32')"),
    (DtypeError, lambda: up(X.astype("f2"), W, (2,), "SAME"), "Write lhs.astype('float32')"),
    (DtypeError, lambda: up(X.astype("f2"), jnp.asarray(W, "bfloat16"), (2,), "SAME"), "Write lhs.astype('float32') and rhs.astype('float32')"),
    (DtypeError, lambda: up(np.array([[["a"]]]), W, (2,), "SAME"), "lhs is <U1, which JAX does not have"),
    (ArgumentError, lambda: up(X, W, (2,), "SAME", precision="most"), "precision is 'most'; None, a string as"),
    (DtypeError, lambda: up(X, W, (2,), "SAME", preferred_element_type="bfloat16"), "preferred_element_type is bfloat16, and lhs float32"),
    (DtypeError, lambda: up(X, W, (2,), "SAME", preferred_element_type="number"), "which is no dtype"),
    (ShapeError, lambda: up(X, np.ones((3, 2, 3), "f"), (2,), "SAME"), "rhs (3, 2, 3) has 2 input channels as JAX reads it; lhs (1, 4, 3) has 3. It fits with its channel axes swapped"),
    (ShapeError, lambda: up(X, np.ones((3, 4, 6), "f"), (2,), "SAME", feature_group_count=2), "has 8 input channels as JAX reads it with feature_group_count=2; lhs (1, 4, 3) has 3. With 2 groups rhs is [kw, C_in/groups, C_out]"),
    (ShapeError, lambda: up(X, np.ones((3, 3, 5), "f"), (2,), "SAME", feature_group_count=2), "has 5 output channels, which feature_group_count=2 does not divide"),
    (GeometryError, lambda: up(X, W, (2,), "SAME", feature_group_count=0), "feature_group_count is 0; it must be at least 1"),
    (ShapeError, lambda: up(X, np.ones((3, 3, 0), "f"), (2,), "SAME"), "has no output channels"),
    (ShapeError, lambda: up(np.ones((1, 0, 3), "f"), W, (2,), "SAME"), "every axis needs at least 1 element"),
    (ShapeError, lambda: up(X, W, (2,), [(-9, -9)]), "removes all of them"),
    (ArgumentError, lambda: up(X, W, (2,), "SAME", crop=1), "padding is 'SAME', and crop=1 was given. Write padding=None"),
    (ArgumentError, lambda: up(X, W, (2,), None), "padding is None; one pair (lo, hi) per spatial axis is needed"),
    (GeometryError, lambda: up(X, W, (2,), "SAME", output_padding=-1), "output_padding is -1; it must be at least 0"),
    (ArgumentError, lambda: up(X, W, 2, "SAME"), "strides is 2; jax.lax needs a sequence"),
    (ShapeError, lambda: up(X, W, (2,), "SAME", bias=np.ones(3, "f")), "bias has shape (3,); one number per output channel is needed: (2,)"),
    (DtypeError, lambda: up(X, W, (2,), "SAME", bias=np.ones(2, "f2")), "bias is float16, and lhs float32"),
    (ArrayError, lambda: up(X, W, (2,), "SAME", bias=["a", 1]), "an array or a list of numbers is needed"),
    (GeometryError, lambda: jax.jit(lambda s: up(X, W, s, "SAME"))(np.array([2])), "every entry must be an integer"),
    (TooLargeError, lambda: up(X, W, (2,), None, crop=((-(10**12), 0),)), "this machine has"),
    (ShapeError, lambda: up(X[0], W, (2,), "SAME"), "Write x[None] to add a batch axis"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "call", "message"), BAD, ids=[message[:50] for _, _, message in BAD])
def test_bad_input(kind, call, message):
    with pytest.raises(kind, match=re.escape(message)):
        call()
    assert issubclass(kind, (TypeError, ValueError))


def test_plan():
    x, w = jax.ShapeDtypeStruct((1, 8, 8, 64), "float32"), jax.ShapeDtypeStruct((4, 4, 64, 32), "float32")
    planned = tconv.jax.plan(x, w, (2, 2), "SAME", bias=np.ones(32, "f"))
    assert planned.method in ("simd", "winograd")
    assert not planned.reasons
    assert planned.problem.bias
    assert "channels last" in str(planned)
    text = jax.jit(lambda x, w: up(x, w, (2, 2), "SAME")).lower(x, w).as_text()
    assert f"\\22method\\22:\\22{tconv.jax.plan(x, w, (2, 2), 'SAME').method}\\22" in text
    whole = [jax.ShapeDtypeStruct(each.shape, "int32") for each in (x, w)]
    planned = tconv.jax.plan(*whole, (2, 2), "SAME")
    assert planned.method == "jax"
    assert "x is int32; the kernel computes float32" in str(planned)
    mixed = tconv.jax.plan(
        *[jax.ShapeDtypeStruct(each.shape, "bfloat16") for each in (x, w)],
        (2, 2),
        "SAME",
        preferred_element_type="float32",
    )
    assert "x is bfloat16 and the output float32" in str(mixed)
    with pytest.raises(ArrayError):
        tconv.jax.plan(None, w, (2, 2), "SAME")
    assert "product of matrices" in tconv.jax.plan(np.ones((2, 3)), np.ones((3, 4)), (), "SAME").reasons[0]


# -- memory and threads --------------------------------------------------------------------------------------------


def test_donated_buffers():
    rng = np.random.default_rng(11)
    w = jnp.asarray(whole_numbers(rng, (3, 3, 4, 4)))
    step = jax.jit(lambda x: up(x, w, (1, 1), "SAME"), donate_argnums=0)
    x = whole_numbers(rng, (2, 8, 8, 4))
    expected = jax.lax.conv_transpose(x, w, (1, 1), "SAME")
    for _ in range(5):
        given = jnp.array(x)
        assert (step(given) == expected).all()
        assert given.is_deleted()


def test_a_weight_that_changes_is_read_again():
    rng = np.random.default_rng(12)
    x = whole_numbers(rng, (1, 8, 8, 8))
    program = jax.jit(lambda x, w: up(x, w, (2, 2), "SAME"))
    for _ in range(8):
        w = whole_numbers(rng, (4, 4, 8, 8))
        assert np.array_equal(program(x, w), jax.lax.conv_transpose(x, w, (2, 2), "SAME"))


def test_eight_threads():
    rng = np.random.default_rng(13)
    program = jax.jit(lambda x, w: up(x, w, (2, 2), "SAME"))

    def run(seed):
        rng = np.random.default_rng(seed)
        x, w = whole_numbers(rng, (1, 9, 9, 16)), whole_numbers(rng, (4, 4, 16, 8))
        expected = tconv.conv_transpose(x, w, dialect="jax", strides=(2, 2), padding="SAME")
        return all(np.array_equal(program(x, w), expected) for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, rng.integers(1000, size=8)))


@pytest.mark.parametrize("name", ["tconv.jax", "tconv.jax.functional", "tconv.jax.ffi_handler"])
def test_the_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0 == result.failed


@pytest.mark.parametrize(("flag", "number"), [("jax_debug_nans", np.nan), ("jax_debug_infs", np.inf)])
def test_debug_flags_end_in_an_error_that_names_the_operator(flag, number):
    x, w = jnp.full((1, 4, 4, 2), number), jnp.ones((3, 3, 2, 3))
    jax.config.update(flag, True)
    try:
        with pytest.raises(FloatingPointError, match="encountered in tconv_conv_transpose"):
            tconv.jax.conv_transpose(x, w, (2, 2), "SAME")
        with pytest.raises(FloatingPointError, match="encountered in tconv_conv_transpose"):
            jax.jit(lambda x, w: tconv.jax.conv_transpose(x, w, (2, 2), "SAME"))(x, w)
    finally:
        jax.config.update(flag, False)


@pytest.mark.parametrize("stride", [(2**40, 1), (10**6, 10**6)])
def test_calls_that_exceed_the_memory_are_refused_while_tracing(stride):
    x, w = jnp.ones((1, 4, 4, 4)), jnp.ones((3, 3, 4, 5))
    for run in (lambda f: f(x, w), lambda f: jax.eval_shape(f, x, w)):
        with pytest.raises(TooLargeError, match="the call needs"):
            run(lambda x, w: up(x, w, stride, "SAME"))


def test_layers_check_sizes_as_calls_do():
    layer = tconv.Geometry((3,), (2,)), DataLayout(("N", 0, "C")), WeightLayout((0, "I", "O"), "O", False)
    x, w = jnp.ones((1, 4, 2)), jnp.ones((3, 2, 5))
    with pytest.raises(ShapeError, match="at least 1 element"):
        operator.apply(x[:, :0], w, None, *layer, layer[1])
    cropped = replace(layer[0], crop=((9, 9),))
    with pytest.raises(ShapeError, match="Use a smaller crop"):
        operator.apply(x, w, None, cropped, *layer[1:], layer[1])


def test_weights_with_infinities_warn_of_nothing():
    x, w = jnp.zeros((1, 4, 4, 2)), jnp.ones((3, 3, 2, 3)).at[0, 0].set(jnp.inf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = jax.jit(lambda x, w: up(x, w, (2, 2), "SAME"))(x, w).block_until_ready()
    assert np.isnan(y).any()
    assert [str(one.message) for one in caught if one.category is RuntimeWarning] == []


def test_variables_that_are_arrays_to_jax():
    class Param:
        def __jax_array__(self):
            return jnp.asarray(W)

    assert (up(X, Param(), (2,), "SAME") == up(X, W, (2,), "SAME")).all()


def test_one_input_with_a_huge_stride():
    x, w = jnp.full((1, 1, 2), 3, "int32"), jnp.arange(18, dtype="int32").reshape(3, 2, 3)
    assert (up(x, w, (2**40,), None, crop=0) == up(x, w, (1,), None, crop=0)).all()
