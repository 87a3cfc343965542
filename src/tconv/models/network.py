"""A network of transposed convolutions and simpler steps, run on tconv's own kernel, a few rows at a time.

An ordinary convolution of stride 1 is a transposed one (flip the taps, swap the channels, crop d(k - 1) - p), so one
kernel runs all layers. Each layer computes the rows that the next ones need now, and buffers those that they will need
again. Nothing is computed twice, and memory does not grow with the height.

The bits of the result do not depend on the strips. Layers with three rows of taps compute their rows in groups of four,
which takes half of the multiplications (`kernels/simd/winograd_f43`); groups begin at the same rows of the picture,
whatever the strips. All others are direct sums, whose order is the same for any strip (`operator/strips`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import ArrayError, GeometryError, ShapeError
from tconv.kernels.problem import Problem, is_plain
from tconv.kernels.simd.winograd_f43.interface import GROUP
from tconv.models.layers import Convolution, Node, check
from tconv.models.row_buffer import RowBuffer, ring_rows, row_floats
from tconv.models.steps.step import Region, Shape

_STRIP = 1 << 21
"""Bytes of a layer's rows that are computed at a time: they stay in the caches until the next layer reads them."""

_FLOAT32 = np.dtype(np.float32)


class Network:
    """Nodes in the order in which they run; the output of the last one is the network's.

    >>> import numpy as np
    >>> from tconv import Geometry
    >>> layer = Convolution(np.ones((1, 1, 4, 4), np.float32), Geometry((4, 4), 2, 1))
    >>> Network([Node(layer, (0,))])(np.ones((1, 1, 3, 3), np.float32)).shape
    (1, 1, 6, 6)

    `channels` are those of the input; without them, those of the first convolution. Raises ShapeError for channels that
    do not fit, GeometryError for a node that reads a later node.
    """

    def __init__(self, nodes: Sequence[Node], channels: int | None = None) -> None:
        self.nodes = tuple(nodes)
        first = next((node.step for node in self.nodes if isinstance(node.step, Convolution)), None)
        if first is None:
            raise GeometryError("the network has no convolution; at least one is needed. Write a graph with one")
        self.channels = [first.channels[0] if channels is None else channels]
        for number, node in enumerate(self.nodes, 1):
            self.channels.append(self._checked(number, node))
        self.anchors, self.column_anchors = self._anchored(0), self._anchored(1)
        """one row (column) at which a group begins, for each node that computes rows in groups"""
        readers: dict[int, set[int]] = {}
        for number, node in enumerate(self.nodes, 1):
            for place in node.inputs:
                readers.setdefault(place, set()).add(number)
        self.rings = {
            number
            for number, node in enumerate(self.nodes, 1)
            if isinstance(node.step, Convolution) and readers.get(number, {0}) <= self.anchors.keys()
        }
        """nodes whose rows are buffered in rings: convolutions that are only read in groups"""

    def _anchored(self, axis: int) -> dict[int, int]:
        """Return one row (column) at which a group begins, for each node that computes rows in groups.

        Groups of a layer begin where those of the next layer begin to read. The last layer has no groups, because
        callers choose which of its rows they ask for.
        """
        anchors: dict[int, int] = {}
        starts: list[int | None] = [None] * len(self.nodes) + [0]
        for number in range(len(self.nodes), 0, -1):
            start, node = starts[number], self.nodes[number - 1]
            if start is None:
                continue
            if number < len(self.nodes) and isinstance(node.step, Convolution) and node.step.grouped is not None:
                anchors[number] = start % (node.step.grouped.unit if axis else GROUP)
            for place in node.inputs:
                before = starts[place]
                first = node.step.first(start, axis)
                starts[place] = first if before is None else min(before, first)
        return anchors

    def _groups(self, number: int, axis: int) -> tuple[int, int]:
        """Return the anchor and the rows (columns) of the groups of a node."""
        if axis == 0:
            return self.anchors[number], GROUP
        step = self.nodes[number - 1].step
        assert isinstance(step, Convolution)
        assert step.grouped is not None
        return self.column_anchors[number], step.grouped.unit

    def _checked(self, number: int, node: Node) -> int:
        """Return the output channels of a node. Raises GeometryError or ShapeError if it does not fit its inputs."""
        if not node.inputs or any(not 0 <= place < number for place in node.inputs):
            raise GeometryError(
                f"node {number} reads {node.inputs}; numbers from 0 to {number - 1} are needed: 0 is the input, j the "
                "output of node j. Write the nodes in the order in which they run"
            )
        if isinstance(node.step, Convolution):
            check(number, node.step)
        try:
            return node.step.output_channels([self.channels[place] for place in node.inputs])
        except ShapeError as error:
            raise ShapeError(f"node {number}: {error}") from None

    # -- sizes ---------------------------------------------------------------------------------------------------

    def sizes(self, shape: Shape) -> list[Shape]:
        """Return height and width of the input and of every node's output. Raises ShapeError if they do not fit."""
        sizes = [shape]
        for number, node in enumerate(self.nodes, 1):
            given = [sizes[place] for place in node.inputs]
            try:
                if isinstance(node.step, Convolution):  # its messages name both axes
                    height, width = node.step.geometry.output_shape(given[0])
                else:
                    height, width = (node.step.output_extent([size[axis] for size in given], axis) for axis in (0, 1))
            except ShapeError as error:
                raise type(error)(f"node {number}: {error}") from None
            sizes.append((height, width))
        return sizes

    def output_shape(self, shape: Shape) -> Shape:
        """Return height and width of the output."""
        return self.sizes(shape)[-1]

    def problems(self, shape: Shape) -> list[Problem]:
        """Return the transposed convolutions over an input of this size."""
        sizes, dtype = self.sizes(shape), _FLOAT32
        return [
            Problem(
                node.step.geometry, 1, *node.step.channels, sizes[node.inputs[0]], dtype, node.step.bias is not None
            )
            for node in self.nodes
            if isinstance(node.step, Convolution)
        ]

    def methods(self) -> list[str]:
        """Return the method of each convolution, in the order of `problems`.

        It is "winograd F(4,3)" for layers in groups of rows, "simd" for the direct sum, and "rows of taps" where that
        does not run.
        """
        return [
            "winograd F(4,3)" if number in self.anchors else node.step.method
            for number, node in enumerate(self.nodes, 1)
            if isinstance(node.step, Convolution)
        ]

    def window(self, outputs: slice, size: int, axis: int = 0, grouped: bool = True) -> slice:
        """Return the input rows (axis 1: columns) that output rows need, of an input of this height (width).

        Without `grouped`, only those that the definition reads: layers that compute rows in groups read more.
        """
        sizes = [size]
        for node in self.nodes:
            sizes.append(node.step.output_extent([sizes[place] for place in node.inputs], axis))
        return self.needed(outputs, sizes, axis, grouped)[0]

    def scratch_bytes(self, shape: Shape) -> int:
        """Return the bytes of the row buffers that `rows` has, beside its output."""
        sizes = self.sizes(shape)
        heights, step = [rows for rows, _ in sizes], self._step(sizes)
        start = (heights[-1] - step) // 2
        spans = self.needed(slice(start, start + step), heights)
        strips: list[int] = []
        for number, span in enumerate(spans[1:-1], 1):
            # strips elsewhere may need a row or two more, or a group
            rows = span.stop - span.start + (GROUP if number in self.anchors else 2)
            rows = ring_rows(rows) if number in self.rings else min(sizes[number][0], rows)
            strips.append(self.channels[number] * 4 * row_floats(sizes[number][1]) * rows)
        # a buffer that grows has its old array beside it for a moment
        return sum(strips) + max(strips, default=0)

    def needed(self, outputs: slice, sizes: list[int], axis: int = 0, grouped: bool = True) -> list[slice]:
        """Return the rows (axis 1: columns) of the input and of each node that output rows need; at least one each.

        `sizes` are all their heights (widths).
        """
        spans: list[list[slice]] = [[] for _ in sizes]
        spans[-1].append(outputs)
        for number in range(len(self.nodes), 0, -1):
            if not spans[number]:  # no node reads it: it does not run
                continue
            node, wanted = self.nodes[number - 1], _hull(spans[number])
            if grouped and number in self.anchors:
                anchor, step = self._groups(number, axis)
                wanted = _grouped(wanted, anchor, step, sizes[number])
                spans[number] = [wanted]
            given = [sizes[place] for place in node.inputs]
            for place_number, place in enumerate(node.inputs):
                spans[place].append(node.step.source(place_number, wanted, given, axis))
        return [_hull(each) for each in spans]

    # -- running -------------------------------------------------------------------------------------------------

    def __call__(self, x: Any) -> Array:
        """Return the outputs [N, C', H', W'] of pictures x [N, C, H, W], float32."""
        x = np.asarray(x)
        if x.ndim != 4 or x.shape[1] != self.channels[0]:
            raise ShapeError(f"x has shape {x.shape}; [N, {self.channels[0]}, H, W] is needed")
        height, width = self.output_shape((x.shape[2], x.shape[3]))
        out = empty((len(x), self.channels[-1], height, width), _FLOAT32)
        for picture, result in zip(x, out, strict=True):
            self.rows(picture, 0, x.shape[2], slice(0, height), result)
        return out

    def rows(self, x: Array, first: int, height: int, outputs: slice, out: Array | None = None) -> Array:
        """Return output rows [C', rows, W'] of a picture of this height; x [C, h, W] are its rows from `first` on.

        `Network.window` gives the rows that are needed. The bits do not depend on how a picture is cut into rows.
        """
        if x.dtype != np.float32:
            raise ArrayError(f"x has dtype {x.dtype}; float32 is needed. Write x.astype(np.float32)")
        if x.ndim != 3 or len(x) != self.channels[0] or 0 in x.shape:
            raise ShapeError(f"x has shape {x.shape}; [{self.channels[0]}, h, W] is needed")
        sizes = self.sizes((height, x.shape[2]))
        if not 0 <= outputs.start < outputs.stop <= sizes[-1][0]:
            raise ShapeError(
                f"outputs are rows {outputs.start} to {outputs.stop}; the output of a picture of {height} rows has "
                f"{sizes[-1][0]}. Write slice(0, {sizes[-1][0]}), or a part of it"
            )
        needed = self.window(outputs, height)
        if first > needed.start or first + x.shape[1] < needed.stop:
            raise ShapeError(
                f"x has rows {first} to {first + x.shape[1]} of the picture; {needed.start} to {needed.stop} are "
                "needed. Network.window gives them"
            )
        if not is_plain(x) or (x.strides[2] != 4 and x.shape[2] > 1):
            x = np.ascontiguousarray(x)  # contiguous rows, as compiled code reads them
        heights = [rows for rows, _ in sizes]
        if out is None:
            out = empty((self.channels[-1], outputs.stop - outputs.start, sizes[-1][1]), _FLOAT32)
        whole = self.needed(outputs, heights)
        step = self._step(sizes)
        buffers = [RowBuffer(x, first, first + x.shape[1])]
        for number, (channels, (_, width)) in enumerate(zip(self.channels[1:-1], sizes[1:-1], strict=True), 1):
            start = whole[number].start
            if number in self.rings:
                buffers.append(RowBuffer.ring(channels, width, self.anchors.get(number, 0) - GROUP, start))
            else:
                buffers.append(RowBuffer.linear(channels, width, start))
        buffers.append(RowBuffer(out, outputs.start, outputs.start))
        for begin in range(outputs.start, outputs.stop, step):
            strip = slice(begin, min(begin + step, outputs.stop))
            self._advance(buffers, self.needed(strip, heights), sizes)
        return out

    def _step(self, sizes: list[Shape]) -> int:
        """Return the output rows of one strip: so few that the largest layer's rows stay in the caches."""
        out_rows = sizes[-1][0]
        most = max(channels * 4 * h * w for channels, (h, w) in zip(self.channels[1:], sizes[1:], strict=True))
        return max(1, min(out_rows, _STRIP * out_rows // max(1, most)))

    def _advance(self, buffers: list[RowBuffer], needed: list[slice], sizes: list[Shape]) -> None:
        """Compute the rows that are needed and not buffered yet."""
        for number, node in enumerate(self.nodes, 1):
            target = buffers[number]
            rows = slice(target.stop, max(target.stop, needed[number].stop))
            if rows.start == rows.stop:
                continue
            if number < len(self.nodes):
                target.reserve(needed[number].start, rows.stop)
            if number in self.anchors and isinstance(node.step, Convolution):
                (place,) = node.inputs
                ends = sizes[place][0], sizes[number][0]
                column = -self.column_anchors[number]
                node.step.in_groups(buffers[place], rows, target, ends, self.anchors[number], column=column)
            else:
                for piece in target.pieces(rows):
                    self._compute_piece(number, buffers, piece, sizes)
            target.stop = rows.stop

    def _compute_piece(self, number: int, buffers: list[RowBuffer], rows: slice, sizes: list[Shape]) -> None:
        """Compute contiguous rows of a node whose inputs are contiguous, too."""
        node = self.nodes[number - 1]
        given = [sizes[place] for place in node.inputs]
        parts = []
        for place_number, place in enumerate(node.inputs):
            span = node.step.source(place_number, rows, [height for height, _ in given], 0)
            parts.append(Region(buffers[place].view(span)[0], span, slice(0, sizes[place][1])))
        out = Region(buffers[number].view(rows)[0], rows, slice(0, sizes[number][1]))
        node.step.compute(parts, given, out)


def _grouped(rows: slice, anchor: int, step: int, size: int) -> slice:
    """Return the rows of whole groups of `step` rows around these rows, in a picture of `size` rows."""
    start = (rows.start - anchor) // step * step + anchor
    stop = -((anchor - rows.stop) // step) * step + anchor
    return slice(max(0, start), min(stop, size))


def _hull(spans: list[slice]) -> slice:
    """Return the rows from the first to the last of all spans; an empty span for none."""
    return slice(min((s.start for s in spans), default=0), max((s.stop for s in spans), default=0))
