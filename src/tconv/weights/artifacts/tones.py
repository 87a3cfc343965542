"""Tones that a pattern of phases adds to a signal: its frequencies, and the share of each.

A pattern with a period of P samples consists of the frequencies k/P of the sampling rate, and a listener hears them
(Pons et al. 2021, arXiv:2010.14356).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import sample_rate_of
from tconv._arrays import Array
from tconv.errors import ArgumentError

_AT_ONCE = 1 << 20  # numbers transformed at a time


class Tone(NamedTuple):
    """One frequency of a pattern, and its share of the output's root mean square, as in a score."""

    frequency: float
    """In Hz if the sample rate is known, else as a fraction of the sampling rate."""
    fraction: Fraction
    """Frequency over the sampling rate of the output."""
    share: float


def tones_of(response: Array, sample_rate: float | None) -> tuple[Tone, ...]:
    """Return the tones of a response [C_in, C_out, period], the strongest first, without those that are absent.

    The squares of their shares sum to that of the score.
    """
    period = response.shape[2]
    rows = response.reshape(-1, period)
    largest = float(np.abs(rows).max()) or 1.0
    power = np.zeros(period)
    step = max(1, _AT_ONCE // period)
    for start in range(0, len(rows), step):
        part = rows[start : start + step] / largest
        power[0] += float((np.abs(part.mean(1)) ** 2).sum())
        # without the mean, equal phases give exactly 0
        pattern = part - part[:, :1]
        power[1:] += (np.abs(np.fft.fft(pattern, axis=1)[:, 1:] / period) ** 2).sum(0)
    whole = power.sum()
    tones = []
    for k in range(1, period // 2 + 1):
        own = power[k] + (power[period - k] if 2 * k != period else 0.0)
        if own > 0:
            fraction = Fraction(k, period)
            frequency = float(fraction) if sample_rate is None else float(fraction * Fraction(sample_rate))
            tones.append(Tone(frequency, fraction, math.sqrt(own / whole)))
    return tuple(sorted(tones, key=lambda tone: -tone.share))


def checked_sample_rate(sample_rate: Any, ndim: int) -> float | None:
    """Return the sample rate as a number. Raises ArgumentError if it is none, or there is more than one axis."""
    rate = sample_rate_of(sample_rate, example=44_100)
    if rate is not None and ndim > 1:
        raise ArgumentError(
            f"sample_rate= was given, and the layers have {ndim} spatial axes; only signals of one axis have tones. "
            "Write the call without sample_rate="
        )
    return None if rate is None else float(rate)


def described(tone: Tone, sample_rate: float | None) -> str:
    """Return a tone as text: its frequency and its share."""
    of_rate = f"{tone.fraction} of the sampling rate"
    frequency = of_rate if sample_rate is None else f"{tone.frequency:g} Hz ({of_rate}, {sample_rate:g} Hz)"
    return f"{frequency}: {tone.share:.1%}"
