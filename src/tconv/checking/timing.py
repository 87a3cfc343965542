"""Median time of a call, in a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

_SECONDS = 0.15  # of samples for one layer
_MOST_CALLS = 200


def median_seconds(call: Callable[[], Any]) -> float:
    """Return the median time of a call, made again and again for a moment, after one that is not counted."""
    call()
    samples: list[float] = []
    begun = time.perf_counter()
    while len(samples) < _MOST_CALLS and (len(samples) < 5 or time.perf_counter() - begun < _SECONDS):
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return float(np.median(samples))
