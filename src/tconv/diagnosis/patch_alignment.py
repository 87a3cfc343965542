"""Alignment of a small patch with a larger array: every shift of the patch is compared at once.

Patches of an output are aligned with predictions, and with the other output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array


def matching_shifts(around: Array, patch: Array, limits: Array, compared: Array) -> Array:
    """Return [rows, *shifts]: True where `patch` [channels, *places] matches `around` [rows, channels, *places].

    `limits` and `compared` have the patch's shape: the largest distance of each number, and True if it is compared.
    """
    nd = patch.ndim - 1
    windows = np.lib.stride_tricks.sliding_window_view(around, patch.shape[1:], tuple(range(2, 2 + nd)))
    # axes: rows, channels, *shifts, *places. Most shifts fail at the first place, so it is compared alone first
    spread = (1, len(patch), *(1,) * nd, *patch.shape[1:])
    wanted, limit, counts = (array.reshape(spread) for array in (patch, limits, compared))
    probe: Any = (..., *[slice(0, 1)] * nd)
    first = (np.abs(windows[probe] - wanted[probe]) <= limit[probe]) | ~counts[probe]
    matches: Array = first.all(axis=(1, *range(2 + nd, 2 + 2 * nd)))
    for at in np.argwhere(matches):
        row, *shift = (int(number) for number in at)
        part: Any = (row, slice(None), *shift)
        close = (np.abs(windows[part] - patch) <= limits) | ~compared
        matches[tuple(at)] = bool(close.all())
    return matches
