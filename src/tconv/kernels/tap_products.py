"""Method "taps": one matrix product per tap, over exactly the elements that the tap connects. Nothing is padded.

It is slower than the polyphase form, and correct for weights with inf or NaN. `conv`, the convolution whose transpose
this is, uses the same windows in the other direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels.problem import Kernel, Problem

_Window = tuple[Any, ...]  # one index or slice per axis
_ROWS_BYTES = 1 << 20
"""Bytes of the sums that `run_rows` computes together."""


def windows(g: Geometry, small: tuple[int, ...], large: tuple[int, ...]) -> Iterator[tuple[_Window, _Window, _Window]]:
    """Yield each tap with the windows that it connects, small[i] and large[s*i + d*t - lo], unless they are empty."""
    for tap in np.ndindex(*g.kernel):
        inner, outer = [], []
        for n, L, t, s, d, (lo, _) in zip(small, large, tap, g.stride, g.dilation, g.crop, strict=True):
            first, last = max(0, -((d * t - lo) // s)), min(n - 1, (L - 1 + lo - d * t) // s)
            if first > last:
                break
            inner.append(slice(first, last + 1))
            outer.append(slice(s * first + d * t - lo, s * last + d * t - lo + 1, s))
        else:
            yield tap, tuple(inner), tuple(outer)


def _grouped(array: Array, groups: int) -> Array:
    return array.reshape(len(array), groups, array.shape[1] // groups, *array.shape[2:])


def _products(source: Array, matrix: Array, axes: int = 3) -> Array:
    """Return the products of source [..., G, A, *window] with matrix [G, B, A], [..., G, B, *window]."""
    flat = matrix @ source.reshape(*source.shape[:axes], math.prod(source.shape[axes:]))
    return flat.reshape(*flat.shape[:axes], *source.shape[axes:])


def run(p: Problem, x: Array, w: Array, bias: Array | None, out: Array) -> None:
    """Fill out [N, C_out, *L] from canonical x, w and bias."""
    g = p.geometry
    sums = np.zeros((p.batch, g.groups, p.out_channels // g.groups, *p.output_shape), p.accumulate)
    x = _grouped(x.astype(p.accumulate, copy=False), g.groups)
    w = w.reshape(g.groups, p.in_channels // g.groups, *w.shape[1:]).astype(p.accumulate, copy=False)
    for tap, inner, outer in windows(g, p.input_shape, p.output_shape):
        sums[..., *outer] += _products(x[..., *inner], w[..., *tap].swapaxes(1, 2))
    if bias is not None:
        sums += bias.astype(p.accumulate, copy=False).reshape(g.groups, p.out_channels // g.groups, *[1] * g.ndim)
    out[...] = sums.reshape(out.shape)


def run_rows(g: Geometry, x: Array, w: Array, bias: Array | None, out: Array, accumulate: Any = None) -> None:
    """Fill out [N, C_out, *L] from x [N, C_in, *n], w and bias, each row along the first spatial axis by itself.

    A row is the sum of matrix products whose sizes depend on the other axes alone, so its bits do not depend on which
    other rows there are: BLAS adds in another order for other sizes. It is slower than `run`. Sums have the dtype
    `accumulate`, else that of out, and are rounded once.
    """
    if g.ndim == 1:  # a row of one element
        plane = Geometry((*g.kernel, 1), (*g.stride, 1), (*g.crop, (0, 0)), (*g.dilation, 1), g.groups)
        run_rows(plane, x[..., None], w[..., None], bias, out[..., None], accumulate)
        return
    dtype = np.dtype(accumulate or out.dtype)
    row = Geometry(g.kernel[1:], g.stride[1:], g.crop[1:], g.dilation[1:])
    across = list(windows(row, x.shape[3:], out.shape[3:]))
    w = w.reshape(g.groups, w.shape[0] // g.groups, *w.shape[1:]).astype(dtype, copy=False)
    biases = None if bias is None else bias.astype(dtype, copy=False).reshape(g.groups, -1, *[1] * row.ndim)
    sizes = g.groups, w.shape[2], *out.shape[3:]
    most = max(1, _ROWS_BYTES // max(1, math.prod(out.shape[:2] + out.shape[3:]) * dtype.itemsize))
    for start in range(0, out.shape[2], most):
        part = out[:, :, start : start + most]
        sums = np.zeros((part.shape[2], len(x), *sizes), dtype)
        _add_rows(g, x, w, across, start, sums)
        if biases is not None:
            sums += biases
        part[...] = np.moveaxis(sums.reshape(*sums.shape[:2], *part.shape[1:2], *part.shape[3:]), 0, 2)


def _add_rows(g: Geometry, x: Array, w: Array, across: list[Any], start: int, sums: Array) -> None:
    """Add the products of the output rows from `start` on to sums [rows, N, G, C_out/g, *rest]."""
    k, s, (lo, _), d = g.kernel[0], g.stride[0], g.crop[0], g.dilation[0]
    begin, end = start + lo, start + lo + len(sums)  # in rows of the full output
    low, high = max(0, -((d * (k - 1) - begin) // s)), min(x.shape[2], (end - 1) // s + 1)
    # rows first, with memory of their own: each product has the same strides, whatever x has
    rows = np.moveaxis(x[:, :, low : max(low, high)], 2, 0)
    rows = rows.reshape(*rows.shape[:2], g.groups, w.shape[1], *x.shape[3:])
    rows = np.ascontiguousarray(rows, sums.dtype)
    for tap in range(k):
        first, last = max(low, -((d * tap - begin) // s)), min(high - 1, (end - 1 - d * tap) // s)
        if first > last:
            continue
        source = rows[first - low : last + 1 - low]
        target = sums[s * first + d * tap - begin : s * last + d * tap - begin + 1 : s]
        for column, inner, outer in across:
            target[..., *outer] += _products(source[..., *inner], w[..., tap, *column].swapaxes(1, 2), 4)


def conv(g: Geometry, y: Array, w: Array, dtype: np.dtype[np.generic]) -> Array:
    """Return the convolution of y [N, C_out, *L], [N, C_in, *n], summed in this dtype."""
    small = g.conv_shape(y.shape[2:])
    sums = np.zeros((len(y), g.groups, w.shape[0] // g.groups, *small), dtype)
    y = _grouped(y.astype(dtype, copy=False), g.groups)
    w = w.reshape(g.groups, w.shape[0] // g.groups, *w.shape[1:]).astype(dtype, copy=False)
    for tap, inner, outer in windows(g, small, y.shape[3:]):
        sums[..., *inner] += _products(y[..., *outer], w[..., *tap])
    return sums.reshape(len(y), w.shape[0] * w.shape[1], *small)


def reasons_against(p: Problem) -> list[str]:
    """Return no reason: this method runs every problem."""
    return []


def scratch_bytes(p: Problem) -> int:
    """Return the bytes of the sums, one tap's products and its copy of the input, and copies in the sums' dtype."""
    itemsize = p.accumulate.itemsize
    x = p.batch * p.in_channels * math.prod(p.input_shape) * itemsize
    y = p.batch * p.out_channels * math.prod(p.output_shape) * itemsize
    products = p.batch * p.out_channels * math.prod(p.input_shape) * itemsize
    converted = x * (p.accumulate != p.dtype) + p.weight_count * itemsize * p.converts_weight
    one_tap = p.weight_count // math.prod(p.geometry.kernel) * itemsize
    return converted + x + y + products + one_tap


def conv_scratch_bytes(p: Problem, y_count: int) -> int:
    """Return the scratch bytes of `conv` for an array of y_count elements; p is the problem of its transpose."""
    itemsize = p.accumulate.itemsize
    u = p.batch * p.in_channels * math.prod(p.input_shape) * itemsize
    window = p.batch * p.out_channels * math.prod(p.input_shape) * itemsize
    converted = (y_count * (p.accumulate != p.dtype) + p.weight_count * p.converts_weight) * itemsize
    one_tap = p.weight_count // math.prod(p.geometry.kernel) * itemsize
    return converted + 2 * u + window + one_tap


def seconds(p: Problem) -> float:
    """Estimate the time beside the multiply-adds: a few calls per tap, and four passes of its products over memory."""
    taps = math.prod(p.geometry.kernel)
    products = p.batch * p.out_channels * math.prod(p.input_shape)
    return taps * (1e-5 + 4 * products * p.accumulate.itemsize / 5e9)


def _summary(p: Problem) -> str:
    return f"{math.prod(p.geometry.kernel)} taps, each a matrix product over the elements it connects (NumPy and BLAS)"


KERNEL = Kernel("taps", _summary, reasons_against, scratch_bytes, seconds, run)
