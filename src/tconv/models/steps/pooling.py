"""Means and largest values: of windows, of all channels, and of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, ShapeError
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import LINES, Region, Shape, single, taken

OPERATIONS = ("mean", "max")
"""Operations of `Pooling`."""


@dataclass(frozen=True)
class GlobalMean:
    """Mean of each channel over all pixels: an output of 1 x 1.

    >>> GlobalMean().output_channels([3])
    3
    """

    roundings = 2

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError if there are several inputs."""
        return single(given)

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return 1."""
        return 1

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return all rows."""
        return slice(0, sizes[0])

    def first(self, output: int, axis: int) -> int:
        """Return the first row."""
        return 0

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill in the means, summed in float64."""
        whole = taken(given[0], slice(0, sizes[0][0]), slice(0, sizes[0][1]))
        with np.errstate(all="ignore"):
            out.values[...] = whole.mean((-2, -1), dtype=np.float64, keepdims=True)


@dataclass(frozen=True)
class ChannelMean(SamePlace):
    """Mean over the channels of each pixel, as normalization by layers reads it: one channel."""

    roundings = 12

    @property
    def magnitudes(self) -> ChannelMean:
        """Step whose output for absolute inputs bounds the numbers that are rounded: itself."""
        return self

    def output_channels(self, given: Sequence[int]) -> int:
        """Return 1. Raises ShapeError if there are several inputs."""
        single(given)
        return 1

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the means."""
        x = taken(given[0], out.rows, out.columns)
        with np.errstate(all="ignore"):
            np.divide(channel_sums(x), x.shape[-3], out=out.values)


def channel_sums(x: Array) -> Array:
    """Return the sums over the channels of x [..., C, h, w], one channel.

    Halves are added to each other, an order that no shape changes; the order of NumPy's own sums depends on it.
    """
    while x.shape[-3] > 1:
        half, odd = divmod(x.shape[-3], 2)
        sums = x[..., :half, :, :] + x[..., half : 2 * half, :, :]
        if odd:
            sums[..., :1, :, :] += x[..., -1:, :, :]
        x = sums
    return x


@dataclass(frozen=True)
class Pooling:
    """Mean or largest value of windows: kernel, stride, padding ((top, bottom), (left, right)).

    `operation` is one of OPERATIONS. With `ceil` the last window may be cut, if it begins in the picture or in the
    padding before it. Pixels of the padding count as zeros of a mean if `counts_padding`, and else not at all.

    >>> Pooling("max", (3, 3), (2, 2), ceil=True).output_extent([8], axis=0)
    4
    """

    operation: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    ceil: bool = False
    counts_padding: bool = False

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ArgumentError(f"operation is {self.operation!r}; one of {', '.join(OPERATIONS)} is needed")
        if min(*self.kernel, *self.stride) < 1:
            raise ArgumentError(f"it pools by {self.kernel}, stride {self.stride}; numbers from 1 on are needed")
        for k, pair in zip(self.kernel, self.padding, strict=True):
            if not 0 <= min(pair) <= max(pair) < k:
                raise ArgumentError(f"it pools by {self.kernel} with padding {self.padding}; less is needed")

    @property
    def roundings(self) -> int:
        """Roundings of sums along both axes."""
        return sum(self.kernel) if self.operation == "mean" else 0

    @property
    def magnitudes(self) -> Pooling:
        """Step whose output for absolute inputs bounds the numbers that are rounded: itself."""
        return self

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError if there are several inputs."""
        return single(given)

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the number of windows. Raises ShapeError if there is none."""
        (size,), (lo, hi), k, s = given, self.padding[axis], self.kernel[axis], self.stride[axis]
        rest = size + lo + hi - k
        result = (-(-rest // s) if self.ceil else rest // s) + 1
        result -= self.ceil and (result - 1) * s >= size + lo
        if result < 1:
            raise ShapeError(f"a window of {k} {LINES[axis]} does not fit a picture of {size}")
        return result

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows of the windows."""
        (lo, _), k, s = self.padding[axis], self.kernel[axis], self.stride[axis]
        return slice(max(0, outputs.start * s - lo), min(sizes[0], (outputs.stop - 1) * s - lo + k))

    def first(self, output: int, axis: int) -> int:
        """Return the first row of a window."""
        return output * self.stride[axis] - self.padding[axis][0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result: first along the rows, then along the columns."""
        wanted = out.rows, out.columns
        spans = [self.source(0, span, [sizes[0][axis]], axis) for axis, span in enumerate(wanted)]
        x = taken(given[0], *spans)
        with np.errstate(all="ignore"):  # inf and NaN are values here
            for axis, (outputs, span) in enumerate(zip(wanted, spans, strict=True)):
                x = self._along(x, axis, outputs, span)
            if self.operation == "mean":
                counts = [self._counts(outputs, sizes[0][axis], axis) for axis, outputs in enumerate(wanted)]
                np.divide(x, (counts[0][:, None] * counts[1]).astype(x.dtype), out=out.values)
            else:
                out.values[...] = x

    def _along(self, x: Array, axis: int, outputs: slice, span: slice) -> Array:
        """Return the sums, or largest values, of windows along one axis of rows (columns) `span`."""
        s, k = self.stride[axis], self.kernel[axis]
        count, start = outputs.stop - outputs.start, outputs.start * s - self.padding[axis][0]
        before, after = span.start - start, start + (count - 1) * s + k - span.stop
        mean, at = self.operation == "mean", axis - 2
        sides = [(0, 0)] * x.ndim
        sides[at] = (before, after)
        x = np.pad(x, sides, constant_values=0 if mean else -np.inf)
        windows = [x[(..., slice(t, t + (count - 1) * s + 1, s)) + (slice(None),) * (-at - 1)] for t in range(k)]
        result = windows[0].copy()
        for window in windows[1:]:
            (np.add if mean else np.maximum)(result, window, out=result)
        return result

    def _counts(self, outputs: slice, size: int, axis: int) -> Array:
        """Return the number of rows (columns) that count in each window."""
        starts = np.arange(outputs.start, outputs.stop) * self.stride[axis] - self.padding[axis][0]
        low, high = (-self.padding[axis][0], size + self.padding[axis][1]) if self.counts_padding else (0, size)
        counts: Array = (starts + self.kernel[axis]).clip(low, high) - starts.clip(low, high)
        return counts
