"""Shards of Zarr that are made without zarr: whole ones, of arrays whose codecs are known because we chose them.

A shard is the bytes of its chunks one after the other, and an index of their places at the end. zarr-python needs
several times the time of the memory's bandwidth to put them together; here chunks are copied once.

The format is that of the specification: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.kernels.num_threads import get_num_threads
from tconv.scale.regions import Sizes

_MISSING = (1 << 64) - 1
"""Place and size of a chunk that is not there: one that lies beyond the array."""
_MOST_BUFFERS = 512
"""Buffers of one call of the system."""
Encode = Callable[[Array], bytes | Array]
"""Bytes of a chunk, in the order of its elements, before their checksum."""


class ShardWriter:
    """Writer of the shards of one array.

    `chunks` and `shard` are sizes along all axes; `compressor` is that of numcodecs, or None. Chunks have a checksum
    (CRC-32C) behind them, and so has the index.
    """

    def __init__(self, chunks: Sizes, shard: Sizes, dtype: np.dtype[Any], compressor: Any = None) -> None:
        self._chunks, self._shard, self._dtype = chunks, shard, dtype.newbyteorder("<")
        self._compressor = compressor

    @classmethod
    def of(cls, created: dict[str, Any]) -> ShardWriter | None:
        """Return the writer for arguments of `zarr.create_array`; None if their codecs are not known here."""
        kinds = [type(each).__name__ for each in created["compressors"]]
        if created["shards"] is None or kinds not in (["Crc32cCodec"], ["BloscCodec", "Crc32cCodec"]):
            return None
        compressor = None
        if len(kinds) == 2:
            import numcodecs

            blosc = created["compressors"][0]
            shuffles = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
            name, shuffle = (getattr(each, "value", each) for each in (blosc.cname, blosc.shuffle))
            compressor = numcodecs.Blosc(name, blosc.clevel, shuffles[shuffle], blosc.blocksize)
        return cls(created["chunks"], created["shards"], np.dtype(created["dtype"]), compressor)

    def write(self, file: Path, values: Array) -> None:
        """Write a shard, whose values are fewer at the end of the array. Raises OSError; the old file stays then."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(
            f"{file.name}.{uuid.uuid4().hex}.partial"
        )  # a worker that was given up may write it too
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                _write_all(descriptor, self._buffers(values))
            finally:
                os.close(descriptor)
            os.replace(partial, file)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise

    def _buffers(self, values: Array) -> Iterator[Any]:
        """Yield the bytes of the chunks with their checksums, and of the index."""
        counts = [size // chunk for size, chunk in zip(self._shard, self._chunks, strict=True)]
        index = np.full((*counts, 2), _MISSING, "<u8")
        places = [
            place
            for place in itertools.product(*map(range, counts))
            if all(n * chunk < size for n, chunk, size in zip(place, self._chunks, values.shape, strict=True))
        ]
        start = 0
        for place, (chunk, checksum) in zip(places, self._encoded(values, places), strict=True):
            size = memoryview(chunk).nbytes + len(checksum)
            index[place] = start, size
            start += size
            yield chunk
            yield checksum
        yield index.tobytes()
        yield _checksum(index)

    def _encoded(self, values: Array, places: Sequence[Sizes]) -> Iterator[tuple[Any, bytes]]:
        """Yield each chunk and its checksum; compressed by as many threads as the kernel has."""
        if self._compressor is None:
            for place in places:
                yield self._encode(values, place)
            return
        with ThreadPoolExecutor(get_num_threads()) as pool:
            yield from pool.map(lambda place: self._encode(values, place), places)

    def _encode(self, values: Array, place: Sizes) -> tuple[Any, bytes]:
        spans = tuple(
            slice(n * chunk, min((n + 1) * chunk, size))
            for n, chunk, size in zip(place, self._chunks, values.shape, strict=True)
        )
        part = values[spans]
        if part.shape != self._chunks:  # at the end of the array: filled up with its fill value
            whole = np.zeros(self._chunks, self._dtype)
            whole[tuple(slice(0, size) for size in part.shape)] = part
            part = whole
        part = np.ascontiguousarray(part, self._dtype)
        data = part.reshape(-1).view(np.uint8) if self._compressor is None else self._compressor.encode(part)
        return data, _checksum(data)


def _checksum(data: Any) -> bytes:
    import google_crc32c

    flat = np.frombuffer(data, np.uint8)
    return int(google_crc32c.value(flat)).to_bytes(4, "little")


def _write_all(descriptor: int, buffers: Iterator[Any]) -> None:
    """Write buffers, many by one call."""
    while group := [memoryview(each).cast("B") for each in itertools.islice(buffers, _MOST_BUFFERS)]:
        while group:
            written = os.writev(descriptor, group)
            while group and written >= len(group[0]):
                written -= len(group.pop(0))
            if group:
                group[0] = group[0][written:]
