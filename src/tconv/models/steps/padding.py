"""Padding of a picture on its four sides with a number, by reflection or by its outermost pixels; and crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.kernels.simd import planes
from tconv.models.steps.step import LINES, Region, Shape, single, taken

MODES = ("constant", "reflect", "edge")


@dataclass(frozen=True)
class Padding:
    """Padding ((top, bottom), (left, right)); negative numbers crop. `mode` is one of MODES, `value` its constant, or
    one for each channel.

    "reflect" does not repeat the outermost pixels, as PyTorch's and ONNX's do not. Bottom and right grow until height
    and width with the padding are divided by `multiple`.

    >>> Padding(((1, 1), (0, 0)), multiple=(4, 1)).output_extent([9], axis=0)
    12
    """

    sides: tuple[tuple[int, int], tuple[int, int]]
    mode: str = "constant"
    value: float | tuple[float, ...] = 0.0
    multiple: tuple[int, int] = (1, 1)
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError for another number of constants."""
        if np.size(self.value) not in (1, single(given)):
            raise ShapeError(
                f"it pads {given[0]} channels with {np.size(self.value)} constants; 1, or as many are needed"
            )
        return given[0]

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) with the padding. Raises ShapeError if nothing is left, or for a far reflection."""
        (size,), (lo, hi) = given, self.sides[axis]
        padded = size + lo + hi
        if padded < 1:
            raise ShapeError(f"a crop of {(lo, hi)} leaves nothing of {size} {LINES[axis]}")
        more = -padded % self.multiple[axis]
        if self.mode == "reflect" and max(lo, hi + more) >= size:
            raise ShapeError(f"{size} {LINES[axis]} cannot be reflected by {(lo, hi + more)}; more of them are needed")
        return padded + more

    def _indices(self, outputs: slice, size: int, axis: int) -> Array:
        """Return the input rows of output rows; -1 where the constant is."""
        places = np.arange(outputs.start, outputs.stop) - self.sides[axis][0]
        inside: Array = np.clip(places, 0, size - 1)
        if self.mode == "constant":
            inside[inside != places] = -1
        elif self.mode == "reflect":
            places = np.abs(places)
            inside = np.minimum(places, 2 * (size - 1) - places)
        return inside

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows that are copied."""
        start, stop = outputs.start - self.sides[axis][0], outputs.stop - self.sides[axis][0]
        if start >= 0 and stop <= sizes[0]:
            return slice(start, stop)
        places = self._indices(outputs, sizes[0], axis)
        inside = places[places >= 0]
        if not inside.size:  # padding only: any row will do
            nearest = 0 if outputs.start < self.sides[axis][0] else sizes[0] - 1
            return slice(nearest, nearest + 1)
        return slice(int(inside.min()), int(inside.max()) + 1)

    def first(self, output: int, axis: int) -> int:
        """Return the row at the same place of the picture."""
        return output - self.sides[axis][0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result: what lies inside the picture is copied as a whole."""
        wanted = out.rows, out.columns
        spans = [self.source(0, span, [sizes[0][axis]], axis) for axis, span in enumerate(wanted)]
        x = taken(given[0], *spans)
        lines = [(span.start - lo, span.stop - lo) for span, (lo, _) in zip(wanted, self.sides, strict=True)]
        if lines == [(span.start, span.stop) for span in spans]:  # inside the picture
            if not planes.copy(x, out.values):
                out.values[...] = x
            return
        places = [self._indices(span, sizes[0][axis], axis) for axis, span in enumerate(wanted)]
        rows, columns = (np.maximum(p - s.start, 0) for p, s in zip(places, spans, strict=True))
        down, across = (self._inside(span, sizes[0][axis], axis) for axis, span in enumerate(wanted))
        values = out.values
        if down.start < down.stop and across.start < across.stop:
            values[..., down, across] = x[
                ..., rows[down.start] : rows[down.stop - 1] + 1, columns[across.start] : columns[across.stop - 1] + 1
            ]
        for beside in (slice(0, across.start), slice(across.stop, None)):
            values[..., down, beside] = x[..., rows[down][:, None], columns[beside]]
        for beside in (slice(0, down.start), slice(down.stop, None)):
            values[..., beside, :] = x[..., rows[beside][:, None], columns]
        outside = (places[0] < 0)[:, None] | (places[1] < 0)
        if outside.any():
            values[..., outside] = np.reshape(np.asarray(self.value, np.float32), (-1, 1))

    def _inside(self, outputs: slice, size: int, axis: int) -> slice:
        """Return the output rows, counted from the first of these, that are rows of the picture themselves."""
        count, start = outputs.stop - outputs.start, outputs.start - self.sides[axis][0]
        low = min(count, max(0, -start))
        return slice(low, max(low, min(count, size - start)))
