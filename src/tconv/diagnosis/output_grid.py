"""Step of an output that was quantized: all of its numbers are whole multiples of one number.

An int8 or int16 output that was dequantized is recognised by it; its own rounding is a part of the tolerance then.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.float_formats import FORMATS

_LEVELS = 2.0**16 - 1  # most steps between two numbers: those of int16
_LEAST = 8  # least number of different magnitudes that show a step


def step_of(y: Array) -> float:
    """Return the step of which all finite numbers are multiples, at most 65535 from each other; 0 if there is none.

    Whole numbers have none: they may be exact results.
    """
    if np.iscomplexobj(y) or y.size < _LEAST:
        return 0.0
    few = y.ravel()[:: max(1, y.size // 1024)]
    levels = np.unique(np.abs(few[np.isfinite(few)]))
    levels = levels[levels > 0]
    if len(levels) < _LEAST:
        return 0.0
    step = _common_step(levels)
    if not step or (np.rint(few) == few).all():
        return 0.0
    known = y[np.isfinite(y)]
    whole = np.rint(known / step)
    far = float(whole.max() - whole.min())
    if far > _LEVELS or not (np.abs(known - whole * step) <= (1e-3 if far < 256 else 0.05) * step).all():
        return 0.0
    if far < 256 and y.size >= 256:
        return step
    exact = 2.0 ** round(np.log2(step)) == step and any((form.round(known) == known).all() for form in FORMATS)
    return 0.0 if exact else step  # a 2-byte float's own spacing is no step


def _common_step(levels: Array) -> float:
    """Return the largest number of which these sorted magnitudes are multiples; 0 if there is none."""
    gaps = np.diff(levels, prepend=0)
    gaps = gaps[gaps > 2.0**-17 / 2 * levels[-1]]
    if not len(gaps) or levels[-1] > (_LEVELS + 1) * gaps.min():
        return 0.0
    step = float(gaps.min())
    limit = 64.0
    while True:  # the error of the first step grows with the multiple, so that it is corrected on the way
        near = levels[levels <= limit * step]
        whole = np.rint(near / step)
        if not (np.abs(near - whole * step) <= 0.1 * step).all():
            return 0.0
        if len(near) and whole.any():
            step = float((near * whole).sum() / (whole**2).sum())
        if limit * step >= levels[-1]:
            return step
        limit *= 4
