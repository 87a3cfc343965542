"""A model of `tconv.models` as a `TileOperator`: pictures [C, H, W] of values from 0 (black) to 1 (white), float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import DtypeError, ShapeError
from tconv.models.image_model import Model
from tconv.scale.operators.network import NetworkOperator
from tconv.scale.operators.tile_operator import Read
from tconv.scale.regions import Region, Sizes, elements, within
from tconv.weights.interpolation import Interpolation


class ModelOperator:
    """Model whose tiles have the bits of `model(picture)`: border, range of values, order of channels and filter too.

    >>> import tconv.models
    >>> photo = ModelOperator(tconv.models.photo(2), channels=3)
    >>> photo.output_sizes((100, 80)), photo.window((slice(0, 10), slice(100, 110)), (100, 80))
    ((200, 160), (slice(0, 23, None), slice(35, 70, None)))

    `channels` are those of the picture, `dtype` is its float dtype, which is converted to float32. Raises ShapeError
    for channels that the model does not take, DtypeError for another dtype.
    """

    ndim = 2
    goes_down = True
    """Tiles of equal height cost less if a thread computes them from the top down, column by column."""
    result = np.dtype(np.float32)

    def __init__(self, model: Model, channels: int, dtype: Any = None) -> None:
        self.dtype = np.dtype(np.float32 if dtype is None else dtype)
        if self.dtype.kind != "f":
            raise DtypeError(
                f"the picture has dtype {self.dtype}; floats from 0 (black) to 1 (white) are needed. Write "
                "tconv.upsample(picture, model=..., output=...), which takes integers"
            )
        into = model.network.channels[0]
        if channels != into and not (channels in (1, 3) and into in (1, 3)):
            needed = "1 or 3" if into in (1, 3) else str(into)
            raise ShapeError(f"the picture has {channels} channels; {needed} are needed by {model!r}")
        self.model, self.network = model, NetworkOperator(model.network, model.name)
        adds = model.adds is not None
        self.channels = channels, channels if adds else model.output_channels(channels)
        self._known: dict[Sizes, Sizes] = {}
        self._filter = Interpolation(model.adds, model.scale) if model.adds is not None else None
        self.method, self.name = self.network.method, f"model {model.name}, scale {model.scale}"

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the layers, and all settings of the model but its notes."""
        model = self.model
        settings = model.scale, model.border, model.adds, model.value_range, model.order, model.block, model.rest
        return self.network.fingerprint_parts(), settings, model.beyond, self.channels

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return height and width, times the scale. Raises ShapeError for sizes that the model does not take."""
        self._extents(sizes)
        height, width = sizes
        return height * self.model.scale, width * self.model.scale

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the rows and columns of the picture that outputs read."""
        return tuple(self._along(*each) for each in zip(outputs, sizes, self._read(outputs, sizes), strict=True))

    def _read(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the rows and columns of the picture that the network reads; beyond it where they are extended."""
        border = self.model.border
        window = self.network.window(outputs, self._extents(sizes))
        return tuple(slice(span.start - border, span.stop - border) for span in window)

    def _along(self, outputs: slice, size: int, read: slice) -> slice:
        """Return the rows (columns) of the picture that a network and a filter read."""
        low, high = read.start, read.stop
        if low < 0 or high > size:
            places = self.model.places(read, size)
            low, high = int(places.min()), int(places.max()) + 1
        if self._filter is not None:
            base = self._filter.window(outputs, size)
            low, high = min(low, base.start), max(high, base.stop)
        return slice(low, high)

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out from x; `context` are the means over the whole picture, if the network reads any."""
        model, x = self.model, x.astype(np.float32, copy=False)
        given, spans = self._network_input(x, window, sizes, outputs)
        y = np.empty((model.network.channels[-1], *out.shape[1:]), np.float32)
        self.network.compute(given, spans, self._extents(sizes), outputs, y, context)
        detail = model.network_output(y, len(x))
        if self._filter is None:
            out[...] = detail
            return
        rows, columns = outputs
        needed = tuple(self._filter.window(span, size) for span, size in zip(outputs, sizes, strict=True))
        part = x[:, *within(needed, window)]
        out[...] = self._filter.strip(part, needed[0].start, rows, columns=columns, left=needed[1].start)
        out += detail

    def _extents(self, sizes: Sizes) -> Sizes:
        """Return the height and the width of the network's input."""
        extents = self._known.get(sizes)
        if extents is None:
            extents = self._known[sizes] = tuple(self.model.extent(size, axis) for axis, size in enumerate(sizes))
        return extents

    def _network_input(self, x: Array, window: Region, sizes: Sizes, outputs: Region) -> tuple[Array, Region]:
        """Return the part of the network's input that a tile needs, and its rows and columns."""
        model, spans = self.model, []
        spans_read = self._read(outputs, sizes)
        for axis, (given, size, wanted) in enumerate(zip(window, sizes, spans_read, strict=True)):
            x = self._taken(x, 1 + axis, wanted, given, size)
            spans.append(slice(wanted.start + model.border, wanted.stop + model.border))
        return model.network_input(x), tuple(spans)

    def _taken(self, x: Array, axis: int, wanted: slice, given: slice, size: int) -> Array:
        """Return rows (columns) of a picture of which x has some; beyond it as the model extends it."""
        if wanted.start >= 0 and wanted.stop <= size:
            return x[(slice(None),) * axis + (slice(wanted.start - given.start, wanted.stop - given.start),)]
        taken: Array = x.take(self.model.places(wanted, size) - given.start, axis)
        return taken

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the bytes of the network, its input and output, and of the filter's passes."""
        extents = self._extents(sizes)
        inputs, made = elements(self.network.window(outputs, extents)), elements(outputs)
        # the network's input, taken and scaled; its output, and that from black to white
        parts = 4 * (2 * self.network.channels[0] * inputs + 2 * self.network.channels[1] * made)
        if self._filter is not None:  # the picture's part, rows, then columns
            parts += 4 * self.channels[0] * (inputs + made + made // self.model.scale)
        return self.network.scratch_bytes(outputs, extents) + parts

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the multiply-adds of the network for a tile, those beside it included."""
        return self.network.work(outputs, self._extents(sizes))

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> dict[str, Array] | None:
        """Return the means over the whole picture that the network needs; None if it needs none."""

        def inputs(region: Region) -> Array:
            """Return a part of the network's input."""
            wanted = [slice(span.start - self.model.border, span.stop - self.model.border) for span in region]
            places = [self.model.places(span, size) for span, size in zip(wanted, sizes, strict=True)]
            window = tuple(slice(int(each.min()), int(each.max()) + 1) for each in places)
            x = read(window).astype(np.float32, copy=False)
            for axis, each in enumerate(zip(wanted, window, sizes, strict=True)):
                x = self._taken(x, 1 + axis, *each)
            return self.model.network_input(x)

        return self.network.prepare(inputs, self._extents(sizes), memory)
