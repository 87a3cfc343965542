"""The definition of the transposed convolution, in four forms for reading. Every kernel must equal these functions.

Bare 1-D and 2-D arrays may be given as the textbook writes them, `scatter(X, K)`; arrays with more axes are batches
with channels, x [N, C_in, *spatial] and w [C_in, C_out/groups, *kernel]. Elements are summed in float64, complex128 or
int64 and rounded once, to the dtype of x (integers: int64). Lists and arrays of any library are taken.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._textbook_arguments import evaluate
from tconv.geometry import Geometry


def scatter(x: Any, w: Any, bias: Any = None, **spec: Any) -> Any:
    """Return the sum of the kernels that all input elements add to the output, each multiplied by its element.

    >>> scatter([[0, 1], [2, 3]], [[0, 1], [2, 3]])
    array([[ 0,  0,  1],
           [ 0,  4,  6],
           [ 4, 12,  9]])
    """
    return evaluate(_scatter, x, w, bias, spec)


def gather(x: Any, w: Any, bias: Any = None, **spec: Any) -> Any:
    """Return for each output element the sum over the inputs i that reach it: s*i + d*t is its full position.

    >>> gather([[0, 1], [2, 3]], [[0, 1], [2, 3]], padding=1)
    array([[4]])
    >>> gather([1, 2, 3], [1, 10, 100], stride=2)
    array([  1,  10, 102,  20, 203,  30, 300])
    """
    return evaluate(_gather, x, w, bias, spec)


def zero_insertion(x: Any, w: Any, bias: Any = None, **spec: Any) -> Any:
    """Return the convolution with the flipped kernel of the padded inputs with s - 1 zeros between them.

    >>> zero_insertion([[0, 1], [2, 3]], [[0, 1], [2, 3]], padding=1)
    array([[4]])
    >>> zero_insertion([1, 2, 3], [1, 10, 100], stride=2)
    array([  1,  10, 102,  20, 203,  30, 300])
    """
    return evaluate(_zero_insertion, x, w, bias, spec)


def matrix(x: Any, w: Any, bias: Any = None, **spec: Any) -> Any:
    """Return the product y = K.T @ x, where K [inputs, outputs] is the matrix of the convolution below.

    >>> matrix([[0, 1], [2, 3]], [[0, 1], [2, 3]], padding=1)
    array([[4]])
    >>> matrix([1, 2, 3], [1, 10, 100], stride=2)
    array([  1,  10, 102,  20, 203,  30, 300])
    """
    return evaluate(_matrix, x, w, bias, spec)


def _scatter(x: Array, w: Array, g: Geometry) -> Array:
    full = np.zeros((*x.shape[:2], w.shape[2], *g.full_shape(x.shape[3:])), x.dtype)
    for i in np.ndindex(*x.shape[3:]):
        axes = zip(i, g.stride, g.extent, g.dilation, strict=True)
        positions = tuple(slice(s * j, s * j + e, d) for j, s, e, d in axes)
        full[:, :, :, *positions] += np.einsum("ngc,gco...->ngo...", x[:, :, :, *i], w)
    return _crop(full, g)


def _gather(x: Array, w: Array, g: Geometry) -> Array:
    y = np.zeros((*x.shape[:2], w.shape[2], *g.output_shape(x.shape[3:])), x.dtype)
    for o in np.ndindex(*y.shape[3:]):
        for t in np.ndindex(*g.kernel):
            steps = [p + lo - d * j for p, (lo, _), d, j in zip(o, g.crop, g.dilation, t, strict=True)]
            i = [step // s for step, s in zip(steps, g.stride, strict=True)]
            on_grid = all(step % s == 0 for step, s in zip(steps, g.stride, strict=True))
            if on_grid and all(0 <= j < n for j, n in zip(i, x.shape[3:], strict=True)):
                y[:, :, :, *o] += np.einsum("ngc,gco->ngo", x[:, :, :, *i], w[:, :, :, *t])
    return y


def _zero_insertion(x: Array, w: Array, g: Geometry) -> Array:
    inputs: Any = [slice(None, None, s) for s in g.stride]
    taps: Any = [slice(None, None, d) for d in g.dilation]
    spread = np.zeros((*x.shape[:3], *(s * (n - 1) + 1 for s, n in zip(g.stride, x.shape[3:], strict=True))), x.dtype)
    spread[..., *inputs] = x
    spread = np.pad(spread, [(0, 0)] * 3 + [(e - 1, e - 1) for e in g.extent])
    windows = np.lib.stride_tricks.sliding_window_view(spread, g.extent, tuple(range(3, x.ndim)))
    windows = windows[..., *taps]
    flipped = np.flip(w, tuple(range(3, w.ndim)))
    return _crop(np.einsum("ngc...k,gcok->ngo...", _flat(windows, g.ndim), _flat(flipped)), g)


def _matrix(x: Array, w: Array, g: Geometry) -> Array:
    y: Array = np.einsum("gcoij,ngci->ngoj", dense(w, g, x.shape[3:]), _flat(x))
    return y.reshape(*y.shape[:3], *g.output_shape(x.shape[3:]))


def dense(w: Array, g: Geometry, input_shape: tuple[int, ...]) -> Array:
    """Return K as a dense array [groups, C_in/groups, C_out/groups, inputs, outputs]: K[i, s*i + d*t - lo] = w[t].

    >>> w = np.array([1, 10, 100]).reshape(1, 1, 1, 3)  # [groups, C_in/groups, C_out/groups, taps]
    >>> dense(w, Geometry((3,), stride=2), (2,))[0, 0, 0]
    array([[  1,  10, 100,   0,   0],
           [  0,   0,   1,  10, 100]])
    """
    K = np.zeros((*w.shape[:3], *input_shape, *g.output_shape(input_shape)), w.dtype)
    for i, t in product(np.ndindex(*input_shape), np.ndindex(*g.kernel)):
        o = [s * a + d * b - lo for a, b, s, d, (lo, _) in zip(i, t, g.stride, g.dilation, g.crop, strict=True)]
        if all(0 <= a < L for a, L in zip(o, g.output_shape(input_shape), strict=True)):
            K[:, :, :, *i, *o] = w[:, :, :, *t]
    return K.reshape(*w.shape[:3], *(math.prod(shape) for shape in (input_shape, g.output_shape(input_shape))))


def conv(y: Any, w: Any, **spec: Any) -> Any:
    """Return the convolution whose transpose this is: the kernel slides over y, u[i] = sum_t y[s*i + d*t - lo] w[t].

    >>> conv(np.arange(9).reshape(3, 3), [[1, 2], [3, 4]])
    array([[27, 37],
           [57, 67]])
    """
    return evaluate(_conv, y, w, None, spec, large=True)


def _conv(y: Array, w: Array, g: Geometry) -> Array:
    u = np.zeros((*y.shape[:2], w.shape[1], *g.conv_shape(y.shape[3:])), y.dtype)
    for i, t in product(np.ndindex(*u.shape[3:]), np.ndindex(*g.kernel)):
        o = [s * a + d * b - lo for a, b, s, d, (lo, _) in zip(i, t, g.stride, g.dilation, g.crop, strict=True)]
        if all(0 <= a < L for a, L in zip(o, y.shape[3:], strict=True)):
            u[:, :, :, *i] += np.einsum("ngo,gco->ngc", y[:, :, :, *o], w[:, :, :, *t])
    return u


def _flat(array: Array, last: int | None = None) -> Array:
    """Return the array with all spatial axes, or its `last` axes, joined to one."""
    first = array.ndim - last if last else 3
    return array.reshape(*array.shape[:first], math.prod(array.shape[first:]))


def _crop(full: Array, g: Geometry) -> Array:
    """Return full[lo : len - hi] per axis; a negative side extends it with zeros."""
    full = np.pad(full, [(0, 0)] * 3 + [(max(0, -lo), max(0, -hi)) for lo, hi in g.crop])
    inside: Any = [slice(max(0, lo), n - max(0, hi)) for n, (lo, hi) in zip(full.shape[3:], g.crop, strict=True)]
    return full[..., *inside]
