"""Reader of FlatBuffers, which trusts no byte of them: every offset and length is checked against the file.

A table has a list of offsets of its fields; a field that the writer left out has offset 0 and its default.
Source: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError

_FREE = 1 << 20  # decoded elements that a small file may have
_MOST_TABLES = 2_000_000  # each becomes an object


class Memory:
    """Bytes of a file, and the number of elements that may still be decoded.

    Offsets may lead to one vector from everywhere, so that a file of megabytes could decode to terabytes. A regular
    file has fewer entries than bytes.
    """

    def __init__(self, data: Any) -> None:
        self.data, self.size = data, len(data)
        self._left, self._tables = self.size + _FREE, _MOST_TABLES

    def spend(self, count: int) -> None:
        """Count decoded elements. Raises FileError if they are more than the file can have."""
        self._left -= count
        if self._left < 0:
            raise FileError("it has more entries than bytes, so its offsets lead to the same places again and again")

    def spend_table(self) -> None:
        """Count a table. Raises FileError if they are far more than any model has."""
        self.spend(1)
        self._tables -= 1
        if self._tables < 0:
            raise FileError(f"it has more than {_MOST_TABLES} tables")

    def number(self, kind: str, at: int) -> Any:
        """Return one number; `kind` is a code of `struct`. Raises FileError for a place outside the file."""
        self.check(at, struct.calcsize(kind))
        return struct.unpack_from(f"<{kind}", self.data, at)[0]

    def check(self, at: int, size: int) -> None:
        """Raise FileError if these bytes are not all in the file."""
        if at < 0 or size < 0 or at + size > self.size:
            raise FileError(f"it points to {size} bytes at {at}, and has {self.size}; it is cut off or damaged")

    def view(self, at: int, size: int) -> memoryview:
        """Return bytes of the file without a copy."""
        self.check(at, size)
        return memoryview(self.data)[at : at + size]

    def root(self) -> Table:
        """Return the table that contains all others."""
        return Table(self, self.number("I", 0))


class Table:
    """A table; fields are known by their numbers in the schema."""

    def __init__(self, memory: Memory, at: int) -> None:
        memory.spend_table()
        self._memory, self._at = memory, at
        self._fields = at - memory.number("i", at)
        length = memory.number("H", self._fields)
        memory.check(self._fields, length)
        self._count = max(0, (length - 4) // 2)

    def _place(self, field: int) -> int:
        """Return the place of a field; 0 if it has its default."""
        if field >= self._count:
            return 0
        offset = self._memory.number("H", self._fields + 4 + 2 * field)
        return self._at + offset if offset else 0

    def number(self, field: int, kind: str, usual: Any = 0) -> Any:
        """Return a number, or its default; `kind` is a code of `struct`."""
        place = self._place(field)
        return self._memory.number(kind, place) if place else usual

    def _target(self, field: int) -> int:
        """Return the place that a field's offset leads to; 0 without the field."""
        place = self._place(field)
        return place + int(self._memory.number("I", place)) if place else 0

    def table(self, field: int) -> Table | None:
        """Return a table; None without one."""
        place = self._target(field)
        return Table(self._memory, place) if place else None

    def _vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """Return the place of a vector's first element, and its length, whose bytes are all in the file."""
        place = self._target(field)
        if not place:
            return 0, 0
        count = int(self._memory.number("I", place))
        self._memory.check(place + 4, count * itemsize)
        return place + 4, count

    def bytes(self, field: int) -> memoryview:
        """Return the bytes of a vector without a copy."""
        return self._memory.view(*self._vector(field, 1))

    def place(self, field: int) -> int:
        """Return the place of a vector's first element in the file."""
        return self._vector(field, 1)[0]

    def text(self, field: int) -> str:
        """Return a text, "" without one. Bytes that are not valid UTF-8 are replaced."""
        found = self.bytes(field)
        self._memory.spend(len(found))
        return bytes(found).decode("utf-8", "replace")

    def numbers(self, field: int, dtype: str) -> Array:
        """Return a vector of numbers."""
        at, count = self._vector(field, np.dtype(dtype).itemsize)
        self._memory.spend(count)
        return np.frombuffer(self._memory.data, dtype, count, at) if count else np.zeros(0, dtype)

    def integers(self, field: int) -> tuple[int, ...]:
        """Return a vector of 32-bit integers."""
        return tuple(int(each) for each in self.numbers(field, "<i4"))

    def tables(self, field: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        at, count = self._vector(field, 4)
        self._memory.spend(count)
        for place in range(at, at + 4 * count, 4):
            yield Table(self._memory, place + int(self._memory.number("I", place)))


def mapped(path: Path) -> Any:
    """Return the bytes of a file as a map of memory, of which only what is read is loaded. Raises FileError."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise FileError(f"{path} is empty. Write the name of a model") from None
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
