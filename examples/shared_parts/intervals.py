"""Intervals of a mean over runs that differ in their seed alone."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def interval(values, confidence=0.95):
    """Return the mean, and the half width of the interval of Student's t for it: (mean, NaN) of a single value."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), math.nan
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)
