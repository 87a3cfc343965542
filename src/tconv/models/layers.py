"""The steps of a network: convolutions, sums, activations, and which rows of its inputs a step needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.errors import ShapeError
from tconv.geometry import Geometry
from tconv.kernels.activation import activation_of
from tconv.kernels.simd.winograd_f43 import row_group_layer
from tconv.kernels.simd.winograd_f43.rows import RowGroupLayer
from tconv.models.row_buffer import Kept
from tconv.operator.prepared import PreparedLayer, prepare
from tconv.weights.interpolation import crop_for

_FLOAT32 = np.dtype(np.float32)
_MOST_MADE = 64

ORDINARY = "ordinary convolutions of stride 1 are read, and transposed ones of any stride"
"""What readers say of a convolution that makes pictures smaller."""

Shape = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A transposed convolution with its bias and activation: weight [C_in, C_out/groups, kh, kw], float32.

    `activation` is what `tconv.prepare` takes.
    """

    weight: Array
    geometry: Geometry
    bias: Array | None = None
    activation: Any = None
    _layers: dict[Any, PreparedLayer] = field(default_factory=dict, init=False, repr=False)
    _made: dict[Any, Callable[[Array, Array], Any]] = field(default_factory=dict, init=False, repr=False)

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
        """An ordinary convolution of stride 1, its weight [C_out, C_in/groups, kh, kw]; padding as in `Geometry.crop`.

        >>> import numpy as np
        >>> Convolution.ordinary(np.ones((8, 3, 5, 5), np.float32), padding=2).geometry.crop
        ((2, 2), (2, 2))
        """
        out, into, *kernel = weight.shape
        around = Geometry(kernel, 1, padding, dilation, groups)
        if out % around.groups:
            raise ShapeError(f"weight has shape {weight.shape}; {groups} groups of output channels are needed")
        apart = weight.reshape(groups, out // groups, into, *kernel)
        flipped = np.flip(np.moveaxis(apart, 2, 1), (3, 4)).reshape(groups * into, out // groups, *kernel)
        crop = [(extent - 1 - lo, extent - 1 - hi) for extent, (lo, hi) in zip(around.extent, around.crop, strict=True)]
        return cls(np.ascontiguousarray(flipped), replace_crop(around, crop), bias, activation)

    @cached_property
    def along(self) -> tuple[Geometry, Geometry]:
        """The operator along the rows of a picture, and along its columns."""
        g = self.geometry
        down, across = (Geometry(g.kernel[a], g.stride[a], [g.crop[a]], g.dilation[a]) for a in (0, 1))
        return down, across

    @property
    def channels(self) -> tuple[int, int]:
        """Input and output channels."""
        return self.weight.shape[0], self.weight.shape[1] * self.geometry.groups

    @cached_property
    def grouped(self) -> RowGroupLayer | None:
        """The layer that makes rows in groups; None where geometry, weight or machine are not made for it."""
        return row_group_layer(self.weight, self.bias, self.geometry, activation_of(self.activation, self.channels[1]))

    @cached_property
    def _plain(self) -> RowGroupLayer:
        """The same without an activation."""
        plain = self.grouped if self.activation is None else replace(self, activation=None).grouped
        assert plain is not None
        return plain

    def in_groups(self, given: Kept, outputs: slice, made: Kept, heights: Shape, anchor: int) -> None:
        """Put these output rows into `made`, from input rows `given`; `heights` are those of input and output.

        Groups begin at rows that differ from `anchor` by multiples of their height.
        """
        grouped = self.grouped
        assert grouped is not None
        reach = source_rows(self, slice(0, heights[1]), heights[0])
        if grouped(given, reach, outputs, made, anchor):
            return
        # what is infinite, or NaN, is as in the definition, whatever the strips; it takes no activation to see that
        plain = self._plain
        shape = made.array.shape[0], outputs.stop - outputs.start, made.array.shape[2]
        sums, direct = (np.empty(shape, _FLOAT32) for _ in range(2))
        plain(given, reach, outputs, Kept(sums, outputs.start, outputs.stop), anchor)
        span = source_rows(self, outputs, heights[0])
        self.rows(given.gathered(span), span.start, outputs, direct[None])
        for piece in made.pieces(outputs):
            part = slice(piece.start - outputs.start, piece.stop - outputs.start)
            np.copyto(made.view(piece)[0], direct[:, part], where=~np.isfinite(sums[:, part]))

    def rows(self, x: Array, first: int, outputs: slice, out: Array) -> None:
        """Fill out [1, C_out, rows, W] with these output rows from the input rows x, which start at `first`."""
        # the strips of a picture are alike, but for the first and the last
        key = outputs.start - self.geometry.stride[0] * first, x.shape, x.strides, out.shape, out.strides
        run = self._made.get(key)
        if run is None:
            crop = crop_for(self.along[0], first, x.shape[2], outputs)
            layer = self._layers.get(crop)
            if layer is None:
                geometry = replace_crop(self.geometry, (crop, self.geometry.crop[1]))
                layer = prepare(self.weight, self.bias, geometry=geometry, activation=self.activation)
                _remember(self._layers, crop, layer)
            run = layer.specialized(x, out)
            _remember(self._made, key, run)
        run(x, out)


def _remember(known: dict[Any, Any], key: Any, made: Any) -> None:
    # no lock: what threads may lose here is only made a second time
    if len(known) >= _MOST_MADE:
        known.clear()
    known[key] = made


@dataclass(frozen=True)
class Sum:
    """The sum of two inputs of one size."""


@dataclass(frozen=True)
class Pointwise:
    """An activation alone, where no layer in front of it can do it."""

    activation: Any


class Node(NamedTuple):
    """One step and what it reads: 0 is the input of the network, j the output of its j-th node."""

    step: Convolution | Sum | Pointwise
    inputs: tuple[int, ...]


def replace_crop(g: Geometry, crop: Any) -> Geometry:
    """The same operator with another crop."""
    return Geometry(g.kernel, g.stride, crop, g.dilation, g.groups)


def fused(nodes: Sequence[Node]) -> list[Node]:
    """The same network, activations done by the convolutions in front of them where nothing else reads those."""
    readers = Counter(place for node in nodes for place in node.inputs)
    places: dict[int, int] = {0: 0}
    made: list[Node] = []
    for number, node in enumerate(nodes, 1):
        inputs = tuple(places[place] for place in node.inputs)
        before = made[inputs[0] - 1].step if inputs[0] else None
        if (
            isinstance(node.step, Pointwise)
            and isinstance(before, Convolution)
            and before.activation is None
            and readers[node.inputs[0]] == 1
            and (number < len(nodes) or inputs[0] == len(made))  # what comes last makes the output
        ):
            made[inputs[0] - 1] = made[inputs[0] - 1]._replace(step=replace(before, activation=node.step.activation))
            places[number] = inputs[0]
        else:
            made.append(Node(node.step, inputs))
            places[number] = len(made)
    return made


def check(number: int, step: Convolution) -> None:
    """Raise ShapeError or ArgumentError for what `tconv.prepare` would not take."""
    g, (into, made) = step.geometry, step.channels
    if step.weight.shape[2:] != g.kernel or into % g.groups or 0 in step.weight.shape:
        raise ShapeError(f"node {number} has a weight of {step.weight.shape}, which does not fit {g}")
    if step.bias is not None and step.bias.shape != (made,):
        raise ShapeError(f"node {number} has a bias of {step.bias.shape}; ({made},) is needed")
    activation_of(step.activation, made)


def source_rows(step: Any, outputs: slice, size: int, axis: int = 0) -> slice:
    """The rows (columns) of an input of this height (width) that these output rows need; at least one."""
    if not isinstance(step, Convolution):
        return outputs
    # what Geometry.input_window says, without its checks: this runs for every strip of every layer
    along = step.along[axis]
    (stride,), ((lo, _),) = along.stride, along.crop
    start = first_row(step, outputs.start, axis)
    stop = (outputs.stop - 1 + lo) // stride + 1
    return slice(min(max(start, 0), size - 1), min(max(stop, 1), size))


def first_row(step: Any, output: int, axis: int = 0) -> int:
    """The first row (column) of an endless input that this output row needs."""
    if not isinstance(step, Convolution):
        return output
    along = step.along[axis]
    (extent,), (stride,), ((lo, _),) = along.extent, along.stride, along.crop
    last = (output + lo) // stride  # that reaches it, or lies before it, in a gap between inputs
    return min(-((extent - 1 - output - lo) // stride), last)
