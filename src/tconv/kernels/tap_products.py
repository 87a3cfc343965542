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


def _products(source: Array, matrix: Array) -> Array:
    """Return the products of source [N, G, A, *window] with matrix [G, B, A], [N, G, B, *window]."""
    flat = matrix @ source.reshape(*source.shape[:3], math.prod(source.shape[3:]))
    return flat.reshape(*flat.shape[:3], *source.shape[3:])


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
