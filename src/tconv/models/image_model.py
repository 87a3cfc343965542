"""A network as an enlarger of pictures: its scale, its border, and the filter that its output is added to.

The scale and the border are found from the sizes that the network produces; the range of its values and the order of
its channels from its file, or they are stated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.picture_sizes import PictureSizes, refuse_off_centre, sizes_of
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.weights.interpolation import FILTERS, Interpolation

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the luma of ITU-R BT.601."""


_CONVOLUTIONS = (Convolution, StridedConvolution)
ORDERS = "RGB", "BGR"
"""Orders of a network's three channels."""


class Model(NamedTuple):
    """A network that makes pictures larger, or better, as `tconv.models.load` and `tconv.models.photo` return it.

    >>> import numpy as np, tconv.models
    >>> network = tconv.models.photo(2)
    >>> network.scale, network.adds, len(network.network.nodes)
    (2, 'bicubic', 14)

    A network with one input channel reads luma and is run once for a picture; one with three reads red, green and blue,
    in this `order`; one with another number takes pictures of as many bands. Values are 0 (black) to 1 (white);
    `value_range` are the network's own numbers for both. `border` pixels around the picture are copies of its outermost
    ones (`beyond` is "edge"), or its reflection ("reflect"). `adds` names the filter of `tconv.weights.interpolation`
    whose result the network's output is added to, so that colours are interpolated where a network knows luma only;
    None for a network whose output is the whole picture. A network that takes sizes of `block` pixels (and `rest`) only
    gets more such pixels at the bottom and right, which are cut off again. `name` and `notes` stand in reports.
    """

    network: Network
    scale: int
    border: int
    adds: str | None
    name: str
    value_range: tuple[float, float] = (0.0, 1.0)
    order: str = "RGB"
    block: int = 1
    rest: int = 0
    notes: tuple[str, ...] = ()
    beyond: str = "edge"

    def __repr__(self) -> str:
        """Return the name, the scale, the number of convolutions and the pictures that the network takes."""
        count, into = sum(isinstance(node.step, _CONVOLUTIONS) for node in self.network.nodes), self.network.channels[0]
        pictures = {1: "luma", 3: self.order}.get(into, f"{into} bands")
        low, high = self.value_range
        layers = f"{count} convolution{'s' * (count != 1)}"
        return f"Model({self.name}: scale {self.scale}, {layers}, {pictures} {low:g}..{high:g})"

    @classmethod
    def of(
        cls,
        network: Network,
        name: str,
        adds: str | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        order: str = "RGB",
        notes: tuple[str, ...] = (),
        beyond: str = "edge",
    ) -> Model:
        """Return the model of a network; scale, border and block follow from its sizes. Raises ShapeError otherwise."""
        into, out = network.channels[0], network.channels[-1]
        if out != into:
            raise ShapeError(
                f"{name} has {into} input and {out} output channels; as many of both are needed: 1 (luma), 3 (red, "
                "green, blue), or a number of bands. Write a network of pictures"
            )
        if adds not in (None, *FILTERS):
            raise ShapeError(f"{name} adds to {adds!r}; one of {', '.join(FILTERS)} is needed")
        sizes = sizes_of(network, name)
        refuse_off_centre(network, name, sizes)
        model = cls(
            network,
            sizes.scale,
            sizes.border,
            adds,
            name,
            block=sizes.block,
            rest=sizes.rest,
            notes=notes,
            beyond=beyond,
        )
        return model.stated(value_range, order)

    def stated(self, value_range: tuple[float, float] | None = None, channel_order: str | None = None) -> Model:
        """Return the model with another range of values, or order of channels, which its file did not say.

        Raises ArgumentError for other values than two rising numbers, and RGB or BGR.
        """
        low, high = self.value_range if value_range is None else map(float, value_range)
        order = self.order if channel_order is None else channel_order
        if not (np.isfinite([low, high]).all() and low < high):
            raise ArgumentError(f"value_range is {value_range}; two rising numbers are needed. Write (0, 255)")
        if order not in ORDERS:
            raise ArgumentError(f'channel_order is {order!r}; {" or ".join(ORDERS)} is needed. Write "BGR"')
        return self._replace(value_range=(low, high), order=order)

    def added(self, size: int, axis: int) -> int:
        """Return the lines that a picture of this height (width) needs behind it, besides the border."""
        return PictureSizes(self.scale, self.border, self.block, self.rest).added(self.network, size, axis)

    def extent(self, size: int, axis: int) -> int:
        """Return the height (width) of the network's input for a picture of this one."""
        return size + 2 * self.border + self.added(size, axis)

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
            raise ShapeError(f"picture has shape {picture.shape}; {needed} is needed{self._advice(picture.shape)}")
        height = picture.shape[1]
        rows = slice(0, self.scale * height)
        window = self.window(rows, height)
        detail = self.detail(self.extended(picture, window, 1), window.start, height, rows)
        if self.adds is None:
            return detail
        base: Array = Interpolation(self.adds, self.scale).upsample(picture)
        base += detail
        return base

    def window(self, outputs: slice, size: int, axis: int = 0) -> slice:
        """Return the rows (axis 1: columns) of a picture of this height (width) that these outputs need.

        Beyond it, its first or last one repeats.
        """
        window = self.network.window(outputs, self.extent(size, axis), axis)
        return slice(window.start - self.border, window.stop - self.border)

    def detail(self, picture: Array, first: int, height: int, outputs: slice) -> Array:
        """Return the network's output rows from rows of a picture [C, h, W] of this height, which start at `first`.

        The output is [1, rows, scale*W] for a network of luma; else it has the channels of the picture.
        """
        x = self.bordered(self.network_input(picture))
        y = self.network.rows(x, first + self.border, self.extent(height, 0), outputs)
        return self.network_output(y[..., : self.scale * picture.shape[2]], picture.shape[0])

    def bordered(self, x: Array) -> Array:
        """Return rows of the network's input with the columns beside the picture."""
        return self.extended(x, slice(-self.border, self.extent(x.shape[2], 1) - self.border), 2)

    def places(self, span: slice, size: int) -> Array:
        """Return the rows (columns) of a picture of this height (width) that stand for rows that may lie beyond it."""
        at = np.arange(span.start, span.stop)
        if self.beyond == "reflect" and size > 1:
            at = np.abs((at + size - 1) % (2 * size - 2) - (size - 1))
        return np.clip(at, 0, size - 1)

    def extended(self, array: Array, span: slice, axis: int) -> Array:
        """Return a span of an axis of a picture; beyond it are copies of its outermost entries, or its reflection."""
        size = array.shape[axis]
        if span.start >= 0 and span.stop <= size:
            return array[(slice(None),) * axis + (span,)]
        extended: Array = array.take(self.places(span, size), axis)
        return extended

    def network_input(self, picture: Array) -> Array:
        """Return the network's input for a picture [C, ...]: its luma, its bands, or three channels."""
        takes = self.network.channels[0]
        if takes == 1 and picture.shape[0] == 3:
            x = luma(picture)
        elif takes > picture.shape[0]:
            x = np.repeat(picture, 3, 0)
        else:
            x = picture[::-1] if takes == 3 and self.order == "BGR" else picture
        low, high = self.value_range
        if (low, high) == (0, 1):
            return x
        scaled: Array = x * x.dtype.type(high - low)
        scaled += x.dtype.type(low)
        return scaled

    def _advice(self, shape: tuple[int, ...]) -> str:
        """Return what to write for a picture whose axes are in another order, or which lacks one."""
        if len(shape) == 3 and self._takes(shape[2]) and not self._takes(shape[0]):
            return ". Write picture.transpose(2, 0, 1) for [H, W, C]"
        return ". Write picture[None] for one channel [H, W]" if len(shape) == 2 and self._takes(1) else ""

    def _takes(self, channels: int) -> bool:
        """Return True for the number of bands that the network has; grey and colours fit a network of either."""
        into = self.network.channels[0]
        return channels == into or (channels in (1, 3) and into in (1, 3))

    def output_channels(self, channels: int) -> int:
        """Return the channels of the network's output for a picture of this many."""
        return min(self.network.channels[-1], channels)

    def network_output(self, y: Array, channels: int) -> Array:
        """Return the network's output, from black to white, for a picture of this many channels."""
        low, high = self.value_range
        if (low, high) != (0, 1):
            y = y * y.dtype.type(1 / (high - low))
            if self.adds is None:
                y -= y.dtype.type(low / (high - low))
        if len(y) == 3 and self.order == "BGR":
            y = y[::-1]
        return luma(y) if channels == 1 and y.shape[0] == 3 else y


for _name, _text in {
    "block": "Number of pixels: the network takes heights and widths that are `rest` more than a multiple of it.",
    "rest": "Number of pixels that heights and widths are more than a multiple of `block`.",
    "beyond": 'Pixels around the picture: "edge" for copies of its outermost ones, "reflect" for its reflection.',
}.items():
    getattr(Model, _name).__doc__ = _text


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
