"""Images of any size: a filter resamples directly, or after a network or a kernel, which runs at a whole scale.

A `Resizer` knows the size that was asked for; `Resizer.fitted` returns the upsampler of one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.image_model import Model
from tconv.upsampling.filters import STRIP
from tconv.upsampling.resampling import AxisResampler
from tconv.upsampling.target_size import TargetSize
from tconv.upsampling.upsampler import Frame, Load, Pass, Truth, Upsampler, even_parts, row_strips
from tconv.weights.interpolation import FILTERS

DOWN = "bicubic"
"""Filter that gives the output of a network or of a kernel another size."""
_MOST_VALUES = 1 << 22
"""Numbers that the check reads at a time."""


def runs_once(scale: float, times: float) -> str:
    """Return the note that a network enlarges less than was asked for."""
    return f"the network runs once, x{scale:g}; the other x{times:.4g} is bicubic interpolation"


class Resizer:
    """Images to a `TargetSize`, by a named filter, or by an upsampler of whole scales whose output is resampled.

    `whole` returns the upsampler of an image [height, width] that becomes so many times larger. It raises the errors of
    options that do not fit.
    """

    def __init__(
        self,
        target: TargetSize,
        kernel: str | None,
        whole: Callable[[Fraction, tuple[int, int]], Upsampler | None],
        mixes: bool,
        name: str,
    ) -> None:
        self._target, self._kernel, self._whole = target, kernel, whole
        self.name, self.mixes, self.size_option = name, mixes, target.size_option
        self.notes: list[str] = []  # those of the upsamplers of each image
        method = f"{kernel} ({FILTERS[kernel].description})" if kernel else f"{name}, then {DOWN}"
        self.text = f"{self._target.description} by {method}"

    def label(self, height: int, width: int) -> str:
        """Return the size of the result of such an image, as names of files have it."""
        return self._target.label(height, width)

    def fitted(self, height: int, width: int) -> Upsampler:
        """Return the upsampler of images of this size."""
        size = self._target.of(height, width)
        ratio = max(self._target.ratios(height, width))
        inner = None if self._kernel else self._whole(ratio, (height, width))
        if inner is not None and inner.output_size(height, width) == size:
            return inner
        return Resized(inner, self._kernel or DOWN, (height, width), size, self._target)


class Resized:
    """Images of one size, resampled to another one, or what an upsampler makes of them.

    The filter works on rows, then on columns, with `AxisResampler`.
    """

    plainer = "nearest"

    def __init__(
        self,
        inner: Upsampler | None,
        kernel: str,
        size: tuple[int, int],
        output: tuple[int, int],
        target: TargetSize,
    ) -> None:
        self._inner, self._size, self._output = inner, size, output
        middle = size if inner is None else inner.output_size(*size)
        self._down, self._across = (AxisResampler(kernel, *each) for each in zip(middle, output, strict=True))
        self.scale = output[1] / size[1]
        self.size_option, self._label = target.size_option, target.label(*size)
        sides = f"{output[1]} x {output[0]}"
        size_text = f"to {sides}" if target.in_pixels else f"{target.text} times, to {sides},"
        filtered = f"{kernel} ({FILTERS[kernel].description})"
        self.name = kernel if inner is None else inner.name
        times = output[1] / middle[1] if target.scale is None else float(target.scale) * size[1] / middle[1]
        method, self.notes = filtered, []
        if inner is not None:
            first = f"x{inner.scale:g} by the {'network' if inner.learned else 'kernel'}"
            then = "made that size" if target.in_pixels else f"x{times:.4g}"
            method = f"{inner.description}: {first}, then {then} by {filtered}"
            self.notes += inner.notes
            if inner.learned and times > 1:
                self.notes.append(runs_once(inner.scale, times))
        self.description, self.text = method, f"{size_text} by {method}"
        self.mixes, self.block = (False, 1) if inner is None else (inner.mixes, inner.block)
        self.learned = inner is not None and inner.learned
        self.model: Model | None = None if inner is None else inner.model
        # the strips of what is resampled have the usual size
        whole = STRIP if inner is None else inner.strip_bytes
        self.strip_bytes = max(1, whole * math.prod(output) // max(math.prod(middle), math.prod(output)))

    def fitted(self, height: int, width: int) -> Upsampler:
        """Return the upsampler itself."""
        return self

    def label(self, height: int, width: int) -> str:
        """Return the size of the result, as names of files have it."""
        return self._label

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the result."""
        return self._output

    def channels(self, channels: int) -> int:
        """Return the number of output channels."""
        return channels if self._inner is None else self._inner.channels(channels)

    def refuse_bands(self, channels: int, alpha: bool, bands: bool) -> None:
        """Raise ShapeError for channels that a network before the resampling does not take."""
        if self._inner is not None:
            self._inner.refuse_bands(channels, alpha, bands)

    def reach(self, height: int) -> int:
        """Return the most pixels between an output and a pixel that it reads, along rows or columns."""
        axes = zip((self._down, self._across), self._size, strict=True)
        own = max(math.ceil(axis.taps * size / axis.inputs) for axis, size in axes)
        return own + (0 if self._inner is None else self._inner.reach(height))

    def passes(self, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> list[Pass]:
        """Return the transposed convolutions before the resampling; none for a filter."""
        return [] if self._inner is None else self._inner.passes(shape, dtype)

    def scratch_bytes(self, shape: tuple[int, int, int]) -> int:
        """Return the bytes of the rows that are resampled for one strip, and of those behind them."""
        first = next(row_strips(self, shape, 4))
        middle = self._down.window(first)
        rows = min(self._down.inputs, middle.stop - middle.start + self._down.taps)  # elsewhere there may be more
        numbers = self.channels(shape[0]) * rows * self._across.inputs
        inner = 0 if self._inner is None else self._inner.scratch_bytes(shape)
        return int(3 * 8 * numbers + inner)

    def window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the inputs that these outputs need."""
        middle = (self._down, self._across)[axis].window(outputs)
        return middle if self._inner is None else self._inner.window(middle, size, axis)

    def own_window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the inputs that `strip` is given for these outputs, beside those of a network."""
        middle = (self._down, self._across)[axis].window(outputs)
        return middle if self._inner is None else self._inner.own_window(middle, size, axis)

    def bands(self, shape: tuple[int, int, int]) -> list[slice]:
        """Return the columns of the result that are computed one after another."""
        count = 1 if self._inner is None else len(self._inner.bands(shape))
        return even_parts(self._output[1], count)

    def source(self, x: Array, values: Any, advance: Callable[[float], None], check: Any) -> Any:
        """Return the run of a network over an image, if there is one."""
        return None if self._inner is None else self._inner.source(x, values, advance, check)

    def network_outputs(self, rows: slice, columns: slice, shape: tuple[int, int, int]) -> tuple[slice, slice]:
        """Return the rows and columns of the network's output that these of the result are made of."""
        middle = self._down.window(rows), self._across.window(columns)
        return middle if self._inner is None else self._inner.network_outputs(*middle, shape)

    def plan_notes(self, shape: tuple[int, int, int]) -> list[str]:
        """Return facts about the network's run, if there is one."""
        return [] if self._inner is None else self._inner.plan_notes(shape)

    def doubt(self, source: Any) -> str | None:
        """Return a warning about a network's output, if there is one."""
        return None if self._inner is None else self._inner.doubt(source)

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the resampling of both axes, and what runs before it."""
        return self._inner, self._down, self._across

    def strip(self, x: Array, first: int, rows: slice, frame: Frame) -> Array:
        """Return output rows from input rows."""
        middle = self._down.window(rows)
        columns, left = frame.columns or slice(0, self._output[1]), frame.left
        if self._inner is None:
            y, start = x, first
        else:
            left = 0
            if frame.columns is not None:
                inner = self._across.window(columns)
                frame, left = frame._replace(columns=inner), inner.start
            y, start = self._inner.strip(x, first, middle, frame), middle.start
        return self._across.resample(self._down.resample(y, 1, start, rows), 2, left, columns)

    # -- the definition ------------------------------------------------------------------------------------------

    def truth(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        """Return the weighted sums of inputs, or of the inner upsampler's definition."""
        if self.block > 1:  # the places of one square share most of what they read
            return self._truth_of_square(load, shape, y, x, frame)
        each = self._down.taps * self._across.taps * shape[0]
        parts = max(1, -(-len(y) * each // _MOST_VALUES))
        truths = [
            self._truth_of_places(load, shape, *places, frame)
            for places in zip(np.array_split(y, parts), np.array_split(x, parts), strict=True)
        ]
        joined = [np.concatenate([truth[field] for truth in truths], 1) for field in (0, 1)]
        return Truth(joined[0], joined[1], truths[0].roundings)

    def _truth_of_places(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        (rows, down), (columns, across) = self._down.pairs(y), self._across.pairs(x)
        weights = down[:, :, None] * across[:, None, :]
        own = 2 * (self._down.taps + self._across.taps)
        if self._inner is None:
            values, mass, roundings = load(rows, columns), None, 0
        else:
            rows, columns = np.clip(rows, 0, self._down.inputs - 1), np.clip(columns, 0, self._across.inputs - 1)
            grid = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
            truth = self._inner.truth(load, shape, grid[0].ravel(), grid[1].ravel(), frame)
            values, mass = (each.reshape(-1, *weights.shape) for each in (truth.values, truth.mass))
            roundings = truth.roundings
        # an infinite neighbour that no tap reaches must not count
        values = np.where(weights != 0, values, 0)
        mass = np.abs(values) if mass is None else np.where(weights != 0, mass, 0)
        total, size = ((each * by).sum((-2, -1)) for each, by in ((values, weights), (mass, np.abs(weights))))
        return Truth(total, size, roundings + own)

    def _truth_of_square(self, load: Load, shape: tuple[int, int, int], y: Array, x: Array, frame: Frame) -> Truth:
        assert self._inner is not None
        spans = [
            axis.window(slice(int(at.min()), int(at.max()) + 1)) for axis, at in ((self._down, y), (self._across, x))
        ]
        grid = np.meshgrid(*(np.arange(span.start, span.stop) for span in spans), indexing="ij")
        sides = grid[0].shape
        truth = self._inner.truth(load, shape, grid[0].ravel(), grid[1].ravel(), frame)
        eps = float(np.finfo(np.float32).eps)
        error = eps * truth.roundings * truth.mass if truth.error is None else truth.error
        (rows, down), (columns, across) = self._down.pairs(y), self._across.pairs(x)
        rows, columns = (
            np.clip(at - span.start, 0, n - 1) for at, span, n in zip((rows, columns), spans, sides, strict=True)
        )
        weights = down[:, :, None] * across[:, None, :]

        def weighted(array: Array, by: Array) -> Array:
            taken = array.reshape(-1, *sides)[:, rows[:, :, None], columns[:, None, :]]
            summed: Array = (np.where(by != 0, taken, 0) * by).sum((-2, -1))
            return summed

        values = weighted(truth.values, weights)
        mass = weighted(np.abs(truth.values), np.abs(weights))
        own = eps * 2 * (self._down.taps + self._across.taps) * mass
        return Truth(values, mass, 0, weighted(np.nan_to_num(error), np.abs(weights)) + own)
