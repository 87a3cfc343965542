"""Ordinary convolutions with a stride, as convolutions of stride 1 on the pixels of each block as channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tconv._arrays import Array
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.models.steps.step import LINES, Region, Shape


@dataclass(frozen=True, eq=False)
class StridedConvolution:
    """Ordinary convolution: weight [C_out, C_in/groups, kh, kw], stride, padding ((top, bottom), (left, right)).

    `activation` is one of `tconv.prepare`.
    """

    weight: Array
    bias: Array | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    activation: Any = None

    @property
    def roundings(self) -> int:
        """Products of a sum."""
        return int(self.weight[0].size)

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the output channels. Raises ShapeError if the inputs do not fit the weight."""
        into = self.weight.shape[1] * self.groups
        if list(given) != [into]:
            raise ShapeError(f"it has a weight for {into} input channels; it is given {list(given)}")
        return len(self.weight)

    def _forward(self, axis: int) -> Geometry:
        """Return the geometry of the transposed convolution whose gradient this is, along an axis."""
        return Geometry(self.weight.shape[2 + axis], self.stride[axis], 0, self.dilation[axis])

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) of the output. Raises ShapeError if nothing is left."""
        (extent,) = self._forward(axis).extent
        result = (given[0] + sum(self.padding[axis]) - extent) // self.stride[axis] + 1
        if result < 1:
            raise ShapeError(f"a kernel of {extent} {LINES[axis]} does not fit a picture of {given[0]}")
        return result

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows (columns) that these output rows read; at least one."""
        (extent,), (lo, _), stride = self._forward(axis).extent, self.padding[axis], self.stride[axis]
        start, stop = outputs.start * stride - lo, (outputs.stop - 1) * stride - lo + extent
        return slice(min(max(start, 0), sizes[0] - 1), min(max(stop, 1), sizes[0]))

    def first(self, output: int, axis: int) -> int:
        """Return the first row that an output row reads."""
        return output * self.stride[axis] - self.padding[axis][0]

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the output."""
        raise NotImplementedError  # the next step
