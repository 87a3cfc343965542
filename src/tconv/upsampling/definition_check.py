"""Verification of every result: random outputs are recomputed in float64 from the definition.

`tconv.upsample` and the command compare these with the computed and with the stored values before they return anything.
There are thousands of them, or fewer where recomputing them would take longer than the enlargement itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import CheckError, DtypeError
from tconv.scale.regions import whole
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.upsampler import Truth, Upsampler

_SAFE_SHARE = 1e-6
"""Share of a dtype's largest number below which inputs cannot overflow in a network's or a filter's sums."""

OUTPUTS = 4096
"""Output elements to recompute, over all images of a run and files of a batch; all of them where there are fewer."""


class Budget:
    """Time that checks may take: as much as the work that they check. The images of a run and of a batch share one.

    The first part of each image's check always runs; another one if as much time is left as the one before has taken.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """time that is left"""
        self._last = 0.0

    def allows_another(self) -> bool:
        """Return True if another part of a check may run."""
        return self._last <= self.seconds

    def spend(self, seconds: float) -> None:
        """Subtract the time that a part has taken."""
        self._last = seconds
        self.seconds -= seconds


class CheckResult(NamedTuple):
    """Number of recomputed outputs, their largest difference, and the tolerance at its place.

    `not_finite` of the outputs are inf or NaN in the definition, too; those have no difference. `wanted` is the number
    that would have been recomputed without a limit of time. Of a deep network `layer_outputs` outputs of `layers`
    layers were recomputed while it ran, and differ by `layer_share` of what is allowed at most; it has `layers_in_all`.
    """

    outputs: int
    difference: float
    tolerance: float
    not_finite: int = 0
    wanted: int = 0
    layers: int = 0
    layer_outputs: int = 0
    layer_share: float = 0.0
    layers_in_all: int = 0


def merged(checks: list[CheckResult]) -> CheckResult:
    """Return all outputs of several checks, with their largest difference.

    >>> merged([CheckResult(4, 1e-6, 1e-4), CheckResult(4, 2e-6, 1e-2, not_finite=1)])
    CheckResult(outputs=8, difference=2e-06, tolerance=0.01, not_finite=1, wanted=0,
                layers=0, layer_outputs=0, layer_share=0.0, layers_in_all=0)
    """
    worst = max(checks, key=lambda check: check.difference, default=CheckResult(0, 0.0, 0.0))
    sums = {
        name: sum(getattr(check, name) for check in checks)
        for name in ("outputs", "not_finite", "wanted", "layer_outputs")
    }
    most = {
        name: max((getattr(check, name) for check in checks), default=0)
        for name in ("layers", "layer_share", "layers_in_all")
    }
    return worst._replace(**sums, **most)


class TilePlace(NamedTuple):
    """Place of a tile: sizes of the whole image, the pixels of it that x has, and the outputs of the result."""

    sizes: tuple[int, ...]
    window: tuple[slice, ...]
    outputs: tuple[slice, ...]


class Check:
    """Check of one image: random places, the numbers computed there, then the definition at the same places.

    The places of an upsampler with a `block` fill squares, which are recomputed one after another in random order, as
    long as the time lasts. Every channel is compared at each place. The computed numbers must equal the definition's
    within rounding, and the stored values must be those numbers, rounded and clipped. The rounding allowed at a place
    is the usual one for its sum, eps x roundings x sum of absolute products (Higham, Accuracy and Stability of
    Numerical Algorithms, section 3.1), and never less than the smallest normal number.

    Of a tile, x and the stored values are `part` of the image and of its result, and `places` are compared.
    """

    def __init__(
        self,
        x: Array,
        upsampler: Upsampler,
        values: StoredValues,
        images: int = 1,
        part: TilePlace | None = None,
        places: int | None = None,
    ) -> None:
        self._x, self._upsampler, self._values = x, upsampler, values
        channels, *sizes = x.shape
        self._part = part or TilePlace(tuple(sizes), whole(sizes), whole(upsampler.output_size(sizes[0], sizes[1])))
        self._shape = channels, self._part.sizes[0], self._part.sizes[1]
        height, width = (span.stop - span.start for span in self._part.outputs)
        wanted = max(OUTPUTS, 64 * channels)  # at least 64 places, however many channels there are
        if places is None:
            places = math.ceil(wanted / max(1, images * channels))
        rows, columns = _places(height, width, min(height * width, places), upsampler.block)
        top, left = (span.start for span in self._part.outputs)
        self.rows, self.columns = rows + top, columns + left
        self.source: Any = None
        """The run of a network over the image."""
        self._numbers = np.empty((upsampler.channels(channels), len(self.rows)), values.computed)

    def squares(self) -> list[tuple[slice, slice]]:
        """Return the rows and columns of the network's output that are compared together."""
        squares = []
        for places in self._parts():
            rows, columns = self.rows[places], self.columns[places]
            if rows.size:
                span = [slice(int(at.min()), int(at.max()) + 1) for at in (rows, columns)]
                squares.append(self._upsampler.network_outputs(span[0], span[1], self._shape))
        return squares

    def record(self, rows: slice, numbers: Array, left: int = 0) -> None:
        """Record the numbers [C_out, rows, columns] of one strip, from column `left` on, at the places in it."""
        inside = np.arange(*np.searchsorted(self.rows, (rows.start, rows.stop)))
        inside = inside[(self.columns[inside] >= left) & (self.columns[inside] < left + numbers.shape[2])]
        self._numbers[:, inside] = numbers[:, self.rows[inside] - rows.start, self.columns[inside] - left]

    def compare(self, stored: Array, budget: Budget | None = None) -> CheckResult:
        """Compare the recorded numbers with the definition and with the stored image [C_out, H, W].

        With a budget, parts of the places but the first are left out when its time is over. Raises CheckError where
        numbers differ, and DtypeError where sums of very large inputs overflow.
        """
        parts: list[CheckResult] = []
        budget = budget if self._upsampler.block > 1 else None  # others take some milliseconds
        for places in self._parts():
            if parts and budget is not None and not budget.allows_another():
                break
            start = time.perf_counter()
            parts.append(self._compare_places(stored, places))
            if budget is not None:
                budget.spend(time.perf_counter() - start)
        result = merged(parts)._replace(wanted=self._numbers.size)
        layers = None if self.source is None else self.source.check
        if layers is None:
            return result
        return result._replace(
            layers=len(layers.layers),
            layer_outputs=layers.outputs,
            layer_share=layers.worst[0],
            layers_in_all=len(layers.computing),
        )

    def _parts(self) -> Iterator[Any]:
        """Yield the places that are compared at a time: those of one square, or all."""
        block = self._upsampler.block
        if block == 1 or not self._numbers.size:
            yield slice(None)
            return
        cells = (self.rows // block) * (1 << 32) + self.columns // block
        for cell in np.random.default_rng().permutation(np.unique(cells)):
            yield np.flatnonzero(cells == cell)

    def _compare_places(self, stored: Array, places: Any) -> CheckResult:
        """Compare the outputs at some of the places."""
        numbers, rows, columns = self._numbers[:, places], self.rows[places], self.columns[places]
        with np.errstate(all="ignore"):  # inf and NaN in a feature map are values
            frame = self._values.frame(self._shape[1])._replace(source=self.source)
            truth = self._upsampler.truth(self._load, self._shape, rows, columns, frame)
            limits = np.finfo(numbers.dtype)
            error = float(limits.eps) * truth.roundings * truth.mass if truth.error is None else truth.error
            tolerance = np.nan_to_num(error) + float(limits.tiny)
            difference = np.abs(numbers - truth.values)
            same = np.isclose(truth.values.astype(numbers.dtype), numbers, 0, 0, equal_nan=True)  # inf and NaN, too
            difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
            top, left = (span.start for span in self._part.outputs)
            pixels = stored[:, rows - top, columns - left]
            altered = ~np.isclose(self._values.store(numbers), pixels, 0, 0, equal_nan=True)
        if altered.any():
            self._fail(altered, truth, pixels, tolerance, rows, columns)
        if (difference > tolerance).any():
            self._fail(difference / tolerance, truth, numbers, tolerance, rows, columns)
        if not numbers.size:
            return CheckResult(0, 0.0, 0.0)
        worst = np.unravel_index(np.argmax(difference), difference.shape)
        not_finite = numbers.size - int(np.isfinite(numbers).sum())
        return CheckResult(numbers.size, float(difference[worst]), float(tolerance[worst]), not_finite)

    def _load(self, rows: Array, columns: Array) -> Array:
        # beside the window of a tile there is nothing that counts
        rows, columns = (
            np.clip(np.clip(at, 0, size - 1), span.start, span.stop - 1) - span.start
            for at, size, span in zip((rows, columns), self._part.sizes, self._part.window, strict=True)
        )
        return self._values.load(self._x[:, rows[:, :, None], columns[:, None, :]], wide=True)

    def _refuse_overflow(self, got: Any) -> None:
        """Raise DtypeError where an output is inf or NaN because the sums of very large inputs overflow."""
        limits = np.finfo(self._numbers.dtype)
        with np.errstate(all="ignore"):
            sizes = np.abs(self._values.load(self._x))
        largest = float(np.max(sizes, initial=0, where=np.isfinite(sizes)))
        if np.isfinite(got) or largest <= float(limits.max) * _SAFE_SHARE:
            return
        raise DtypeError(
            f"the image has numbers up to {largest:.2g}, and sums of those overflow {self._numbers.dtype}, which ends "
            f"at {limits.max:.2g}. {self._unwritten}. Use smaller numbers, image / {largest:.0e} for example"
        )

    def _fail(self, fault: Array, truth: Truth, got: Array, tolerance: Array, rows: Array, columns: Array) -> None:
        channel, place = np.unravel_index(np.argmax(fault), fault.shape)
        self._refuse_overflow(got[channel, place])
        raise CheckError(
            f"the check failed: output (channel {channel}, row {rows[place]}, column {columns[place]}) is "
            f"{got[channel, place]}; the definition gives {truth.values[channel, place]:.9g}, within "
            f"{tolerance[channel, place]:.2g}. {self._unwritten}. This is a fault of tconv or of the machine; please "
            "report it to the authors"
        )

    @property
    def _unwritten(self) -> str:
        """The part of the result that was not written, as a sentence."""
        part = self._part
        if part.outputs == whole(self._upsampler.output_size(part.sizes[0], part.sizes[1])):
            return "Nothing was written"
        rows, columns = (f"{span.start} to {span.stop}" for span in part.outputs)
        return f"The tile of rows {rows} and columns {columns} was not written"


def _places(height: int, width: int, count: int, block: int) -> tuple[Array, Array]:
    """Return rows and columns of about `count` random outputs, sorted; they fill squares of side `block` on a grid."""
    rng = np.random.default_rng()
    down, across = -(-height // block), -(-width // block)
    cells = np.sort(rng.choice(down * across, min(down * across, -(-count // block**2)), replace=False))
    top, left = np.divmod(cells, across)
    inside = np.arange(block)
    rows = np.broadcast_to((top * block)[:, None, None] + inside[:, None], (len(cells), block, block)).ravel()
    columns = np.broadcast_to((left * block)[:, None, None] + inside, (len(cells), block, block)).ravel()
    valid = (rows < height) & (columns < width)
    order = np.lexsort((columns[valid], rows[valid]))
    return rows[valid][order], columns[valid][order]
