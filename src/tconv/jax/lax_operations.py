"""Operations of jax.lax, in the forms that are quick on the CPU or on other devices.

On the CPU XLA runs convolutions of 32-bit floats without groups well, and others by loops over single numbers. Measured
with jaxlib 0.10.2 on Zen 4 against lax's own transposed convolution, in time of all cores:

    depthwise, 64 to 512 channels, k3 and k4, stride 2     sums of products 70x to 160x, grouped convolutions 3x to 7x
    4 groups of 32 to 16 channels                          split 3.7x, im2col 3.9x, grouped convolution 3.4x
    32 groups of 8 to 4                                    im2col 11x, grouped convolution 4.9x
    4 groups of 512 channels                               split 3.2x, im2col 2.3x, grouped convolution 2.5x
    adjoint of 64 -> 1 channels, k3 s2 on 64x64x32         taps first 3.2x, its convolution in 3-D 1x
    weight gradient of that layer                          taps first 26x, a product per tap 4x, per row of taps 6x
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import add
from typing import Any

import jax.numpy as jnp
from jax import lax

from tconv.operator.standard.operations import Size

_NAMES = "ABDEFHJKLMPQRSUVWXYZ"
_FEW_CHANNELS = 2
"""Input channels of a group up to which products of single numbers beat matrix products."""
_FEW_GROUPS = 8
"""Groups up to which a convolution for each of them is quickest."""
_UNROLLED = 64
"""Taps up to which a form writes each of them into the program."""


@dataclass(frozen=True)
class LaxOperations:
    """`Operations` of jax.lax, in the quick forms of the CPU or in those of other devices."""

    cpu: bool

    def sizes(self, x: Any) -> tuple[Size, ...]:
        """Return the sizes of an array."""
        return tuple(x.shape)

    def reshape(self, x: Any, sizes: Sequence[Size]) -> Any:
        """Return the array with these sizes."""
        return lax.reshape(x, tuple(sizes))

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """Return the array with its axes in this order."""
        return lax.transpose(x, order)

    def flip(self, x: Any, axes: Sequence[int]) -> Any:
        """Return the array reversed along these axes."""
        return lax.rev(x, tuple(axes)) if axes else x

    def pad(self, x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
        """Return the array with zeros around it; below 0, with fewer elements."""
        if any(side > 0 for pair in pairs for side in pair):  # zeros first: a crop may reach into them
            x = lax.pad(x, jnp.zeros((), x.dtype), [(max(0, lo), max(0, hi), 0) for lo, hi in pairs])
        if any(side < 0 for pair in pairs for side in pair):
            starts = [max(0, -lo) for lo, _ in pairs]
            x = lax.slice(x, starts, [n - max(0, -hi) for n, (_, hi) in zip(x.shape, pairs, strict=True)])
        return x

    def slice(self, x: Any, starts: Sequence[int], sizes: Sequence[Size], steps: Sequence[int]) -> Any:
        """Return `sizes` elements from `starts`, `steps` apart."""
        stops = [start + (n - 1) * step + 1 for start, n, step in zip(starts, sizes, steps, strict=True)]
        return lax.slice(x, starts, stops, steps)

    def concatenate(self, arrays: Sequence[Any], axis: int) -> Any:
        """Return the arrays one after the other."""
        return lax.concatenate(arrays, axis)

    def zeros(self, sizes: Sequence[Size], like: Any) -> Any:
        """Return zeros of an array's dtype."""
        return jnp.zeros(tuple(sizes), like.dtype)

    def conv(
        self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int], pads: Sequence[tuple[int, int]]
    ) -> Any:
        """Return the convolution of x [N, *n, groups*C] and w [groups, *k, C, O], unflipped."""
        dtype = x.dtype
        if self.cpu and accumulator(dtype) != dtype:
            x, w = x.astype(jnp.float32), w.astype(jnp.float32)
        groups, *kernel, c_in, _ = w.shape
        taps = math.prod(kernel)
        unrolled = self.cpu and taps <= _UNROLLED
        if groups == taps == 1 and set(stride) == {1}:
            y = _dot(self._inside(x, pads), w.reshape(w.shape[-2:]))
        elif unrolled and groups > 1 and is_at_most(c_in, _FEW_CHANNELS):
            y = self._sum_of_products(self._inside(x, pads), w, stride, dilation)
        elif self.cpu and 1 < groups <= _FEW_GROUPS:
            parts = [x[..., i * c_in : (i + 1) * c_in] for i in range(groups)]
            y = [self.conv(part, w[i : i + 1], stride, dilation, pads) for i, part in enumerate(parts)]
            y = lax.concatenate(y, x.ndim - 1)
        elif unrolled and (groups > 1 or x.dtype == jnp.float64):
            y = self._im2col(self._inside(x, pads), w, stride, dilation)
        elif unrolled and len(kernel) > 2 and is_at_most(c_in, _FEW_CHANNELS):
            y = self._taps_first(self._inside(x, pads), w, stride, dilation)
        else:
            y = self._lax_conv(x, w, stride, dilation, pads)
        return y.astype(dtype)

    def correlate(self, x: Any, y: Any) -> Any:
        """Return the sums over positions of x [N, *n, g, C] times y [N, *n, g, O], as [g, C, O]."""
        last = x.ndim - 1
        summed = tuple(range(last - 1))
        numbers = ((summed, summed), ((last - 1,), (last - 1,)))
        if x.shape[-1] == y.shape[-1] == 1:
            wide = accumulator(x.dtype)
            return (x.astype(wide) * y.astype(wide)).sum(summed).astype(x.dtype)
        return lax.dot_general(x, y, numbers, preferred_element_type=accumulator(x.dtype)).astype(x.dtype)

    # -- forms of the convolution ----------------------------------------------------------------------------------

    def _inside(self, x: Any, pads: Sequence[tuple[int, int]]) -> Any:
        return self.pad(x, [(0, 0), *pads, (0, 0)])

    def _windows(self, x: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Any:
        """Yield each tap of the kernel and what it reads of x."""
        axes = list(zip(x.shape[1:-1], kernel, stride, dilation, strict=True))
        sizes = (x.shape[0], *((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in axes), x.shape[-1])
        for tap in product(*map(range, kernel)):
            starts = [0, *(d * t for d, t in zip(dilation, tap, strict=True)), 0]
            yield tap, self.slice(x, starts, sizes, (1, *stride, 1))

    def _sum_of_products(self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int]) -> Any:
        """Return a convolution as one loop over its outputs: XLA joins all the products."""
        groups, *kernel, c_in, c_out = w.shape
        terms = []
        for tap, window in self._windows(x, kernel, stride, dilation):
            by_group = window.reshape(*window.shape[:-1], groups, c_in)
            rows = w[(slice(None), *tap)].reshape(*[1] * (x.ndim - 1), groups, c_in, c_out)
            terms += [by_group[..., c : c + 1] * rows[..., c, :] for c in range(c_in)]
        y = reduce(add, terms)
        return y.reshape(*y.shape[:-2], groups * c_out)

    def _im2col(self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int]) -> Any:
        """Return a convolution as one matrix product for each group."""
        groups, *kernel, c_in, c_out = w.shape
        columns = []
        for _, window in self._windows(x, kernel, stride, dilation):
            columns.append(jnp.moveaxis(window.reshape(*window.shape[:-1], groups, c_in), -2, 0))
        rows = w.reshape(groups, math.prod(kernel) * c_in, c_out)
        joined = lax.concatenate(columns, x.ndim)
        y = lax.dot_general(joined, rows, (((x.ndim,), (1,)), ((0,), (0,))))
        y = jnp.moveaxis(y, 0, -2)
        return y.reshape(*y.shape[:-2], groups * c_out)

    def _taps_first(self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int]) -> Any:
        """Return a convolution without groups of few channels: rows of taps are copied faster than columns."""
        _, *kernel, c_in, c_out = w.shape
        windows = [window for _, window in self._windows(x, kernel, stride, dilation)]
        columns = w.reshape(math.prod(kernel) * c_in, c_out)
        y = lax.dot_general(taps_first(windows), columns, (((0,), (0,)), ((), ())))
        return y.reshape(*windows[0].shape[:-1], c_out)

    def _lax_conv(
        self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int], pads: Sequence[tuple[int, int]]
    ) -> Any:
        cut = [(min(0, lo), min(0, hi)) for lo, hi in pads]
        known = all(isinstance(n, int) and -lo - hi < n for n, (lo, hi) in zip(x.shape[1:-1], cut, strict=True))
        if known or not any(map(any, cut)):
            pads = [(max(0, lo), max(0, hi)) for lo, hi in pads]
        else:
            cut, pads = list(pads), [(0, 0)] * len(pads)
        x = self._inside(x, cut)
        groups, *kernel, c_in, c_out = w.shape
        w = lax.transpose(w, (*range(1, w.ndim - 1), 0, w.ndim - 1))
        return lax.conv_general_dilated(
            x,
            lax.reshape(w, (*kernel, c_in, groups * c_out)),
            tuple(stride),
            pads,
            rhs_dilation=tuple(dilation),
            dimension_numbers=dimension_numbers(len(kernel)),
            feature_group_count=groups,
            preferred_element_type=accumulator(x.dtype),
        )


def accumulator(dtype: Any) -> Any:
    """Return the type of the sums: 16-bit floats are summed in 32 bits."""
    dtype = jnp.dtype(dtype)
    return jnp.dtype(jnp.float32) if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4 else dtype


def is_at_most(size: Size, most: int) -> bool:
    """Return True for a size that is known and at most this: a batch of weights may be of unknown size."""
    return isinstance(size, int) and size <= most


def dimension_numbers(ndim: int) -> tuple[str, str, str]:
    """Return the names of channels last."""
    spatial = _NAMES[:ndim]
    return f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"


def taps_first(windows: Sequence[Any]) -> Any:
    """Return arrays [N, *n, C] as rows [taps*C, positions]."""
    positions, channels = math.prod(windows[0].shape[:-1]), windows[0].shape[-1]
    rows = [jnp.moveaxis(window, -1, 0) for window in windows]
    return lax.concatenate([lax.reshape(row, (channels, positions)) for row in rows], 0)


def _dot(x: Any, w: Any) -> Any:
    return lax.dot_general(x, w, (((x.ndim - 1,), (0,)), ((), ())), preferred_element_type=accumulator(x.dtype))
