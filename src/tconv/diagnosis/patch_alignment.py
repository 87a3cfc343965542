"""Where a few numbers stand in others: every shift of a patch at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv.diagnosis.canonical_call import Array


def shifts(around: Array, patch: Array, allowed: Array, counted: Array) -> Array:
    """[rows, *shifts]: whether `patch` [channels, *places] stands there in `around` [rows, channels, *places].

    `allowed` and `counted` are of the patch's shape: how far each of its numbers may be off, and whether it counts.
    """
    nd = patch.ndim - 1
    windows = np.lib.stride_tricks.sliding_window_view(around, patch.shape[1:], tuple(range(2, 2 + nd)))
    # rows, channels, *shifts, *places; a few numbers first: most shifts fail there
    spread = (1, len(patch), *(1,) * nd, *patch.shape[1:])
    wanted, limit, counts = (array.reshape(spread) for array in (patch, allowed, counted))
    probe: Any = (..., *[slice(0, 1)] * nd)
    first = (np.abs(windows[probe] - wanted[probe]) <= limit[probe]) | ~counts[probe]
    alive: Array = first.all(axis=(1, *range(2 + nd, 2 + 2 * nd)))
    for at in np.argwhere(alive):
        row, *shift = (int(number) for number in at)
        part: Any = (row, slice(None), *shift)
        close = (np.abs(windows[part] - patch) <= allowed) | ~counted
        alive[tuple(at)] = bool(close.all())
    return alive
