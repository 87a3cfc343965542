"""Gradient by the weight: products of two tensors at every shift of the kernel, summed over all positions.

For a [N, A, *n] and b [N, B, *L] the element [i, j, t] is the sum over m and p of a[m, i, p] * b[m, j, s*p + d*t - lo].
With a = x and b = the output's gradient it belongs to a transposed convolution; exchanged, to a convolution.

Lanes are positions along the last axis, and sums of a few channels and taps stay in registers (`block`). A tile is some
rows of one picture, small enough for the cache (`tiles`), with a sum of its own for each element (`tile_loop`). `call`
has the tables of offsets, and adds the sums of all tiles in their order: the same bits on any number of threads.

It computes more than it is asked for: `tconv.torch.training_choice` takes float32 and float64 alone, and stride 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv.geometry import Geometry
from tconv.kernels.simd.availability import reason_unavailable

DTYPES = ("float32", "float64", "float16", "bfloat16")


def reasons_against(
    g: Geometry,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    a_strides: tuple[int, ...],
    b_strides: tuple[int, ...],
    dtype: Any,
) -> list[str]:
    """Return the reasons why it cannot run for arrays of these shapes, and strides counted in elements."""
    reasons = []
    if (unavailable := reason_unavailable()) is not None:
        reasons.append(unavailable)
    if np.dtype(dtype).name not in DTYPES:
        reasons.append(f"it computes {', '.join(DTYPES)}")
    if 0 in (*a_shape, *b_shape):
        reasons.append("there are no numbers to add")
    if g.stride[-1] != 1:
        reasons.append("the stride of the last axis is not 1")
    if a_strides[-1] != 1 or b_strides[-1] != 1:
        reasons.append("the numbers of a row are not side by side")
    return reasons
