"""Pixels without data: NaN in a TIFF file of floats, and GDAL's no-data value.

They are filled from their neighbours before an image is enlarged and marked again afterwards, so that no method needs
to know about them and none spreads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.upsampling.upsampler import Upsampler

_IS_NAN, _IS_NODATA = 1, 2


class MissingData:
    """Places without data in the channels [C, H, W] of an image; `number` is the no-data value, if there is one.

    An output has no data exactly if the pixel that it lies in has none, and then has that pixel's NaN or no-data value.
    Every other output is what the method makes of an image whose missing pixels are filled: a pixel that touches pixels
    with data becomes their mean, then those that touch these, as far as the method reads. So beside missing data the
    image goes on level, as it does beyond its border. Outputs that read no missing pixel have the same bits as ever,
    those of a network up to the rounding of its groups of rows.
    A result that is the no-data value by chance becomes the next number, as GDAL does it, so that it still counts.
    """

    def __init__(self, image: Array, number: float | int | None, alpha: bool) -> None:
        self._number = None if number is None or np.isnan(number) else image.dtype.type(number)
        self._alpha = alpha
        self._kinds: Array = np.zeros(image.shape, np.uint8)
        colours = image[: len(image) - alpha]
        if image.dtype.kind in "fc":
            self._kinds[: len(colours)][np.isnan(colours)] = _IS_NAN
        if self._number is not None:
            self._kinds[: len(colours)][colours == self._number] = _IS_NODATA
        self.count = int(np.count_nonzero(self._kinds.any(0)))
        """Pixels without data in a channel at least."""
        self.bands = int(self._kinds.any((1, 2)).sum())
        """Channels with such pixels."""

    def filled(self, image: Array, upsampler: Upsampler) -> Array:
        """Return the image [C, H, W] with numbers in its missing pixels."""
        reach = upsampler.reach(image.shape[1])
        result = image.copy()
        for channel, kinds in zip(result, self._kinds, strict=True):
            if kinds.any():
                _fill(channel, kinds > 0, reach)
        return result

    def mark(self, result: Array, mixes: bool, places: tuple[Array, Array] | None = None) -> None:
        """Mark the outputs [C_out, H', W'] without data, and move others off the no-data value.

        With `mixes` every output channel reads all input channels, and has data where all of them have. `places` are
        the rows and the columns of the image that the outputs lie in, where both are parts of larger ones.
        """
        rows, columns = places or [
            pixel_of(np.arange(large), large, small)
            for large, small in zip(result.shape[1:], self._kinds.shape[1:], strict=True)
        ]
        kinds = self._kinds
        if mixes:
            kinds = np.broadcast_to(kinds.max(0), (len(result), *kinds.shape[1:]))
        nan = None if result.dtype.kind not in "fc" else result.dtype.type(np.nan)
        colours = len(result) - self._alpha
        for channel, small in zip(result[:colours], kinds, strict=False):
            if self._number is not None:
                np.copyto(channel, _beside(self._number), where=channel == self._number)
            if not small.any():
                continue
            for top in range(0, len(channel), 256):  # masks of a few rows, not of the whole result
                large = small[rows[top : top + 256]].take(columns, 1)
                part = channel[top : top + 256]
                if nan is not None:
                    np.copyto(part, nan, where=large == _IS_NAN)
                if self._number is not None:
                    np.copyto(part, self._number, where=large == _IS_NODATA)


def pixel_of(outputs: Array, large: int, small: int) -> Array:
    """Return the pixel that the centre of each of some outputs, of `large` in all, lies in, of `small` pixels."""
    pixels: Array = (2 * outputs + 1) * small // (2 * large)
    return pixels


def _beside(number: Any) -> Any:
    """Return the number of the same type next to this one, towards 0 and for 0 above it."""
    if number.dtype.kind in "iu":
        return number + 1 if number <= 0 else number - 1
    real = number.real
    return number.dtype.type(np.nextafter(real, real.dtype.type(1 if real == 0 else 0)))


def _fill(channel: Array, missing: Array, reach: int) -> None:
    """Fill missing pixels [H, W] in place: rings of `reach` pixels around the others; 0 where those do not reach."""
    wide = np.promote_types(channel.dtype, np.float64)
    known = np.pad(~missing, 1)
    values = np.pad(np.where(missing, 0, channel), 1)  # with a frame of unknown pixels around
    width = known.shape[1]
    known_flat, flat = known.ravel(), values.ravel()
    steps = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    unknown = np.pad(missing, 1).ravel()
    at = np.flatnonzero(unknown & _touches(known))
    for _ in range(reach):
        if not len(at):
            break
        around = at[:, None] + steps
        there = known_flat[around]
        total = np.where(there, flat[around], 0).astype(wide).sum(1) / there.sum(1)
        flat[at] = np.rint(total) if channel.dtype.kind in "iu" else total
        known_flat[at], unknown[at] = True, False
        near = around[unknown[around]]
        at = np.unique(near)
    channel[...] = values[1:-1, 1:-1]


def _touches(known: Array) -> Array:
    """Return, flat, the pixels of which one of the eight neighbours is known."""
    tall = known.copy()
    tall[1:] |= known[:-1]
    tall[:-1] |= known[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    flat: Array = wide.ravel()
    return flat
