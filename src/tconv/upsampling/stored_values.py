"""Conversion between the values that an image stores and the numbers that it is computed with.

It covers rounding and clipping of integers, and opacity, by which colours are weighted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import DtypeError
from tconv.upsampling.upsampler import Frame

_COMPUTED = {
    "float32": "bool int8 uint8 int16 uint16 float16 float32",
    "float64": "int32 uint32 int64 uint64 float64",
    "complex64": "complex64",
    "complex128": "complex128",
}
"""Stored dtypes by the dtype of the arithmetic."""


@dataclass(frozen=True)
class StoredValues:
    """Element type of one image, and the conversion to and from the numbers of the arithmetic.

    8 and 16 bits are computed in float32, larger integers in float64. Results of integers are rounded, and clipped to
    the range of their dtype. With `alpha` the last channel is opacity: colours are multiplied by it before and divided
    by it after, so that the colour of invisible pixels does not bleed. Colours are stored as 0 where opacity is zero.
    With `associated`, too, the stored colours are multiplied by it already, and stay so.
    """

    dtype: np.dtype[Any]
    alpha: bool = False
    associated: bool = False

    def __post_init__(self) -> None:
        if not any(self.dtype.name in names.split() for names in _COMPUTED.values()):
            raise DtypeError(
                f"the elements are {self.dtype}; {', '.join(' '.join(_COMPUTED.values()).split())} are taken. "
                "Write array.astype(np.float32)"
            )

    @property
    def computed(self) -> np.dtype[Any]:
        """Dtype of the arithmetic."""
        return next(np.dtype(wide) for wide, names in _COMPUTED.items() if self.dtype.name in names.split())

    @property
    def white(self) -> float:
        """Number that stands for full brightness, and full opacity."""
        return float(np.iinfo(self.dtype).max) if self.dtype.kind in "iu" else 1.0

    def frame(self, height: int) -> Frame:
        """Return the frame of an image of this height."""
        return Frame(height, self.white, self.alpha)

    def load(self, stored: Array, wide: bool = False) -> Array:
        """Return stored values [C, ...] as numbers; `wide` means float64 or complex128, for the definition."""
        numbers = stored.astype(np.promote_types(self.computed, np.float64) if wide else self.computed, order="C")
        if self.alpha:
            numbers[-1] /= self.white
            if not self.associated:
                numbers[:-1] *= numbers[-1]
        return numbers

    def store(self, numbers: Array) -> Array:
        """Return computed numbers [C, ...] as stored values."""
        if self.alpha and self.associated:
            numbers = np.concatenate([numbers[:-1], numbers[-1:] * numbers.dtype.type(self.white)])
        elif self.alpha:
            opacity = numbers[-1:]
            # below half a step of 8 or 16 bits nothing is visible; of floats, below one of 16
            least = 0.5 / (self.white if self.dtype.kind in "iu" else 65535)
            colours = np.divide(numbers[:-1], opacity, out=np.zeros_like(numbers[:-1]), where=opacity >= least)
            numbers = np.concatenate([colours, opacity * numbers.dtype.type(self.white)])
        if self.dtype.kind in "biu":
            numbers = np.clip(numbers, *self._bounds(numbers.dtype))
            np.rint(numbers, out=numbers)
        # a float16 map may leave its range, as in any framework; a NaN must survive until the check reports it
        with np.errstate(over="ignore", invalid="ignore"):
            return numbers.astype(self.dtype)

    def _bounds(self, computed: np.dtype[Any]) -> tuple[float, float]:
        if self.dtype.kind == "b":
            return 0.0, 1.0
        info = np.iinfo(self.dtype)
        top = computed.type(info.max)
        # the largest 64-bit integers round up to a number that is out of range
        return float(info.min), float(top if int(top) <= info.max else np.nextafter(top, computed.type(0)))
