"""Packing of the weight for the direct form: once for each weight, before its first call."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.bfloat16_dot import paired_weight, runs
from tconv.kernels.simd.direct.schedule import layer_schedule
from tconv.kernels.simd.weight_cache import cache_line_aligned


def pack_weight(p: Problem, w: Array) -> Array:
    """Return the weight [C_in, C_out/g, *kernel] in the order in which the microkernel reads it."""
    schedule = layer_schedule(p.layer)
    blocks = schedule.blocks
    g = p.geometry
    G, channels = g.groups, p.out_channels // g.groups
    if runs(p):
        w = paired_weight(w, G)
    kernel = g.kernel if g.ndim > 1 else (1, *g.kernel)
    # taps first: each step reads [G, C_in, C_out] of one tap
    by_tap = np.ascontiguousarray(
        np.moveaxis(w.reshape(G, len(w) // G, channels, *kernel), (0, 1, 2), (-3, -2, -1)), p.accumulate
    )
    whole = cache_line_aligned(p.accumulate.itemsize * G * schedule.terms * channels).view(p.accumulate)
    total = whole.reshape(G, -1)
    call_start = 0
    for call in schedule.calls:
        for width, count, first in (
            (blocks.wide, blocks.wide_count, 0),
            (blocks.wide - 1, blocks.narrow_count, blocks.wide * blocks.wide_count),
        ):
            if not count or not width:
                continue
            size = call.terms * width
            block_start = call_start + first * call.terms
            packed = total[:, block_start : block_start + count * size].reshape(G, count, size)
            place = 0
            for step in (step for part in call.parts for step in part):
                begin, end = step.channels
                rows = slice(first, first + count * width)
                taps = np.stack([by_tap[tap][:, begin:end, rows] for tap in step.taps])
                length = (end - begin) * width * len(taps)
                # [phase, G, C_in, block, channel of the block] -> [G, block, C_in, channel of the block, phase]
                blocks_first = taps.reshape(len(taps), G, end - begin, count, width).transpose(1, 3, 2, 4, 0)
                packed[:, :, place : place + length] = blocks_first.reshape(G, count, length)
                place += length
        call_start += call.terms * channels
    return whole
