"""The transposed convolution as linear algebra: its sparse matrix K, and a LinearOperator that needs no matrix."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arguments import Ints, entries_of, ints_of, shown
from tconv._arrays import Array
from tconv._memory import physical_memory, refuse_too_large, si
from tconv.dialects import DataLayout, WeightLayout
from tconv.dialects import dialect as find_dialect
from tconv.dialects.framework_layers import call_of
from tconv.errors import ArgumentError, MissingExtraError, ShapeError, TooLargeError
from tconv.geometry import Geometry
from tconv.kernels.problem import accumulator
from tconv.operator.call_reading import read_call
from tconv.operator.dtype_check import check_dtypes
from tconv.operator.functional import conv, conv_transpose


def _scipy() -> Any:
    """Return scipy.sparse. Raises MissingExtraError without SciPy."""
    try:
        import scipy.sparse.linalg
    except ImportError:
        raise MissingExtraError("the matrix of the operator", "SciPy", "sparse") from None
    return scipy.sparse


class _LinearMap(NamedTuple):
    """Canonical weight, geometry and shapes of one linear map, and the native layouts of its input and output."""

    weight: Array
    geometry: Geometry
    channels: tuple[int, int]
    small: tuple[int, ...]
    large: tuple[int, ...]
    layouts: tuple[DataLayout, DataLayout]

    def order(self, side: int) -> Array:
        """Return the position in the native array of each canonical element of the input (side 0) or output (1)."""
        channels, spatial, layout = self.channels[side], (self.small, self.large)[side], self.layouts[side]
        native = np.arange(channels * math.prod(spatial)).reshape(layout.native_shape((1, channels, *spatial)))
        order: Array = layout.canonical(native)[0]
        return order.ravel()

    def counts(self) -> tuple[int, int]:
        """Return the rows and columns of K: inputs and outputs, channels included."""
        return self.channels[0] * math.prod(self.small), self.channels[1] * math.prod(self.large)


def _linear_map(
    weight: Any, input_shape: Ints, name: str, geometry: Geometry | None, native: dict[str, Any]
) -> _LinearMap:
    """Read the arguments of `matrix` and `linear_operator`."""
    weight, _, name, native, _ = call_of(weight, None, name, geometry, native)
    library, w = _arrays.take(weight, "weight")
    check_dtypes(library, weight=w)
    rules = find_dialect(name)
    if w.size == 0:
        raise ShapeError(f"weight has shape {w.shape}, without an element; at least one is needed. Use a whole weight")
    if w.ndim in (1, 2) and name == "torch":  # a bare kernel, as the textbook writes it
        w = w[None, None]
    ndim = w.ndim - len(rules.weight_pattern.replace("*", ""))
    if ndim < 1:
        raise ShapeError(
            f"weight has shape {w.shape}; {rules.framework}'s layout needs at least one spatial axis: "
            f"{rules.weight_layout(2).describe()} in 2-D. Use the whole weight of one layer"
        )
    layout_arguments = {name: value for name, value in native.items() if name in rules.layout_arguments}
    layout = rules.data_layout(ndim, ndim + 2, **layout_arguments)
    in_channels = _input_channels(rules.weight_layout(ndim, **layout_arguments), w.shape, geometry, native)

    def image(channels: int, *spatial: int) -> tuple[int, ...]:
        """Return the shape of one image in the dialect's axis order."""
        sizes = zip(layout.axes, layout.native_shape((1, channels, *spatial)), strict=True)
        return tuple(size for axis, size in sizes if axis != "N")

    example = (8,) * ndim if in_channels == 1 else image(in_channels, *(8,) * ndim)
    shape = _shape(input_shape, ndim, example)
    if len(shape) == ndim:  # spatial sizes of one channel
        if in_channels != 1:
            raise ShapeError(
                f"input_shape is {shape}, which has one channel; a weight of shape {w.shape} has {in_channels} input "
                f"channels. Write input_shape={image(in_channels, *shape)}"
            )
        x_shape = layout.native_shape((1, 1, *shape))
    elif len(shape) == ndim + 1:
        batch_axis = layout.axes.index("N") if "N" in layout.axes else len(shape)
        x_shape = (*shape[:batch_axis], *((1,) if "N" in layout.axes else ()), *shape[batch_axis:])
    else:
        raise ShapeError(
            f"input_shape is {shape}; a weight of shape {w.shape} has {ndim} spatial axes, so {ndim} or {ndim + 1} "
            f"sizes are needed: {layout.describe()} without N. Write input_shape={example}, for example"
        )
    _, given, spatial = layout.sizes(x_shape)
    if given != in_channels:
        raise ShapeError(
            f"input_shape is {shape}, which has {given} channels; a weight of shape {w.shape} has {in_channels} input "
            f"channels. Write input_shape={image(in_channels, *spatial)}"
        )
    size = math.prod(x_shape) * w.dtype.itemsize
    refuse_too_large(size, size, x_shape)  # NumPy limits the size even of an array of one repeated element
    call = read_call(np.broadcast_to(np.zeros((), w.dtype), x_shape), w, None, name, geometry, native)
    p, channels = call.problem, (call.problem.in_channels, call.problem.out_channels)
    return _LinearMap(call.weight, p.geometry, channels, p.input_shape, p.output_shape, (layout, call.result))


def _input_channels(
    layout: WeightLayout, shape: tuple[int, ...], geometry: Geometry | None, native: dict[str, Any]
) -> int:
    """Return the input channels of all groups that a weight of this native shape has."""
    groups = native.get("groups", native.get("group", 1)) if geometry is None else geometry.groups
    several = isinstance(groups, int) and groups > 0 and layout.grouped != "I"
    return layout.sizes(shape)["I"] * (groups if several else 1)


def _shape(input_shape: Any, ndim: int, example: tuple[int, ...]) -> tuple[int, ...]:
    """Return the entries of input_shape. Raises ArgumentError for an array of values, GeometryError for bad sizes."""
    entries = entries_of(input_shape)
    if entries is None:
        entries = (input_shape,)
    if any(entries_of(entry) is not None for entry in entries):
        shape = tuple(getattr(input_shape, "shape", ()))
        fitting = {ndim: shape, ndim + 1: shape, ndim + 2: shape[1:]}.get(len(shape), example)
        raise ArgumentError(
            f"input_shape is {shown(input_shape)}; the sizes of one image are needed, {ndim} or {ndim + 1} of them. "
            f"Write input_shape={fitting}"
        )
    return ints_of(entries, "input_shape", len(entries), least=1, example=f"input_shape={example}")


def matrix(
    weight: Any, input_shape: Ints, *, dialect: str = "torch", geometry: Geometry | None = None, **native: Any
) -> Any:
    """Return the sparse matrix K of the convolution whose transpose this is: rows are inputs, columns outputs.

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
    weight is a bare kernel, and a weight may be a layer, of which the bias is left out. Native arguments as
    `conv_transpose`. Returns a scipy.sparse.csr_array with sorted indices, of the weight's dtype (2-byte floats:
    float32, integers: int64).

    Raises what `conv_transpose` raises; TooLargeError if the matrix would not fit into memory; MissingExtraError
    without SciPy.
    """
    sparse = _scipy()
    spec = _linear_map(weight, input_shape, dialect, geometry, native)
    g = spec.geometry
    count = g.macs(spec.small, *spec.channels).border_free
    dtype = accumulator(spec.weight.dtype.newbyteorder("="))
    # per entry: two canonical positions, two native ones, these again sorted, and values; and the order of all elements
    needed, memory = count * (6 * 8 + 2 * dtype.itemsize) + 16 * sum(spec.counts()), physical_memory()
    if memory is not None and needed > memory:
        raise TooLargeError(
            f"the matrix has up to {count} entries and needs {si(needed, 'B')} to build; this machine has "
            f"{si(memory, 'B')}. Write tconv.linear_operator(...), which needs no matrix"
        )
    # one array axis for each of (group, C_in/g, *inputs, C_out/g, *taps)
    nd, groups = g.ndim, g.groups
    c_in, c_out = spec.channels[0] // groups, spec.channels[1] // groups
    inside = np.ones((1,) * (3 + 2 * nd), bool)
    position: Any = np.zeros((1,) * (3 + 2 * nd), np.int64)  # flat index into one output channel
    for a, (n, L, k, s, d, (lo, _)) in enumerate(
        zip(spec.small, spec.large, g.kernel, g.stride, g.dilation, g.crop, strict=True)
    ):
        along_axis = s * np.arange(n)[:, None] + d * np.arange(k) - lo
        shape = [1] * (3 + 2 * nd)
        shape[2 + a], shape[3 + nd + a] = n, k
        inside = inside & ((along_axis >= 0) & (along_axis < L)).reshape(shape)
        position = position * L + along_axis.reshape(shape)
    full = (groups, c_in, *spec.small, c_out, *g.kernel)
    inside = np.broadcast_to(inside, full)
    channel = (np.arange(groups)[:, None] * c_out + np.arange(c_out)).reshape(groups, 1, *[1] * nd, c_out, *[1] * nd)
    columns = np.broadcast_to(channel * math.prod(spec.large) + position, full)[inside]
    inputs = np.arange(spec.channels[0] * math.prod(spec.small)).reshape(groups, c_in, *spec.small, 1, *[1] * nd)
    rows = np.broadcast_to(inputs, full)[inside]
    values = spec.weight.reshape(groups, c_in, *[1] * nd, c_out, *g.kernel).astype(dtype)
    entries = np.broadcast_to(values, full)[inside]
    order_in, order_out = spec.order(0), spec.order(1)
    K = sparse.coo_array((entries, (order_in[rows], order_out[columns])), shape=spec.counts()).tocsr()
    K.sort_indices()
    return K


def linear_operator(
    weight: Any, input_shape: Ints, *, dialect: str = "torch", geometry: Geometry | None = None, **native: Any
) -> Any:
    """Return A = K.T without the matrix: matvec is the transposed convolution, rmatvec its adjoint.

    >>> import numpy as np, tconv
    >>> from scipy.sparse.linalg import lsqr
    >>> A = tconv.linear_operator(np.array([[1., 2.], [3., 4.]]), (2, 2))
    >>> lsqr(A, A @ [0., 1., 2., 3.])[0].round(6)                   # the inverse of the operator
    array([0., 1., 2., 3.])

    Arguments and errors as `matrix`. Returns a scipy.sparse.linalg.LinearOperator of shape (outputs, inputs), which
    PyLops accepts. Complex weights are conjugated in the adjoint; integer weights act as float64.
    """
    sparse = _scipy()
    spec = _linear_map(weight, input_shape, dialect, geometry, native)
    w = spec.weight.astype(np.float64 if spec.weight.dtype.kind in "iu" else accumulator(spec.weight.dtype))
    inputs, outputs = spec.counts()

    def map_columns(function: Any, weight: Array, flat: Array, side: int) -> Array:
        """Return a function of the columns of flat [elements, columns] as a batch, in the order of the other side."""
        columns = np.asarray(flat).reshape(len(flat), -1).T
        dtype = np.result_type(columns.dtype, weight.dtype)
        shape = (len(columns), spec.channels[side], *(spec.small, spec.large)[side])
        images = columns.astype(dtype)[:, spec.order(side)].reshape(shape)
        result = function(images, weight.astype(dtype), geometry=spec.geometry)
        ordered = np.empty((len(columns), math.prod(result.shape[1:])), dtype)
        ordered[:, spec.order(1 - side)] = result.reshape(ordered.shape)
        return ordered.T

    def apply(flat: Array) -> Array:
        return map_columns(conv_transpose, w, flat, 0)

    def adjoint(flat: Array) -> Array:
        return map_columns(conv, w.conj(), flat, 1)

    return sparse.linalg.LinearOperator(
        (outputs, inputs), matvec=apply, rmatvec=adjoint, matmat=apply, rmatmat=adjoint, dtype=w.dtype
    )
