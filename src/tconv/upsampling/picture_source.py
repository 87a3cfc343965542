"""One picture as a network reads it while it is enlarged, and the network's output, strip after strip.

A deep network reads hundreds of rows beside each of its outputs. Its run goes on from one strip of the result to the
next, so that nothing is computed twice, and its input is converted row by row, so that no copy of the picture is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.image_model import Model, luma
from tconv.models.layer_check import LayerCheck
from tconv.upsampling.block_means import BlockMeans, difference
from tconv.upsampling.stored_values import StoredValues

Span = tuple[slice, slice]
_SAMPLE = 32
"""Side of the part of a picture that another range is tried on."""
_ROWS = 512
"""Rows of a picture that its block means are computed from at least."""


def network_pixels(
    x: Array, first: tuple[int, int], sizes: tuple[int, ...], values: StoredValues, model: Model, span: Span, wide: bool
) -> Array:
    """Return pixels [C, rows, columns] of a picture with its border, from black to white, without opacity.

    `span` are rows and columns of the network's input. x [C, h, w] is the part of the stored picture, of `sizes`, that
    begins at the row and column `first`.
    """
    down, across = (
        model.places(slice(side.start - model.border, side.stop - model.border), size) - start
        for side, size, start in zip(span, sizes, first, strict=True)
    )
    inside = slice(int(across.min()), int(across.max()) + 1)
    numbers = values.load(x[:, down, inside], wide)
    colours = numbers[:-1] if values.alpha else numbers
    pixels = colours / values.white
    if not wide:
        pixels = pixels.astype(np.float32, copy=False)
    if np.array_equal(across, np.arange(inside.start, inside.stop)):  # nothing beyond the picture
        return pixels
    extended: Array = pixels.take(across - inside.start, 2)
    return extended


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
        self._made = BlockMeans(x.shape[1], x.shape[2], model.scale)
        """The network's output, small, from black to white."""

    def _advance(self, share: float) -> None:
        self._report(share * self._weight)

    # -- the network's input -------------------------------------------------------------------------------------

    def _pixels(self, rows: slice, columns: slice, wide: bool) -> Array:
        """Return pixels [C, rows, columns] of the picture with its border, from black to white, without opacity."""
        sizes = self._x.shape[1:]
        return network_pixels(self._x, (0, 0), sizes, self._values, self.model, (rows, columns), wide)

    def load(self, rows: slice, columns: slice) -> Array:
        """Return rows and columns of the network's input, float32."""
        pixels = self._pixels(rows, columns, wide=False)
        x: Array = np.ascontiguousarray(self.model.network_input(pixels))
        return x

    def _definition(self, rows: slice, columns: slice) -> Array:
        """Return rows and columns of the network's input in float64."""
        return self.model.network_input(self._pixels(rows, columns, wide=True))

    def difference(self) -> float:
        """Return the mean difference of the network's output from the picture, both made small, as a share of white.

        A network that is added to a filter's result is compared with 0.
        """
        made, height, width = self._made.values, self._x.shape[1], self._x.shape[2]
        if not len(made):
            return 0.0
        if self.model.adds is not None:
            return difference(np.zeros_like(made), made)
        border, given = self.model.border, BlockMeans(height, width)
        for row in range(0, height, max(1, height // _ROWS)):
            pixels = self._pixels(slice(row + border, row + border + 1), slice(border, border + width), wide=False)
            given.add(luma(pixels) if len(made) < len(pixels) == 3 else pixels, row)
        return difference(given.values, made)

    def sample(self) -> Array:
        """Return the middle of the picture [C, h, w], from black to white: a part to try a network on."""
        border = self.model.border
        starts = [max(0, (size - _SAMPLE) // 2) + border for size in self._x.shape[1:]]
        rows, columns = (
            slice(start, min(start + _SAMPLE, size + border))
            for start, size in zip(starts, self._x.shape[1:], strict=True)
        )
        return self._pixels(rows, columns, wide=False)

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
            colours = len(self._x) - self._values.alpha
            self._made.add(self.model.network_output(more, colours), max(stop, rows.start), columns.start)
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
