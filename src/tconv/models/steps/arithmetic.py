"""Sums, products and quotients of pictures, and products and sums with constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.kernels.simd import planes
from tconv.models.steps.same_place import SamePlace
from tconv.models.steps.step import LINES, Region, Shape, taken

OPERATIONS: dict[str, Any] = {
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
"""Operations of `Combination`, as NumPy has them."""


def _views(given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> list[Array]:
    """Return views of the inputs that broadcast to the output."""
    spans = [
        tuple(slice(0, 1) if whole == 1 else span for whole, span in zip(size, (out.rows, out.columns), strict=True))
        for size in sizes
    ]
    return [taken(part, *span) for part, span in zip(given, spans, strict=True)]


def _channels(given: Sequence[int], what: str) -> int:
    """Return the channels of two inputs of which one may have a single channel. Raises ShapeError."""
    if len(given) != 2:
        raise ShapeError(f"it is a {what} of {len(given)} input{'s' * (len(given) != 1)}; two are needed")
    if given[0] != given[1] and 1 not in given:
        raise ShapeError(f"it is a {what} of {given[0]} and {given[1]} channels; as many of both are needed, or 1")
    return max(given)


@dataclass(frozen=True)
class Sum(SamePlace):
    """Sum of two inputs: scales[0] * x + scales[1] * z. Inputs of one channel or pixel count for all.

    >>> Sum((1.0, -1.0)).output_channels([3, 3])
    3
    """

    scales: tuple[float, float] = (1.0, 1.0)
    roundings = 3

    @property
    def magnitudes(self) -> Sum:
        """Sum of the absolute products, whose roundings the result has."""
        return Sum((abs(self.scales[0]), abs(self.scales[1])))

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of both. Raises ShapeError."""
        return _channels(given, "sum")

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the sum."""
        x, z = _views(given, sizes, out)
        if planes.add(x, z, self.scales, out.values):
            return
        a, b = (out.values.dtype.type(scale) for scale in self.scales)
        with np.errstate(all="ignore"):  # inf and NaN are values here
            np.add(x if a == 1 else a * x, z if b == 1 else b * z, out=out.values)


@dataclass(frozen=True)
class Combination(SamePlace):
    """Product, quotient, larger or smaller of two inputs (`OPERATIONS`); one channel or pixel counts for all.

    >>> Combination("mul").output_channels([3, 1])
    3
    """

    operation: str
    roundings = 1

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of both. Raises ShapeError."""
        return _channels(given, self.operation)

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        x, z = _views(given, sizes, out)
        if self.operation == "multiply" and planes.multiply(x, z, out.values):
            return
        with np.errstate(all="ignore"):  # inf and NaN are values here
            OPERATIONS[self.operation](x, z, out=out.values)


@dataclass(frozen=True, eq=False)
class Affine(SamePlace):
    """Product with a constant, plus a constant: numbers, [C, 1, 1] or [C, H, W], float32.

    >>> Affine(np.float32([2]), np.float32([1])).output_channels([3])
    3

    A constant with rows or columns fits pictures of that size only.
    """

    scale: Array = field(default_factory=lambda: np.ones(1, np.float32))
    shift: Array = field(default_factory=lambda: np.zeros(1, np.float32))
    roundings = 2

    @property
    def magnitudes(self) -> Affine:
        """Step with absolute constants, whose output for absolute inputs bounds the numbers that are rounded."""
        return Affine(np.abs(self.scale), np.abs(self.shift))

    @property
    def _constants(self) -> tuple[Array, Array]:
        """Scale and shift with three axes."""
        return tuple(
            np.asarray(c, np.float32).reshape((1,) * (3 - np.ndim(c)) + np.shape(c)) for c in (self.scale, self.shift)
        )  # type: ignore[return-value]

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the channels of the input, or those of a constant if it has one. Raises ShapeError."""
        counts = {given[0], *(len(each) for each in self._constants)} - {1} or {1}
        if len(given) != 1 or len(counts) > 1:
            raise ShapeError(f"it multiplies {list(given)} channels by constants of {sorted(counts)} channels")
        return counts.pop()

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) of the input. Raises ShapeError if a constant has another one."""
        constants = {each.shape[1 + axis] for each in self._constants} - {1}
        if not constants <= {given[0]}:
            raise ShapeError(
                f"a constant of the network has {max(constants)} {LINES[axis]}, and the picture {given[0]} there"
            )
        return given[0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        constants = [Region(each, slice(0, each.shape[1]), slice(0, each.shape[2])) for each in self._constants]
        every = [sizes[0], *(each.values.shape[1:] for each in constants)]
        x, scale, shift = _views([given[0], *constants], every, out)
        with np.errstate(all="ignore"):
            np.multiply(x, scale, out=out.values)
            out.values[...] += shift
