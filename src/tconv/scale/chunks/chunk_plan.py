"""Plan of all chunks of one lazy array: what the tasks of its graph share. The graph and each worker have it once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import DtypeError
from tconv.scale.chunks.axis_chunks import AxisChunks
from tconv.scale.chunks.image_axes import ImageAxes
from tconv.scale.chunks.shared_object import Shared
from tconv.scale.chunks.thread_share import thread_team
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.regions import Region, Sizes, region_sizes
from tconv.scale.stores.store import ImageSource

_CONTEXT_MEMORY = 1 << 28
"""Bytes for the pass over a whole image, of the operators that need one."""
Index = tuple[int, ...]
"""Numbers of a chunk: along the axes that count images, then along the spatial ones."""


@dataclass
class ChunkPlan:
    """Chunks of input and output, the operator, and the store that is read, if the input is one."""

    shared: Shared
    """the operator"""
    axes: ImageAxes
    images: tuple[tuple[int, ...], ...]
    """Borders of the chunks along the axes that count images."""
    spatial: tuple[AxisChunks, ...]
    sizes: Sizes
    """of an input image"""
    dtype: np.dtype[Any]
    """of the input"""
    source: ImageSource | None = None
    """store that is read; None for chunks of a lazy array"""
    has_contexts: bool = False
    """True for an operator that reads whole images before it computes parts of them"""
    _worn: dict[Index, bool] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for other processes."""
        return {**vars(self), "_worn": {}}

    @property
    def operator(self) -> TileOperator:
        """Return the operator."""
        operator: TileOperator = self.shared.value
        return operator

    @property
    def counts(self) -> Index:
        """Return the number of output chunks along each axis: of images, then spatial."""
        return (*(len(borders) - 1 for borders in self.images), *(axis.count for axis in self.spatial))

    @property
    def input_counts(self) -> Index:
        """Return the number of input chunks along each axis: of images, then spatial."""
        return (*(len(borders) - 1 for borders in self.images), *(len(axis.inputs) - 1 for axis in self.spatial))

    def index(self, number: int) -> Index:
        """Return the numbers along the axes of the output chunk with this number in C order."""
        return tuple(map(int, np.unravel_index(number, self.counts)))

    def outputs(self, index: Index) -> Region:
        """Return the outputs of a chunk."""
        chunks = index[len(self.images) :]
        return tuple(axis.output(chunk) for axis, chunk in zip(self.spatial, chunks, strict=True))

    def window(self, index: Index) -> Region:
        """Return the inputs that a chunk reads."""
        chunks = index[len(self.images) :]
        return tuple(axis.windows[chunk] for axis, chunk in zip(self.spatial, chunks, strict=True))

    def image_counts(self, index: Index) -> tuple[int, ...]:
        """Return the numbers of images of a chunk along their axes."""
        counts = zip(self.images, index[: len(self.images)], strict=True)
        return tuple(borders[chunk + 1] - borders[chunk] for borders, chunk in counts)

    def image_numbers(self, index: Index) -> list[int]:
        """Return the numbers of the images of a chunk, in C order of all of them."""
        totals = [borders[-1] for borders in self.images]
        ranges = [
            range(borders[chunk], borders[chunk + 1])
            for borders, chunk in zip(self.images, index[: len(self.images)], strict=True)
        ]
        steps = [math.prod(totals[axis + 1 :]) for axis in range(len(totals))]
        return [sum(map(int.__mul__, numbers, steps)) for numbers in product(*ranges)]

    @property
    def out_axes(self) -> ImageAxes:
        """Return the axes of the output."""
        return self.axes.with_channels(self.operator.channels[1])

    # -- parts of windows ----------------------------------------------------------------------------------------

    def parts(self, index: Index) -> Iterator[tuple[bool, Region, Region]]:
        """Yield the parts of a chunk's window: direct or not, span inside of its input chunk, place in the window.

        A direct part is read from the chunk itself; the others from the strips that its task of borders has cut.
        """
        chunks = index[len(self.images) :]
        along = product(*(axis.parts[chunk] for axis, chunk in zip(self.spatial, chunks, strict=True)))
        for (_, direct), parts in zip(self.part_sources(chunks), along, strict=True):
            yield direct, tuple(part[1] for part in parts), tuple(part[2] for part in parts)

    def part_sources(self, chunks: Index) -> Iterator[tuple[Index, bool]]:
        """Yield the spatial input chunks of a spatial output chunk's window, and True for those read directly."""
        along = [axis.sources[chunk] for axis, chunk in zip(self.spatial, chunks, strict=True)]
        for of, most in zip(product(*(each[0] for each in along)), product(*(each[1] for each in along)), strict=True):
            yield of, all(most) or self._is_worn(of)

    def _is_worn(self, chunk: Index) -> bool:
        """Return True for an input chunk of which strips would save nothing: all together are half of it, or more."""
        worn = self._worn.get(chunk)
        if worn is None:
            shares = [axis.shares[number] for axis, number in zip(self.spatial, chunk, strict=True)]
            strips = math.prod([share[0] for share in shares]) - math.prod([share[1] for share in shares])
            worn = self._worn[chunk] = strips > 0.5
        return worn

    def strips(self, chunk: Index) -> Iterator[tuple[Index, Region]]:
        """Yield the spatial output chunks that read strips of an input chunk, and these strips inside of it."""
        if self._is_worn(chunk):
            return
        for readers in product(*(axis.readers[number] for axis, number in zip(self.spatial, chunk, strict=True))):
            if not all(most for _, _, most in readers):
                yield tuple(output for output, _, _ in readers), tuple(span for _, span, _ in readers)

    def checked(self, chunk: Any) -> Array:
        """Return an input chunk as [N, C, *sizes]. Raises DtypeError if it is not what the lazy array announced."""
        if not isinstance(chunk, np.ndarray) or chunk.dtype != self.dtype:
            given = f"{type(chunk).__module__}.{type(chunk).__name__} of {getattr(chunk, 'dtype', 'no dtype')}"
            raise DtypeError(
                f"a chunk is a {given}; the lazy array states NumPy arrays of {self.dtype}. Write "
                f"array.map_blocks(np.asarray).astype({self.dtype.name!r}), with the dtype that its chunks have"
            )
        return self.axes.canonical(chunk)

    # -- work of tasks -------------------------------------------------------------------------------------------

    def computed(self, index: Index, x: Array) -> Array:
        """Return an output chunk in the order of its axes, from the values [N, C, *window] of its window."""
        return self._computed(index, lambda place, image: x[place])

    def computed_from_source(self, index: Index, contexts: Sequence[Any] = ()) -> Array:
        """Return an output chunk in the order of its axes, from windows that are read from the store.

        There is one context for each image of the chunk, or none.
        """
        source, window = self.source, self.window(index)
        assert source is not None
        return self._computed(index, lambda place, image: source.read(image, window), contexts)

    def _computed(self, index: Index, values: Callable[[int, int], Array], contexts: Sequence[Any] = ()) -> Array:
        """Return an output chunk from a function of the place and the number of an image."""
        operator, window, outputs = self.operator, self.window(index), self.outputs(index)
        images = self.image_numbers(index)
        out = empty((len(images), operator.channels[1], *region_sizes(outputs)), operator.result)
        for place, image in enumerate(images):
            x = np.ascontiguousarray(values(place, image), operator.dtype)
            context = contexts[place] if contexts else None
            with thread_team():
                operator.compute(x, window, self.sizes, outputs, out[place], context)
        return self.out_axes.native(out, self.image_counts(index))

    def context(self, image: int) -> Any:
        """Return what the operator needs of a whole image of the store."""
        source = self.source
        assert source is not None
        with thread_team():
            return self.operator.prepare(lambda region: source.read(image, region), self.sizes, _CONTEXT_MEMORY)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return what Dask names tasks by."""
        return "tconv", self.shared.fingerprint, self.axes, self.images, self.sizes, str(self.dtype), self.spatial
