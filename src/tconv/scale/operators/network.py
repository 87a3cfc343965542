"""A network of `tconv.models` as a `TileOperator`: float32 pictures [C, H, W]."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.num_threads import get_num_threads
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.running.plan import Plan
from tconv.models.running.tiles import TilePlans
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.models.watch import Watch
from tconv.scale.operators.tile_operator import Read
from tconv.scale.regions import Region, Sizes

_THREAD = 3 << 19
"""Bytes of panels and sums of one thread of the kernel, at most, for layers of networks."""
_TEMPORARY = 3
"""Arrays of the size of a strip's largest rows that a step allocates, at most, as a resize or a mean does."""


class NetworkOperator:
    """Network whose tiles, of any size, have the bits of the whole.

    >>> import tconv.models
    >>> network = NetworkOperator(tconv.models.photo(2).network)
    >>> network.output_sizes((100, 80)), network.window((slice(0, 10), slice(0, 10)), (100, 80))
    ((140, 100), (slice(0, 38, None), slice(0, 35, None)))
    """

    ndim = 2
    goes_down = True
    """Tiles of equal height cost less if a thread computes them from the top down, column by column."""
    dtype = np.dtype(np.float32)
    result = np.dtype(np.float32)

    def __init__(self, network: Network, name: str = "network") -> None:
        self.network = network
        self.channels = network.channels[0], network.channels[-1]
        methods = Counter(network.methods())
        self.method = " and ".join(sorted(methods))
        count = sum(methods.values())
        self.name = f"{name}, {count} convolution{'s' * (count != 1)}"

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the layers and what they read."""
        return tuple((node.step, node.inputs) for node in self.network.nodes), self.channels[0], self.method

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return height and width of the output. Raises ShapeError for sizes that the network does not take."""
        height, width = sizes
        return self.network.output_shape((height, width))

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the rows and columns that outputs read, with those of the groups that they are in."""
        (rows, columns), (height, width) = outputs, sizes
        return self.network.region_window((rows, columns), (height, width))

    def compute(
        self,
        x: Array,
        window: Region,
        sizes: Sizes,
        outputs: Region,
        out: Array,
        context: Any = None,
        watch: Watch | None = None,
    ) -> None:
        """Fill out from x; `context` are the means over the whole picture, if the network reads any.

        `watch` observes the layers.
        """
        (down, across), (rows, columns), (height, width) = window, outputs, sizes
        means = means_of(context)
        self.network.region(x, (down, across), (height, width), (rows, columns), out, means=means, watch=watch)

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the bytes of the rows of all layers that are there at a time, of the kernel, and of packed weights."""
        plan, network = self._plan(outputs, sizes), self.network
        columns = plan.columns[len(network.nodes)] if network.has_whole_rows else slice(0, 0)
        rows = 4 * self.channels[1] * (outputs[0].stop - outputs[0].start) * (columns.stop - columns.start)
        kept = 4 * self.channels[0] * 64 * (plan.columns[0].stop - plan.columns[0].start)  # rows for the tile below
        most = plan.scratch_bytes + _TEMPORARY * plan.largest_strip
        if not network.has_whole_rows:
            down = self._plans(sizes).plan_down(*outputs)
            most = max(most, 0 if down is None else down[0].scratch_bytes + _TEMPORARY * down[0].largest_strip)
        return int(most + self.constant_bytes + rows + kept)

    def _plans(self, sizes: Sizes) -> TilePlans:
        height, width = sizes
        return self.network.tile_plans((height, width), self.network.mean_nodes)

    def _plan(self, outputs: Region, sizes: Sizes) -> Plan:
        """Return the plan of a tile."""
        (rows, columns), plans = outputs, self._plans(sizes)
        return plans.plan(rows, slice(0, plans.sizes[-1][1]) if self.network.has_whole_rows else columns)[0]

    @property
    def constant_bytes(self) -> int:
        """Return the bytes of packed weights, and of the threads' scratch memory."""
        weights = 0
        for node in self.network.nodes:
            if isinstance(node.step, Convolution | StridedConvolution):
                # filtered weights have six rows for three
                weights += 4 * node.step.weight.nbytes
        return weights + get_num_threads() * _THREAD

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the multiply-adds of a tile, those beside it that its layers need included."""
        return self._plan(outputs, sizes).work

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> dict[str, Array] | None:
        """Return the means over the whole picture by the number of their node; None for a network without them."""
        if not self.network.has_means:
            return None
        height, width = sizes
        means = self.network.tile_means(
            (height, width),
            lambda rows, columns: np.ascontiguousarray(read((rows, columns))),
            memory - self.constant_bytes,
        )
        return {str(number): values for number, values in means.items()}


def means_of(context: Mapping[str, Array] | None) -> dict[int, Array] | None:
    """Return the means that `prepare` returned, by numbers of nodes."""
    return None if context is None else {int(number): values for number, values in context.items()}
