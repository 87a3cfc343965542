"""Reader of TensorFlow's checkpoints: variables.index, a sorted table of keys, and the numbers in .data files.

Tables are those of LevelDB: blocks of keys that share their beginnings, and a block that says where the blocks are.
Sources: tensorflow/core/util/tensor_bundle and https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.readers.number_types import from_bfloat16
from tconv.models.readers.protobuf import Message, varint

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    19: "float16",
    20: "resource",
    22: "uint32",
    23: "uint64",
}
"""Names of TensorFlow's types by number."""
_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER, _TRAILER = 48, 5
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MOST = 1 << 20


class Entry(NamedTuple):
    """One tensor of a checkpoint."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    sliced: bool


class Checkpoint:
    """Tensors by their keys. `prefix` is the path without ".index"."""

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        data = memoryview(prefix.with_name(prefix.name + ".index").read_bytes())
        self.entries: dict[str, Entry] = {}
        self._shards = 1
        for key, value in _table(data):
            message = Message(value)
            if not key:
                self._shards = message.integer(1, 1)
                if message.integer(2):
                    raise FileError("its checkpoint is that of a machine with the largest byte first")
                continue
            self.entries[key.decode("utf-8", "replace")] = _entry(message)
            if len(self.entries) > _MOST:
                raise FileError("its checkpoint has too many tensors")

    def read(self, key: str) -> Array:
        """Return the numbers of a tensor; bfloat16 as float32. Raises FileError."""
        entry = self.entries[key]
        if entry.sliced:
            raise FileError(f"{key} is stored in slices, which are not read")
        if entry.dtype in ("string", "resource") or entry.dtype.startswith("type"):
            raise FileError(f"{key} has the type {entry.dtype}; numbers are needed")
        return array_of(self._bytes(entry, key), entry.dtype, entry.shape, key)

    def objects(self) -> Message | None:
        """Return the graph of the objects that have the tensors; None if there is none."""
        entry = self.entries.get(_OBJECTS)
        if entry is None:
            return None
        data = memoryview(self._bytes(entry, _OBJECTS))
        size, at = varint(data, 0)
        if at + 4 + size > len(data):
            raise FileError("the objects of its checkpoint are cut off")
        return Message(data[at + 4 : at + 4 + size])

    def _bytes(self, entry: Entry, key: str) -> bytes:
        path = self._prefix.with_name(f"{self._prefix.name}.data-{entry.shard:05d}-of-{self._shards:05d}")
        size = path.stat().st_size
        if min(entry.offset, entry.size) < 0 or entry.offset + entry.size > size:
            raise FileError(f"{key} needs bytes {entry.offset} to {entry.offset + entry.size} of {size} in {path.name}")
        with path.open("rb") as file:
            file.seek(entry.offset)
            return file.read(entry.size)


def array_of(data: bytes | memoryview, dtype: str, shape: tuple[int, ...], name: str) -> Array:
    """Return an array of these bytes; bfloat16 as float32. Raises FileError for another number of bytes."""
    kind = np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")
    count = math.prod(shape)
    if len(data) != count * kind.itemsize:
        raise FileError(f"{name} has {len(data)} bytes; {count * kind.itemsize} are needed for {shape} {dtype}")
    stored = np.frombuffer(data, kind, count).reshape(shape)
    return from_bfloat16(stored) if dtype == "bfloat16" else stored


def _entry(message: Message) -> Entry:
    shape = shape_of(message.message(2)) or ()
    if any(size < 0 for size in shape) or len(shape) > 16:
        raise FileError(f"its checkpoint has a tensor of shape {shape[:17]}")
    number = message.integer(1)
    shard, offset, size = (message.integer(field) for field in (3, 4, 5))
    return Entry(DTYPES.get(number, f"type {number}"), shape, shard, offset, size, 7 in message)


def shape_of(message: Message) -> tuple[int, ...] | None:
    """Return the sizes of a TensorShapeProto, -1 for those that vary; None for an unknown rank."""
    if message.integer(3):
        return None
    return tuple(dim.integer(1) for dim in message.messages(2))


def _table(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield keys and values of a sorted table."""
    if len(data) < _FOOTER or bytes(data[-8:]) != _MAGIC:
        raise FileError("its checkpoint's index is damaged or cut off")
    footer = data[-_FOOTER:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    for _, value in _block(data, *index):
        place, _ = _handle(value, 0)
        yield from _block(data, *place)


def _handle(data: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: memoryview, offset: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    if offset + size + _TRAILER > len(data) or size < 4:
        raise FileError("its checkpoint's index is damaged or cut off")
    if data[offset + size]:
        raise FileError("its checkpoint's index is compressed, which is not read")
    block = data[offset : offset + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + own + length > end or own + shared > _MOST:
            raise FileError("its checkpoint's index is damaged")
        key = key[:shared] + bytes(block[at : at + own])
        at += own
        yield key, block[at : at + length]
        at += length
