"""Statistics of repeated times: medians with bootstrap intervals, ratios of medians, geometric means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

_RESAMPLES = 2000
_COVERAGE = 0.95


class Estimate(NamedTuple):
    """A median and its 95% bootstrap interval, in the unit of the samples."""

    value: float
    low: float
    high: float


def median(samples: Sequence[float], seed: int = 0) -> Estimate:
    """Return the median of the samples and its bootstrap interval.

    The interval contains 95% of the medians of as many samples drawn with replacement.

    >>> median([3.0, 1.0, 2.0])
    Estimate(value=2.0, low=1.0, high=3.0)
    """
    return _estimate(float(np.median(samples)), _medians(samples, seed))


def ratio(above: Sequence[float], below: Sequence[float], seed: int = 0) -> Estimate:
    """Return median(above) / median(below); both are resampled, independently of each other."""
    value = float(np.median(above) / np.median(below))
    return _estimate(value, _medians(above, seed) / _medians(below, seed + 1))


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return exp(mean(log(values))); None for no values.

    >>> geometric_mean([1.0, 4.0])
    2.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def _medians(samples: Sequence[float], seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    drawn = np.random.default_rng(seed).choice(np.asarray(samples, np.float64), (_RESAMPLES, len(samples)))
    return np.asarray(np.median(drawn, axis=1))


def _estimate(value: float, medians: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Estimate:
    low, high = np.quantile(medians, [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    return Estimate(value, float(low), float(high))
