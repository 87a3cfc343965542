"""The operator as linear algebra: K as a sparse matrix, and without a matrix at all."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv import arrays
from tconv.dialects import DataLayout
from tconv.errors import DtypeError, MissingExtraError, TooLargeError
from tconv.functional import conv, conv_transpose
from tconv.geometry import Geometry, Ints
from tconv.kernels.problem import Array
from tconv.planning import physical_memory, prepare, si


def _scipy() -> Any:
    try:
        import scipy.sparse.linalg
    except ImportError:
        raise MissingExtraError("the matrix of the operator", "SciPy", "sparse") from None
    return scipy.sparse


class _Spec(NamedTuple):
    """A weight and the shapes between which its matrix maps, in canonical terms and in the dialect's order."""

    weight: Array
    geometry: Geometry
    batched: DataLayout  # with a batch axis, whatever was given
    channels: tuple[int, int]
    small: tuple[int, ...]
    large: tuple[int, ...]

    def order(self, channels: int, spatial: tuple[int, ...]) -> Array:
        """Index into the raveled native array of each canonical element [C, *spatial]."""
        count = channels * math.prod(spatial)
        native = np.arange(count).reshape(self.batched.native_shape((1, channels, *spatial)))
        order: Array = self.batched.canonical(native)[0]
        return order

    def counts(self) -> tuple[int, int]:
        """Rows and columns of K: inputs and outputs, channels included."""
        return self.channels[0] * math.prod(self.small), self.channels[1] * math.prod(self.large)


def _spec(weight: Any, input_shape: Ints, dialect: str, geometry: Geometry | None, native: dict[str, Any]) -> _Spec:
    _, w = arrays.take(weight, "weight")
    if w.dtype.kind not in "iufcV":
        raise DtypeError(f"weight has dtype {w.dtype}; numbers are needed. Write weight.astype(np.float64)")
    if w.ndim in (1, 2) and dialect == "torch":  # a bare kernel, as the textbook writes it
        w = w[None, None]
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    ndim = w.ndim - 2
    if len(shape) == ndim:  # spatial sizes of one channel
        shape = (
            (*shape, 1)
            if dialect == "tensorflow" and native.get("data_format", "N").endswith(("N", "C"))
            else (1, *shape)
        )
    x = np.broadcast_to(w.dtype.type(0), (1, *shape))
    call = prepare(x, w, None, dialect, geometry, native)
    g = call.problem.geometry
    channels = (call.problem.in_channels, call.problem.out_channels)
    return _Spec(call.weight, g, call.result, channels, call.problem.input_shape, call.problem.output_shape)


def matrix(
    weight: Any, input_shape: Ints, *, dialect: str = "torch", geometry: Geometry | None = None, **native: Any
) -> Any:
    """The sparse matrix K of the convolution whose transpose this is: rows are inputs, columns outputs.

    >>> import numpy as np, tconv
    >>> K = tconv.matrix(np.array([[1, 2], [3, 4]]), (2, 2))
    >>> K.toarray()
    array([[1, 2, 0, 3, 4, 0, 0, 0, 0],
           [0, 1, 2, 0, 3, 4, 0, 0, 0],
           [0, 0, 0, 1, 2, 0, 3, 4, 0],
           [0, 0, 0, 0, 1, 2, 0, 3, 4]])
    >>> (K.T @ [0, 1, 2, 3]).reshape(3, 3)                          # = conv_transpose of [[0, 1], [2, 3]]
    array([[ 0,  1,  2],
           [ 2, 10, 10],
           [ 6, 17, 12]])

    `input_shape` is (C_in, *spatial), or spatial alone for one channel, in the dialect's axis order ((h, w, C_in) in
    TensorFlow's); elements are numbered in C order and there is no bias: K.T @ x.ravel() == y.ravel(). A 1-D or 2-D
    weight is a bare kernel. Native arguments as `conv_transpose`. Returns a scipy.sparse.csr_array with sorted indices,
    of the weight's dtype (2-byte floats: float32, integers: int64).

    Raises what `conv_transpose` raises; TooLargeError if the matrix would not fit into memory; MissingExtraError
    without SciPy.
    """
    sparse = _scipy()
    spec = _spec(weight, input_shape, dialect, geometry, native)
    g = spec.geometry
    count = g.macs(spec.small, *spec.channels).border_free
    dtype = (
        np.int64
        if spec.weight.dtype.kind in "iu"
        else np.float32
        if spec.weight.dtype.itemsize == 2
        else spec.weight.dtype
    )
    needed, there = count * (2 * 8 + np.dtype(dtype).itemsize) * 2, physical_memory()
    if there is not None and needed > there:
        raise TooLargeError(
            f"the matrix has up to {count} entries and needs {si(needed, 'B')} to build; this machine has "
            f"{si(there, 'B')}. "
            "Write tconv.linear_operator(...), which needs no matrix"
        )
    # one array axis for each of (group, C_in/g, *inputs, C_out/g, *taps)
    nd, groups = g.ndim, g.groups
    c_in, c_out = spec.channels[0] // groups, spec.channels[1] // groups
    inside = np.ones((1,) * (3 + 2 * nd), bool)
    place: Any = np.zeros((1,) * (3 + 2 * nd), np.int64)  # flat index into one output channel
    for a, (n, L, k, s, d, (lo, _)) in enumerate(
        zip(spec.small, spec.large, g.kernel, g.stride, g.dilation, g.crop, strict=True)
    ):
        position = s * np.arange(n)[:, None] + d * np.arange(k) - lo
        shape = [1] * (3 + 2 * nd)
        shape[2 + a], shape[3 + nd + a] = n, k
        inside = inside & ((position >= 0) & (position < L)).reshape(shape)
        place = place * L + position.reshape(shape)
    full = (groups, c_in, *spec.small, c_out, *g.kernel)
    inside = np.broadcast_to(inside, full)
    channel = (np.arange(groups)[:, None] * c_out + np.arange(c_out)).reshape(groups, 1, *[1] * nd, c_out, *[1] * nd)
    columns = np.broadcast_to(channel * math.prod(spec.large) + place, full)[inside]
    inputs = np.arange(spec.channels[0] * math.prod(spec.small)).reshape(groups, c_in, *spec.small, 1, *[1] * nd)
    rows = np.broadcast_to(inputs, full)[inside]
    values = spec.weight.reshape(groups, c_in, *[1] * nd, c_out, *g.kernel).astype(dtype)
    entries = np.broadcast_to(values, full)[inside]
    order_in, order_out = (
        spec.order(spec.channels[0], spec.small).ravel(),
        spec.order(spec.channels[1], spec.large).ravel(),
    )
    made = sparse.coo_array((entries, (order_in[rows], order_out[columns])), shape=spec.counts()).tocsr()
    made.sort_indices()
    return made


def linear_operator(
    weight: Any, input_shape: Ints, *, dialect: str = "torch", geometry: Geometry | None = None, **native: Any
) -> Any:
    """A = K.T without the matrix: matvec is the transposed convolution, rmatvec its adjoint.

    >>> import numpy as np, tconv
    >>> from scipy.sparse.linalg import lsqr
    >>> A = tconv.linear_operator(np.array([[1., 2.], [3., 4.]]), (2, 2))
    >>> lsqr(A, A @ [0., 1., 2., 3.])[0].round(6)                   # the inverse that "deconvolution" promises
    array([0., 1., 2., 3.])

    Arguments and errors as `matrix`. Returns a scipy.sparse.linalg.LinearOperator of shape (outputs, inputs); PyLops
    takes it as it is. Complex weights are conjugated in the adjoint; integer weights act as float64.
    """
    sparse = _scipy()
    spec = _spec(weight, input_shape, dialect, geometry, native)
    w = spec.weight
    if w.dtype.kind in "iu":
        w = w.astype(np.float64)
    elif w.dtype.itemsize == 2:
        w = w.astype(np.float32)
    inputs, outputs = spec.counts()

    def through(function: Any, weight: Array, flat: Array, channels: int, spatial: tuple[int, ...]) -> Array:
        """The columns of flat [elements, columns] as a batch through a function, and back."""
        columns = np.asarray(flat).reshape(len(flat), -1).T
        images = columns.reshape(len(columns), *spec.batched.native_shape((1, channels, *spatial))[1:])
        dtype = np.result_type(columns.dtype, weight.dtype)
        batch = np.stack([spec.batched.canonical(image[None])[0] for image in images]) if len(images) else images
        result = function(batch.astype(dtype), weight.astype(dtype), geometry=spec.geometry)
        native_result = np.empty((len(columns), *spec.batched.native_shape((1, *result.shape[1:]))[1:]), dtype)
        spec.batched.canonical(native_result)[...] = result
        return native_result.reshape(len(columns), -1).T

    def apply(flat: Array) -> Array:
        return through(conv_transpose, w, flat, spec.channels[0], spec.small)

    def adjoint(flat: Array) -> Array:
        result = through(conv, w.conj(), flat, spec.channels[1], spec.large)
        return result

    return sparse.linalg.LinearOperator(
        (outputs, inputs), matvec=apply, rmatvec=adjoint, matmat=apply, rmatmat=adjoint, dtype=w.dtype
    )
