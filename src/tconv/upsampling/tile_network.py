"""The network of an upsampler in one tile of a picture: what it reads there, and the part of its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.image_model import Model
from tconv.models.layer_check import LayerCheck
from tconv.models.watch import Watch
from tconv.scale.operators.network import NetworkOperator
from tconv.scale.operators.tile_operator import Read
from tconv.scale.regions import Region, Sizes
from tconv.upsampling.picture_source import Span, network_pixels
from tconv.upsampling.stored_values import StoredValues


class TileNetwork:
    """The network of a `Model` as tiles of a picture run it: a border around the picture, and its numbers."""

    def __init__(self, model: Model, values: StoredValues) -> None:
        self.model, self._values = model, values
        self.operator = NetworkOperator(model.network)

    def extents(self, sizes: Sizes) -> Sizes:
        """Return the sizes of the network's input for those of a picture."""
        return tuple(self.model.extent(size, axis) for axis, size in enumerate(sizes))

    def window(self, span: Region, sizes: Sizes) -> Region:
        """Return the pixels inside the picture that rows and columns of the network's output read."""
        read = self.operator.window(span, self.extents(sizes))
        return tuple(self._pixels(each, size) for each, size in zip(read, sizes, strict=True))

    def _pixels(self, span: slice, size: int) -> slice:
        """Return the pixels that stand for a span of the network's input."""
        border = self.model.border
        places = self.model.places(slice(span.start - border, span.stop - border), size)
        return slice(int(places.min()), int(places.max()) + 1)

    def output(
        self, x: Array, window: Region, sizes: Sizes, span: Span, context: Any, watch: Watch | None = None
    ) -> Array:
        """Return rows and columns of the network's output, float32, from x [C, *window] of the stored picture."""
        extents = self.extents(sizes)
        read = self.operator.window(span, extents)
        first = window[0].start, window[1].start
        pixels = network_pixels(x, first, sizes, self._values, self.model, (read[0], read[1]), wide=False)
        given = np.ascontiguousarray(self.model.network_input(pixels))
        out = np.empty((self.operator.channels[1], *(side.stop - side.start for side in span)), np.float32)
        self.operator.compute(given, read, extents, span, out, context, watch=watch)
        return out

    def definition(self, x: Array, window: Region, sizes: Sizes) -> Callable[[slice, slice], Array]:
        """Return the function of rows and columns of the network's input that returns them in float64."""
        first = window[0].start, window[1].start

        def given(rows: slice, columns: slice) -> Array:
            pixels = network_pixels(x, first, sizes, self._values, self.model, (rows, columns), wide=True)
            return self.model.network_input(pixels)

        return given

    def scratch_bytes(self, span: Region, sizes: Sizes, channels: int) -> int:
        """Return the most bytes that `output` takes, the result included, for a picture of so many channels."""
        extents = self.extents(sizes)
        pixels = int(np.prod([side.stop - side.start for side in self.operator.window(span, extents)]))
        made = int(np.prod([side.stop - side.start for side in span])) * self.operator.channels[1]
        taken = pixels * (3 * channels + self.operator.channels[0]) + made
        return 4 * taken + self.operator.scratch_bytes(span, extents)

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> Any:
        """Return the means over a whole picture that the network reads; None if it reads none."""

        def given(region: Region) -> Array:
            window = tuple(self._pixels(each, size) for each, size in zip(region, sizes, strict=True))
            first = window[0].start, window[1].start
            span = region[0], region[1]
            pixels = network_pixels(read(window), first, sizes, self._values, self.model, span, wide=False)
            return np.ascontiguousarray(self.model.network_input(pixels))

        return self.operator.prepare(given, self.extents(sizes), memory)


class TileOutput:
    """Rows and columns of the network's output of one tile: the `Frame.source` of its strips."""

    def __init__(self, values: Array, span: Span, check: LayerCheck | None = None) -> None:
        self._values, self._span, self.check = values, span, check

    def rows(self, rows: slice, columns: slice) -> Array:
        """Return rows and columns of the output."""
        down, across = self._span
        return self._values[
            :,
            rows.start - down.start : rows.stop - down.start,
            columns.start - across.start : columns.stop - across.start,
        ]

    kept = rows
