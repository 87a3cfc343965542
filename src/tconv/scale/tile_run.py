"""One tile: read its window, compute, write. Every executor (this process, Dask's workers) runs this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from tconv._arrays import Array
from tconv._memory import empty
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.regions import Region, region_sizes
from tconv.scale.stores.store import ImageSource, ImageTarget


class Tile(NamedTuple):
    """Outputs of one image of one stage."""

    stage: int
    image: int
    outputs: Region


@dataclass
class Stage:
    """One pass over all images: an operation, what it reads and what it writes. A pyramid has one for each level."""

    operator: TileOperator
    source: ImageSource
    target: ImageTarget
    tile: tuple[int, ...]
    """Sizes of a tile: whole units of the target."""
    contexts: dict[int, Any]
    """what `TileOperator.prepare` returned for each image, where that is not None"""

    def read(self, tile: Tile) -> tuple[Region, Array]:
        """Return the window of a tile, and its values."""
        window = self.operator.window(tile.outputs, self.source.shape[2:])
        return window, self.source.read(tile.image, window)

    def compute(self, tile: Tile, window: Region, x: Array) -> Array:
        """Return the outputs [C', *outputs] of a tile, in the dtype of the target."""
        operator = self.operator
        out = empty((operator.channels[1], *region_sizes(tile.outputs)), operator.result)
        context = self.contexts.get(tile.image)
        operator.compute(x, window, self.source.shape[2:], tile.outputs, out, context)
        return out
