"""Ordinary convolutions with a stride, as convolutions of stride 1 on the pixels of each block as channels.

A tap at distance u = d*t from the first one reads pixel p = u mod s of the block that is q = u div s blocks further on.
So the pixels p of all blocks are one channel, and the taps that read them a kernel over blocks, with zeros where no tap
is. Pixels that no tap reads are no channel: a 1x1 kernel of stride 2 takes one pixel of each block, and a kernel as
large as its stride becomes 1x1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv._memory import empty
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.kernels.activation import activation_of
from tconv.kernels.simd import planes
from tconv.models.layers import Convolution
from tconv.models.steps.step import LINES, Region, Shape, rebuilt, taken
from tconv.models.tap_sums import gathered_sums

_FLOAT32 = np.dtype(np.float32)
_Places = Sequence[tuple[slice, slice]]
"""For each pixel of a block: the blocks in which it is given, and the given pixels that it is in them."""


class _BlockTaps(NamedTuple):
    """Taps along one axis: the pixels of a block that they read, and the number of blocks that they reach over."""

    pixels: list[int]
    blocks: int


@dataclass(frozen=True, eq=False)
class StridedConvolution:
    """Ordinary convolution: weight [C_out, C_in/groups, kh, kw], stride, padding ((top, bottom), (left, right)).

    `activation` is one of `tconv.prepare`. Negative padding crops.

    >>> step = StridedConvolution(np.ones((8, 3, 3, 3), np.float32), stride=(2, 2), padding=((1, 1), (1, 1)))
    >>> step.output_extent([9], axis=0)
    5
    """

    weight: Array
    bias: Array | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    activation: Any = None

    def __reduce__(self) -> Any:
        """Return the layer for copies and other processes, without what is cached."""
        return rebuilt(self)

    @property
    def roundings(self) -> int:
        """Products of a sum."""
        return int(self.weight[0].size)

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the output channels. Raises ShapeError or ArgumentError if something does not fit the weight."""
        into = self.weight.shape[1] * self.groups
        if list(given) != [into]:
            raise ShapeError(f"it has a weight for {into} input channels; it is given {', '.join(map(str, given))}")
        if len(self.weight) % self.groups or 0 in self.weight.shape:
            raise ShapeError(f"it has a weight of {self.weight.shape}; {self.groups} groups do not divide it")
        if self.bias is not None and self.bias.shape != (len(self.weight),):
            raise ShapeError(f"it has a bias of {self.bias.shape}; ({len(self.weight)},) is needed")
        activation_of(self.activation, len(self.weight))
        return len(self.weight)

    def _extent(self, axis: int) -> int:
        """Return the pixels from the first tap to the last."""
        return self.dilation[axis] * (int(self.weight.shape[2 + axis]) - 1) + 1

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) of the output. Raises ShapeError if nothing is left."""
        extent = self._extent(axis)
        result = (given[0] + sum(self.padding[axis]) - extent) // self.stride[axis] + 1
        if result < 1:
            raise ShapeError(f"a kernel of {extent} {LINES[axis]} does not fit a picture of {given[0]}")
        return result

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows (columns) that these output rows read; at least one."""
        extent, (lo, _), stride = self._extent(axis), self.padding[axis], self.stride[axis]
        start, stop = outputs.start * stride - lo, (outputs.stop - 1) * stride - lo + extent
        return slice(min(max(start, 0), sizes[0] - 1), min(max(stop, 1), sizes[0]))

    def first(self, output: int, axis: int) -> int:
        """Return the first row that an output row reads."""
        return output * self.stride[axis] - self.padding[axis][0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the output: float32 by the kernel, float64 by the definition."""
        lead = out.values.shape[:-3]
        for place in np.ndindex(lead):
            part = given[0]._replace(values=given[0].values[place])
            result = out._replace(values=out.values[place])
            if out.values.dtype == np.float32:
                self._compute_blocks(part, sizes[0], result)
            else:
                result.values[...] = self._sums(part, sizes[0], result)
                self._activate(result.values)

    # -- the definition ------------------------------------------------------------------------------------------

    def _sums(self, given: Region, size: Shape, out: Region) -> Array:
        """Return the sums of the definition's products for a part of the output, float64."""
        wanted = out.rows, out.columns
        spans = [self.source(0, span, [size[axis]], axis) for axis, span in enumerate(wanted)]
        # the transposed convolution whose adjoint this is, on the rows and columns in spans
        crop = [
            (self.padding[axis][0] + span.start - outputs.start * self.stride[axis], 0)
            for axis, (span, outputs) in enumerate(zip(spans, wanted, strict=True))
        ]
        g = Geometry(self.weight.shape[2:], self.stride, crop, self.dilation)
        x = taken(given, *spans).astype(np.float64)
        weight = self.weight.astype(np.float64)
        by_group = weight.reshape(self.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        sums = gathered_sums(x, by_group, g, out.values.shape[1:])
        if self.bias is not None:
            sums += self.bias[:, None, None]
        return sums

    def _activate(self, values: Array) -> None:
        activation = activation_of(self.activation, len(self.weight))
        if activation is not None:
            activation.apply(values[None])

    # -- by the kernel -------------------------------------------------------------------------------------------

    @cached_property
    def _axes(self) -> tuple[_BlockTaps, _BlockTaps]:
        """Taps along rows and columns."""
        down, across = (
            _BlockTaps(sorted({d * t % s for t in range(k)}), d * (k - 1) // s + 1)
            for k, s, d in zip(self.weight.shape[2:], self.stride, self.dilation, strict=True)
        )
        return down, across

    @cached_property
    def on_blocks(self) -> Convolution:
        """The convolution of stride 1 that computes it."""
        (top, h), (left, w) = self._axes
        out, into, *kernel = self.weight.shape
        weight = np.zeros((out, into, len(top), len(left), h, w), np.float32)
        for row, column in np.ndindex(*kernel):
            (below, p), (beside, q) = (
                divmod(tap * d, s) for tap, d, s in zip((row, column), self.dilation, self.stride, strict=True)
            )
            weight[:, :, top.index(p), left.index(q), below, beside] = self.weight[:, :, row, column]
        weight = weight.reshape(out, into * len(top) * len(left), h, w)
        return Convolution.ordinary(weight, self.bias, 0, 1, self.groups, self.activation)

    @property
    def _has_holes(self) -> bool:
        """True if the kernel over blocks has zeros where no tap is."""
        return math.prod(len(axis.pixels) * axis.blocks for axis in self._axes) > int(self.weight[0, 0].size)

    def _compute_blocks(self, given: Region, size: Shape, out: Region) -> None:
        """Fill out by the convolution of stride 1."""
        places, lengths, spans = [], [], []
        for axis, (outputs, taps) in enumerate(zip((out.rows, out.columns), self._axes, strict=True)):
            span = self.source(0, outputs, [size[axis]], axis)
            start = outputs.start * self.stride[axis] - self.padding[axis][0] - span.start
            length = outputs.stop - outputs.start + taps.blocks - 1
            bounds = length, span.stop - span.start
            places.append([_strided(start + pixel, self.stride[axis], *bounds) for pixel in taps.pixels])
            lengths.append(length)
            spans.append(span)
        pixels = taken(given, *spans)
        blocks = empty((len(pixels), *map(len, places), *lengths), _FLOAT32)
        if not _filled_at_once(blocks, self.stride, places, pixels):
            for row, column in np.ndindex(blocks.shape[1:3]):
                (rows, inner_rows), (columns, inner_columns) = places[0][row], places[1][column]
                _fill(blocks[:, row, column], rows, columns, pixels[:, inner_rows, inner_columns])
        x = blocks.reshape(1, -1, *lengths)
        outputs = slice(0, out.values.shape[1])
        self.on_blocks.rows(x, 0, outputs, out.values[None])
        if self._has_holes and np.isnan(out.values).any():  # perhaps only because 0 times inf or NaN is NaN
            np.copyto(x, 0, where=~np.isfinite(x))
            self.on_blocks.rows(x, 0, outputs, out.values[None])
            self._spread_infinities(given, size, out)

    def _spread_infinities(self, given: Region, size: Shape, out: Region) -> None:
        """Fill in the outputs that read inf or NaN, which are inf or NaN."""
        sums = self._sums(given, size, out)
        read = ~np.isfinite(sums)
        self._activate(sums)
        np.copyto(out.values, sums, where=read, casting="same_kind")


def _strided(start: int, stride: int, blocks: int, size: int) -> tuple[slice, slice]:
    """Return the blocks of which a pixel is among `size` ones, and these: that of the first block is at `start`."""
    low = min(blocks, max(0, -(start // stride)))
    high = max(low, min(blocks, (size - 1 - start) // stride + 1))
    pixels = slice(start + low * stride, start + (high - 1) * stride + 1, stride) if low < high else slice(0, 0)
    return slice(low, high), pixels


def _fill(target: Array, rows: slice, columns: slice, values: Array) -> None:
    """Fill target with values [C, rows, columns], and zeros around them."""
    target[:, : rows.start] = target[:, rows.stop :] = 0
    target[:, rows, : columns.start] = target[:, rows, columns.stop :] = 0
    target[:, rows, columns] = values


def _filled_at_once(target: Array, stride: Sequence[int], places: Sequence[_Places], values: Array) -> bool:
    """Fill target [C, r, 2, rows, columns] with all pixels of blocks, read once, if that is what it needs."""
    starts = []
    for axis, of_pixels in enumerate(places):
        whole, start = slice(0, target.shape[3 + axis]), of_pixels[0][1].start
        step = stride[axis]
        if len(of_pixels) != step or any(
            line != whole or pixels.start != start + number for number, (line, pixels) in enumerate(of_pixels)
        ):
            return False
        starts.append(slice(start, start + step * whole.stop))
    return stride[1] == 2 and planes.split_blocks(values[:, starts[0], starts[1]], target)
