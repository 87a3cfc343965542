"""Mathematics of minimal filtering F(4,3): four output rows of a kernel with three rows, from 6 products, not 12.

    y[j] = sum over r of g[r] * d[j + r],   j = 0..3
    y = A (G g * B d)                       G [6, 3], B [6, 6], A [4, 6]; * element by element

(Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional neural
networks, 2016: F(4, 3).) The elements of d are vectors of one row each, so lanes never mix: columns stay a direct sum
over taps, and the products are added over input channels before A is applied. The points are 0, 1/2, -1/2, 3/2, -3/2
and infinity. The numbers of B and A are exact in float32, and the error is that of the direct sum, sometimes less,
because the sums have so few terms (the usual points 0, 1, -1, 2, -2 lose a third of that accuracy).
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
ROUNDINGS = 12
"""Roundings of a number on its way through G, B and A."""
_P, _Q = 0.5, 1.5
_POINTS = (0.0, _P, -_P, _Q, -_Q)


def matrices() -> tuple[Array, Array, Array]:
    """Return A, G and B in float64.

    >>> A, G, B = matrices()
    >>> g, d = np.array([1.0, 2.0, 4.0]), np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    >>> bool(np.allclose(A @ ((G @ g) * (B @ d)), np.correlate(d, g)))
    True
    """
    points = np.array(_POINTS)
    others = [np.delete(points, place) for place in range(len(points))]
    scale = np.array([np.prod(point - rest) for point, rest in zip(points, others, strict=True)])
    A = np.hstack([points ** np.arange(OUTPUTS)[:, None], np.eye(OUTPUTS)[:, -1:]])
    G = np.vstack([points[:, None] ** np.arange(TAPS) / scale[:, None], np.eye(TAPS)[-1:]])
    # polynomials whose roots are all points but one, then all of them; lowest power first
    rows = [np.append(np.poly(rest)[::-1], 0.0) for rest in others]
    return A, G, np.array([*rows, np.poly(points)[::-1]])


def planes_of(weight: Array) -> Array:
    """Return a weight [C_in, C_out, 3, kw], transformed, as [6, kw, C_in, C_out], flipped to read x in order."""
    _, G, _ = matrices()
    planes: Array = np.einsum("mr,iort->mtio", G, weight[:, :, ::-1, ::-1].astype(np.float64)).astype(np.float32)
    return planes


def mass(x: Array, weight: Array, crop: Any, anchor: int) -> Array:
    """Return the scale of the rounding errors of each output of a layer, [C_out, H', W'], float64.

    x [C_in, H, W] and weight [C_in, C_out, 3, kw] are absolute values; groups begin at row `anchor`. In the direct form
    the scale is the sum |weight| * |x|. In this form each plane has such a sum of its products. The errors of the
    planes are independent, so they add up as the root of their squares, weighted by A. The result is larger than in the
    direct form, and each output depends on all inputs of its group.
    """
    A, G, B = (np.abs(matrix) for matrix in matrices())
    (top, bottom), (left, right) = crop
    kw = weight.shape[3]
    rows, columns = x.shape[1] + TAPS - 1 - top - bottom, x.shape[2] + kw - 1 - left - right
    first = -(-anchor % OUTPUTS)
    groups = -(-(rows - first) // OUTPUTS)
    # every group with its inputs, zeros around x
    start = first + top - (TAPS - 1)
    indices = (
        start + OUTPUTS * np.arange(groups)[:, None] + np.arange(PLANES),
        np.arange(columns + kw - 1) + left - (kw - 1),
    )
    # at least one row
    reach = (max(0, min(top - (TAPS - 1), x.shape[1] - 1)), min(x.shape[1], max(1, rows + top))), (0, x.shape[2])
    inside = [(at >= begin) & (at < end) for at, (begin, end) in zip(indices, reach, strict=True)]
    at = [np.clip(at, 0, size - 1) for at, size in zip(indices, x.shape[1:], strict=True)]
    d = np.where(inside[0][:, :, None] & inside[1], x[:, at[0][:, :, None], at[1]], 0)
    products = _plane_sums(np.einsum("mr,igrw->migw", B, d), np.tensordot(G, weight[:, :, ::-1], (1, 2)))
    y = np.sqrt(np.einsum("jm,mogw->ogjw", A**2, products**2)).reshape(weight.shape[1], -1, columns)
    return np.ascontiguousarray(y[:, -first : rows - first])


def _plane_sums(d: Array, g: Array) -> Array:
    """Return the sums over channels and taps of planes d [6, C_in, groups, W] and g [6, C_in, C_out, kw], in float64.

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
