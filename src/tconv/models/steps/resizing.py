"""Interpolation of a picture to another size: nearest, linear and cubic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.models.steps import sample_positions
from tconv.models.steps.sample_positions import Axis, Taps
from tconv.models.steps.step import LINES, Region, Shape, single, taken

MODES = sample_positions.MODES

_PERIOD = 16
"""Most different sets of weights for which outputs with the same ones are computed together."""
_PIECE = 1 << 16
"""Numbers of a piece whose temporary arrays stay in the caches."""


@dataclass(frozen=True)
class Resize:
    """Interpolation by a factor for rows and one for columns, whole numbers or fractions such as 1/2.

    `mode` is one of MODES, `positions` one of `sample_positions.POSITIONS`: output pixel i is at (i + 0.5) / factor -
    0.5 of the input ("half_pixel", PyTorch's align_corners=False), or at i / factor ("asymmetric", the default of
    "nearest"). `rounding` says which pixel "nearest" takes there, `coefficient` is that of cubic convolution. With
    `by_size` the quotient of the sizes, which are whole numbers, replaces the factor in positions. Beyond the picture
    its outermost pixels repeat.

    >>> Resize((Fraction(3), Fraction(3, 2)), "linear").output_extent([5], axis=1)
    7
    """

    factors: tuple[Fraction | int, Fraction | int]
    mode: str = "nearest"
    positions: str | None = None
    rounding: str = "floor"
    coefficient: float = -0.75
    by_size: bool = False
    absolute: bool = False
    """True for weights without signs."""

    def __post_init__(self) -> None:
        sample_positions.check(self.mode, self._positions, self.rounding)

    @property
    def roundings(self) -> int:
        """Roundings of the weights, products and sums along both axes."""
        return {"nearest": 0, "linear": 6, "cubic": 10}[self.mode]

    @property
    def magnitudes(self) -> Resize:
        """Step with absolute weights, whose output for absolute inputs bounds the numbers that are rounded."""
        return replace(self, absolute=True)

    @property
    def _positions(self) -> str:
        return self.positions or ("asymmetric" if self.mode == "nearest" else "half_pixel")

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input. Raises ShapeError if there are several inputs."""
        return single(given)

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the factor times the height (width), rounded down. Raises ShapeError if nothing is left."""
        result = math.floor(given[0] * self.factors[axis])
        if result < 1:
            raise ShapeError(f"nothing is left of {given[0]} {LINES[axis]} at {self.factors[axis]} of that")
        return result

    def _rule(self, sizes: Sequence[int], axis: int) -> tuple[Fraction, Fraction]:
        """Return the step from one output row to the next, in input rows, and the place of the first."""
        size, total = sizes[0], self.output_extent(sizes, axis)
        step = Fraction(size, total) if self.by_size else 1 / Fraction(self.factors[axis])
        return sample_positions.rule(Axis(size, total, step), self._positions)

    def step(self, sizes: Sequence[int], axis: int) -> Fraction:
        """Return the step from one output row (column) to the next, in rows of an input of these sizes."""
        return self._rule(sizes, axis)[0]

    def _taps(self, outputs: slice, sizes: Sequence[int], axis: int) -> tuple[Taps, Fraction]:
        """Return the input rows and weights of output rows, and the step from one to the next."""
        rule = self._rule(sizes, axis)
        mode = "nearest" if rule == (Fraction(1), Fraction(0)) else self.mode
        return sample_positions.taps(outputs, rule, mode, self.rounding, self.coefficient), rule[0]

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows that are read."""
        return _hull(self._taps(outputs, sizes, axis)[0].places.clip(0, sizes[0] - 1))

    def first(self, output: int, axis: int) -> int:
        """Return the first row that an output row reads."""
        return int(self._taps(slice(output, output + 1), [1 << 20], axis)[0].places.min())

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result: first along the columns, then along the rows."""
        along = [
            self._taps(span, [size[axis] for size in sizes], axis) for axis, span in enumerate((out.rows, out.columns))
        ]
        (down, row_step), (across, column_step) = along
        if self.absolute:
            down, across = (each._replace(weights=np.abs(each.weights)) for each in (down, across))
        inside = [taps.places.clip(0, n - 1) for (taps, _), n in zip(along, sizes[0], strict=True)]
        x = taken(given[0], _hull(inside[0]), _hull(inside[1]))
        # the smaller picture is between both passes; they and their order never depend on the part
        rows_first = column_step > 1
        shape = (out.values.shape[-2], x.shape[-1]) if rows_first else (x.shape[-2], out.values.shape[-1])
        step = max(1, _PIECE // max(math.prod(shape), math.prod(out.values.shape[-2:])))
        middle = np.empty((step, *shape), x.dtype)
        scratch = np.empty((2, step, max(middle[0].size, math.prod(out.values.shape[-2:]))), x.dtype)
        passes = [(1, _extended(down, sizes[0][0]), row_step), (2, _extended(across, sizes[0][1]), column_step)]
        if not rows_first:
            passes.reverse()
        with np.errstate(all="ignore"):  # inf and NaN are values here
            for place in np.ndindex(x.shape[:-3]):
                for start in range(0, x.shape[-3], step):
                    source, target = x[place][start : start + step], out.values[place][start : start + step]
                    between = middle[: len(source)]
                    _interpolate(source, between, *passes[0], scratch)
                    _interpolate(between, target, *passes[1], scratch)


class _Reach(NamedTuple):
    """Taps on an extended input, and the pixel of the input that each of its pixels repeats."""

    taps: Taps
    repeats: Array | None


def _extended(taps: Taps, size: int) -> _Reach:
    """Return the taps on the input with copies of its outermost pixels around it, as far as places are outside."""
    low, stop = int(taps.places.min()), int(taps.places.max()) + 1
    repeats = np.arange(low, stop).clip(0, size - 1)
    first = repeats[0]
    outside = low < 0 or stop > size
    return _Reach(taps._replace(places=taps.places - low), repeats - first if outside else None)


def _interpolate(x: Array, out: Array, axis: int, reach: _Reach, step: Fraction, scratch: Array) -> None:
    """Fill out with weighted sums of the pixels along an axis of x, both [C, h, w].

    Every output is the sum of the same products in the same order, whichever of the two ways computes it.
    """
    taps = reach.taps
    if reach.repeats is not None:
        x = x.take(reach.repeats, axis)
    weights = taps.weights.astype(x.dtype)
    period, stride = step.denominator, step.numerator
    if period > _PERIOD or stride == 0 or len(weights) <= period:
        parts = [x.take(places, axis) for places in taps.places.T]
        _add_up(parts, list(weights.T[..., None] if axis == 1 else weights.T), out, scratch)
        return
    lines = [x[_along(axis, slice(first, None, stride))] for first in range(stride)]
    if stride > 1 and axis == 2:  # columns with gaps are slow to compute with: they are copied once
        lines = [np.ascontiguousarray(line) for line in lines]
    for phase in range(period):  # outputs with the same weights, of inputs in a line
        target = out[_along(axis, slice(phase, None, period))]
        starts = [divmod(place, stride) for place in taps.places[phase].tolist()]
        parts = [lines[line][_along(axis, slice(start, start + target.shape[axis]))] for start, line in starts]
        _add_up(parts, list(weights[phase]), target, scratch)


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    """Return the index of a part along an axis."""
    return (slice(None),) * axis + (part,)


def _add_up(parts: list[Array], weights: list[Array], out: Array, scratch: Array) -> None:
    """Fill out with the sum of the parts times their weights; a single part has the weight 1."""
    if len(parts) == 1:
        out[...] = parts[0]
        return
    sums, product = (each.reshape(-1)[: out.size].reshape(out.shape) for each in scratch)
    np.multiply(parts[0], weights[0], out=sums)
    for part, weight in zip(parts[1:-1], weights[1:-1], strict=True):
        np.multiply(part, weight, out=product)
        sums += product
    np.multiply(parts[-1], weights[-1], out=product)
    np.add(sums, product, out=out)


def _hull(places: Array) -> slice:
    return slice(int(places.min()), int(places.max()) + 1)
