"""Depth to space and back: channels that become the pixels of a block, and pixels that become channels.

The order of the channels before a ChannelsToPixels (after a PixelsToChannels), from the outermost to the innermost:
"channels" (C, row, column: PyTorch, ONNX CRD, ncnn's mode 0), or "blocks" (row, column, C: ONNX DCR, TensorFlow, ncnn's
mode 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.models.steps.step import LINES, Region, Shape, taken

ORDERS = ("channels", "blocks")


@dataclass(frozen=True)
class ChannelsToPixels:
    """Depth to space: r*r channels become a block of r x r pixels."""

    r: int
    order: str = "channels"
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the number of channels. Raises ShapeError if blocks do not divide those of the input."""
        if len(given) != 1 or given[0] % self.r**2:
            raise ShapeError(f"{list(given)} channels are not divided by blocks of {self.r} x {self.r}")
        return given[0] // self.r**2

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return r times the height (width)."""
        return given[0] * self.r

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows whose blocks have these output rows."""
        return slice(outputs.start // self.r, -(-outputs.stop // self.r))

    def first(self, output: int, axis: int) -> int:
        """Return the row whose blocks have this output row."""
        return output // self.r

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        rows, columns = (self.source(0, span, (), 0) for span in (out.rows, out.columns))
        x, r = taken(given[0], rows, columns), self.r
        lead, (c, h, w) = x.shape[:-3], x.shape[-3:]
        n = len(lead)
        if self.order == "channels":
            blocks = np.moveaxis(x.reshape(*lead, c // r**2, r, r, h, w), (n + 1, n + 2), (n + 2, n + 4))
        else:
            blocks = np.moveaxis(x.reshape(*lead, r, r, c // r**2, h, w), n + 2, n)
            blocks = np.moveaxis(blocks, (n + 1, n + 2), (n + 2, n + 4))
        whole = blocks.reshape(*lead, c // r**2, h * r, w * r)
        place = Region(whole, slice(rows.start * r, rows.stop * r), slice(columns.start * r, columns.stop * r))
        out.values[...] = taken(place, out.rows, out.columns)


@dataclass(frozen=True)
class PixelsToChannels:
    """Space to depth: a block of r x r pixels becomes r*r channels."""

    r: int
    order: str = "channels"
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the number of channels."""
        return given[0] * self.r**2

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) divided by r. Raises ShapeError for a rest."""
        if given[0] % self.r:
            raise ShapeError(f"a picture of {given[0]} {LINES[axis]} is not divided by blocks of {self.r} x {self.r}")
        return given[0] // self.r

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows of the blocks of these output rows."""
        return slice(outputs.start * self.r, outputs.stop * self.r)

    def first(self, output: int, axis: int) -> int:
        """Return the first row of the block of this output row."""
        return output * self.r

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the result."""
        x, r = taken(given[0], *(self.source(0, span, (), 0) for span in (out.rows, out.columns))), self.r
        h, w = x.shape[-2] // r, x.shape[-1] // r
        blocks: Array = x.reshape(*x.shape[:-2], h, r, w, r)  # ..., C, h, row, w, column
        n = blocks.ndim - 5
        order = (n, n + 2, n + 4, n + 1, n + 3) if self.order == "channels" else (n + 2, n + 4, n, n + 1, n + 3)
        out.values[...] = blocks.transpose(*range(n), *order).reshape(out.values.shape)
