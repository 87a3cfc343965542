"""Reader of protobuf messages without their classes: fields by number, decoded when they are asked for.

Large fields stay views of the file. Every length is checked, so that no message decodes to more than its bytes.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError

_MOST_FIELDS = 6_000_000  # of a file, those that are decoded twice counted so; each needs about 200 bytes
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: "<Q", _FIXED32: "<I"}


class FieldCount:
    """Number of fields that may still be decoded, of a message and those within it."""

    def __init__(self) -> None:
        self._left = _MOST_FIELDS

    def spend(self) -> None:
        """Count a field. Raises FileError if they are too many."""
        self._left -= 1
        if self._left < 0:
            raise FileError(f"it has more than {_MOST_FIELDS} fields")


class Message:
    """Fields of a message, each a list of its occurrences: integers, or bytes of texts, messages and packed numbers."""

    def __init__(self, data: memoryview, left: FieldCount | None = None) -> None:
        self._fields: dict[int, list[int | memoryview]] = {}
        self._left = FieldCount() if left is None else left
        at, end = 0, len(data)
        while at < end:
            tag, at = varint(data, at)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, at = varint(data, at)
                self._fields.setdefault(number, []).append(value)
            elif kind == _BYTES:
                size, at = varint(data, at)
                if size > end - at:
                    raise FileError("a message in it is cut off")
                self._fields.setdefault(number, []).append(data[at : at + size])
                at += size
            elif kind in _FIXED:
                size = struct.calcsize(_FIXED[kind])
                if size > end - at:
                    raise FileError("a number in it is cut off")
                self._fields.setdefault(number, []).append(struct.unpack_from(_FIXED[kind], data, at)[0])
                at += size
            else:
                raise FileError(f"it has a field of the kind {kind}, which protobuf does not have")
            if not number:
                raise FileError("it has a field 0")
            self._left.spend()

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def integer(self, number: int, usual: int = 0) -> int:
        """Return an integer with its sign."""
        found = self._fields.get(number, [usual])[-1]
        if not isinstance(found, int):
            raise FileError(f"its field {number} is no number")
        return found - (1 << 64) if found >> 63 else found

    def bytes(self, number: int) -> memoryview:
        """Return bytes; empty without the field."""
        found = self._fields.get(number, [memoryview(b"")])[-1]
        if isinstance(found, int):
            raise FileError(f"its field {number} is a number")
        return found

    def text(self, number: int) -> str:
        """Return a text, "" without the field."""
        return bytes(self.bytes(number)).decode("utf-8", "replace")

    def message(self, number: int) -> Message:
        """Return a message; one without fields if there is none."""
        return Message(self.bytes(number), self._left)

    def all_bytes(self, number: int) -> Iterator[memoryview]:
        """Yield all occurrences of a field."""
        for found in self._fields.get(number, []):
            if isinstance(found, int):
                raise FileError(f"its field {number} is a number")
            yield found

    def messages(self, number: int) -> Iterator[Message]:
        """Yield all messages of a field."""
        return (Message(each, self._left) for each in self.all_bytes(number))

    def texts(self, number: int) -> list[str]:
        """Return all texts of a field."""
        return [bytes(each).decode("utf-8", "replace") for each in self.all_bytes(number)]

    def entries(self, number: int) -> Iterator[tuple[str, Message]]:
        """Yield the entries of a map from texts to messages."""
        for entry in self.messages(number):
            yield entry.text(1), entry.message(2)

    def integers(self, number: int) -> list[int]:
        """Return all integers of a field, packed ones too."""
        found: list[int] = []
        for each in self._fields.get(number, []):
            if isinstance(each, int):
                found.append(each)
                continue
            at = 0
            while at < len(each):
                value, at = varint(each, at)
                found.append(value)
                self._left.spend()
        return [value - (1 << 64) if value >> 63 else value for value in found]

    def packed(self, number: int, dtype: str) -> Array:
        """Return all numbers of a fixed size, packed ones too."""
        kind = np.dtype(dtype)
        pieces = [
            each if not isinstance(each, int) else each.to_bytes(kind.itemsize, "little")
            for each in self._fields.get(number, [])
        ]
        data = b"".join(pieces)
        return np.frombuffer(data, kind, len(data) // kind.itemsize)


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return an integer of 7 bits per byte, and the place behind it. Raises FileError if it is cut off."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise FileError("a number in it is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << 64) - 1), at
        shift += 7
