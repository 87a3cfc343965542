"""Kernels with zeros between or around their taps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tconv._arrays import Array
from tconv.rewriting.operations import Constant


def with_zero_taps(weight: Constant, counts: Sequence[tuple[int, int]]) -> Constant:
    """Return a weight with zero taps in front of its kernel and behind, (front, behind) per spatial axis."""
    if not any(map(any, counts)):
        return weight
    kernel = [k + front + behind for k, (front, behind) in zip(weight.shape[2:], counts, strict=True)]
    return weight.derived((*weight.shape[:2], *kernel), lambda w: np.pad(w, [(0, 0), (0, 0), *counts]))


def spread_taps(weight: Constant, dilation: Sequence[int]) -> Constant:
    """Return a weight whose dilation is written as zeros between its taps."""
    kernel = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    if tuple(kernel) == weight.shape[2:]:
        return weight
    shape = (*weight.shape[:2], *kernel)

    def spread(w: Array) -> Array:
        wide = np.zeros(shape, w.dtype)
        wide[:, :, *(slice(None, None, d) for d in dilation)] = w
        return wide

    return weight.derived(shape, spread)


def flipped(weight: Constant, groups: int) -> Constant:
    """Return a canonical weight as that of a convolution: [C_out, C_in/groups, *k], its taps reversed."""
    c_in, c_out, kernel = weight.shape[0] // groups, weight.shape[1], weight.shape[2:]
    shape = (groups * c_out, c_in, *kernel)

    def flip(w: Array) -> Array:
        apart = w.reshape(groups, c_in, c_out, *kernel).swapaxes(1, 2).reshape(shape)
        return np.ascontiguousarray(np.flip(apart, tuple(range(2, len(shape)))))

    return weight.derived(shape, flip)
