"""A network as an enlarger of pictures: its scale, its border, and the filter that its output is added to.

The scale and the border are found from the sizes that the network produces.
"""

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
"""Sides of the squares whose output sizes show scale and border: a small one, and one for very wide borders."""


class Model(NamedTuple):
    """A network that makes pictures larger, as `tconv.models.load` and `tconv.models.photo` return it.

    A network with one input channel reads luma and is run once for a picture; one with three reads red, green and blue;
    one with another number takes pictures of as many bands. Values are 0 (black) to 1 (white). `border` pixels around
    the picture are copies of its outermost ones. `adds` names the filter of `tconv.weights.interpolation` whose result
    the network's output is added to, so that colours are interpolated where a network knows luma only; None for a
    network whose output is the whole picture. `name` stands in reports and messages.
    """

    network: Network
    scale: int
    border: int
    adds: str | None
    name: str

    @classmethod
    def of(cls, network: Network, name: str, adds: str | None = None) -> Model:
        """Return the model of a network; scale and border follow from its sizes. Raises ShapeError if they do not."""
        into, out = network.channels[0], network.channels[-1]
        if out != into:
            raise ShapeError(
                f"{name} has {into} input and {out} output channels; as many of both are needed: 1 (luma), 3 (red, "
                "green, blue), or a number of bands. Write a network of pictures"
            )
        if adds not in (None, *FILTERS):
            raise ShapeError(f"{name} adds to {adds!r}; one of {', '.join(FILTERS)} is needed")
        side = _SIDES[0] if _accepts(network, _SIDES[0]) else _SIDES[1]
        try:
            sizes = [network.output_shape((n, n)) for n in (side, side + 1)]
        except ShapeError as error:
            raise ShapeError(f"{name} does not take a picture of ({side}, {side}): {error}") from None
        if sizes[0][0] != sizes[0][1] or sizes[1][0] != sizes[1][1]:
            raise ShapeError(f"{name} turns ({side}, {side}) into {sizes[0]}; a square must become a square")
        scale = sizes[1][0] - sizes[0][0]
        sizes_text = f"{name} turns ({side}, {side}) into {sizes[0]}, and ({side + 1}, {side + 1}) into {sizes[1]}"
        if scale < 2:
            raise ShapeError(
                f"{sizes_text}: it enlarges nothing. Write a network with a transposed convolution whose stride is the "
                "scale"
            )
        lost = side * scale - sizes[0][0]
        if lost < 0 or lost % (2 * scale):
            raise ShapeError(
                f"{sizes_text}; at scale {scale} that is not a picture with a border of whole pixels. Write a crop "
                "(padding) that leaves scale x the size, or that less a multiple of 2 x scale"
            )
        model = cls(network, scale, lost // (2 * scale), adds, name)
        for axis, lines in enumerate(("rows", "columns")):
            model._refuse_off_centre(axis, lines)
        return model

    def _refuse_off_centre(self, axis: int, lines: str) -> None:
        """Raise ShapeError if output pixels depend on inputs whose centre is a pixel or more beside them."""
        place = _SIDES[1] // 2
        outputs = slice(self.scale * (place - self.border), self.scale * (place - self.border + 1))
        read = self.network.window(outputs, _SIDES[1], axis, grouped=False)
        first, last = read.start - place, read.stop - 1 - place
        if abs(first + last) >= 2:
            raise ShapeError(
                f"{self.name} computes the output {lines} of pixel i from the input {lines} i{first:+d} to i{last:+d}, "
                "which would shift the picture. Write a padding (crop) that is the same on both sides"
            )

    def __call__(self, picture: Array) -> Array:
        """Return a picture [C, H, W] with 1 (grey) or 3 channels, values 0 to 1, as float32 [C, scale*H, scale*W].

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
        takes = self.network.channels[0]
        if picture.ndim != 3 or not self._takes(len(picture)) or 0 in picture.shape:
            needed = "[1, H, W] or [3, H, W]" if takes in (1, 3) else f"[{takes}, H, W]"
            raise ShapeError(f"picture has shape {picture.shape}; {needed} is needed")
        height = picture.shape[1]
        rows = slice(0, self.scale * height)
        window = self.window(rows, height)
        detail = self.detail(edge_extended(picture, window, 1), window.start, height, rows)
        if self.adds is None:
            return detail
        base: Array = Interpolation(self.adds, self.scale).upsample(picture)
        base += detail
        return base

    def window(self, outputs: slice, height: int) -> slice:
        """Return the rows of the picture that these output rows need; beyond it, its first or last row repeats."""
        window = self.network.window(outputs, height + 2 * self.border)
        return slice(window.start - self.border, window.stop - self.border)

    def detail(self, picture: Array, first: int, height: int, outputs: slice) -> Array:
        """Return the network's output rows from rows of a picture [C, h, W] of this height, which start at `first`.

        The output is [1, rows, scale*W] for a network of luma; else it has the channels of the picture.
        """
        x = self.network_input(picture)
        padded = edge_extended(x, slice(-self.border, x.shape[2] + self.border), 2)
        y = self.network.rows(padded, first + self.border, height + 2 * self.border, outputs)
        return self.network_output(y, picture.shape[0])

    def network_input(self, picture: Array) -> Array:
        """Return the network's input for a picture [C, ...]: its luma, its bands, or three channels."""
        if self.network.channels[0] == 1 and picture.shape[0] == 3:
            return luma(picture)
        return np.repeat(picture, 3, 0) if self.network.channels[0] > picture.shape[0] else picture

    def _takes(self, channels: int) -> bool:
        """Return True for the number of bands that the network has; grey and colours fit a network of either."""
        into = self.network.channels[0]
        return channels == into or (channels in (1, 3) and into in (1, 3))

    def output_channels(self, channels: int) -> int:
        """Return the channels of the network's output for a picture of this many."""
        return min(self.network.channels[-1], channels)

    def network_output(self, y: Array, channels: int) -> Array:
        """Return the network's output for a picture of this many channels."""
        return luma(y) if channels == 1 and y.shape[0] == 3 else y


def _accepts(network: Network, side: int) -> bool:
    try:
        network.output_shape((side, side))
    except ShapeError:
        return False
    return True


def luma(picture: Array) -> Array:
    """Return the luma [1, ...] of red, green and blue [3, ...]."""
    # no BLAS: its sums depend on the layout and the size, and a pixel must not depend on its neighbours
    red, green, blue = LUMA.astype(picture.dtype)
    y: Array = red * picture[:1]
    y += green * picture[1:2]
    y += blue * picture[2:]
    return y


def edge_extended(array: Array, span: slice, axis: int) -> Array:
    """Return a span of an axis; beyond the array it repeats the outermost entries."""
    size = array.shape[axis]
    if span.start >= 0 and span.stop <= size:
        return array[(slice(None),) * axis + (span,)]
    return array.take(np.clip(np.arange(span.start, span.stop), 0, size - 1), axis)
