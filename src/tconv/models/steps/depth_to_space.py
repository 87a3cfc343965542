"""Depth to space and back: channels that become the pixels of a block, and pixels that become channels.

The order of the channels before a ChannelsToPixels (after a PixelsToChannels), from the outermost to the innermost:
"channels" (C, row, column: PyTorch, ONNX CRD, ncnn's mode 0), or "blocks" (row, column, C: ONNX DCR, TensorFlow, ncnn's
mode 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tconv.errors import ShapeError
from tconv.models.steps.step import LINES, Region, Shape, single, taken

ORDERS = ("channels", "blocks")


@dataclass(frozen=True)
class ChannelsToPixels:
    """Depth to space: r*r channels become a block of r x r pixels.

    >>> ChannelsToPixels(2).output_channels([12])
    3
    """

    r: int
    order: str = "channels"
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the number of channels. Raises ShapeError if blocks do not divide those of the input."""
        if len(given) != 1 or given[0] % self.r**2:
            raise ShapeError(f"{', '.join(map(str, given))} channels are not divided by blocks of {self.r} x {self.r}")
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
        x, r = given[0].values, self.r
        channels = out.values.shape[-3]
        for row, column in np.ndindex(r, r):
            first = row * r + column
            if self.order == "channels":
                picked = x[..., first :: r * r, :, :]
            else:
                picked = x[..., first * channels : (first + 1) * channels, :, :]
            (top, rows), (left, columns) = (_phase(out.rows, r, row), _phase(out.columns, r, column))
            if rows.start < rows.stop and columns.start < columns.stop:
                out.values[..., top::r, left::r] = taken(given[0]._replace(values=picked), rows, columns)


def _phase(outputs: slice, r: int, phase: int) -> tuple[int, slice]:
    """Return the place of the first output that is at `phase` modulo r, and the input rows of all that are."""
    first = (phase - outputs.start) % r
    start = (outputs.start + first) // r
    return first, slice(start, max(start, -((phase - outputs.stop) // r)))


@dataclass(frozen=True)
class PixelsToChannels:
    """Space to depth: a block of r x r pixels becomes r*r channels.

    >>> PixelsToChannels(2).output_channels([3])
    12
    """

    r: int
    order: str = "channels"
    roundings = 0

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the number of channels. Raises ShapeError if there are several inputs."""
        return single(given) * self.r**2

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
        channels = x.shape[-3]
        for row, column in np.ndindex(r, r):
            first = row * r + column
            if self.order == "channels":
                target = out.values[..., first :: r * r, :, :]
            else:
                target = out.values[..., first * channels : (first + 1) * channels, :, :]
            target[...] = x[..., row::r, column::r]
