"""One picture as a network reads it while it is enlarged, and the network's output, strip after strip.

A deep network reads hundreds of rows beside each of its outputs. Its run goes on from one strip of the result to the
next, so that nothing is computed twice, and its input is converted row by row, so that no copy of the picture is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.image_model import Model
from tconv.models.layer_check import LayerCheck
from tconv.upsampling.stored_values import StoredValues

Span = tuple[slice, slice]
_FAR = 0.25
"""Difference of means, of white, that no network of pictures makes."""


class PictureSource:
    """A stored picture [C, H, W], and the run of one network over it.

    `advance` is called with shares of the network's work, 1 in all; `before` is the share of the passes that find means
    of the whole picture, before the `bands` of columns. With `layers`, every layer is checked while it
    runs, and the rows and columns `squares` of the network's output are kept for the check of the picture.
    """

    def __init__(
        self,
        x: Array,
        values: StoredValues,
        model: Model,
        bands: int = 1,
        before: float = 0.0,
        layers: bool = False,
        squares: list[Span] | None = None,
        advance: Callable[[float], None] = lambda share: None,
    ) -> None:
        self._x, self._values, self.model = x, values, model
        self.extents = model.extent(x.shape[1], 0), model.extent(x.shape[2], 1)
        self._squares = squares or []
        self._kept: dict[int, Array] = {}
        self._weight, self._band_weight = before, (1 - before) / bands
        """Part of the work that is counted now: the passes before the bands, then one band."""
        self._report = advance
        self.check = LayerCheck(model.network, self.extents, self._definition, self._advance) if layers else None
        self._watch = self.check or _Progress(self._advance)
        self._means: Any = None
        self._stream: Any = None
        self._columns: slice | None = None
        self._last: tuple[int, Array] = 0, np.empty(0)
        self._given, self._made = [0.0, 0], [0.0, 0]
        """Sums, and numbers, of the inputs and of the outputs of the network that are finite."""

    def _advance(self, share: float) -> None:
        self._report(share * self._weight)

    # -- the network's input -------------------------------------------------------------------------------------

    def _pixels(self, rows: slice, columns: slice, wide: bool) -> Array:
        """Return pixels [C, rows, columns] of the picture with its border, from black to white, without opacity."""
        border = self.model.border
        down, across = (
            self.model.places(slice(span.start - border, span.stop - border), size)
            for span, size in zip((rows, columns), self._x.shape[1:], strict=True)
        )
        inside = slice(int(across.min()), int(across.max()) + 1)
        numbers = self._values.load(self._x[:, down, inside], wide)
        colours = numbers[:-1] if self._values.alpha else numbers
        pixels = colours / self._values.white
        if not wide:
            pixels = pixels.astype(np.float32, copy=False)
        if np.array_equal(across, np.arange(inside.start, inside.stop)):  # nothing beyond the picture
            return pixels
        extended: Array = pixels.take(across - inside.start, 2)
        return extended

    def load(self, rows: slice, columns: slice) -> Array:
        """Return rows and columns of the network's input, float32."""
        pixels = self._pixels(rows, columns, wide=False)
        _add_finite(self._given, pixels)
        x: Array = np.ascontiguousarray(self.model.network_input(pixels))
        return x

    def _definition(self, rows: slice, columns: slice) -> Array:
        """Return rows and columns of the network's input in float64."""
        return self.model.network_input(self._pixels(rows, columns, wide=True))

    def is_far_off(self) -> bool:
        """Return True if the mean of the network's outputs is far from that of its inputs, from black to white."""
        if not self._given[1] or not self._made[1]:
            return False
        means = [total / count for total, count in (self._given, self._made)]
        low, high = self.model.value_range
        return abs((means[1] - low) / (high - low) - means[0]) > _FAR

    # -- its output ----------------------------------------------------------------------------------------------

    def rows(self, rows: slice, columns: slice) -> Array:
        """Return rows and columns of the network's output, [C, rows, columns], as it computes them.

        From call to call the rows go on, and may begin again before the last ones; or other columns begin.
        """
        if self._columns != columns:
            self._start(columns)
        first, last = self._last
        stop = first + last.shape[1]
        if rows.stop > stop:
            more = self._stream.rows(slice(max(stop, rows.start), rows.stop))
            _add_finite(self._made, more)
            self._keep(more, max(stop, rows.start), columns)
            kept = last[:, min(rows.start, stop) - first :]
            last = np.concatenate([kept, more], 1) if kept.shape[1] else more
            first = rows.stop - last.shape[1]
            self._last = first, last
        return last[:, rows.start - first : rows.stop - first]

    def _start(self, columns: slice) -> None:
        """Begin the run of some columns of the output."""
        network = self.model.network
        if self._stream is None and network.has_means:
            self._means = network.means(self.extents, self.load, watch=self._watch)
        self._weight = self._band_weight
        self._stream = network.stream(self.extents, self.load, columns=columns, means=self._means, watch=self._watch)
        self._columns = columns
        self._last = 0, np.empty((network.channels[-1], 0, columns.stop - columns.start), np.float32)

    def _keep(self, output: Array, first: int, columns: slice) -> None:
        """Copy what the check needs of new rows of the output."""
        for number, square in enumerate(self._squares):
            parts = []
            for axis, (span, start) in enumerate(zip(square, (first, columns.start), strict=True), 1):
                parts.append(slice(max(span.start, start), min(span.stop, start + output.shape[axis])))
            if any(part.start >= part.stop for part in parts):
                continue
            if number not in self._kept:
                shape = len(output), *(span.stop - span.start for span in square)
                self._kept[number] = np.full(shape, np.nan, np.float32)
            places = [slice(p.start - s.start, p.stop - s.start) for p, s in zip(parts, square, strict=True)]
            self._kept[number][:, *places] = output[
                :,
                parts[0].start - first : parts[0].stop - first,
                parts[1].start - columns.start : parts[1].stop - columns.start,
            ]

    def kept(self, rows: slice, columns: slice) -> Array:
        """Return rows and columns of the network's output that lie in one of the squares."""
        for number, (down, across) in enumerate(self._squares):
            inside = down.start <= rows.start and rows.stop <= down.stop
            if inside and across.start <= columns.start and columns.stop <= across.stop:
                return self._kept[number][
                    :,
                    rows.start - down.start : rows.stop - down.start,
                    columns.start - across.start : columns.stop - across.start,
                ]
        raise AssertionError("the square was not kept")


def _add_finite(total: list[Any], values: Array) -> None:
    """Add values to a sum, and their number; every few of many are enough."""
    some = values[..., :: max(1, values.shape[-1] // 256)]
    some = some[np.isfinite(some)]
    total[0] += float(some.sum(dtype=np.float64))
    total[1] += some.size


class _Progress:
    """`Watch` of a run that is not checked."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self.advance = advance

    def wanted(self, number: int, rows: slice, columns: slice) -> tuple[()]:
        """Return nothing to check."""
        return ()

    def check(self, numbers: Any, given: Any, out: Any) -> None:
        """Check nothing."""

    def add_to_mean(self, place: Any, values: Any) -> None:
        """Count nothing."""

    def check_mean(self, number: Any, mean: Any) -> None:
        """Check nothing."""
