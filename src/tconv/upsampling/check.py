"""The check that every run makes: thousands of its outputs, recomputed in float64 straight from the definition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv.errors import CheckError, DtypeError
from tconv.upsampling.upsampler import Array, Truth, Upsampler

if TYPE_CHECKING:
    from tconv.upsampling.strips import Values

_ROOM = 1e-6
"""Of the largest number of a dtype: what is larger, a network's sums or a filter's may carry beyond it."""

OUTPUTS = 4096
"""Output elements to recompute, over all images of a run; all of them where there are fewer."""


class Checked(NamedTuple):
    """What a check found: how many outputs it recomputed, the largest difference, and what was allowed at its place.

    Of the outputs, `not_finite` are inf or NaN, as the definition says: of those there is no difference to measure.
    """

    outputs: int
    difference: float
    tolerance: float
    not_finite: int = 0


def together(checks: list[Checked]) -> Checked:
    """All outputs of several checks, and their largest difference.

    >>> together([Checked(4, 1e-6, 1e-4), Checked(4, 2e-6, 1e-2, not_finite=1)])
    Checked(outputs=8, difference=2e-06, tolerance=0.01, not_finite=1)
    """
    worst = max(checks, key=lambda check: check.difference, default=Checked(0, 0.0, 0.0))
    not_finite = sum(check.not_finite for check in checks)
    return worst._replace(outputs=sum(check.outputs for check in checks), not_finite=not_finite)


class Check:
    """A check of one image: random places, what the strips computed there, then the definition at the same places.

    Every channel is compared at each place. Two things must hold there: the computed numbers equal the definition's
    within rounding, and what was stored is those numbers, rounded and clipped. The rounding allowed at a place is the
    usual one for its sum, eps x roundings x sum of absolute products (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1), and never less than the smallest normal number.
    """

    def __init__(self, x: Array, upsampler: Upsampler, values: Values, images: int) -> None:
        self._x, self._upsampler, self._values = x, upsampler, values
        self._shape = (x.shape[0], x.shape[1], x.shape[2])
        channels, height, width = self._shape
        height, width = upsampler.scale * height, upsampler.scale * width
        wanted = max(OUTPUTS, 64 * channels)  # at least 64 places, however many channels there are
        places = min(height * width, math.ceil(wanted / max(1, images * channels)))
        self.rows, self.columns = _places(height, width, places, upsampler.block)
        self._numbers = np.empty((upsampler.channels(channels), len(self.rows)), values.computed)

    def see(self, rows: slice, numbers: Array) -> None:
        """Remember the numbers [C_out, rows, W] of one strip at the places in it."""
        inside = slice(*np.searchsorted(self.rows, (rows.start, rows.stop)))
        self._numbers[:, inside] = numbers[:, self.rows[inside] - rows.start, self.columns[inside]]

    def verdict(self, stored: Array) -> Checked:
        """Compare with the definition and with the stored image [C_out, H, W]. Raises CheckError."""
        numbers = self._numbers
        with np.errstate(all="ignore"):  # inf and NaN in a feature map are values
            frame = self._values.frame(self._shape[1])
            truth = self._upsampler.truth(self._load, self._shape, self.rows, self.columns, frame)
            held = np.finfo(numbers.dtype)
            error = float(held.eps) * truth.roundings * truth.mass if truth.error is None else truth.error
            tolerance = np.nan_to_num(error) + float(held.tiny)
            difference = np.abs(numbers - truth.values)
            same = np.isclose(truth.values.astype(numbers.dtype), numbers, 0, 0, equal_nan=True)  # inf and NaN, too
            difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
            kept = stored[:, self.rows, self.columns]
            lost = ~np.isclose(self._values.store(numbers), kept, 0, 0, equal_nan=True)
        if (difference > tolerance).any() or lost.any():
            self._fail(
                lost if lost.any() else difference / tolerance, truth, kept if lost.any() else numbers, tolerance
            )
        if not numbers.size:
            return Checked(0, 0.0, 0.0)
        worst = np.unravel_index(np.argmax(difference), difference.shape)
        not_finite = numbers.size - int(np.isfinite(numbers).sum())
        return Checked(numbers.size, float(difference[worst]), float(tolerance[worst]), not_finite)

    def _load(self, rows: Array, columns: Array) -> Array:
        rows, columns = (np.clip(at, 0, n - 1) for at, n in zip((rows, columns), self._shape[1:], strict=True))
        return self._values.load(self._x[:, rows[:, :, None], columns[:, None, :]], wide=True)

    def _blame_the_range(self, got: Any) -> None:
        """Raise DtypeError where an output is inf or NaN because sums of such large inputs are."""
        held = np.finfo(self._numbers.dtype)
        with np.errstate(all="ignore"):
            sizes = np.abs(self._values.load(self._x))
        largest = float(np.max(sizes, initial=0, where=np.isfinite(sizes)))
        if np.isfinite(got) or largest <= float(held.max) * _ROOM:
            return
        raise DtypeError(
            f"the image holds numbers up to {largest:.2g}, and sums of those leave {self._numbers.dtype}, which ends "
            f"at {held.max:.2g}. Nothing was written. Write smaller numbers, image / {largest:.0e} for example"
        )

    def _fail(self, fault: Array, truth: Truth, got: Array, tolerance: Array) -> None:
        channel, place = np.unravel_index(np.argmax(fault), fault.shape)
        self._blame_the_range(got[channel, place])
        raise CheckError(
            f"the check failed: output (channel {channel}, row {self.rows[place]}, column {self.columns[place]}) is "
            f"{got[channel, place]} and the definition says {truth.values[channel, place]:.9g}, which may differ by "
            f"{tolerance[channel, place]:.2g}. Nothing was written. This is a fault of tconv or of the machine: "
            "write to its authors"
        )


def _places(height: int, width: int, count: int, block: int) -> tuple[Array, Array]:
    """Rows and columns of about so many random outputs, in order; in squares of side `block` on a grid of those."""
    rng = np.random.default_rng()
    down, across = -(-height // block), -(-width // block)
    cells = np.sort(rng.choice(down * across, min(down * across, -(-count // block**2)), replace=False))
    top, left = np.divmod(cells, across)
    inside = np.arange(block)
    rows = np.broadcast_to((top * block)[:, None, None] + inside[:, None], (len(cells), block, block)).ravel()
    columns = np.broadcast_to((left * block)[:, None, None] + inside, (len(cells), block, block)).ravel()
    there = (rows < height) & (columns < width)
    order = np.lexsort((columns[there], rows[there]))
    return rows[there][order], columns[there][order]
