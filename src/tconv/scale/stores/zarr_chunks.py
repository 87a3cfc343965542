"""Sizes of chunks and shards of new arrays, and the parts of a window that are read or written at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from tconv.errors import ArgumentError
from tconv.scale.regions import Sizes

_CHUNK_EDGE = {1: 1 << 18, 2: 512, 3: 64}
"""Most elements of a chunk along each spatial axis, by their number."""
_CHUNK_BYTES = 1 << 22
_SHARD_EDGE = {1: 1 << 22, 2: 2048, 3: 256}
_SHARD_BYTES = 1 << 25
_AT_ONCE_BYTES = 1 << 24
"""Bytes of chunks that are read, or written without shards, by one call."""
CONCURRENCY = 10
"""Chunks that zarr works on at a time, unless its setting async.concurrency is less."""
ARENAS = 1 << 24
"""Bytes that zarr's threads keep of what they have freed."""


def chunk_and_shard(
    sizes: Sizes, element: int, chunks: Sizes | None, shards: Sizes | None
) -> tuple[Sizes, Sizes | None]:
    """Return the sizes along space of chunks, and of shards or None; `element` is the bytes of a place's channels.

    Without a choice, a chunk has 512 elements along each of two axes (64 of three), but at most 4 MiB, and a shard up
    to 2048 (256), but at most 32 MiB. Chunks alone are files of their own; shards alone get chunks that divide them.

    >>> chunk_and_shard((10000, 10000), 3, None, None)
    ((512, 512), (2048, 2048))
    >>> chunk_and_shard((300, 10000), 4 * 64, None, None)
    ((128, 128), (256, 256))
    """
    ndim = len(sizes)
    edge = _CHUNK_EDGE.get(ndim, 16)
    while edge > 16 and edge**ndim * element > _CHUNK_BYTES:
        edge //= 2
    if chunks is None and shards is not None:
        return tuple(_divisor(shard, edge) for shard in shards), shards
    if chunks is not None:
        if shards is None:
            return tuple(map(min, chunks, sizes)), None
        for chunk, shard in zip(chunks, shards, strict=True):
            if shard % chunk:
                raise ArgumentError(
                    f"shards={shards} is no multiple of chunks={chunks}; along each axis it must be. "
                    f"Write shards={tuple(-(-s // c) * c for c, s in zip(chunks, shards, strict=True))}"
                )
        return chunks, shards
    chunks = tuple(min(edge, size) for size in sizes)
    counts = [-(-size // chunk) for size, chunk in zip(sizes, chunks, strict=True)]
    most = max(_SHARD_EDGE.get(ndim, 64) // edge, 1)
    while most > 1 and math.prod(chunks) * most**ndim * element > _SHARD_BYTES:
        most //= 2
    shards = tuple(chunk * min(most, count) for chunk, count in zip(chunks, counts, strict=True))
    return chunks, None if shards == chunks else shards


def _divisor(whole: int, most: int) -> int:
    """Return the largest divisor of a number that is at most `most`; of one with none near it, the next larger one.

    >>> _divisor(1030, 512), _divisor(2053, 512)
    (206, 2053)
    """
    count = -(-whole // most)
    near = next((whole // n for n in range(count, 8 * count + 1) if whole % n == 0), None)
    return near or next(whole // n for n in range(count, 0, -1) if whole % n == 0)


def cells(selection: tuple[slice, ...], steps: Sizes, at_once: int) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of a selection that are read or written by one call: up to `at_once` blocks of sizes `steps`.

    >>> list(cells((slice(3, 9), slice(0, 20)), (8, 8), 2))
    [(slice(3, 8, None), slice(0, 16, None)), (slice(3, 8, None), slice(16, 20, None)), \
(slice(8, 9, None), slice(0, 16, None)), (slice(8, 9, None), slice(16, 20, None))]
    """
    lengths = []
    for span, step in zip(selection[::-1], steps[::-1], strict=True):
        count = max(1, min(at_once, -(-span.stop // step) - span.start // step))
        at_once //= count
        lengths.append(count * step)
    return itertools.product(*(_parts(*each) for each in zip(selection, lengths[::-1], steps, strict=True)))


def _parts(span: slice, length: int, step: int) -> list[slice]:
    first = span.start // step * step
    return [slice(max(start, span.start), min(start + length, span.stop)) for start in range(first, span.stop, length)]


def chunks_at_once(chunk_bytes: int, of_shards: bool) -> int:
    """Return how many chunks a call reads or writes, so that memory is bounded: one large one, or several small.

    Chunks that are files of their own are no more than those that zarr works on at a time.
    """
    return max(1, min(1 << 16 if of_shards else CONCURRENCY, _AT_ONCE_BYTES // max(chunk_bytes, 1)))
