"""Packing of the weight for the form with lanes over output channels: once for each weight, before its first call."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.bfloat16_dot import paired_weight, runs
from tconv.kernels.simd.channel_lanes.schedule import layer_schedule
from tconv.kernels.simd.weight_cache import cache_line_aligned


def pack_weight(p: Problem, w: Array) -> Array:
    """Return the weight [C_in, C_out/g, *kernel] in the order in which the microkernel reads it.

    That is [group][run][block][term][column of the block], with zeros for the columns that fill the last vector.
    """
    schedule = layer_schedule(p.layer)
    lanes = schedule.sizes.elements.lanes
    g = p.geometry
    G, channels = g.groups, p.layer.group_out
    if runs(p):
        w = paired_weight(w, G)
    kernel = g.kernel if g.ndim > 1 else (1, *g.kernel)
    # taps first: each step reads [G, C_in, C_out] of one tap
    by_tap = np.ascontiguousarray(
        np.moveaxis(w.reshape(G, len(w) // G, channels, *kernel), (0, 1, 2), (-3, -2, -1)), p.accumulate
    )
    whole = cache_line_aligned(p.accumulate.itemsize * G * schedule.group_weights).view(p.accumulate)
    total = whole.reshape(G, -1)
    start = 0
    for run in schedule.runs:
        columns = np.zeros((G, run.terms, sum(run.vectors) * lanes), p.accumulate)
        for number, parts in enumerate(run.parts):
            of_phase = columns[:, :, number * channels : (number + 1) * channels]
            term = 0
            for step in (step for part in parts for step in part):
                begin, end = step.channels
                of_phase[:, term : term + end - begin] = by_tap[step.taps[0]][:, begin:end]
                term += end - begin
        first = 0
        for vectors in run.vectors:
            width = vectors * lanes
            size = run.terms * width
            total[:, start : start + size] = columns[:, :, first : first + width].reshape(G, size)
            start, first = start + size, first + width
    return whole
