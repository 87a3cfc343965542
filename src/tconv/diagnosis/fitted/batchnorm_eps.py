"""Scales per channel that another eps of a BatchNorm explains.

With variance v, gamma / sqrt(v + e1) is gamma / sqrt(v + e2) times sqrt((v + e2) / (v + e1)), a number of each channel
on one side of 1. Where the variance is given, it decides; where it is not, all scales on one side of 1 may come from
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.causes.cause import Cause

COMMON = (1e-3, 1e-5, 1e-6, 1.001e-5, 2e-5, 1e-4, 1e-7, 1e-8, 1e-2, 1e-12, 0.0)
"""Values of eps that frameworks have as defaults and models as their own: Keras' is 1e-3, PyTorch's 1e-5."""

_BITS = 10.0  # least improbability, in bits, of scales on one side of 1 that are no eps
_SPREAD = 2 * math.log(2)  # range of the logarithm of a scale that is no eps


def with_eps(cause: Cause, scales: Array, errors: Array, variance: Array | None) -> Cause:
    """Return the cause of these scales, [C], of got's channels, as another eps of a BatchNorm if that explains them.

    `errors` [C] are the largest errors of the scales, `variance` [C] is the BatchNorm's.
    """
    if np.iscomplexobj(scales) or (scales <= 0).any():
        return cause
    if variance is None:
        return _likely(cause, scales, errors)
    pairs = [pair for pair in permutations(COMMON, 2) if _error(scales, errors, variance, pair) <= 1]
    if not pairs and (solved := _solved(scales, errors, variance)) is not None:
        pairs = [solved]
    pairs = [pair for pair in pairs if _error(scales, errors, variance, (1.0, 1.0)) > 4]
    if not pairs:
        return replace(cause, text=f"{cause.text}; with this variance no other eps of a BatchNorm explains it")
    got, expected = pairs[0]  # the commonest
    others = "".join(f", or {a:g} and {b:g}" for a, b in pairs[1:3])
    text = f"the BatchNorm's eps is {got:.4g} where the other output has {expected:.4g}{others}"
    return replace(cause, name="BatchNorm eps", text=text, source="gzuidhof/nn-transfer#3")


def _error(scales: Array, errors: Array, variance: Array, pair: tuple[float, float]) -> float:
    """Return the largest error of the scales that got's eps and expected's give, in units of `errors`."""
    got, expected = pair
    if (variance + got <= 0).any():
        return math.inf
    return float((np.abs(np.sqrt((variance + expected) / (variance + got)) - scales) / errors).max())


def _solved(scales: Array, errors: Array, variance: Array) -> tuple[float, float] | None:
    """Return the eps of both outputs by least squares: a**2 (v + got) = v + expected; None if they do not fit."""
    if len(scales) < 3:
        return None
    squares = scales**2
    weights = 1 / (errors * (variance + 1e-12))
    system = np.column_stack([squares, -np.ones_like(squares)]) * weights[:, None]
    (got, expected), *_ = np.linalg.lstsq(system, variance * (1 - squares) * weights)
    pair = float(got), float(expected)
    return pair if min(pair) >= 0 and _error(scales, errors, variance, pair) <= 1 else None


def _likely(cause: Cause, scales: Array, errors: Array) -> Cause:
    """Return the cause with an eps beside a scale: nothing but its sign tells them apart without the variance."""
    if 2 * (np.abs(scales - 1) > errors).sum() <= len(scales):
        return cause  # an eps changes every channel
    logs = np.log(scales)
    far = float(np.abs(logs).max())
    one_side = (logs < errors).all() or (logs > -errors).all()
    if not one_side or len(scales) < 2 or np.ptp(scales) <= 4 * errors.max():
        return cause
    found = next(_possible(scales, errors), None)
    if found is None:
        return cause
    (got, expected), low, high = found
    words = (
        f"as another eps of a BatchNorm makes it: with {got:g} where the other output has {expected:g} "
        f"its variances are {low:.3g} to {high:.3g}"
    )
    bits = len(scales) * max(1.0, math.log2(_SPREAD / far))
    if bits < _BITS:
        return replace(cause, text=f"{cause.text}; or {words}")
    between = f"each output channel is multiplied by a number of its own, {scales.min():.6g} to {scales.max():.6g}"
    text = f"{between}, {words} (variance= would show it); or it has another scale per channel"
    return replace(cause, name="BatchNorm eps", text=text, source="gzuidhof/nn-transfer#3", certain=False)


def _possible(scales: Array, errors: Array) -> Iterator[tuple[tuple[float, float], float, float]]:
    """Yield pairs of eps, got's first, that some variance explains the scales with, and its range."""
    for larger, smaller in ((1e-3, 1e-5), (1e-3, 1e-6), (1e-5, 1e-6)):
        pair = (larger, smaller) if scales.min() < 1 - errors.max() else (smaller, larger)
        used = scales[np.abs(scales - 1) > errors]  # elsewhere the variance is too large to be seen
        squares = used**2
        variances = (pair[1] - squares * pair[0]) / (squares - 1)
        if (variances > 0).all():
            yield pair, float(variances.min()), float(variances.max())
