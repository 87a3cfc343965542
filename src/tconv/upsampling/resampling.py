"""Resampling of one axis to any number of elements, larger or smaller, by a filter of `tconv.weights.interpolation`.

Output o stands at c = (o + 1/2) n/m - 1/2 among n inputs (m outputs, half-pixel centres), and is

    y[o] = sum_i h((i - c)/a) x[i] / sum_i h((i - c)/a)            a = max(1, n/m)

over the inputs that there are. Where the result is smaller, the filter is a times wider, so that it removes what the
fewer elements cannot show. For whole scales this is `Interpolation`, enlarging and shrinking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.weights.interpolation import FILTERS

_BLOCK = 1 << 18
"""Bytes of outputs that are summed at a time: they stay in a core's own cache."""


@dataclass(frozen=True)
class AxisResampler:
    """A filter that turns `inputs` elements into `outputs`.

    >>> AxisResampler("bilinear", 2, 3).resample(np.float64([[0, 6]]), 1, 0, slice(0, 3))
    array([[0., 3., 6.]])
    """

    kernel: str
    inputs: int
    outputs: int

    @property
    def taps(self) -> int:
        """Largest number of inputs of an output."""
        return int(FILTERS[self.kernel].width * max(1, self.inputs / self.outputs)) + 1

    def _first(self, output: Any) -> Any:
        """Return the first input, perhaps before the array, of an output or of an array of outputs."""
        n, m = self.inputs, self.outputs
        # in units of 1/(2m), so that all are whole numbers
        return -((FILTERS[self.kernel].width * max(n, m) - (2 * output + 1) * n + m) // (2 * m))

    def pairs(self, at: Array) -> tuple[Array, Array]:
        """Return the inputs [P, taps] of these outputs, and their float64 weights, 0 where there is no input."""
        n, m = self.inputs, self.outputs
        indices = self._first(at)[:, None] + np.arange(self.taps)
        places = (2 * m * indices - ((2 * at + 1) * n - m)[:, None]) / (2 * max(n, m))
        weights = FILTERS[self.kernel].weight(places)
        if self.kernel == "nearest":
            weights = ((places > -0.5) & (places <= 0.5)).astype(np.float64)  # one of two that are as near
        weights = np.where((indices >= 0) & (indices < n), weights, 0)
        return indices, weights / weights.sum(1, keepdims=True)

    def window(self, outputs: slice) -> slice:
        """Return the inputs that these outputs need."""
        first, last = self._first(outputs.start), self._first(outputs.stop - 1) + self.taps
        return slice(max(0, first), min(self.inputs, last))

    def resample(self, x: Array, axis: int, first: int, outputs: slice) -> Array:
        """Return outputs along an axis from inputs x, which start at index `first`.

        Each is summed by itself, tap by tap, so its bits do not depend on the others.
        """
        lines = np.ascontiguousarray(np.moveaxis(x, axis, 0))
        indices, weights = self.pairs(np.arange(outputs.start, outputs.stop))
        indices = np.clip(indices - first, 0, len(lines) - 1)
        weights = weights.astype(lines.real.dtype)
        result = np.empty((len(indices), *lines.shape[1:]), x.dtype)
        finite = bool(np.isfinite(lines).all())
        step = max(1, _BLOCK // max(1, lines[0].nbytes))
        with np.errstate(over="ignore", invalid="ignore"):  # inf and NaN are values here
            for start in range(0, len(result), step):
                part = slice(start, start + step)
                _sum_taps(lines, indices[part], weights[part], result[part], finite)
        return np.moveaxis(result, 0, axis)


def _sum_taps(lines: Array, indices: Array, weights: Array, out: Array, finite: bool) -> None:
    """Fill out[o] with the sum over taps of weights[o] * lines[indices[o]]."""
    shape: Any = (-1, *[1] * (lines.ndim - 1))
    out[...] = 0
    for tap in range(weights.shape[1]):
        weight = weights[:, tap].reshape(shape)
        products = lines[indices[:, tap]]
        products *= weight
        if not finite:  # an infinite neighbour that no tap reaches must not count
            products[weights[:, tap] == 0] = 0
        out += products
