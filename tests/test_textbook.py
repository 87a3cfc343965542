"""The numbers of the textbook, by every form of the definition and every method."""

import numpy as np
import pytest

import tconv

X = K = np.array([[0, 1], [2, 3]])
FORMS = ["scatter", "gather", "zero_insertion", "matrix"]
ANSWERS = [
    ({}, [[0, 0, 1], [0, 4, 6], [4, 12, 9]]),
    ({"padding": 1}, [[4]]),
    ({"stride": 2}, [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]),
]


@pytest.mark.parametrize(("spec", "answer"), ANSWERS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_on_bare_arrays(form, spec, answer):
    assert getattr(tconv.definition, form)(X, K, **spec).tolist() == answer
    assert getattr(tconv.definition, form)(X.tolist(), K.tolist(), **spec).tolist() == answer


@pytest.mark.parametrize(("spec", "answer"), ANSWERS)
@pytest.mark.parametrize("method", ["auto", "simd", "polyphase", "taps"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_methods(method, spec, answer, dtype):
    if method == "simd" and dtype != "float32":
        pytest.skip("this method computes float32")
    x = X.astype(dtype)[None, None]
    y = tconv.conv_transpose(x, x, method=method, **spec)
    assert y[0, 0].tolist() == answer


def test_the_convolution_and_its_matrix():
    x, k = np.arange(9.0).reshape(3, 3), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert tconv.definition.conv(x, k).tolist() == [[27, 37], [57, 67]]
    y = tconv.conv(x[None, None], k[None, None])
    assert y[0, 0].tolist() == [[27, 37], [57, 67]]
    W = tconv.matrix(k, (2, 2))
    assert W.shape == (4, 9)
    assert W.toarray().tolist() == [
        [1, 2, 0, 3, 4, 0, 0, 0, 0],
        [0, 1, 2, 0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0, 3, 4, 0],
        [0, 0, 0, 0, 1, 2, 0, 3, 4],
    ]
    assert (W @ x.ravel()).tolist() == y.ravel().tolist()
    assert (W.T @ y.ravel()).tolist() == tconv.conv_transpose(y, k[None, None]).ravel().tolist()


def test_channels_and_strides_restore_the_shape():
    x = np.random.default_rng(0).random((1, 10, 16, 16))
    w = np.random.default_rng(1).random((20, 10, 5, 5))  # of the convolution 10 -> 20
    y = tconv.conv(x, w, padding=2, stride=3)
    assert y.shape == (1, 20, 6, 6)
    assert tconv.conv_transpose(y, w, padding=2, stride=3).shape == x.shape
