"""Sums of the definition's products in float64, tap by tap, by NumPy: what the check compares networks with.

No machine code of tconv has a part in them. The matrix products are so small that BLAS computes each on one thread: on
a busy machine its threads wait for each other far longer than the work takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry
from tconv.kernels import tap_products

_SMALL = 200_000
"""Products of matrices below which BLAS uses one thread."""
_LEAST = 16
"""Smallest number of columns of a product."""


def scattered_sums(x: Array, weight: Array, g: Geometry) -> Array:
    """Return the sums [C_out, H, W] of transposed convolution of x [C_in, h, w] by weight [C_in, C_out/g, kh, kw]."""
    by_group = weight.reshape(g.groups, -1, *weight.shape[1:])
    shape = g.output_shape(x.shape[1:])
    return _sums(x, by_group, shape, tap_products.windows(g, x.shape[1:], shape))


def gathered_sums(x: Array, by_group: Array, g: Geometry, shape: tuple[int, ...]) -> Array:
    """Return the sums [C_out, *shape] of the convolution whose transpose g describes, y[i] += w[t] x[s*i + d*t - lo].

    The weight has the groups first: [groups, C_in/groups, C_out/groups, kh, kw].
    """
    windows = ((tap, large, small) for tap, small, large in tap_products.windows(g, shape, x.shape[1:]))
    return _sums(x, by_group, shape, windows)


def _sums(x: Array, by_group: Array, shape: tuple[int, ...], windows: Iterable[tuple[Any, Any, Any]]) -> Array:
    """Return the sums over taps, each with its window of x and its window of the output."""
    groups, into, out = by_group.shape[:3]
    sums = np.zeros((groups, out, *shape))
    step = max(1, min(into, _SMALL // (out * _LEAST)))
    columns = max(_LEAST, _SMALL // (out * step))
    for tap, source, target in windows:
        window = x[:, *source]
        flat = window.reshape(groups, into, -1)
        padded = np.zeros((groups, into, -(-flat.shape[2] // columns) * columns))
        padded[:, :, : flat.shape[2]] = flat
        blocks = padded.reshape(groups, into, -1, columns).swapaxes(1, 2)  # [G, block, C_in, columns]
        matrix = by_group[..., *tap].swapaxes(1, 2)[:, None]
        for start in range(0, into, step):
            part = slice(start, start + step)
            with np.errstate(all="ignore"):  # inf and NaN are values here
                products = matrix[..., part] @ blocks[:, :, part]
                made = products.swapaxes(1, 2).reshape(groups, out, -1)[:, :, : flat.shape[2]]
                sums[..., *target] += made.reshape(groups, out, *window.shape[1:])
    return sums.reshape(-1, *shape)
