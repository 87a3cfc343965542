"""Convolutions of a network, and the input rows that their output rows need.

`steps` has all other layers; `tconv.models.Network` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array, is_finite
from tconv._cached_property import cached_property
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.kernels.activation import activation_of
from tconv.kernels.problem import Problem
from tconv.kernels.simd.winograd_f43 import row_group_layer
from tconv.kernels.simd.winograd_f43.interface import RowGroupLayer, Skip
from tconv.models.row_buffer import RowBuffer
from tconv.models.steps.step import NetworkStep, Region, Shape, rebuilt, taken
from tconv.operator.strips import StripLayer, first_input, inputs_of, layer_method
from tconv.weights.interpolation import crop_for

_FLOAT32 = np.dtype(np.float32)
_CACHE_SIZE = 64
"""Most compiled calls, and most crops, that one layer caches."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """A transposed convolution with its bias and activation: weight [C_in, C_out/groups, kh, kw], float32.

    >>> import numpy as np
    >>> layer = Convolution(np.ones((3, 8, 4, 4), np.float32), Geometry((4, 4), 2, 1))
    >>> layer.output_channels([3])
    8

    `bias` is [C_out], or a pattern [C_out, h, w] that repeats over the output from its first row and column on, as
    depth to space behind a convolution makes it. `activation` is one of `tconv.prepare`.
    """

    weight: Array
    geometry: Geometry
    bias: Array | None = None
    activation: Any = None
    _layers: dict[Any, StripLayer] = field(default_factory=dict, init=False, repr=False)
    _calls: dict[Any, Callable[[Array, Array], Any]] = field(default_factory=dict, init=False, repr=False)

    def __reduce__(self) -> Any:
        """Return the layer for copies and other processes, without compiled calls and packed weights."""
        return rebuilt(self)

    @classmethod
    def ordinary(
        cls,
        weight: Array,
        bias: Array | None = None,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        activation: Any = None,
    ) -> Convolution:
        """Return an ordinary convolution of stride 1: weight [C_out, C_in/groups, kh, kw], padding as `Geometry.crop`.

        >>> import numpy as np
        >>> Convolution.ordinary(np.ones((8, 3, 5, 5), np.float32), padding=2).geometry.crop
        ((2, 2), (2, 2))
        """
        out, into, *kernel = weight.shape
        forward = Geometry(kernel, 1, padding, dilation, groups)
        if out % forward.groups:
            raise ShapeError(f"weight has shape {weight.shape}; {groups} groups of output channels are needed")
        by_group = weight.reshape(groups, out // groups, into, *kernel)
        flipped = np.flip(np.moveaxis(by_group, 2, 1), (3, 4)).reshape(groups * into, out // groups, *kernel)
        crop = [
            (extent - 1 - lo, extent - 1 - hi) for extent, (lo, hi) in zip(forward.extent, forward.crop, strict=True)
        ]
        return cls(np.ascontiguousarray(flipped), replace_crop(forward, crop), bias, activation)

    @cached_property
    def along(self) -> tuple[Geometry, Geometry]:
        """Geometry along the rows of a picture, and along its columns."""
        g = self.geometry
        down, across = (Geometry(g.kernel[a], g.stride[a], [g.crop[a]], g.dilation[a]) for a in (0, 1))
        return down, across

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the output channels. Raises ShapeError if the inputs do not fit the weight."""
        into, out = self.channels
        if list(given) != [into]:
            raise ShapeError(f"it has a weight for {into} input channels; it is given {', '.join(map(str, given))}")
        return out

    def output_extent(self, given: Sequence[int], axis: int) -> int:
        """Return the height (width) of the output. Raises ShapeError if nothing is left."""
        (size,) = self.along[axis].output_shape(given)
        return size

    def source(self, number: int, outputs: slice, sizes: Sequence[int], axis: int) -> slice:
        """Return the rows (columns) of the input that these output rows need; at least one."""
        return inputs_of(self.along[axis], outputs, sizes[0])

    def first(self, output: int, axis: int) -> int:
        """Return the first row (column) of an unbounded input that this output row needs."""
        return first_input(self.along[axis], output)

    def compute(self, given: Sequence[Region], sizes: Sequence[Shape], out: Region) -> None:
        """Fill a part of the output, float32."""
        rows, columns = (
            self.source(0, span, [size], axis)
            for axis, (span, size) in enumerate(zip((out.rows, out.columns), sizes[0], strict=True))
        )
        g = self.geometry
        left = out.columns.start + g.crop[1][0] - (g.extent[1] - 1) - g.stride[1] * columns.start
        self.rows(
            taken(given[0], rows, columns)[None],
            rows.start,
            out.rows,
            out.values[None],
            left=left,
            first_column=out.columns.start,
        )

    def bias_over(self, rows: slice, columns: slice) -> Array | None:
        """Return the bias of these output rows and columns: [C_out, 1, 1], or [C_out, rows, columns] of a pattern."""
        if self.bias is None or self.bias.ndim == 1:
            return None if self.bias is None else self.bias[:, None, None]
        down, across = (
            np.arange(span.start, span.stop) % count
            for span, count in zip((rows, columns), self.bias.shape[1:], strict=True)
        )
        pattern: Array = self.bias[:, down[:, None], across]
        return pattern

    @property
    def roundings(self) -> int:
        """Roundings of a sum of one product for each tap and channel."""
        return int(np.prod(self.weight.shape[2:])) * self.channels[0]

    @property
    def channels(self) -> tuple[int, int]:
        """Numbers of input and output channels."""
        return self.weight.shape[0], self.weight.shape[1] * self.geometry.groups

    @cached_property
    def grouped(self) -> RowGroupLayer | None:
        """Compiled layer that computes rows in groups (Winograd); None if geometry, weight or machine do not fit."""
        if self._has_pattern:
            return None
        return row_group_layer(self.weight, self.bias, self.geometry, activation_of(self.activation, self.channels[1]))

    @cached_property
    def _grouped_linear(self) -> RowGroupLayer:
        """Compiled layer that computes rows in groups, without the activation."""
        linear = self.grouped if self.activation is None else replace(self, activation=None).grouped
        assert linear is not None
        return linear

    @cached_property
    def _strip_layer(self) -> StripLayer:
        constants = (None, None) if self._has_pattern else (self.bias, self.activation)
        return StripLayer(self.weight, constants[0], self.geometry, constants[1])

    @property
    def _has_pattern(self) -> bool:
        """True for a bias that differs between pixels."""
        return self.bias is not None and self.bias.ndim == 3

    @property
    def method(self) -> str:
        """Method of `rows`: "simd" for the direct sum, or "rows of taps"."""
        return layer_method(self.problem)

    @property
    def problem(self) -> Problem:
        """The layer over one pixel: enough to choose its method."""
        finite = is_finite(self.weight)
        return Problem(self.geometry, 1, *self.channels, (1, 1), self.weight.dtype, finite_weight=finite)

    def in_groups(
        self,
        source: RowBuffer,
        outputs: slice,
        target: RowBuffer,
        heights: Shape,
        anchor: int,
        *,
        skips: Sequence[Skip] = (),
        left: int | None = None,
        column: int = 0,
    ) -> None:
        """Compute output rows into `target` from the rows in `source`; `heights` are those of input and output.

        Groups begin at rows that differ from `anchor` by multiples of their height. `skips` are added to the output.
        `left` is for bands of columns: the column of `source` that the first column of `target` reads with its first
        tap. Columns that `source` does not have count as zeros. Units of columns begin where `column`, the number of
        the first column of `target`, would be a multiple of `grouped.unit`.
        """
        grouped = self.grouped
        assert grouped is not None
        reach = self.source(0, slice(0, heights[1]), [heights[0]], 0)
        if grouped(source, reach, outputs, target, anchor, skips=skips, left=left, column=column):
            return
        # rows with inf or NaN are computed directly, so that those spread as in the definition whatever the strips;
        # they show in the sums before the activation
        linear = self._grouped_linear
        shape = target.array.shape[0], outputs.stop - outputs.start, target.array.shape[2]
        sums, direct = (np.empty(shape, _FLOAT32) for _ in range(2))
        linear(source, reach, outputs, RowBuffer(sums, outputs.start, outputs.stop), anchor, left=left, column=column)
        span = self.source(0, outputs, [heights[0]], 0)
        self.rows(source.gathered(span), span.start, outputs, direct[None], left=left)
        with np.errstate(over="ignore", invalid="ignore"):
            for window, scale in skips:
                direct *= np.float32(scale)
                direct += window.array[:, (np.arange(outputs.start, outputs.stop) - window.anchor) % window.period]
        for piece in target.pieces(outputs):
            part = slice(piece.start - outputs.start, piece.stop - outputs.start)
            np.copyto(target.view(piece)[0], direct[:, part], where=~np.isfinite(sums[:, part]))

    def rows(
        self, x: Array, first: int, outputs: slice, out: Array, *, left: int | None = None, first_column: int = 0
    ) -> None:
        """Fill out [1, C_out, rows, W] with output rows from the input rows x, which start at `first`.

        The bits of a row do not depend on the other rows, nor on how the picture is cut. `left` is that of
        `in_groups`; with a stride, in columns with the zeros between them. `first_column` is the column of the whole
        output that out begins with.
        """
        # all strips of a picture have the same shapes, but for the first and the last
        key = outputs.start - self.geometry.stride[0] * first, left, x.shape, x.strides, out.shape, out.strides
        run = self._calls.get(key)
        if run is None:
            crops = crop_for(self.along[0], first, x.shape[2], outputs), self.geometry.crop[1]
            if left is not None:
                lo = left + self.along[1].extent[0] - 1
                (full,) = self.along[1].full_shape(x.shape[3:])
                crops = crops[0], (lo, full - lo - out.shape[3])
            layer = self._layers.get(crops)
            if layer is None:
                layer = self._strip_layer.with_crop(crops)
                _store(self._layers, crops, layer)
            run = layer.specialized(x, out)
            _store(self._calls, key, run)
        run(x, out)
        if self._has_pattern:
            self._add_pattern(outputs, first_column, out)

    def _add_pattern(self, outputs: slice, first_column: int, out: Array) -> None:
        """Add a bias that differs between pixels to output rows, and apply the activation."""
        assert self.bias is not None
        height = self.bias.shape[1]
        pattern = self.bias_over(slice(0, height), slice(first_column, first_column + out.shape[3]))
        assert pattern is not None
        activation = activation_of(self.activation, self.channels[1])
        with np.errstate(over="ignore", invalid="ignore"):  # inf and NaN are values here
            for phase in range(min(height, out.shape[2])):
                row = (outputs.start + phase) % height
                out[0, :, phase::height] += pattern[:, row, None]
        if activation is not None:
            activation.apply(out)


def _store(cache: dict[Any, Any], key: Any, value: Any) -> None:
    # without a lock: an entry that one thread drops while another stores it is only built again
    if len(cache) >= _CACHE_SIZE:
        cache.clear()
    cache[key] = value


class Node(NamedTuple):
    """One layer and its inputs: 0 is the input of the network, j the output of its j-th node.

    >>> from tconv.models.steps.channels import Concat
    >>> Node(Concat(), (0, 1)).inputs
    (0, 1)
    """

    step: NetworkStep
    inputs: tuple[int, ...]


def replace_crop(g: Geometry, crop: Any) -> Geometry:
    """Return the geometry with another crop."""
    return Geometry(g.kernel, g.stride, crop, g.dilation, g.groups)


def check(number: int, step: Convolution) -> None:
    """Raise ShapeError or ArgumentError for a layer that `tconv.prepare` would not take."""
    g, (into, out) = step.geometry, step.channels
    if step.weight.shape[2:] != g.kernel or into % g.groups or 0 in step.weight.shape:
        raise ShapeError(f"node {number} has a weight of {step.weight.shape}, which does not fit {g}")
    if step.bias is not None and (step.bias.ndim not in (1, 3) or len(step.bias) != out or 0 in step.bias.shape):
        raise ShapeError(f"node {number} has a bias of {step.bias.shape}; ({out},) is needed")
    activation_of(step.activation, out)
