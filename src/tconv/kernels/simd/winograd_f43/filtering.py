"""Minimal filtering along rows: four output rows of a kernel with three rows, from six products instead of twelve.

    y[j] = sum over r of g[r] * d[j + r],   j = 0..3
    y = A (G g * B d)                       G [6, 3], B [6, 6], A [4, 6]; * element by element

(Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional neural
networks, 2016: F(4, 3).) d are rows of vectors, so that lanes never mix: columns stay a direct sum over taps, and sums
over input channels are taken between G, B and A. The points are 0, 1/2, -1/2, 3/2, -3/2 and infinity: the numbers of B
and A are exact in float32, and with so few terms the error is that of the direct sum, sometimes less (the usual 0, 1,
-1, 2, -2 lose a third of that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tconv.kernels.problem import Array
from tconv.kernels.simd.winograd_f43.rows import GROUP

if TYPE_CHECKING:
    from tconv.kernels.simd.vector_ir import Function, Value

OUTPUTS, TAPS = GROUP, 3
PLANES = OUTPUTS + TAPS - 1
"""Products, and input rows, of a group of output rows."""
ROUNDINGS = 12
"""How often a number is rounded on its way through G, B and A."""
_P, _Q = 0.5, 1.5
_POINTS = (0.0, _P, -_P, _Q, -_Q)


def matrices() -> tuple[Array, Array, Array]:
    """A, G and B, float64.

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
    # polynomials with all points but one as roots, and with all of them; lowest power first
    rows = [np.append(np.poly(rest)[::-1], 0.0) for rest in others]
    return A, G, np.array([*rows, np.poly(points)[::-1]])


def planes_of(weight: Array) -> Array:
    """A weight [C_in, C_out, 3, kw] of a transposed convolution as [6, kw, C_in, C_out], in the order of reading x."""
    _, G, _ = matrices()
    planes: Array = np.einsum("mr,iort->mtio", G, weight[:, :, ::-1, ::-1].astype(np.float64)).astype(np.float32)
    return planes


def mass(x: Array, weight: Array, crop: Any, anchor: int) -> Array:
    """What rounding errors are proportional to, for each output of a layer, [C_out, H', W'], float64.

    x [C_in, H, W] and weight [C_in, C_out, 3, kw], absolute values; groups begin at row `anchor`. The direct form has
    |weight| * |x| here. Here each plane has its own sum of absolute products, with errors of its own: they add up as
    independent ones do, weighed by A. It is larger, and an output has its share of all inputs of its group.
    """
    A, G, B = (np.abs(matrix) for matrix in matrices())
    (top, bottom), (left, right) = crop
    kw = weight.shape[3]
    rows, columns = x.shape[1] + TAPS - 1 - top - bottom, x.shape[2] + kw - 1 - left - right
    first = -(-anchor % OUTPUTS)
    groups = -(-(rows - first) // OUTPUTS)
    # every group with its inputs, zeros around x
    start = first + top - (TAPS - 1)
    wanted = (
        start + OUTPUTS * np.arange(groups)[:, None] + np.arange(PLANES),
        np.arange(columns + kw - 1) + left - (kw - 1),
    )
    # at least one row, whoever reads it
    reach = (max(0, min(top - (TAPS - 1), x.shape[1] - 1)), min(x.shape[1], max(1, rows + top))), (0, x.shape[2])
    there = [(at >= begin) & (at < end) for at, (begin, end) in zip(wanted, reach, strict=True)]
    at = [np.clip(at, 0, size - 1) for at, size in zip(wanted, x.shape[1:], strict=True)]
    d = np.where(there[0][:, :, None] & there[1], x[:, at[0][:, :, None], at[1]], 0)
    seen = np.lib.stride_tricks.sliding_window_view(np.einsum("mr,igrw->migw", B, d), kw, 3)
    U = np.einsum("mr,iort->mtio", G, weight[:, :, ::-1, ::-1])
    # over planes one by one: all at once would take their products apart
    products = np.stack([np.einsum("igwt,tio->ogw", seen[m], U[m], optimize=True) for m in range(PLANES)])
    y = np.sqrt(np.einsum("jm,mogw->ogjw", A**2, products**2)).reshape(weight.shape[1], -1, columns)
    return np.ascontiguousarray(y[:, -first : rows - first])


def inputs(f: Function, d: list[Value]) -> list[Value]:
    """B d in registers: twelve operations."""
    p, q = _P * _P, _Q * _Q

    def plus(a: Value, factor: float, b: Value) -> Value:
        return f.fma(b, f.value(factor, f.vector), a)

    made = [plus(plus(d[4], -(p + q), d[2]), p * q, d[0])]
    for root, other in ((_P, q), (_Q, p)):
        even, odd = plus(d[4], -other, d[2]), plus(d[3], -other, d[1])
        made += [plus(even, root, odd), plus(even, -root, odd)]
    return [*made, plus(plus(d[5], -(p + q), d[3]), p * q, d[1])]


def outputs(f: Function, m: list[Value]) -> list[Value]:
    """A m in registers: thirteen operations."""

    def weighed(a: Value, power: int, b: Value) -> Value:
        factor, other = (f.value(point**power, f.vector) for point in (_P, _Q))
        return f.fma(a, factor, b * other)

    sums, differences = (m[1] + m[2], m[3] + m[4]), (m[1] - m[2], m[3] - m[4])
    return [
        m[0] + (sums[0] + sums[1]),
        weighed(differences[0], 1, differences[1]),
        weighed(sums[0], 2, sums[1]),
        weighed(differences[0], 3, differences[1]) + m[5],
    ]
