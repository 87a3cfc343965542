"""A network as something that enlarges pictures: its scale, what it reads, its border, what its output is added to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import DtypeError, ShapeError
from tconv.models.network import Network
from tconv.weights.interpolation import FILTERS, Interpolation

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the luma of ITU-R BT.601."""


_SIDES = 64, 1 << 14
"""Of squares that a network is tried with: a small one, and one for networks that lose much at the border."""


class Model(NamedTuple):
    """A network that makes pictures larger. Made by `tconv.models.load` and `tconv.models.photo`.

    A network with one input channel reads luma and is run once for a picture; one with three reads red, green and
    blue. Values are 0 (black) to 1 (white). `border` pixels around the picture are copies of its outermost ones.
    `adds` names the filter of `tconv.weights.interpolation` whose result the network's output is added to, so that
    colours are interpolated where a network knows luma only; None for a network that makes the whole picture.
    """

    network: Network
    scale: int
    border: int
    adds: str | None
    words: str

    @classmethod
    def of(cls, network: Network, words: str, adds: str | None = None) -> Model:
        """The model of a network; scale and border follow from its sizes. Raises ShapeError where they do not."""
        into, out = network.channels[0], network.channels[-1]
        if into not in (1, 3) or out != into:
            raise ShapeError(
                f"{words} has {into} input and {out} output channels; 1 (luma) or 3 (red, green, blue) of both are "
                "needed. Write a network of pictures"
            )
        if adds not in (None, *FILTERS):
            raise ShapeError(f"{words} adds to {adds!r}; one of {', '.join(FILTERS)} is needed")
        side = _SIDES[0] if _takes(network, _SIDES[0]) else _SIDES[1]
        try:
            sizes = [network.output_shape((n, n)) for n in (side, side + 1)]
        except ShapeError as error:
            raise ShapeError(f"{words} makes nothing of ({side}, {side}): {error}") from None
        if sizes[0][0] != sizes[0][1] or sizes[1][0] != sizes[1][1]:
            raise ShapeError(f"{words} makes {sizes[0]} of ({side}, {side}); squares of squares are needed")
        scale = sizes[1][0] - sizes[0][0]
        made = f"{words} makes {sizes[0]} of ({side}, {side}) and {sizes[1]} of ({side + 1}, {side + 1})"
        if scale < 2:
            raise ShapeError(
                f"{made}: it enlarges nothing. Write a network with a transposed convolution whose stride is the scale"
            )
        lost = side * scale - sizes[0][0]
        if lost < 0 or lost % (2 * scale):
            raise ShapeError(
                f"{made}; at scale {scale} that is no picture with a border of whole pixels. Write a crop (padding) "
                "that leaves scale x the size, or that less a multiple of 2 x scale"
            )
        model = cls(network, scale, lost // (2 * scale), adds, words)
        for axis, name in enumerate(("rows", "columns")):
            model._refuse_off_centre(axis, name)
        return model

    def _refuse_off_centre(self, axis: int, name: str) -> None:
        """Raise ShapeError where output pixels are made of inputs whose middle is a pixel or more beside them."""
        place = _SIDES[1] // 2
        outputs = slice(self.scale * (place - self.border), self.scale * (place - self.border + 1))
        read = self.network.window(outputs, _SIDES[1], axis, grouped=False)
        first, last = read.start - place, read.stop - 1 - place
        if abs(first + last) >= 2:
            raise ShapeError(
                f"{self.words} makes the output {name} of pixel i from the input {name} i{first:+d} to i{last:+d}, "
                "which would shift the picture. Write a padding (crop) that is alike on both sides"
            )

    def __call__(self, picture: Array) -> Array:
        """A picture [C, H, W] with 1 (grey) or 3 channels, values 0 to 1, as float32 [C, scale*H, scale*W].

        >>> import numpy as np, tconv.models
        >>> tconv.models.photo(2)(np.full((3, 5, 6), 0.5, np.float32)).shape
        (3, 10, 12)
        """
        picture = np.asarray(picture)
        if picture.dtype.kind != "f":
            raise DtypeError(
                f"picture has dtype {picture.dtype}; floats from 0 (black) to 1 (white) are needed. Write "
                "(picture / 255).astype(np.float32) for 8 bits"
            )
        picture = picture.astype(np.float32, copy=False)
        if picture.ndim != 3 or picture.shape[0] not in (1, 3) or 0 in picture.shape:
            raise ShapeError(f"picture has shape {picture.shape}; [1, H, W] or [3, H, W] is needed")
        height = picture.shape[1]
        rows = slice(0, self.scale * height)
        window = self.window(rows, height)
        made = self.detail(copied(picture, window, 1), window.start, height, rows)
        if self.adds is None:
            return made
        base: Array = Interpolation(self.adds, self.scale).upsample(picture)
        base += made
        return base

    def window(self, outputs: slice, height: int) -> slice:
        """The rows of the picture that these output rows need; those beyond it are copies of its first or last row."""
        found = self.network.window(outputs, height + 2 * self.border)
        return slice(found.start - self.border, found.stop - self.border)

    def detail(self, picture: Array, first: int, height: int, outputs: slice) -> Array:
        """What the network makes of rows of a picture [C, h, W] of this height, which start at `first`.

        [1, rows, scale*W] for a network of luma, else as many channels as the picture has.
        """
        given = self.seen(picture)
        wide = copied(given, slice(-self.border, given.shape[2] + self.border), 2)
        made = self.network.rows(wide, first + self.border, height + 2 * self.border, outputs)
        return self.shown(made, picture.shape[0])

    def seen(self, picture: Array) -> Array:
        """What the network reads of a picture [C, ...]: its luma, or three channels."""
        if picture.shape[0] not in (1, 3):
            raise ShapeError(
                f"the picture has {picture.shape[0]} channels beside opacity; 1 (grey) or 3 (red, green, blue) are "
                "needed. Write one of those, or interpolate: --kernel bicubic"
            )
        if self.network.channels[0] == 1 and picture.shape[0] == 3:
            return luma(picture)
        return np.repeat(picture, 3, 0) if self.network.channels[0] > picture.shape[0] else picture

    def shown_channels(self, channels: int) -> int:
        """Channels of what the network makes, for a picture of so many."""
        return min(self.network.channels[-1], channels)

    def shown(self, made: Array, channels: int) -> Array:
        """What the network made, for a picture of so many channels."""
        return luma(made) if channels == 1 and made.shape[0] == 3 else made


def _takes(network: Network, side: int) -> bool:
    try:
        network.output_shape((side, side))
    except ShapeError:
        return False
    return True


def luma(picture: Array) -> Array:
    """[3, ...] as [1, ...]."""
    # no BLAS: its sums depend on the layout and the size, and a pixel must not depend on its neighbours
    red, green, blue = LUMA.astype(picture.dtype)
    made: Array = red * picture[:1]
    made += green * picture[1:2]
    made += blue * picture[2:]
    return made


def copied(array: Array, span: slice, axis: int) -> Array:
    """A span of an axis; beyond the array it holds copies of the outermost entries."""
    size = array.shape[axis]
    if span.start >= 0 and span.stop <= size:
        return array[(slice(None),) * axis + (span,)]
    return array.take(np.clip(np.arange(span.start, span.stop), 0, size - 1), axis)
