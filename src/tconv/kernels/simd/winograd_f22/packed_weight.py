"""The weight of a problem in pairs (`pairs.py`): sums of taps, in the order of their use."""

from __future__ import annotations

import math

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd.weight_cache import cache_line_aligned
from tconv.kernels.simd.winograd_f22.filtering import pairs
from tconv.kernels.simd.winograd_f22.tiling import blocks

LARGEST = 1e11
"""Weights up to it, times inputs whose squares are finite, can be summed in any order without an overflow."""


def packed(p: Problem, w: Array) -> Array:
    """The weight [C_in, C_out, *kernel] as [product][block][channel][row of the block]."""
    done, cut = pairs(p.geometry), blocks(p.out_channels)
    kernel = p.geometry.kernel if p.geometry.ndim > 1 else (1, *p.geometry.kernel)
    by_tap = np.ascontiguousarray(np.moveaxis(w.reshape(p.in_channels, p.out_channels, *kernel), (0, 1), (-2, -1)))
    shape = done.products, cut.total, p.in_channels, cut.size
    whole = cache_line_aligned(4 * math.prod(shape)).view(np.float32)
    made = whole.reshape(shape)
    rows = np.zeros((p.in_channels, cut.total * cut.size), np.float32)
    pieces = (piece for chunk in done.chunks for piece in chunk.pieces)
    for number, piece in enumerate(pieces):
        some = rows[:, : p.out_channels]
        (tap, sign), *more = piece.taps
        np.multiply(by_tap[tap], np.float32(sign), out=some)
        for tap, sign in more:
            (np.add if sign > 0 else np.subtract)(some, by_tap[tap], out=some)
        made[number] = rows.reshape(p.in_channels, cut.total, cut.size).transpose(1, 0, 2)
    return whole
