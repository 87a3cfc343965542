"""The two outputs as they were given, and the checks on them before any cause is tried.

Both kinds of diagnosis, with a call and without one, begin with them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.report import in_rms
from tconv.diagnosis.tolerance import computed_dtype, spacing
from tconv.errors import ArgumentError, DtypeError, ShapeError

FIX_DIALECTS = {"torch": "torch", "tensorflow": "tensorflow", "jax": "jax"}
"""Dialect of the fix for arrays of a library."""

_CHANCE = 7  # bits: at most one chance in 128 that a hypothesis matches by accident


class GivenOutputs(NamedTuple):
    """The two outputs as NumPy arrays in their own layouts, and the usual dialect of a fix for `got`."""

    got: Array
    expected: Array
    fix_dialect: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """The coarser of the two dtypes."""
        return max(map(computed_dtype, (self.got, self.expected)), key=spacing)


def checked_variance(variance: Array | None, channels: int) -> Array | None:
    """Return the variance of a BatchNorm in float64, [C]. Raises ShapeError and ArgumentError for another array."""
    if variance is None:
        return None
    if variance.shape != (channels,):
        raise ShapeError(
            f"variance has shape {variance.shape}; the outputs have {channels} channels. Write the running variance of "
            f"the BatchNorm behind the layer, {channels} numbers"
        )
    if variance.dtype.kind not in "iuf" and variance.dtype.name != "bfloat16":
        raise DtypeError(
            f"variance has dtype {variance.dtype}; real numbers are needed. Write variance.astype(np.float32)"
        )
    wide: Array = variance.astype(np.float64)
    if not np.isfinite(wide).all() or (wide < 0).any():
        raise ArgumentError(
            "variance has a number that is negative or not finite. Write the running variance of the BatchNorm"
        )
    return wide


def rms_of(y: Array) -> float:
    """Return the root mean square of the finite numbers."""
    finite = np.isfinite(y)
    return float(np.sqrt((np.abs(np.where(finite, y, 0)) ** 2).sum() / max(1, finite.sum())))


def largest_difference(a: Array, b: Array, rms: float) -> float | None:
    """Return the largest difference in units of `rms`; None for different shapes, NaN if no place is finite in both."""
    if a.shape != b.shape:
        return None
    finite = np.isfinite(a) & np.isfinite(b)
    return in_rms(float(np.abs(a - b)[finite].max()), rms) if finite.any() else float("nan")


def why_uninformative(a: Array, b: Array) -> str:
    """Return the reason why nothing can be read off these outputs, got and expected; "" if there is none."""
    for name, y in (("got", a), ("expected", b)):
        finite = y[np.isfinite(y)]
        if not finite.size:
            return f"{name} contains no finite number. Write an output that does"
        if (finite == finite[0]).all() and y.size > 1:
            return (
                f"{name} is {finite[0]:.6g} everywhere; a flip, swap or shift cannot be seen in it. "
                "Write the outputs of random x and weight"
            )
    return ""


def why_too_few_bits(y: Array, dtype: np.dtype[Any], tried: int) -> str:
    """Return the reason why a match may be chance; "" if y has more bits than the choice between `tried` hypotheses."""
    y = y[np.isfinite(y)]
    if not y.size:
        return ""
    y = y[:: max(1, y.size // 65536)]
    _, counts = np.unique(y, return_counts=True)
    whole = not np.iscomplexobj(y) and bool((np.rint(y) == y).all())
    step = 1.0 if whole else max(spacing(dtype), 2.0**-23) * 64 * float(np.abs(y).max())
    bits = float((y.size - counts.max()) * np.log2(1 + y.std() / step)) if step > 0 else 0.0
    if bits >= np.log2(1 + tried) + _CHANCE:
        return ""
    return (
        f"the output has {y.size} number{'s' * (y.size > 1)}, about {bits:.0f} bits, and {tried} hypotheses were "
        "tried: one of them may fit by chance. Write an output with more different numbers"
    )


def agree_at_samples(a: Array, b: Array, dtype: np.dtype[Any]) -> bool:
    """Return True if two arrays agree at up to 512 places: a quick test before all are compared."""
    at = np.linspace(0, a.size - 1, min(a.size, 512)).astype(int)
    one, two = a.flat[at], b.flat[at]
    finite = np.isfinite(one) & np.isfinite(two)
    limit = 16 * max(spacing(dtype), 2.0**-17) * (np.abs(two) + np.abs(two[finite]).max(initial=0.0))
    return bool((np.abs(one - two) <= limit)[finite].all())


def sample_of(y: Array, most: int = 2**21) -> Array:
    """Return an output, or of a large one the first image and so many channels and rows that it is quick to compare."""
    if y.size <= most:
        return y
    part = y[:1, : max(2, most * y.shape[1] // (y.size // len(y)))]
    rows = max(16, most * part.shape[2] // part.size)
    return part[:, :, :rows]
