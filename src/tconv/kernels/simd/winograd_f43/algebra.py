"""Mathematics of minimal filtering F(4,3): four output rows of a kernel with three rows, from 6 products, not 12.

    y[j] = sum over r of g[r] * d[j + r],   j = 0..3
    y = A (G g * B d)                       G [6, 3], B [6, 6], A [4, 6]; * element by element

(Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional neural
networks, 2016: F(4, 3).) The elements of d are vectors of one row each, and the products are added over input channels
before A is applied. The points are 0, 1/2, -1/2, 3/2, -3/2 and infinity. The numbers of B and A are exact in float32,
and the error is that of the direct sum, sometimes less, because the sums have so few terms (the usual points 0, 1, -1,
2, -2 lose a third of that accuracy).

Columns are a direct sum over taps. Or, for three columns of taps and many channels, pairs of columns are filtered in
the same way by F(2,3), with the points 0, 1, -1 and infinity: 4 products, not 6. Then a group of 4 x 2 outputs has 24
products, not 72, and each of its sums has one term per channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd import direct
from tconv.kernels.simd.winograd_f43.interface import GROUP

if TYPE_CHECKING:
    from tconv.kernels.simd.vector_ir import Function, Value

OUTPUTS, TAPS = GROUP, 3
PLANES = OUTPUTS + TAPS - 1
"""Planes of products, and input rows, of a group of output rows."""
PAIR = 2
ROUNDINGS = 15
"""Roundings of a number on its way through G, B and A, of rows and of columns."""
_P, _Q = 0.5, 1.5
_POINTS = {OUTPUTS: (0.0, _P, -_P, _Q, -_Q), PAIR: (0.0, 1.0, -1.0)}
_LEAST = 8
"""Products of a pair of columns per input and output channel from which on they are saved faster than transformed."""


def unit_columns(weight: Array) -> int:
    """Return the output columns of a unit, for a weight [C_in, C_out, 3, kw]: 2 with F(2,3) along columns, else 1."""
    into, out, _, taps = weight.shape
    return PAIR if taps == TAPS and into * out >= _LEAST * (into + out) else 1


def matrices(outputs: int = OUTPUTS) -> tuple[Array, Array, Array]:
    """Return A, G and B in float64, of F(4,3) or F(2,3).

    >>> A, G, B = matrices()
    >>> g, d = np.array([1.0, 2.0, 4.0]), np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    >>> bool(np.allclose(A @ ((G @ g) * (B @ d)), np.correlate(d, g)))
    True
    """
    points = np.array(_POINTS[outputs])
    others = [np.delete(points, place) for place in range(len(points))]
    scale = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    A = np.hstack([points ** np.arange(outputs)[:, None], np.eye(outputs)[:, -1:]])
    G = np.vstack([points[:, None] ** np.arange(TAPS) / scale[:, None], np.eye(TAPS)[-1:]])
    # polynomials whose roots are all points but one, then all of them; lowest power first
    rows = [np.append(np.poly(rest)[::-1], 0.0) for rest in others]
    return A, G, np.array([*rows, np.poly(points)[::-1]])


def planes_of(weight: Array) -> Array:
    """Return a weight [C_in, C_out, 3, kw], transformed, as [planes, taps, C_in, C_out], flipped to read x in order."""
    flipped = weight[:, :, ::-1, ::-1].astype(np.float64)
    planes = _weight_planes(flipped, *(matrices(outputs)[1] for outputs in (OUTPUTS, PAIR)))
    return np.moveaxis(planes, 3, 1).astype(np.float32)


def _weight_planes(weight: Array, rows: Array, columns: Array) -> Array:
    """Return a weight [C_in, C_out, 3, kw], transformed by G of rows and of columns, as [planes, C_in, C_out, taps]."""
    if unit_columns(weight) == 1:
        planes: Array = np.einsum("mr,iort->miot", rows, weight, optimize=True)
    else:
        nested = np.einsum("mr,nt,iort->mnio", rows, columns, weight, optimize=True)
        planes = nested.reshape(-1, *weight.shape[:2], 1)
    return planes


def mass(x: Array, weight: Array, crop: Any, anchor: int, column: int = 0) -> Array:
    """Return the scale of the rounding errors of each output of a layer, [C_out, H', W'], float64.

    x [C_in, H, W] and weight [C_in, C_out, 3, kw] are absolute values; groups begin at row `anchor`, pairs at column
    `column`. In the direct form the scale is the sum |weight| * |x|. In this form each plane has such a sum of its
    products. The errors of the planes are independent, so they add up as the root of their squares, weighted by A. The
    result is larger than in the direct form, and each output depends on all inputs of its group.
    """
    unit = unit_columns(weight)
    A, G, B = (np.abs(matrix) for matrix in matrices())
    pairs = [np.abs(matrix) for matrix in matrices(PAIR)] if unit == PAIR else [np.eye(1)] * 3
    (top, bottom), (left, right) = crop
    kw = weight.shape[3]
    sizes = x.shape[1] + TAPS - 1 - top - bottom, x.shape[2] + kw - 1 - left - right
    firsts = -(-anchor % OUTPUTS), -(-column % unit)
    groups = [-(-(size - first) // step) for size, first, step in zip(sizes, firsts, (OUTPUTS, unit), strict=True)]
    # every group with its inputs, zeros around x
    starts = firsts[0] + top - (TAPS - 1), firsts[1] + left - (kw - 1)
    # with a direct sum over columns, the groups of one column are followed by those that the taps read
    more = 0 if unit == PAIR else kw - 1
    indices = (
        starts[0] + OUTPUTS * np.arange(groups[0])[:, None] + np.arange(PLANES),
        starts[1] + unit * np.arange(groups[1] + more)[:, None] + np.arange(len(pairs[2])),
    )
    # at least one row
    rows = max(0, min(top - (TAPS - 1), x.shape[1] - 1)), min(x.shape[1], max(1, sizes[0] + top))
    inside = [(at >= begin) & (at < end) for at, (begin, end) in zip(indices, (rows, (0, x.shape[2])), strict=True)]
    at = [np.clip(at, 0, size - 1) for at, size in zip(indices, x.shape[1:], strict=True)]
    d = np.where(inside[0][..., None, None] & inside[1], x[:, at[0][..., None, None], at[1]], 0)
    planes = np.einsum("mr,nc,igrhc->mnigh", B, pairs[2], d, optimize=True)
    # the direct sum over columns is a transposed convolution, which flips its taps itself
    weights = _weight_planes(weight[:, :, ::-1, :: -1 if unit == PAIR else 1], G, pairs[1])
    products = _plane_sums(planes.reshape(-1, *planes.shape[2:]), weights)
    squares = (products**2).reshape(PLANES, -1, *products.shape[1:])
    y = np.sqrt(np.einsum("jm,kn,mnogh->ogjhk", A**2, pairs[0] ** 2, squares, optimize=True))
    y = y.reshape(weight.shape[1], OUTPUTS * groups[0], unit * groups[1])
    return np.ascontiguousarray(y[:, -firsts[0] :][:, : sizes[0], -firsts[1] :][:, :, : sizes[1]])


def _plane_sums(d: Array, g: Array) -> Array:
    """Return the sums over channels and taps of planes d [P, C_in, groups, W] and g [P, C_in, C_out, kw], in float64.

    The planes are groups of one layer for the direct sum: its float32 is enough for a scale.
    """
    planes, channels, groups, width = d.shape
    out, kw = g.shape[2:]
    geometry = Geometry((1, kw), 1, [(0, 0), (kw - 1, kw - 1)], groups=planes)
    p = Problem(geometry, 1, planes * channels, planes * out, (groups, width), np.dtype(np.float32))
    # relative to the largest, so that none leaves the range of float32
    sizes = [float(array.max(initial=0)) or 1.0 for array in (d, g)]
    x = np.ascontiguousarray(d.reshape(1, -1, groups, width) / sizes[0], np.float32)
    w = np.ascontiguousarray(g.reshape(-1, out, 1, kw) / sizes[1], np.float32)
    y = np.empty((1, planes * out, groups, width - kw + 1), np.float32)
    direct.run(p, x, w, None, y)
    sums: Array = y.reshape(planes, out, groups, -1).astype(np.float64) * (sizes[0] * sizes[1])
    return sums


def inputs(f: Function, d: list[Value]) -> list[Value]:
    """Return B d in registers: twelve operations."""
    p, q = _P * _P, _Q * _Q

    def plus(a: Value, factor: float, b: Value) -> Value:
        return f.fma(b, f.value(factor, f.vector), a)

    planes = [plus(plus(d[4], -(p + q), d[2]), p * q, d[0])]
    for root, other in ((_P, q), (_Q, p)):
        even, odd = plus(d[4], -other, d[2]), plus(d[3], -other, d[1])
        planes += [plus(even, root, odd), plus(even, -root, odd)]
    return [*planes, plus(plus(d[5], -(p + q), d[3]), p * q, d[1])]


def outputs(f: Function, m: list[Value]) -> list[Value]:
    """Return A m in registers: thirteen operations."""

    def weighted(a: Value, power: int, b: Value) -> Value:
        factor, other = (f.value(point**power, f.vector) for point in (_P, _Q))
        return f.fma(a, factor, b * other)

    sums, differences = (m[1] + m[2], m[3] + m[4]), (m[1] - m[2], m[3] - m[4])
    return [
        m[0] + (sums[0] + sums[1]),
        weighted(differences[0], 1, differences[1]),
        weighted(sums[0], 2, sums[1]),
        weighted(differences[0], 3, differences[1]) + m[5],
    ]


def pair_inputs(d: list[Value]) -> list[Value]:
    """Return B d of a pair of columns in registers."""
    return [d[2] - d[0], d[1] + d[2], d[2] - d[1], d[3] - d[1]]


def pair_outputs(m: list[Value]) -> list[Value]:
    """Return A m of a pair of columns in registers."""
    return [m[0] + (m[1] + m[2]), (m[1] - m[2]) + m[3]]
