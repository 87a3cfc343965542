"""The weight in the order in which the multiply-adds of the direct sum read it."""

from __future__ import annotations

import numpy as np

from tconv.kernels.problem import Array, Problem
from tconv.kernels.simd.direct.schedule import work
from tconv.kernels.simd.weight_cache import cache_line_aligned


def packed(p: Problem, w: Array) -> Array:
    """The weight [C_in, C_out/g, *kernel] in the order in which the multiply-adds read it."""
    done = work(p.layer)
    blocks = done.blocks
    g = p.geometry
    G, channels = g.groups, p.out_channels // g.groups
    kernel = g.kernel if g.ndim > 1 else (1, *g.kernel)
    # taps first: each step takes [G, C_in, C_out] of one tap
    by_tap = np.ascontiguousarray(
        np.moveaxis(w.reshape(G, p.in_channels // G, channels, *kernel), (0, 1, 2), (-3, -2, -1)), np.float32
    )
    whole = cache_line_aligned(4 * G * done.terms * channels).view(np.float32)
    total = whole.reshape(G, -1)
    started = 0
    for call in done.calls:
        for width, count, first in (
            (blocks.wide, blocks.wide_count, 0),
            (blocks.wide - 1, blocks.narrow_count, blocks.wide * blocks.wide_count),
        ):
            if not count or not width:
                continue
            size = call.terms * width
            begin_here = started + first * call.terms
            here = total[:, begin_here : begin_here + count * size].reshape(G, count, size)
            place = 0
            for step in (step for part in call.parts for step in part):
                begin, end = step.channels
                rows = slice(first, first + count * width)
                some = np.stack([by_tap[tap][:, begin:end, rows] for tap in step.taps])
                length = (end - begin) * width * len(some)
                # [phase, G, C_in, block, channel of the block] -> [G, block, C_in, channel of the block, phase]
                blocks_first = some.reshape(len(some), G, end - begin, count, width).transpose(1, 3, 2, 4, 0)
                here[:, :, place : place + length] = blocks_first.reshape(G, count, length)
                place += length
        started += call.terms * channels
    return whole
