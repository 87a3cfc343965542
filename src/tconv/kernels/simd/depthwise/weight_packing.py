"""Packing of a depthwise weight: once for each weight, before its first call."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.kernels.problem import Problem
from tconv.kernels.simd.depthwise.schedule import depthwise_schedule
from tconv.kernels.simd.weight_cache import cache_line_aligned


def pack_by_channel(p: Problem, w: Array) -> Array:
    """Return the weight [C_in, multiplier, *kernel] as [C_in, multiplier, tap], in the order of the calls."""
    by_tap = _by_tap(p, w)
    return _packed(np.moveaxis(by_tap, 0, -1), p)


def pack_by_tap(p: Problem, w: Array) -> Array:
    """Return the weight [C_in, multiplier, *kernel] as [tap, multiplier, C_in], in the order of the calls."""
    return _packed(_by_tap(p, w).transpose(0, 2, 1), p)


def _by_tap(p: Problem, w: Array) -> Array:
    """Return the weight as [tap, C_in, multiplier]."""
    kernel = p.geometry.kernel if p.geometry.ndim > 1 else (1, *p.geometry.kernel)
    index = np.ravel_multi_index(np.array(depthwise_schedule(p.layer).taps).T, kernel)
    by_tap: Array = w.reshape(*w.shape[:2], -1).transpose(2, 0, 1)[index]
    return by_tap


def _packed(weights: Array, p: Problem) -> Array:
    whole = cache_line_aligned(p.accumulate.itemsize * weights.size).view(p.accumulate)
    whole.reshape(weights.shape)[...] = weights
    return whole
