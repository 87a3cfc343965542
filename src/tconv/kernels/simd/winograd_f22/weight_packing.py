"""Packing of the weight for the filtered form: sums of taps in the order of their use, once for each weight."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.weight_cache import cache_line_aligned
from tconv.kernels.simd.winograd_f22.algebra import filtered_geometry
from tconv.kernels.simd.winograd_f22.tiling import channel_blocks

LARGEST = {"float32": 1e11, "float64": 1e140}
"""Weights up to it, times inputs whose squares are finite, can be added in any order without an overflow."""


def accepts(p: Problem, w: Array) -> bool:
    """Return True if all numbers of a weight are small enough for this form."""
    return bool((np.abs(np.asarray(w, p.accumulate)) <= LARGEST[p.accumulate.name]).all())


def product_weights(p: Problem, w: Array, width: int) -> Iterator[Array]:
    """Yield the weights of each product, [C_in, width], zero beyond the output channels. The array is used again."""
    kernel = p.geometry.kernel if p.geometry.ndim > 1 else (1, *p.geometry.kernel)
    taps_first = np.moveaxis(w.reshape(p.in_channels, p.out_channels, *kernel), (0, 1), (-2, -1))
    by_tap = np.ascontiguousarray(taps_first, p.accumulate)
    rows = np.zeros((p.in_channels, width), p.accumulate)
    sums = rows[:, : p.out_channels]
    for each in (each for chunk in filtered_geometry(p.geometry).chunks for each in chunk.products):
        (tap, sign), *more = each.taps
        np.multiply(by_tap[tap], p.accumulate.type(sign), out=sums)
        for tap, sign in more:
            (np.add if sign > 0 else np.subtract)(sums, by_tap[tap], out=sums)
        yield rows


def pack_weight(p: Problem, w: Array) -> Array:
    """Return the weight [C_in, C_out, *kernel] as [product][block][channel][row of the block], flat."""
    filtered, blocks = filtered_geometry(p.geometry), channel_blocks(p.out_channels)
    shape = filtered.product_count, blocks.total, p.in_channels, blocks.size
    flat = cache_line_aligned(p.accumulate.itemsize * math.prod(shape)).view(p.accumulate)
    packed = flat.reshape(shape)
    for number, rows in enumerate(product_weights(p, w, blocks.total * blocks.size)):
        packed[number] = rows.reshape(p.in_channels, blocks.total, blocks.size).transpose(1, 0, 2)
    return flat
