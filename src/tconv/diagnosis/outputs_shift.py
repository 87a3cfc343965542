"""Shift between two outputs: one starts at another place of the other, or is a part of it, as with another crop.

Only outputs without a call need it; with a call every crop is tried as a hypothesis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import axis_names
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.corrupted_parts import informative
from tconv.diagnosis.patch_alignment import matching_shifts
from tconv.diagnosis.tolerance import outputs_tolerance

_PATCH = {1: 24, 2: 6, 3: 4}  # places per axis of the patch that is searched for
_REACH = {1: 4096, 2: 64, 3: 12}  # largest shift
_LEAST = 0.25  # least share of an output that has to agree


def shifted(base: Array, y: Array, dtype: np.dtype[Any]) -> tuple[tuple[Cause, float] | None, int]:
    """Return the shift with y[i] == base[i + shift] where both have that place, and the number of shifts tried.

    The shift is a cause and its largest error; None if there is none.
    """
    nd = y.ndim - 2
    if not np.isfinite(base).all() or min(y.shape) == 0 or min(base.shape) == 0:
        return None, 0
    size = tuple(min(_PATCH.get(nd, 2), a, b) for a, b in zip(base.shape[2:], y.shape[2:], strict=True))
    place = tuple((L - p) // 2 for L, p in zip(y.shape[2:], size, strict=True))
    channels = sorted({0, y.shape[1] - 1})
    window: Any = (0, channels, *(slice(at, at + p) for at, p in zip(place, size, strict=True)))
    patch = y[window]
    if not np.isfinite(patch).all() or len(np.unique(patch)) < min(8, patch.size):
        return None, 0
    reach = [
        (max(0, at - _REACH.get(nd, 4)), min(L - p, at + _REACH.get(nd, 4)))
        for at, L, p in zip(place, base.shape[2:], size, strict=True)
    ]
    if any(lo > hi for lo, hi in reach):
        return None, 0
    around: Any = (0, channels, *(slice(lo, hi + p) for (lo, hi), p in zip(reach, size, strict=True)))
    limits = 4 * outputs_tolerance(base[:1, channels], dtype).at(patch[None])[0]
    matches = matching_shifts(base[around][None], patch, limits, np.isfinite(patch))[0]
    for match in np.argwhere(matches):
        shift = tuple(int(m) + lo - at for m, (lo, _), at in zip(match, reach, place, strict=True))
        error = _largest_error(base, y, shift, dtype)
        if error is not None and (any(shift) or base.shape != y.shape):
            return (_cause(base.shape[2:], y.shape[2:], shift), error), matches.size
    return None, matches.size


def _largest_error(base: Array, y: Array, shift: tuple[int, ...], dtype: np.dtype[Any]) -> float | None:
    """Return the largest distance at this shift; None if rounding does not explain it or too few places overlap."""
    ours, theirs = [], []
    for step, L, M in zip(shift, y.shape[2:], base.shape[2:], strict=True):
        first, stop = max(0, -step), min(L, M - step)
        if stop - first < _LEAST * min(L, M):
            return None
        ours.append(slice(first, stop))
        theirs.append(slice(first + step, stop + step))
    left: Any = (..., *ours)
    right: Any = (..., *theirs)
    a, b = y[left], base[right]
    if a.size < _LEAST * y.size or not informative(a):
        return None
    finite = np.isfinite(a)
    distance = np.abs(a - b)
    if not (distance <= outputs_tolerance(base, dtype).at(np.where(finite, a, 0)))[finite].all():
        return None
    return float(distance[finite].max(initial=0.0))


def _cause(expected: tuple[int, ...], got: tuple[int, ...], shift: tuple[int, ...]) -> Cause:
    axes = list(zip(shift, got, expected, strict=True))
    inside = all(step >= 0 and step + L <= M for step, L, M in axes)
    outside = all(step <= 0 and M - step <= L for step, L, M in axes)
    names = axis_names(len(got))[2:]
    steps = ", ".join(f"{step:+d} along {name}" for step, name in zip(shift, names, strict=True) if step)
    slices = ", ".join(f"{-step}:{M - step}" for step, _, M in axes)
    if inside:
        parts = ", ".join(f"{step}:{step + L} of {M}" for step, L, M in axes)
        return Cause("cropped", "crop", f"got is a part of expected, {parts}: more is cropped")
    if outside:
        parts = ", ".join(f"{-step}:{M - step} of {L}" for step, L, M in axes)
        return Cause(
            "not cropped",
            "crop",
            f"expected is a part of got, {parts}: less is cropped",
            undo=f"y = y[..., {slices}]",
        )
    text = f"got starts elsewhere: got[i] is expected[i + shift], shift {steps or '0, the sizes differ at the end'}"
    return Cause("shifted", "crop", f"{text}; the crop (padding) or output_padding is on the other side")
