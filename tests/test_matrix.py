"""The matrix K and the LinearOperator: entries, orders of the dialects, dtypes, least squares, PyLops."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from scipy.sparse.linalg import LinearOperator, lsqr

import tconv
from random_calls.strategies import cases
from tconv import definition
from tconv.errors import ArgumentError, GeometryError, ShapeError, TooLargeError


@given(cases())
def test_K_transposed_times_x_is_y(case):
    g, image = case.geometry, case.x[0]
    K = tconv.matrix(case.w, image.shape, geometry=g)
    y = definition.scatter(image[None], case.w, geometry=g)[0]
    assert K.shape == (image.size, y.size)
    assert K.dtype == np.int64
    assert K.has_sorted_indices
    assert K.nnz == g.macs(image.shape[1:], case.w.shape[0], case.w.shape[1] * g.groups).exact
    np.testing.assert_array_equal(K.T @ image.ravel(), y.ravel())


@given(cases())
def test_K_equals_the_dense_definition(case):
    g, n = case.geometry, case.x.shape[2:]
    split = case.w.reshape(g.groups, -1, *case.w.shape[1:])
    blocks = definition.dense(split, g, n)  # [groups, C_in/g, C_out/g, inputs, outputs]
    dense = [block.transpose(0, 2, 1, 3).reshape(block.shape[0] * block.shape[2], -1) for block in blocks]
    np.testing.assert_array_equal(
        tconv.matrix(case.w, case.x.shape[1:], geometry=g).toarray(), scipy.linalg.block_diag(*dense)
    )


def test_tensorflows_order():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-5, 6, (1, 4, 3, 2)), rng.integers(-5, 6, (3, 3, 5, 2))
    arguments = {"output_shape": [1, 8, 6, 5], "strides": 2, "padding": "SAME"}
    y = tconv.conv_transpose(x, w, dialect="tensorflow", **arguments)
    K = tconv.matrix(w, (4, 3, 2), dialect="tensorflow", **arguments)
    np.testing.assert_array_equal(K.T @ x.ravel(), y.ravel())
    A = tconv.linear_operator(w, (4, 3, 2), dialect="tensorflow", **arguments)
    np.testing.assert_array_equal(A @ x.ravel(), y.ravel())
    one = tconv.matrix(w[:, :, :, :1], (4, 3), dialect="tensorflow", **arguments)
    np.testing.assert_array_equal(
        one.T @ x[..., 0].ravel(),
        tconv.conv_transpose(x[..., :1], w[..., :1], dialect="tensorflow", **arguments).ravel(),
    )


@given(cases())
def test_the_operator_is_the_matrix(case):
    shape = case.x.shape[1:]
    K = tconv.matrix(case.w, shape, geometry=case.geometry)
    A = tconv.linear_operator(case.w, shape, geometry=case.geometry)
    assert isinstance(A, LinearOperator)
    assert A.shape == K.T.shape
    v = np.random.default_rng(0).integers(-5, 6, (K.shape[0], 3)).astype(float)
    u = np.random.default_rng(1).integers(-5, 6, (K.shape[1], 2)).astype(float)
    np.testing.assert_array_equal(A @ v, K.T @ v)
    np.testing.assert_array_equal(A @ v[:, 0], K.T @ v[:, 0])
    np.testing.assert_array_equal(A.H @ u, K @ u)
    np.testing.assert_array_equal(A.rmatvec(u[:, 0]), K @ u[:, 0])


def test_complex_weights_are_conjugated_in_the_adjoint():
    w = np.array([[1 + 2j, 3 - 1j], [0 + 1j, 2 + 0j]])
    A, K = tconv.linear_operator(w, (3, 3), stride=2), tconv.matrix(w, (3, 3), stride=2)
    u = np.arange(A.shape[0]) * (1 - 2j)
    np.testing.assert_array_equal(A.H @ u, K.conj() @ u)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", "float32"), ("float16", "float32"), ("int8", "int64"), ("complex64", "complex64")],
)
def test_dtypes(dtype, expected):
    assert tconv.matrix(np.ones((2, 2), dtype), (3, 3)).dtype == expected
    A = tconv.linear_operator(np.ones((2, 2), dtype), (3, 3))
    assert (A @ np.ones(9)).sum() == 36


def test_least_squares_is_the_inverse():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 8, 9)), rng.standard_normal((3, 4, 4, 4))
    A = tconv.linear_operator(w, x.shape, stride=2, padding=1)
    y = tconv.conv_transpose(x, w, stride=2, padding=1)
    np.testing.assert_allclose(A @ x.ravel(), y.ravel())
    found = lsqr(A, y.ravel(), atol=1e-12, btol=1e-12)[0].reshape(x.shape)
    np.testing.assert_allclose(found, x, atol=1e-8)
    assert np.abs(tconv.conv(y, w, stride=2, padding=1) - x).max() > 1  # the transpose is no inverse


def test_pylops_takes_the_operator():
    pylops = pytest.importorskip("pylops")
    w = np.random.default_rng(0).standard_normal((2, 3, 3, 3))
    A = pylops.aslinearoperator(tconv.linear_operator(w, (2, 5, 4), stride=2))
    assert pylops.utils.dottest(A, *A.shape)
    stacked = pylops.VStack([A, pylops.Identity(A.shape[1])])
    x = np.arange(float(A.shape[1]))
    np.testing.assert_allclose(stacked @ x, np.concatenate([A @ x, x]))
    np.testing.assert_allclose(pylops.optimization.basic.lsqr(A, A @ x, niter=200)[0], x, atol=1e-6)


@pytest.mark.parametrize("name", tconv.dialects.names())
def test_every_dialects_order(name):
    """Spatial sizes alone mean one channel in every dialect, at any position of its channel axis."""
    dialect, g = tconv.dialect(name), tconv.Geometry((3, 3))
    w = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    K = tconv.matrix(dialect.to_native(w, 1), (4, 2), dialect=name, **dialect.arguments(g, (4, 2)))
    np.testing.assert_array_equal(K.toarray(), tconv.matrix(w, (4, 2)).toarray())


def test_refusals():
    w = np.ones((2, 3, 3, 3))
    message = (
        r"input_shape is \(5, 8, 8\), which has 5 channels; .* has 2 input channels. Write input_shape=\(2, 8, 8\)"
    )
    with pytest.raises(ShapeError, match=message):
        tconv.matrix(w, (5, 8, 8))
    with pytest.raises(
        ShapeError,
        match=r"input_shape is \(2, 8, 8, 8\); .* 2 or 3 sizes are needed: \[N, C, h, w\] without N. "
        r"Write input_shape=\(2, 8, 8\), for example",
    ):
        tconv.matrix(w, (2, 8, 8, 8))
    for function in (tconv.matrix, tconv.linear_operator):
        with pytest.raises(
            ArgumentError,
            match=r"input_shape is an array of shape \(1, 2, 4, 4\); the sizes of one image are needed, 2 or 3 of them. "
            r"Write input_shape=\(2, 4, 4\)$",
        ):
            function(w, np.ones((1, 2, 4, 4)))
    with pytest.raises(ArgumentError, match=r"array of shape \(4, 4\); .* Write input_shape=\(4, 4\)$"):
        tconv.matrix(np.ones((3, 3)), np.ones((4, 4)))
    with pytest.raises(
        ArgumentError, match=r"input_shape is \[\[1, 2\], \[3, 4\]\]; .* Write input_shape=\(2, 8, 8\)$"
    ):
        tconv.matrix(w, [[1, 2], [3, 4]])
    with pytest.raises(GeometryError, match=r"input_shape is \(2, 8, 0\.5\); .* Write input_shape=\(2, 8, 8\), for"):
        tconv.matrix(w, (2, 8, 0.5))
    with pytest.raises(ShapeError, match=r"weight has shape \(\); PyTorch's layout needs at least one spatial axis"):
        tconv.matrix(5, 5)
    with pytest.raises(TooLargeError, match=r"Write tconv\.linear_operator\(\.\.\.\), which needs no matrix"):
        tconv.matrix(np.ones((256, 256, 4, 4), "f"), (256, 256, 256))


@pytest.mark.parametrize("function", [tconv.matrix, tconv.linear_operator])
@pytest.mark.parametrize("name", [name for name in tconv.dialects.names() if name != "openvino"])
def test_the_proposed_shape_is_taken_for_any_number_of_channels(name, function):
    rng, g = np.random.default_rng(0), tconv.Geometry((3, 2), 2)
    w = rng.integers(-4, 5, (4, 3, 3, 2)).astype(float)
    arguments = {"dialect": name, **tconv.dialect(name).arguments(g, (5, 6))}
    native, expected = tconv.dialect(name).to_native(w, 1), tconv.matrix(w, (4, 5, 6), stride=2)
    layout = tconv.dialect(name).data_layout(2, 4)
    wrong = tuple(
        size for axis, size in zip(layout.axes, layout.native_shape((1, 7, 5, 6)), strict=True) if axis != "N"
    )
    for sizes in ((5, 6), wrong):
        with pytest.raises(ShapeError, match=r"has 4 input channels\. Write input_shape=\(") as refusal:
            function(native, sizes, **arguments)
        taken = function(native, eval(str(refusal.value).partition("input_shape=")[2]), **arguments)
        assert taken.shape in (expected.shape, expected.shape[::-1])
    for sizes in ((5, 6, 7, 8, 9), (5, 6, None)):
        with pytest.raises(tconv.TconvError, match=r"Write input_shape=\(.*\), for example") as refusal:
            function(native, sizes, **arguments)
        proposed = eval(str(refusal.value).partition("Write input_shape=")[2].partition(", for example")[0])
        assert sorted(proposed) == [4, 8, 8]
