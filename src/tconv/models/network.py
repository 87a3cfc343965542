"""A network of transposed convolutions and simpler steps, run on tconv's own kernel, a few rows at a time.

An ordinary convolution of stride 1 is a transposed one (flip the taps, swap the channels, crop d(k - 1) - p), so one
kernel runs all layers. Each layer computes the rows that the next ones need now, and buffers those that they will need
again. Nothing is computed twice, and memory does not grow with the height.

The bits of the result do not depend on the strips. Layers with three rows of taps compute their rows in groups of four,
which takes half of the multiplications (`kernels/simd/winograd_f43`); groups begin at the same rows of the picture,
whatever the strips. All others are direct sums, whose order is the same for any strip (`operator/strips`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv._memory import empty
from tconv.errors import ArrayError, GeometryError, ShapeError
from tconv.kernels.problem import Problem, is_plain
from tconv.kernels.simd.winograd_f43.interface import GROUP
from tconv.models.layers import Convolution, Node, check
from tconv.models.running.fusion import fusions
from tconv.models.running.passes import mean_levels
from tconv.models.running.picture import MEMORY, Means, PicturePlan, RowStream
from tconv.models.running.picture_means import tile_means
from tconv.models.running.plan import Graph
from tconv.models.running.run import Load, StripRun
from tconv.models.running.spans import anchored, needed
from tconv.models.running.tile_runs import ThreadTile, run_tile
from tconv.models.running.tiles import TilePlans, extents
from tconv.models.steps.step import Region, Shape
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.models.watch import Watch
from tconv.operator.strips import ROWS

_STRIP = 1 << 23
"""Bytes of the largest rows that are computed at a time, so many that the cost of a call does not count: measured, 2^21
to 2^24 differ by 5 to 15%."""

_MOST_PLANS = 8
"""Plans that a network caches, one for each size of picture."""

_MOST_WINDOWS = 1024
"""Windows of rows and columns that a network caches: tiles of a row of tiles have the same rows."""

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
        if channels is None:
            if first is None:
                raise GeometryError("the network has no convolution; at least one is needed. Write a graph with one")
            channels = first.channels[0]
        self.channels = [channels]
        for number, node in enumerate(self.nodes, 1):
            self.channels.append(self._checked(number, node))
        grouped = {
            number: node.step.grouped.unit
            for number, node in enumerate(self.nodes[:-1], 1)  # callers choose the rows of the last one
            if isinstance(node.step, Convolution) and node.step.grouped is not None
        }
        self.fusions = fusions(self.nodes, self.channels, grouped)
        """sums that a convolution adds by itself, by their numbers"""
        units = grouped | {number: grouped[fusion.nodes[0]] for number, fusion in self.fusions.items()}
        self.anchors = anchored(self.nodes, dict.fromkeys(units, GROUP), 0)
        self.column_anchors = anchored(self.nodes, units, 1)
        """one row (column) at which a group begins, for each node that computes rows in groups"""
        rows = {number: (anchor, GROUP) for number, anchor in self.anchors.items()}
        columns = {number: (anchor, units[number]) for number, anchor in self.column_anchors.items()}
        self._graph = Graph(self.nodes, self.channels, (rows, columns), self.fusions)
        self._pictures: dict[Any, PicturePlan] = {}
        self._tile_plans: dict[Any, TilePlans] = {}
        self._windows: dict[Any, slice] = {}
        self._thread_tile = ThreadTile()

    def __reduce__(self) -> Any:
        """Return the nodes for copies and other processes, which make their own plans."""
        return Network, (self.nodes, self.channels[0])

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

        Those of means over the whole picture are not among them.

        Without `grouped`, only those that the definition reads: layers that compute rows in groups read more.
        """
        key = outputs.start, outputs.stop, size, axis, grouped
        window = self._windows.get(key)
        if window is None:
            sizes, groups = extents(self.nodes, size, axis), self._graph.groups[axis] if grouped else {}
            wanted = {len(self.nodes): outputs}
            window = needed(self.nodes, wanted, sizes, axis, groups, mean_levels(self.nodes))[0]
            if len(self._windows) >= _MOST_WINDOWS:
                self._windows.clear()
            self._windows[key] = window
        return window

    @property
    def has_means(self) -> bool:
        """True if the output depends on means over the whole picture (`means`)."""
        return bool(mean_levels(self.nodes))

    @property
    def mean_nodes(self) -> tuple[int, ...]:
        """Numbers of the nodes that are means over the whole picture, as `tile_means` returns them."""
        return tuple(mean_levels(self.nodes))

    def scratch_bytes(self, shape: Shape, memory: int | None = None) -> int:
        """Return the bytes of the buffers that a run has, beside its input and output."""
        return self._picture(shape, memory).scratch_bytes()

    def plan_text(self, shape: Shape, memory: int | None = None) -> str:
        """Return lines about a run: strips, bands, passes, memory, and work that is repeated."""
        return self._picture(shape, memory).text()

    def bands(self, shape: Shape, memory: int | None = None) -> list[slice]:
        """Return columns of the output, from left to right: a stream for each needs less memory.

        There are as few as fit into `memory` bytes, but not so many that the work would double, because bands overlap.
        """
        return self._picture(shape, memory).bands

    def _picture(self, shape: Shape, memory: int | None) -> PicturePlan:
        """Return the plan for pictures of this size."""
        key = shape, memory, _STRIP
        picture = self._pictures.get(key)
        if picture is None:
            if len(self._pictures) >= _MOST_PLANS:
                self._pictures.clear()
            sizes = self.sizes(shape)
            picture = PicturePlan(self._graph, shape, sizes, MEMORY if memory is None else memory, _STRIP)
            self._pictures[key] = picture
        return picture

    def needed(self, outputs: slice, sizes: list[int], axis: int = 0, grouped: bool = True) -> list[slice]:
        """Return the rows (axis 1: columns) of the input and of each node that output rows need; at least one each.

        `sizes` are all their heights (widths).
        """
        return needed(self.nodes, {len(self.nodes): outputs}, sizes, axis, self._graph.groups[axis] if grouped else {})

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

    def rows(
        self,
        x: Array,
        first: int,
        height: int,
        outputs: slice,
        out: Array | None = None,
        *,
        means: Means | None = None,
        watch: Watch | None = None,
        memory: int | None = None,
    ) -> Array:
        """Return output rows [C', rows, W'] of a picture of this height; x [C, h, W] are its rows from `first` on.

        `Network.window` gives the rows that are needed. The bits do not depend on how a picture is cut into rows. A
        network with means needs those over the whole picture (`Network.means`), or the whole picture as x.
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
        if out is None:
            out = empty((self.channels[-1], outputs.stop - outputs.start, sizes[-1][1]), _FLOAT32)
        shape = height, x.shape[2]
        picture = self._picture(shape, memory)
        if means is None and self.has_means:
            if x.shape[1] != height:
                raise ShapeError(
                    f"x has {x.shape[1]} rows of {height}, and the network reads means over the whole picture. Write "
                    "means=network.means(...)"
                )
            means = self.means(shape, lambda rows, columns: x[:, rows, columns], memory=memory)
        regions = {} if means is None else dict(means.regions)
        regions[0] = Region(x, slice(first, first + x.shape[1]), slice(0, x.shape[2]))
        for band in picture.bands:
            plan = picture.array_plan(outputs, band)
            regions[len(self.nodes)] = Region(out[:, :, band], outputs, band)
            run = StripRun(plan, regions, None, watch, (band.stop - band.start) / sizes[-1][1])
            for _ in range(plan.strips):
                run.advance()
            del run  # before the next one has its memory
        return out

    def region(
        self,
        x: Array,
        window: tuple[slice, slice],
        shape: Shape,
        outputs: tuple[slice, slice],
        out: Array | None = None,
        *,
        means: Mapping[int, Array] | None = None,
        watch: Watch | None = None,
    ) -> Array:
        """Return rows and columns [C', rows, columns] of the output for a picture of this height and width.

        `x` [C, rows, columns], float32, is the window of the picture: that of `region_window`, or a larger one. The
        bits are those of the whole, whatever the tile. A network with means needs those of `tile_means`.

        A thread that computes tiles of equal height from the top down computes the rows between them once only.

        >>> import numpy as np
        >>> from tconv import Geometry
        >>> network = Network([Node(Convolution(np.ones((1, 1, 4, 4), np.float32), Geometry((4, 4), 2, 1)), (0,))])
        >>> picture, outputs = np.ones((1, 100, 100), np.float32), (slice(20, 30), slice(0, 10))
        >>> rows, columns = network.region_window(outputs, (100, 100))
        >>> tile = network.region(picture[:, rows, columns], (rows, columns), (100, 100), outputs)
        >>> np.array_equal(tile, network(picture[None])[0, :, 20:30, 0:10])
        True

        Raises ShapeError, and ArrayError for another dtype.
        """
        given = {} if means is None else means
        plans = self.tile_plans(shape, tuple(sorted(given)))
        totals = plans.sizes[-1]
        self._check_region(x, window, shape, outputs, totals)
        if not is_plain(x) or (x.strides[2] != 4 and x.shape[2] > 1):
            x = np.ascontiguousarray(x)  # contiguous rows, as compiled code reads them
        if out is None:
            out = empty((self.channels[-1], *(span.stop - span.start for span in outputs)), _FLOAT32)
        rows, columns = outputs
        if self.has_whole_rows and columns != (every := slice(0, totals[1])):
            out[...] = self.region(x, window, shape, (rows, every), means=means, watch=watch)[:, :, columns]
            return out
        source, target = Region(x, *window), Region(out, *outputs)
        if watch is None:
            run_tile(plans, source, target, given, self._thread_tile)
            return out
        plan, _ = plans.plan(*outputs, moves=False)  # a watch sees the rows and columns of the picture themselves
        one = slice(0, 1)
        regions = {place: Region(values, one, one) for place, values in given.items()}
        share = math.prod(out.shape[1:]) / math.prod(totals)
        StripRun(plan, regions | {0: source, len(self.nodes): target}, None, watch, share).advance_to(
            len(self.nodes), rows.stop
        )
        return out

    def region_window(self, outputs: tuple[slice, slice], shape: Shape) -> tuple[slice, slice]:
        """Return the rows and columns of a picture of this height and width that a tile of the output needs."""
        rows, columns = outputs
        across = slice(0, shape[1]) if self.has_whole_rows else self.window(columns, shape[1], 1)
        return self.window(rows, shape[0], 0), across

    @cached_property
    def has_whole_rows(self) -> bool:
        """True if tiles are computed as whole rows: matrix products have other bits for other numbers of columns.

        Layers are matrix products where there is no machine code, or with weights of inf or NaN.
        """
        convolutions = (
            node.step.on_blocks if isinstance(node.step, StridedConvolution) else node.step for node in self.nodes
        )
        return any(step.method == ROWS for step in convolutions if isinstance(step, Convolution))

    def _check_region(
        self, x: Array, window: Sequence[slice], shape: Shape, outputs: tuple[slice, slice], totals: Shape
    ) -> None:
        """Raise ShapeError or ArrayError for a window or a tile that does not fit the picture."""
        if x.dtype != np.float32:
            raise ArrayError(f"x has dtype {x.dtype}; float32 is needed. Write x.astype(np.float32)")
        given = tuple(span.stop - span.start for span in window)
        if x.shape != (self.channels[0], *given):
            raise ShapeError(f"x has shape {x.shape}; {(self.channels[0], *given)} is needed for the window {window}")
        if not all(0 <= span.start < span.stop <= total for span, total in zip(outputs, totals, strict=True)):
            raise ShapeError(f"outputs are {outputs}; the output has {totals[0]} rows and {totals[1]} columns")
        needed = self.region_window(outputs, shape)
        if not all(a.start <= b.start and b.stop <= a.stop for a, b in zip(window, needed, strict=True)):
            raise ShapeError(f"x is the window {window}; {needed} is needed. Network.region_window returns it")

    def tile_means(self, shape: Shape, load: Load, memory: int = MEMORY) -> dict[int, Array]:
        """Return the means over a whole picture that `region` needs, by the numbers of their nodes: [C, 1, 1] each.

        load(rows, columns) returns a part of the input as float32 [C, rows, columns]: small ones, for the whole picture
        and once for each mean. Beside them `memory` bytes are allocated. Raises TooLargeError if those are too few.
        """
        plans = partial(self.tile_plans, shape)
        return tile_means(self._graph, plans, load, memory, whole_rows=self.has_whole_rows)

    def tile_plans(self, shape: Shape, given: tuple[int, ...] = (), place: int = -1) -> TilePlans:
        """Return the plans of tiles of pictures of this height and width; `given` are means that are there.

        `place` is the node whose output is cut into tiles, the last one without it.
        """
        key = shape, given, place
        plans = self._tile_plans.get(key)
        if plans is None:
            if len(self._tile_plans) >= _MOST_PLANS:
                self._tile_plans.clear()
            plans = self._tile_plans[key] = TilePlans(self._graph, self.sizes(shape), given, place)
        return plans

    def stream(
        self,
        shape: Shape,
        load: Load,
        *,
        columns: slice | None = None,
        means: Means | None = None,
        watch: Watch | None = None,
        memory: int | None = None,
    ) -> RowStream:
        """Return a stream of output rows from the top down, for columns of the output, as `bands` returns them.

        load(rows, columns) returns rows of the input as float32 [C, rows, columns]; the rows follow each other.
        """
        picture = self._picture(shape, memory)
        if means is None and self.has_means:
            raise ShapeError("the network reads means over the whole picture. Write means=network.means(shape, load)")
        return RowStream(picture, columns or slice(0, picture.sizes[-1][1]), load, means, watch)

    def means(self, shape: Shape, load: Load, *, watch: Watch | None = None, memory: int | None = None) -> Means | None:
        """Return the means over a whole picture that the output depends on; None for a network without them.

        load(rows, columns) returns rows of the input as float32 [C, rows, columns]. It is called for the whole picture,
        several times. The result also has whole outputs of nodes that fit into the memory.
        """
        return self._picture(shape, memory).means(load, watch) if self.has_means else None
