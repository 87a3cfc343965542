"""The two outputs as they were given, and what can be said of them before anything is tried."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tconv.diagnosis.canonical_call import Array
from tconv.diagnosis.report import of_rms
from tconv.diagnosis.tolerance import held, spacing

SPEAKERS = {"torch": "torch", "tensorflow": "tensorflow", "jax": "jax"}
"""Which dialect is written for the arrays of a library."""

_CHANCE = 7  # bits: one chance in 128, at most, that a hypothesis fits by accident


class Two(NamedTuple):
    """The two outputs as NumPy, as they were given, and who writes the line that mends the first by default."""

    got: Array
    expected: Array
    writer: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """The coarser of their dtypes."""
        return max(map(held, (self.got, self.expected)), key=spacing)


def rms_of(y: Array) -> float:
    finite = np.isfinite(y)
    return float(np.sqrt((np.abs(np.where(finite, y, 0)) ** 2).sum() / max(1, finite.sum())))


def before(a: Array, b: Array, rms: float) -> float | None:
    """The largest difference; None of outputs of different shapes, NaN where no place is finite in both."""
    if a.shape != b.shape:
        return None
    finite = np.isfinite(a) & np.isfinite(b)
    return of_rms(float(np.abs(a - b)[finite].max()), rms) if finite.any() else float("nan")


def says_nothing(a: Array, b: Array) -> str:
    """Why outputs such as got and expected can tell nothing; "" if they can."""
    for name, y in (("got", a), ("expected", b)):
        finite = y[np.isfinite(y)]
        if not finite.size:
            return f"{name} holds no finite number. Write an output that does"
        if (finite == finite[0]).all() and y.size > 1:
            return (
                f"{name} is {finite[0]:.6g} everywhere; a flip, swap or shift cannot be seen in it. "
                "Write the outputs of random x and weight"
            )
    return ""


def says_too_little(y: Array, dtype: np.dtype[Any], tried: int) -> str:
    """Why a fit may be chance: y has fewer bits than the choice between all that was tried; "" if it has enough."""
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
        f"the output holds {y.size} number{'s' * (y.size > 1)}, about {bits:.0f} bits, and {tried} hypotheses were "
        "tried: one of them may fit by chance. Write an output with more different numbers"
    )


def likely(a: Array, b: Array, dtype: np.dtype[Any]) -> bool:
    """Whether two arrays agree at a few places: a look that costs nothing before all are compared."""
    at = np.linspace(0, a.size - 1, min(a.size, 512)).astype(int)
    one, two = a.flat[at], b.flat[at]
    finite = np.isfinite(one) & np.isfinite(two)
    limit = 16 * max(spacing(dtype), 2.0**-17) * (np.abs(two) + np.abs(two[finite]).max(initial=0.0))
    return bool((np.abs(one - two) <= limit)[finite].all())


def part_of(y: Array, most: int = 2**21) -> Array:
    """The first image of a large output, and so many of its channels and rows that it is quick to look at."""
    if y.size <= most:
        return y
    part = y[:1, : max(2, most * y.shape[1] // (y.size // len(y)))]
    rows = max(16, most * part.shape[2] // part.size)
    return part[:, :, :rows]
