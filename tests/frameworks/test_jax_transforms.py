"""Derivatives and other transforms of `tconv.jax`: any order, both modes, and in any combination."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xla  # noqa: F401  (before JAX: its flags make compilation faster)
from jax.test_util import check_grads
from jax_releases import enable_x64
from standard_cases import random_call

import tconv.jax
from random_calls import whole_numbers
from tconv.errors import ShapeError
from tconv.jax import operator


@pytest.fixture(autouse=True)
def double_precision():
    with enable_x64(True):
        yield


def draw(seed, **more):
    """Return a random call in double precision: forward, adjoint, and their arrays."""
    rng = np.random.default_rng(seed)
    spans = {"n": (1, 3), "k": (1, 3), "batch": (1, 2), "in_per_group": (1, 2), "groups": (1, 2), **more}
    call = random_call(rng, (1, 2), "float64", **spans)
    g, layouts = call.geometry, (call.data, call.weight_layout, call.result)
    bias = rng.normal(size=call.result.sizes(call.y.shape)[1])

    def forward(x, w, bias=None):
        return operator.apply(x, w, bias, g, *layouts)

    def adjoint(y, w):
        return operator.adjoint(y, w, g, *layouts[::-1])

    return forward, adjoint, *map(jnp.asarray, (call.x, call.weight, bias, call.y))


@pytest.mark.parametrize("seed", range(4))
def test_derivatives_of_second_order_in_both_modes(seed):
    forward, adjoint, x, w, bias, y = draw(seed)
    check_grads(jax.jit(forward), (x, w, bias), 2, modes=["fwd", "rev"])
    check_grads(jax.jit(adjoint), (y, w), 2, modes=["fwd", "rev"])


def test_third_derivatives():
    forward, _, x, w, bias, _ = draw(4)
    check_grads(jax.jit(lambda x, w: jnp.sin(forward(x, w, bias)).sum()), (x, w), 3, modes=["rev"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "axes", [(0, None, None), (None, 0, None), (0, 0, None), (1, -1, 0), (None, None, 0), (0, None, 0)]
)
def test_vmap(axes, seed):
    """Every combination of batched operands, of the call and of its gradients, against a loop."""
    forward, _, *arrays, _ = draw(10 + seed)
    rng = np.random.default_rng(seed)
    batched = [
        each if axis is None else jnp.stack([each + jnp.asarray(rng.normal(size=each.shape)) for _ in range(3)], axis)
        for each, axis in zip(arrays, axes, strict=True)
    ]

    def everything(*arrays):
        y, pull = jax.vjp(forward, *arrays)
        return y, pull(jnp.sin(y)), jax.jvp(forward, arrays, arrays)[1]

    got = jax.jit(jax.vmap(everything, axes))(*batched)
    alone = jax.jit(everything)
    for i in range(3):
        one = [each if axis is None else jnp.take(each, i, axis) for each, axis in zip(batched, axes, strict=True)]
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(alone(*one)), strict=True):
            np.testing.assert_allclose(a[i], b, 1e-9, 1e-9)


@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (0, 0, None), (None, None, 0), (1, -1, 0)])
def test_vmap_over_nothing(axes):
    forward, adjoint, *arrays, y = draw(19)
    batch = [a if axis is None else jnp.stack([a], axis) for a, axis in zip(arrays, axes, strict=True)]
    batch = [a if axis is None else a.take(np.zeros(0, int), axis) for a, axis in zip(batch, axes, strict=True)]
    got = jax.jit(jax.vmap(forward, axes))(*batch)
    assert (got.shape, got.dtype) == ((0, *y.shape), y.dtype)
    gradients = jax.vmap(jax.grad(lambda *each: (forward(*each) ** 2).sum(), (0, 1, 2)), axes)(*batch)
    assert [g.shape for g in gradients] == [(0, *a.shape) for a in arrays]
    ys, ws = jnp.zeros((0, *y.shape)), jnp.zeros((0, *arrays[1].shape))
    assert jax.vmap(adjoint)(ys, ws).shape == (0, *arrays[0].shape)


def test_vmap_of_the_adjoint_and_of_vmap():
    _, adjoint, _, w, _, y = draw(20)
    ys, ws = jnp.stack([y, 2 * y, -y]), jnp.stack([w, w + 1, w * 3])
    for axes, arrays in (((0, None), (ys, w)), ((None, 0), (y, ws)), ((0, 0), (ys, ws))):
        got = jax.jit(jax.vmap(adjoint, axes))(*arrays)
        each = [adjoint(*(a[i] if at == 0 else a for a, at in zip(arrays, axes, strict=True))) for i in range(3)]
        np.testing.assert_allclose(got, jnp.stack(each), 1e-9, 1e-9)
    both = jax.jit(jax.vmap(jax.vmap(adjoint, (0, None)), (None, 0)))(ys, ws)
    np.testing.assert_allclose(both[2, 1], adjoint(ys[1], ws[2]), 1e-9, 1e-9)


def test_gradients_of_each_example():
    """`vmap(grad)` and `grad(vmap)`, as in differential privacy."""
    forward, _, x, w, bias, _ = draw(21)
    loss = lambda w, x: jnp.tanh(forward(x, w, bias)).sum()  # noqa: E731
    xs = jnp.stack([x, x / 2, -x])
    each = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(w, xs)
    np.testing.assert_allclose(each.sum(0), jax.grad(lambda w: jax.vmap(loss, (None, 0))(w, xs).sum())(w), 1e-9, 1e-9)
    np.testing.assert_allclose(each[1], jax.grad(loss)(w, xs[1]), 1e-9, 1e-9)


def test_scan_of_a_gradient_remat_and_hessian():
    forward, _, x, w, bias, _ = draw(22)
    loss = lambda w: (forward(x, w, bias) ** 2).mean()  # noqa: E731
    step = lambda w, _: (w - 0.1 * jax.grad(loss)(w), loss(w))  # noqa: E731
    last, losses = jax.jit(lambda w: jax.lax.scan(step, w, None, length=5))(w)
    expected = w
    for _ in range(5):
        expected, _ = step(expected, None)
    np.testing.assert_allclose(last, expected, 1e-9, 1e-9)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(jax.grad(jax.checkpoint(loss))(w), jax.grad(loss)(w), 1e-9)
    hessian = jax.jit(jax.hessian(loss))(w)
    direction = jnp.sin(w)
    _, product = jax.linearize(jax.grad(loss), w)
    np.testing.assert_allclose(jnp.tensordot(hessian, direction, w.ndim), product(direction), 1e-9, 1e-9)


def test_linear_transpose():
    forward, adjoint, x, w, bias, y = draw(23)
    to_x, to_bias = jax.linear_transpose(lambda x, b: forward(x, w, b), x, bias)(y)
    np.testing.assert_allclose(to_x, adjoint(y, w), 1e-9, 1e-9)
    assert to_bias.shape == bias.shape
    to_w, again = jax.linear_transpose(lambda w, b: forward(x, w, b), w, bias)(y)
    np.testing.assert_allclose(to_w, jax.vjp(lambda w: forward(x, w), w)[1](y)[0], 1e-9, 1e-9)
    assert (again == to_bias).all()
    with pytest.raises(NotImplementedError, match="not linear"):
        jax.linear_transpose(lambda b: forward(x, w, b), bias)(y)


def test_complex_numbers():
    rng = np.random.default_rng(24)
    x, w = (jnp.asarray(whole_numbers(rng, s, "float64") + 1j * whole_numbers(rng, s)) for s in ((1, 3, 2), (3, 2, 2)))
    up = jax.jit(lambda x, w: tconv.jax.conv_transpose(x, w, (2,), "SAME"))
    check_grads(up, (x, w), 2, modes=["fwd", "rev"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_where_the_output_has_a_wider_dtype(dtype):
    rng = np.random.default_rng(25)
    x, w = (jnp.asarray(whole_numbers(rng, shape)).astype(dtype) for shape in ((2, 5, 3), (4, 3, 2)))

    def wide(x, w):  # lax has such gradients of its own since 0.7
        return jax.lax.conv_transpose(x.astype("float32"), w.astype("float32"), (2,), "SAME")

    def wide_result(x, w):
        return tconv.jax.conv_transpose(x, w, (2,), "SAME", preferred_element_type="float32")

    def gradients(f):
        return jax.grad(lambda x, w: (f(x, w) ** 2).sum(), (0, 1))(x, w)

    for ours, theirs in zip(gradients(wide_result), gradients(wide), strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(ours.astype("f"), theirs.astype("f"), 1e-2)


def test_symbolic_sizes():
    batch, n = jax.export.symbolic_shape("b, n")
    rng = np.random.default_rng(26)
    w = whole_numbers(rng, (4, 3, 2), "float64")
    loss = lambda x, w: (tconv.jax.conv_transpose(x, w, (2,), "SAME") ** 2).sum()  # noqa: E731
    both = jax.jit(jax.value_and_grad(loss, (0, 1)))
    exported = jax.export.export(both)(jax.ShapeDtypeStruct((batch, n, 3), "float64"), w)
    for sizes in ((2, 5), (1, 9)):
        x = whole_numbers(rng, (*sizes, 3), "float64")
        for a, b in zip(jax.tree.leaves(exported.call(x, w)), jax.tree.leaves(both(x, w)), strict=True):
            np.testing.assert_allclose(a, b, 1e-9)


def test_symbolic_sizes_of_the_adjoint_and_of_a_batch_of_weights():
    batch, n = jax.export.symbolic_shape("b, n", constraints=["n >= 4"])
    rng = np.random.default_rng(28)
    w = whole_numbers(rng, (4, 3, 2), "float64")
    words = {"dialect": "jax", "strides": (2,), "padding": "VALID"}
    both = jax.jit(jax.value_and_grad(lambda y, w: (tconv.conv(y, w, **words) ** 2).sum(), (0, 1)))
    exported = jax.export.export(both)(jax.ShapeDtypeStruct((batch, n, 2), "float64"), w)
    for sizes in ((2, 9), (1, 10)):  # no window reaches the last element of 9
        y = whole_numbers(rng, (*sizes, 2), "float64")
        for a, b in zip(jax.tree.leaves(exported.call(y, w)), jax.tree.leaves(both(y, w)), strict=True):
            np.testing.assert_allclose(a, b, 1e-9)
    x = whole_numbers(rng, (2, 5, 3), "float64")
    up = jax.jit(jax.vmap(lambda w: tconv.jax.conv_transpose(x, w, (2,), "SAME")))
    exported = jax.export.export(up)(jax.ShapeDtypeStruct((*jax.export.symbolic_shape("b"), 4, 3, 2), "float64"))
    ws = np.stack([w, -w, 2 * w])
    np.testing.assert_allclose(exported.call(ws), up(ws), 1e-9)


@pytest.mark.parametrize(("groups", "c_in", "c_out"), [(1, 1, 2), (1, 8, 2), (4, 4, 8), (4, 64, 64), (16, 32, 32)])
def test_strict_promotion(groups, c_in, c_out):
    """Programs are lowered under the user's settings: JAX promotes neither ranks nor dtypes for us."""
    x, w, bias = jnp.ones((2, 3, 4, c_in), "f"), jnp.ones((3, 3, c_in // groups, c_out), "f"), jnp.ones(c_out, "f")

    def loss(x, w, bias):
        more = {"feature_group_count": groups, "bias": bias, "preferred_element_type": "float32"}
        return (tconv.jax.conv_transpose(x, w, (2, 2), "SAME", **more) ** 2).sum()

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        for dtype in ("float32", "bfloat16"):
            arrays = [each.astype(dtype) for each in (x, w, bias)]
            jax.grad(loss, (0, 1, 2))(*arrays)
            jax.vmap(jax.grad(loss, (0, 1, 2)))(*(jnp.stack([each, each]) for each in arrays))
        jax.export.export(jax.jit(loss))(x, w, bias)


def test_without_compilation():
    forward, _, x, w, bias, _ = draw(27)
    with jax.disable_jit():
        y = forward(x, w, bias)
    assert (y == forward(x, w, bias)).all()


def test_switches_of_the_platform():
    """A program for several platforms has the kernel's call for the CPU alone."""
    x, w = jnp.ones((1, 4, 3)), jnp.ones((3, 3, 2))
    up = lambda x, w: tconv.jax.conv_transpose(x, w, (2,), "SAME")  # noqa: E731
    text = jax.jit(up).trace(x, w).lower(lowering_platforms=("cpu",)).as_text()
    assert "tconv_conv_transpose" in text
    text = jax.jit(up).trace(x, w).lower(lowering_platforms=("cuda",)).as_text()
    assert "custom_call" not in text


def test_vmap_of_no_calls():
    """The size that an empty batch is folded into cannot be told from the result."""
    x, w, b = np.ones((0, 2, 5, 3), "f"), np.ones((4, 3, 2), "f"), np.ones(2, "f")
    up = lambda x, w, b: tconv.jax.conv_transpose(x, w, (2,), "SAME", bias=b)  # noqa: E731
    ws = np.ones((0, 4, 3, 2), "f")
    assert jax.vmap(up, (0, None, None))(x, w, b).shape == (0, 2, 10, 2)
    assert jax.vmap(up, (None, 0, None))(np.ones((2, 5, 3), "f"), ws, b).shape == (0, 2, 10, 2)
    per_call = jax.jit(jax.vmap(jax.grad(lambda w, x: (up(x, w, b) ** 2).sum()), (None, 0)))
    assert per_call(w, x).shape == (0, 4, 3, 2)
    assert jax.vmap(jax.grad(lambda w, x: (up(x, w, b) ** 2).sum()))(ws, x).shape == (0, 4, 3, 2)


def test_results_that_no_memory_holds():
    """Refuse them while tracing, under vmap, too."""
    w = np.ones((4, 3, 2), "f")
    up = lambda x: tconv.jax.conv_transpose(x, w, (10**7,), "SAME")  # noqa: E731
    with pytest.raises(ShapeError, match=r"which no memory holds. Use a smaller stride"):
        jax.eval_shape(jax.vmap(up), jax.ShapeDtypeStruct((10**11, 1, 5, 3), "float32"))
