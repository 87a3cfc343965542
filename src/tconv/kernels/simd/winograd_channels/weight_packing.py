"""Packing of the weight: sums of taps in the order of their use, once for each weight."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.weight_cache import cache_line_aligned
from tconv.kernels.simd.winograd_channels.tiling import filtered_layer
from tconv.kernels.simd.winograd_f22.weight_packing import product_weights


def pack_weight(p: Problem, w: Array) -> Array:
    """Return the weight [C_in, C_out, *kernel] as [block][product][input channel][column of the block], flat."""
    layer, lanes = filtered_layer(p.layer), elements_of(p.dtype).lanes
    products, width = layer.geometry.product_count, sum(layer.blocks) * lanes
    flat = cache_line_aligned(p.accumulate.itemsize * products * p.in_channels * width).view(p.accumulate)
    starts = np.cumsum([0, *layer.blocks]) * lanes
    blocks = [
        flat[products * p.in_channels * begin : products * p.in_channels * end].reshape(products, p.in_channels, -1)
        for begin, end in pairwise(starts)
    ]
    for number, columns in enumerate(product_weights(p, w, width)):
        for block, begin, end in zip(blocks, starts[:-1], starts[1:], strict=True):
            block[number] = columns[:, begin:end]
    return flat
