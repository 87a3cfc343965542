"""An image made larger strip by strip: stored values to numbers, numbers to stored values, memory that stays small."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv.errors import DtypeError
from tconv.models.image_model import copied
from tconv.upsampling.check import Check
from tconv.upsampling.upsampler import Array, Frame, Upsampler

_COMPUTED = {
    "float32": "bool int8 uint8 int16 uint16 float16 float32",
    "float64": "int32 uint32 int64 uint64 float64",
    "complex64": "complex64",
    "complex128": "complex128",
}


@dataclass(frozen=True)
class Values:
    """How the values of one image are stored, and the numbers they are computed with.

    8 and 16 bits are computed in float32, larger integers in float64; integers are rounded and clipped to what their
    dtype holds. With `alpha` the last channel is opacity, and colours count by it: they are multiplied by it before
    and divided by it after, so that the colour of invisible pixels does not bleed. Where opacity ends up as nothing
    there is no colour, and 0 is stored.
    """

    dtype: np.dtype[Any]
    alpha: bool = False

    def __post_init__(self) -> None:
        if not any(self.dtype.name in names.split() for names in _COMPUTED.values()):
            raise DtypeError(
                f"the elements are {self.dtype}; {', '.join(' '.join(_COMPUTED.values()).split())} are taken. "
                "Write array.astype(np.float32)"
            )

    @property
    def computed(self) -> np.dtype[Any]:
        """The dtype of the arithmetic."""
        return next(np.dtype(wide) for wide, names in _COMPUTED.items() if self.dtype.name in names.split())

    @property
    def white(self) -> float:
        """The number that stands for full brightness, and full opacity."""
        return float(np.iinfo(self.dtype).max) if self.dtype.kind in "iu" else 1.0

    def frame(self, height: int) -> Frame:
        """What an upsampler is told of an image of this height."""
        return Frame(height, self.white, self.alpha)

    def load(self, stored: Array, wide: bool = False) -> Array:
        """Stored [C, ...] as numbers to compute with; `wide` for the definition, in float64 or complex128."""
        numbers = stored.astype(np.promote_types(self.computed, np.float64) if wide else self.computed, order="C")
        if self.alpha:
            numbers[-1] /= self.white
            numbers[:-1] *= numbers[-1]
        return numbers

    def store(self, numbers: Array) -> Array:
        """Computed [C, ...] as they are to be stored."""
        if self.alpha:
            opacity = numbers[-1:]
            # below half a step of 8 or 16 bits nothing is visible; of floats, below one of 16
            least = 0.5 / (self.white if self.dtype.kind in "iu" else 65535)
            colours = np.divide(numbers[:-1], opacity, out=np.zeros_like(numbers[:-1]), where=opacity >= least)
            numbers = np.concatenate([colours, opacity * numbers.dtype.type(self.white)])
        if self.dtype.kind in "biu":
            numbers = np.clip(numbers, *self._bounds(numbers.dtype))
            np.rint(numbers, out=numbers)
        # a float16 map may leave its range, as it may in any framework; what the check must not let pass may be NaN
        with np.errstate(over="ignore", invalid="ignore"):
            return numbers.astype(self.dtype)

    def _bounds(self, computed: np.dtype[Any]) -> tuple[float, float]:
        if self.dtype.kind == "b":
            return 0.0, 1.0
        info = np.iinfo(self.dtype)
        top = computed.type(info.max)
        # the largest 64-bit integers round up to a number that is out of range
        return float(info.min), float(top if int(top) <= info.max else np.nextafter(top, computed.type(0)))


def strips(upsampler: Upsampler, shape: tuple[int, int, int], itemsize: int) -> Iterator[slice]:
    """The output rows of an image [C, height, width] made larger, in strips of whole input rows."""
    channels, height, width = shape
    scale = upsampler.scale
    row = upsampler.channels(channels) * scale * width * itemsize
    step = scale * max(1, upsampler.strip_bytes // max(1, row * scale))
    return (slice(start, min(start + step, scale * height)) for start in range(0, scale * height, step))


def enlarge(
    x: Array, upsampler: Upsampler, values: Values, out: Array, check: Check, tick: Callable[[], None] = lambda: None
) -> None:
    """Fill out [C_out, scale*H, scale*W] from the stored image x [C, H, W]; `check` sees every strip, `tick` counts."""
    height = x.shape[1]
    for rows in strips(upsampler, (x.shape[0], height, x.shape[2]), values.computed.itemsize):
        window = upsampler.window(rows, height)
        numbers = upsampler.strip(values.load(copied(x, window, 1)), window.start, rows, values.frame(height))
        check.see(rows, numbers)
        out[:, rows] = values.store(numbers)
        tick()


def predicted_bytes(shape: tuple[int, int, int, int], upsampler: Upsampler, values: Values) -> int:
    """Bytes that images [N, C, H, W] and their results hold, and the widest strip between them."""
    n, inputs, height, width = shape
    channels, area = upsampler.channels(inputs), upsampler.scale**2
    image = channels * height * width * area
    row = max(inputs, channels) * width * area * values.computed.itemsize
    # two passes, padded input, stored values; and the colours that are divided by opacity
    strip = (4 + values.alpha) * min(max(upsampler.strip_bytes, row), image * values.computed.itemsize)
    held = upsampler.scratch_bytes((inputs, height, width))
    return (math.prod(shape) + n * image) * values.dtype.itemsize + strip + held
