"""A network of transposed convolutions: every layer on the project's kernel, a few rows of the picture at a time.

An ordinary convolution of stride 1 is a transposed one (flip the taps, swap the channels, crop d(k - 1) - p), so one
kernel runs all of it. Rows flow through: each layer makes the rows that the next ones need now, and keeps those that
they will need again. Nothing is computed twice, memory does not grow with the height, and because the kernel has one
order of sums, the numbers are the same bits whatever the strips.

Layers with three rows of taps make their rows in groups of four, which takes half of the multiplications
(`kernels/simd/winograd.py`). The groups lie where the whole picture's lie, whatever the strips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import ArrayError, GeometryError, ShapeError
from tconv.kernels.activation import Activation, activation_of
from tconv.kernels.problem import Problem, is_plain
from tconv.kernels.simd.winograd_f43.rows import GROUP
from tconv.models.layers import Convolution, Node, Pointwise, Shape, Sum, check, first_row, source_rows
from tconv.models.row_buffer import Kept, ring_rows, row_floats

_STRIP = 1 << 21
"""Bytes of a layer's rows that are made at a time: they stay in the caches until the next layer reads them."""

_FLOAT32 = np.dtype(np.float32)


class Network:
    """Nodes in the order in which they run; the last one's output is the network's.

    >>> import numpy as np
    >>> from tconv import Geometry
    >>> layer = Convolution(np.ones((1, 1, 4, 4), np.float32), Geometry((4, 4), 2, 1))
    >>> Network([Node(layer, (0,))])(np.ones((1, 1, 3, 3), np.float32)).shape
    (1, 1, 6, 6)

    Raises ShapeError where channels do not fit, GeometryError for a graph that reads what is not there yet.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        first = next((node.step for node in self.nodes if isinstance(node.step, Convolution)), None)
        if first is None:
            raise GeometryError("the network has no convolution; at least one is needed. Write a graph with one")
        self.channels = [first.channels[0]]
        self.activations: dict[int, Activation | None] = {}
        """of the nodes that are nothing else"""
        for number, node in enumerate(self.nodes, 1):
            self.channels.append(self._checked(number, node))
        self.anchors = self._anchored()
        """of the nodes that make rows in groups: one row at which a group begins"""
        readers: dict[int, set[int]] = {}
        for number, node in enumerate(self.nodes, 1):
            for place in node.inputs:
                readers.setdefault(place, set()).add(number)
        self.rings = {
            number
            for number, node in enumerate(self.nodes, 1)
            if isinstance(node.step, Convolution) and readers.get(number, {0}) <= self.anchors.keys()
        }
        """the nodes whose rows are kept in rings: convolutions that are read in groups only"""

    def _anchored(self) -> dict[int, int]:
        """Groups lie so that those of one layer begin where those of the next begin to read.

        The last layer makes its rows one by one: which of them are asked for is the caller's choice.
        """
        anchors: dict[int, int] = {}
        starts: list[int | None] = [None] * len(self.nodes) + [0]
        for number in range(len(self.nodes), 0, -1):
            start, node = starts[number], self.nodes[number - 1]
            if start is None:
                continue
            if number < len(self.nodes) and isinstance(node.step, Convolution) and node.step.grouped is not None:
                anchors[number] = start % GROUP
            for place in node.inputs:
                before = starts[place]
                found = first_row(node.step, start)
                starts[place] = found if before is None else min(before, found)
        return anchors

    def _checked(self, number: int, node: Node) -> int:
        """The output channels of a node that fits to what is in front of it."""
        if not node.inputs or any(not 0 <= place < number for place in node.inputs):
            raise GeometryError(
                f"node {number} reads {node.inputs}; numbers from 0 to {number - 1} are needed: 0 is the input, j the "
                "output of node j. Write the nodes in the order in which they run"
            )
        given = [self.channels[place] for place in node.inputs]
        if isinstance(node.step, Convolution):
            wanted, made = node.step.channels
            if given != [wanted]:
                raise ShapeError(f"node {number} has a weight for {wanted} input channels; it is given {given}")
            check(number, node.step)
            return made
        if len(set(given)) > 1 or len(given) != 1 + isinstance(node.step, Sum):
            raise ShapeError(f"node {number}, {node.step}, is given inputs of {given} channels")
        if isinstance(node.step, Pointwise):
            self.activations[number] = activation_of(node.step.activation, given[0])
        return given[0]

    # -- sizes ---------------------------------------------------------------------------------------------------

    def sizes(self, shape: Shape) -> list[Shape]:
        """Height and width of the input and of every node's output. Raises ShapeError where they do not fit."""
        sizes = [shape]
        for number, node in enumerate(self.nodes, 1):
            given = [sizes[place] for place in node.inputs]
            if len(set(given)) > 1:
                raise ShapeError(f"node {number} adds pictures of {given}; they must be of one size")
            if isinstance(node.step, Convolution):
                height, width = node.step.geometry.output_shape(given[0])
                sizes.append((height, width))
            else:
                sizes.append(given[0])
        return sizes

    def output_shape(self, shape: Shape) -> Shape:
        """Height and width of the output."""
        return self.sizes(shape)[-1]

    def problems(self, shape: Shape) -> list[Problem]:
        """The transposed convolutions over an input of this size."""
        sizes, dtype = self.sizes(shape), _FLOAT32
        return [
            Problem(
                node.step.geometry, 1, *node.step.channels, sizes[node.inputs[0]], dtype, node.step.bias is not None
            )
            for node in self.nodes
            if isinstance(node.step, Convolution)
        ]

    def window(self, outputs: slice, size: int, axis: int = 0, grouped: bool = True) -> slice:
        """The input rows (axis 1: columns) that these output ones need, of an input of this height (width).

        Not `grouped`: those that the definition reads, without what layers that make rows in groups read beside them.
        """
        sizes = [size]
        for node in self.nodes:
            given = sizes[node.inputs[0]]
            along = node.step.along[axis] if isinstance(node.step, Convolution) else None
            sizes.append(given if along is None else along.output_shape([given])[0])
        return self.needed(outputs, sizes, axis, grouped)[0]

    def scratch_bytes(self, shape: Shape) -> int:
        """What `rows` holds of the layers' outputs beside its own."""
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
        # a layer that needs more room has the old one beside it for a moment
        return sum(strips) + max(strips, default=0)

    def needed(self, outputs: slice, sizes: list[int], axis: int = 0, grouped: bool = True) -> list[slice]:
        """Of the input and of each node, the rows (axis 1: columns) that these ones of the output need; at least one.

        `sizes` are all their heights (widths).
        """
        spans: list[list[slice]] = [[] for _ in sizes]
        spans[-1].append(outputs)
        for number in range(len(self.nodes), 0, -1):
            if not spans[number]:  # nobody reads it: it is not run
                continue
            node, wanted = self.nodes[number - 1], _hull(spans[number])
            if grouped and axis == 0 and number in self.anchors:
                wanted = _grouped(wanted, self.anchors[number], sizes[number])
                spans[number] = [wanted]
            for place in node.inputs:
                spans[place].append(source_rows(node.step, wanted, sizes[place], axis))
        return [_hull(each) for each in spans]

    # -- running -------------------------------------------------------------------------------------------------

    def __call__(self, x: Any) -> Array:
        """Pictures x [N, C, H, W], float32, as [N, C', H', W']."""
        x = np.asarray(x)
        if x.ndim != 4 or x.shape[1] != self.channels[0]:
            raise ShapeError(f"x has shape {x.shape}; [N, {self.channels[0]}, H, W] is needed")
        height, width = self.output_shape((x.shape[2], x.shape[3]))
        out = empty((len(x), self.channels[-1], height, width), _FLOAT32)
        for picture, made in zip(x, out, strict=True):
            self.rows(picture, 0, x.shape[2], slice(0, height), made)
        return out

    def rows(self, x: Array, first: int, height: int, outputs: slice, out: Array | None = None) -> Array:
        """Output rows [C', rows, W'] of a picture of this height; x [C, h, W] holds its rows from `first` on.

        `Network.window` says which rows are needed. The numbers do not depend on how the rows are cut.
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
                f"x holds rows {first} to {first + x.shape[1]} of the picture; {needed.start} to {needed.stop} are "
                "needed. Network.window says which"
            )
        if not is_plain(x) or (x.strides[2] != 4 and x.shape[2] > 1):
            x = np.ascontiguousarray(x)  # rows in one piece, as compiled code reads them
        heights = [rows for rows, _ in sizes]
        if out is None:
            out = empty((self.channels[-1], outputs.stop - outputs.start, sizes[-1][1]), _FLOAT32)
        whole = self.needed(outputs, heights)
        step = self._step(sizes)
        kept = [Kept(x, first, first + x.shape[1])]
        for number, (channels, (_, width)) in enumerate(zip(self.channels[1:-1], sizes[1:-1], strict=True), 1):
            start = whole[number].start
            if number in self.rings:
                kept.append(Kept.ring(channels, width, self.anchors.get(number, 0) - GROUP, start))
            else:
                kept.append(Kept.buffer(channels, width, start))
        kept.append(Kept(out, outputs.start, outputs.start))
        for begin in range(outputs.start, outputs.stop, step):
            strip = slice(begin, min(begin + step, outputs.stop))
            self._advance(kept, self.needed(strip, heights), heights)
        return out

    def _step(self, sizes: list[Shape]) -> int:
        """Output rows at a time: of the widest layer so many that they stay in the caches."""
        out_rows = sizes[-1][0]
        most = max(channels * 4 * h * w for channels, (h, w) in zip(self.channels[1:], sizes[1:], strict=True))
        return max(1, min(out_rows, _STRIP * out_rows // max(1, most)))

    def _advance(self, kept: list[Kept], needed: list[slice], heights: list[int]) -> None:
        """Make the rows that are needed now and that are not there yet."""
        for number, node in enumerate(self.nodes, 1):
            mine = kept[number]
            rows = slice(mine.stop, max(mine.stop, needed[number].stop))
            if rows.start == rows.stop:
                continue
            if number < len(self.nodes):
                mine.make_room(needed[number].start, rows.stop)
            if number in self.anchors and isinstance(node.step, Convolution):
                (place,) = node.inputs
                ends = heights[place], heights[number]
                node.step.in_groups(kept[place], rows, mine, ends, self.anchors[number])
            else:
                for piece in mine.pieces(rows):
                    self._directly(number, kept, piece, heights)
            mine.stop = rows.stop

    def _directly(self, number: int, kept: list[Kept], rows: slice, heights: list[int]) -> None:
        """Make a piece of rows of a node that reads whole pieces."""
        node, target = self.nodes[number - 1], kept[number].view(rows)
        spans = [source_rows(node.step, rows, heights[place]) for place in node.inputs]
        given = [kept[place].view(span) for place, span in zip(node.inputs, spans, strict=True)]
        if isinstance(node.step, Convolution):
            node.step.rows(given[0], spans[0].start, rows, target)
        elif isinstance(node.step, Sum):
            np.add(given[0], given[1], out=target)
        else:
            target[...] = given[0]
            activation = self.activations[number]
            if activation is not None:
                activation.apply(target)


def _grouped(rows: slice, anchor: int, size: int) -> slice:
    """Whole groups around these rows, of which the picture has so many."""
    start = (rows.start - anchor) // GROUP * GROUP + anchor
    stop = -((anchor - rows.stop) // GROUP) * GROUP + anchor
    return slice(max(0, start), min(stop, size))


def _hull(spans: list[slice]) -> slice:
    """The rows from the first to the last of all spans; none of what nobody reads."""
    return slice(min((s.start for s in spans), default=0), max((s.stop for s in spans), default=0))
