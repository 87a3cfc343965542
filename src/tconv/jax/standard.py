"""The operator, its adjoint and its weight gradient in XLA's standard operators.

All three take and return native arrays. Sizes of x and y may be symbols, as in `jax.export`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.operator.standard import derivatives, forward
from tconv.operator.standard.native_layouts import data_in, data_out, weight_in, weight_out
from tconv.operator.standard.operations import Size

_NAMES = "ABDEFHJKLMPQRSUVWXYZ"


def conv_transpose(
    x: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return the transposed convolution of x and a weight, in the layout `result`."""
    images, w = data_in(OPERATIONS, x, data), weight_in(OPERATIONS, weight, weight_layout, geometry.groups)
    y = forward.conv_transpose(OPERATIONS, images, w, geometry, [True] * geometry.ndim)
    return data_out(OPERATIONS, y, result)


def conv(
    y: Any, weight: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: DataLayout
) -> Any:
    """Return the convolution of y and a weight whose transpose `conv_transpose` is, in the layout `result`."""
    images, w = data_in(OPERATIONS, y, data), weight_in(OPERATIONS, weight, weight_layout, geometry.groups)
    return data_out(OPERATIONS, derivatives.conv(OPERATIONS, images, w, geometry), result)


def weight_gradient(
    x: Any, y: Any, geometry: Geometry, x_data: DataLayout, y_data: DataLayout, weight_layout: WeightLayout
) -> Any:
    """Return the gradient with respect to the weight of the sum of y times the transposed convolution of x."""
    inputs, outputs = data_in(OPERATIONS, x, x_data), data_in(OPERATIONS, y, y_data)
    w = derivatives.weight_gradient(OPERATIONS, inputs, outputs, geometry, 1)
    return weight_out(OPERATIONS, w, weight_layout)


class _Lax:
    """`Operations` of jax.lax."""

    def sizes(self, x: Any) -> tuple[Size, ...]:
        return tuple(x.shape)

    def reshape(self, x: Any, sizes: Sequence[Size]) -> Any:
        return lax.reshape(x, tuple(sizes))

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        return lax.transpose(x, order)

    def flip(self, x: Any, axes: Sequence[int]) -> Any:
        return lax.rev(x, tuple(axes)) if axes else x

    def pad(self, x: Any, pairs: Sequence[tuple[int, int]]) -> Any:
        if any(side > 0 for pair in pairs for side in pair):  # zeros first: a crop may reach into them
            x = lax.pad(x, jnp.zeros((), x.dtype), [(max(0, lo), max(0, hi), 0) for lo, hi in pairs])
        if any(side < 0 for pair in pairs for side in pair):
            starts = [max(0, -lo) for lo, _ in pairs]
            x = lax.slice(x, starts, [n - max(0, -hi) for n, (_, hi) in zip(x.shape, pairs, strict=True)])
        return x

    def slice(self, x: Any, starts: Sequence[int], sizes: Sequence[Size], steps: Sequence[int]) -> Any:
        stops = [start + (n - 1) * step + 1 for start, n, step in zip(starts, sizes, steps, strict=True)]
        return lax.slice(x, starts, stops, steps)

    def concatenate(self, arrays: Sequence[Any], axis: int) -> Any:
        return lax.concatenate(arrays, axis)

    def zeros(self, sizes: Sequence[Size], like: Any) -> Any:
        return jnp.zeros(tuple(sizes), like.dtype)

    def conv(
        self, x: Any, w: Any, stride: Sequence[int], dilation: Sequence[int], pads: Sequence[tuple[int, int]]
    ) -> Any:
        cut = [(min(0, lo), min(0, hi)) for lo, hi in pads]
        known = all(isinstance(n, int) and -lo - hi < n for n, (lo, hi) in zip(x.shape[1:-1], cut, strict=True))
        if known or not any(map(any, cut)):
            pads = [(max(0, lo), max(0, hi)) for lo, hi in pads]
        else:
            cut, pads = list(pads), [(0, 0)] * len(pads)
        x = self.pad(x, [(0, 0), *cut, (0, 0)])
        kernel = w.shape[1:-2]
        if w.shape[0] == 1 and set(kernel) == {1} == set(stride):
            x = self.pad(x, [(0, 0), *pads, (0, 0)])
            wide = _accumulator(x.dtype)
            sums = lax.dot_general(
                x, w.reshape(w.shape[-2:]), (((x.ndim - 1,), (0,)), ((), ())), preferred_element_type=wide
            )
            return sums.astype(x.dtype)
        spatial = _NAMES[: len(kernel)]
        groups, (c_in, c_out) = w.shape[0], w.shape[-2:]
        w = lax.reshape(lax.transpose(w, (*range(1, w.ndim - 1), 0, w.ndim - 1)), (*kernel, c_in, groups * c_out))
        sums = lax.conv_general_dilated(
            x,
            w,
            tuple(stride),
            pads,
            rhs_dilation=tuple(dilation),
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
            feature_group_count=groups,
            preferred_element_type=_accumulator(x.dtype),
        )
        return sums.astype(x.dtype)

    def correlate(self, x: Any, y: Any) -> Any:
        last = x.ndim - 1
        summed = tuple(range(last - 1))
        numbers = ((summed, summed), ((last - 1,), (last - 1,)))
        return lax.dot_general(x, y, numbers, preferred_element_type=_accumulator(x.dtype)).astype(x.dtype)


def _accumulator(dtype: Any) -> Any:
    """Return the type of the sums: 16-bit floats are summed in 32 bits."""
    dtype = jnp.dtype(dtype)
    return jnp.float32 if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4 else dtype


OPERATIONS = _Lax()
