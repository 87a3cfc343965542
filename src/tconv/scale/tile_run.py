"""One tile: read its window, compute, write. Every executor (this process, Dask's workers) runs this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import DtypeError, ShapeError
from tconv.scale.memory_bound import make_room
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.regions import Region, Sizes, grid, grid_downward, placed, region_sizes, tile_count, within
from tconv.scale.stores.store import ImageSource, ImageTarget


class Tile(NamedTuple):
    """Outputs of one image of one stage."""

    stage: int
    image: int
    outputs: Region


class TileRecord(NamedTuple):
    """Checksums of a tile that is written: xxh3-64 of its values [C', *outputs] and of the inputs that it reads."""

    tile: Tile
    values: int
    window: int


class TileWindow(NamedTuple):
    """Inputs of a tile or of a part of it: the outputs that need them, their place and values, and their checksum."""

    outputs: Region
    region: Region
    x: Array


@dataclass
class Stage:
    """One pass over all images: an operation, what it reads and what it writes. A pyramid has one for each level."""

    operator: TileOperator
    source: ImageSource
    target: ImageTarget
    tile: Sizes | None = None
    """Sizes of a tile: whole units of the target. None before they are planned."""
    part: Sizes | None = None
    """Sizes of what is computed at once, where a tile is too large for the memory; None for whole tiles."""
    parts_before: tuple[Sizes | None, ...] = ()
    """Parts that sessions with another bound of memory had."""
    windows: int = 2
    """Most inputs that are in memory at once: of the part that is computed, and of those that are read before."""
    results: int = 2
    """Most outputs that are in memory at once: of the tile that is computed, and of those that are written."""
    scratch: int = 0
    """Bytes that a computation allocates, at most."""
    bound: int | None = None
    """Resident bytes that a process with its tiles may have; None before they are planned."""
    contexts: dict[int, Any] = field(default_factory=dict)
    """what `TileOperator.prepare` returned for each image, where that is not None"""

    @property
    def sizes(self) -> Sizes:
        """Sizes of the inputs along the spatial axes."""
        return self.source.shape[2:]

    @property
    def output_sizes(self) -> Sizes:
        """Sizes of the outputs along the spatial axes."""
        return self.target.shape[2:]

    def check(self) -> None:
        """Raise ShapeError or DtypeError if source, operator and target do not fit each other."""
        operator, source, target = self.operator, self.source, self.target
        needed = (source.shape[0], operator.channels[1], *operator.output_sizes(self.sizes))
        if source.shape[1] != operator.channels[0] or len(self.sizes) != operator.ndim:
            raise ShapeError(
                f"{source.name} has shape {source.shape}, [N, C, *sizes]; {operator.name} needs {operator.channels[0]} "
                f"channels and {operator.ndim} spatial axes. Give an array of them"
            )
        if target.shape != needed:
            raise ShapeError(
                f"{target.name} has shape {target.shape}; {needed} is needed. Write an output of that shape"
            )
        for store, dtype in ((source, operator.dtype), (target, operator.result)):
            if store.dtype != dtype:
                raise DtypeError(f"{store.name} is of {store.dtype}; {operator.name} needs {dtype}. Convert it first")

    def tiles(self, stage: int) -> Iterator[Tile]:
        """Yield all tiles: image by image, in the order of their numbers."""
        assert self.tile is not None
        for image in range(self.target.shape[0]):
            for outputs in grid(self.output_sizes, self.tile):
                yield Tile(stage, image, outputs)

    def tiles_in_turn(self, stage: int) -> Iterator[Tile]:
        """Yield all tiles in the order in which they are computed."""
        assert self.tile is not None
        for image in range(self.target.shape[0]):
            for outputs in self._grid(self.output_sizes, self.tile):
                yield Tile(stage, image, outputs)

    @property
    def _grid(self) -> Callable[[Sizes, Sizes], Iterator[Region]]:
        """Order of computing: from the top down, if a tile then goes on from the rows of the one above it."""
        return grid_downward if getattr(self.operator, "goes_down", False) else grid

    @property
    def tile_count(self) -> int:
        """Number of tiles of all images."""
        assert self.tile is not None
        return self.target.shape[0] * tile_count(self.output_sizes, self.tile)

    def number(self, tile: Tile) -> int:
        """Return the number of a tile among those of all images."""
        assert self.tile is not None
        place = tile.image
        for span, size, step in zip(tile.outputs, self.output_sizes, self.tile, strict=True):
            place = place * -(-size // step) + span.start // step
        return place

    def tile_of(self, stage: int, number: int) -> Tile:
        """Return the tile with a number, the inverse of `number`."""
        assert self.tile is not None
        outputs: list[slice] = []
        for size, step in zip(reversed(self.output_sizes), reversed(self.tile), strict=True):
            number, place = divmod(number, -(-size // step))
            outputs.append(slice(place * step, min((place + 1) * step, size)))
        return Tile(stage, number, tuple(outputs[::-1]))

    def parts(self, tile: Tile) -> Iterator[Region]:
        """Yield what is computed at once: the outputs of the tile, or parts of them."""
        if self.part is None:
            yield tile.outputs
            return
        for region in self._grid(region_sizes(tile.outputs), self.part):
            yield placed(region, tile.outputs)

    def read(self, image: int, outputs: Region) -> TileWindow:
        """Return the inputs of a tile, or of a part of it. Raises FileError."""
        region = self.operator.window(outputs, self.sizes)
        make_room(self.source.read_bytes(region), self.bound)
        return TileWindow(outputs, region, self.source.read(image, region))

    def empty(self, outputs: Region) -> Array:
        """Return memory [C', *outputs] for outputs."""
        return empty((self.operator.channels[1], *region_sizes(outputs)), self.operator.result)

    def compute(self, image: int, window: TileWindow, out: Array) -> None:
        """Fill out [C', *outputs] from a window."""
        context = self.contexts.get(image)
        make_room(self.scratch, self.bound)
        self.operator.compute(window.x, window.region, self.sizes, window.outputs, out, context)

    def write(self, tile: Tile, out: Array) -> None:
        """Write the outputs of a tile. Raises FileError."""
        make_room(self.target.write_bytes(tile.outputs), self.bound)
        self.target.write(tile.image, tile.outputs, out)

    def compute_part(self, tile: Tile, window: TileWindow, out: Array) -> None:
        """Fill a part of out [C', *tile.outputs] from a window."""
        if window.outputs == tile.outputs:
            self.compute(tile.image, window, out)
            return
        part = self.empty(window.outputs)
        self.compute(tile.image, window, part)
        out[:, *within(window.outputs, tile.outputs)] = part


def checksum() -> Any:
    """Return a new xxh3-64, which arrays are added to by `add_values`."""
    import xxhash

    return xxhash.xxh3_64()


def add_values(digest: Any, values: Array) -> None:
    """Add the bytes of an array, in the order of its elements, to a checksum."""
    values = np.ascontiguousarray(values)
    digest.update(values.reshape(-1).view(np.uint8).data if values.size else b"")


def checksum_of(values: Array) -> int:
    """Return the xxh3-64 of the bytes of an array, in the order of its elements.

    >>> hex(checksum_of(np.arange(3, dtype=np.uint8)))
    '0x5f4299fc161c9cbb'
    """
    digest = checksum()
    add_values(digest, values)
    return int(digest.intdigest())


def window_checksum(stage: Stage, tile: Tile) -> int:
    """Return the checksum of the inputs of a tile, which are read."""
    digest = checksum()
    for outputs in stage.parts(tile):
        add_values(digest, stage.read(tile.image, outputs).x)
    return int(digest.intdigest())


def run_tile(stage: Stage, tile: Tile, *, sync: bool = True) -> TileRecord:
    """Read, compute and write one tile in this thread, and wait until it is on the disk. Raises FileError.

    The target must be open. A worker of another process runs this.
    """
    out, inputs = stage.empty(tile.outputs), checksum()
    for outputs in stage.parts(tile):
        window = stage.read(tile.image, outputs)
        add_values(inputs, window.x)
        stage.compute_part(tile, window, out)
        del window
    stage.write(tile, out)
    if sync:
        stage.target.sync(tile.image, tile.outputs)
    return TileRecord(tile, checksum_of(out), int(inputs.intdigest()))
