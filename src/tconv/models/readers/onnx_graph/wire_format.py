"""ONNX files without the numbers of their tensors: bytes of protobuf that have the places of the numbers instead.

A file of gigabytes so becomes kilobytes before anything is parsed, and its tensors are read as those in other files
are: mapped into memory. Nodes and fields are counted on the way, because a few bytes can ask for many objects.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

from tconv.errors import FileError

OWN_FILE = "\0this file"
"""Location of a tensor's numbers that stay in the model's own file; no file has a name with a null."""
_LEAST_BYTES = 1024
"""Fewest bytes of numbers that are left out, and of a part of the file that is searched for them."""
_UNCOUNTED_BYTES = 8 << 20
"""Most bytes of a graph without its numbers whose fields are not counted."""
_MOST_FIELDS = 4_000_000
_MOST_DEPTH = 100
"""Most messages inside of each other, as in protobuf."""

_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "other", 14: "other", 20: "training", 25: "function", 26: "other"},
    "training": {1: "graph", 2: "graph", 3: "other", 4: "other"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "other", 15: "sparse", 16: "other"},
    "function": {7: "node", 9: "other", 11: "attribute", 12: "value", 14: "other"},
    "node": {1: "text", 2: "text", 5: "attribute", 9: "other", 10: "other"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        14: "other",
        15: "other",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 4: "other"},
    "type": {1: "type", 4: "type", 5: "type", 8: "type", 9: "type", 2: "type"},
}
"""Messages of onnx.proto by the numbers of their fields: those that have tensors inside, and those that can be many."""
_DATA_TYPE, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 9, 13, 14
_NUMBERS = {_RAW_DATA: None, 4: 1, 10: 11}
"""Fields of a tensor with its numbers as they are in memory, and the one type for which they are: float32, float64."""


class _Field(NamedTuple):
    number: int
    kind: int
    start: int
    """Place of its number."""
    first: int
    """Place of its content."""
    end: int


def without_data(path: Path, most_nodes: int) -> bytes:
    """Return the model in a file with the places of its tensors' numbers.

    Raises FileError for a file that is too large, ValueError for one that is no protobuf.
    """
    size = path.stat().st_size
    if not size:
        raise FileError("it is empty")
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        scan = _Scan(data, most_nodes, _LEAST_BYTES)
        changed = scan.rewritten("model", 0, size, 0)
        pieces = [data[:]] if changed is None else changed
        slim = b"".join(pieces)
        if len(slim) > _UNCOUNTED_BYTES:
            _Scan(slim, most_nodes, 0).rewritten("model", 0, len(slim), 0)
    return slim


class _Scan:
    """Walk over the messages of a file."""

    def __init__(self, data: mmap.mmap | bytes, most_nodes: int, least: int) -> None:
        self._data, self._most_nodes, self._least = data, most_nodes, least
        self._nodes = self._fields = 0

    def rewritten(self, kind: str, start: int, end: int, depth: int) -> list[bytes] | None:
        """Return the pieces of a message without its tensors' numbers; None if it stays as it is."""
        if depth > _MOST_DEPTH:
            raise FileError(f"its graphs are nested more than {_MOST_DEPTH} messages deep")
        if kind == "tensor" and self._least:
            return self._without_numbers(start, end)
        pieces: list[bytes] = []
        parts, copied, at = _PARTS.get(kind, {}), start, start
        while at < end:
            field = self._field(at, end)
            at = field.end
            self._count(kind, field.number)
            part = parts.get(field.number)
            if part is None or field.kind != 2 or part in ("text", "other"):
                continue
            if field.end - field.first < self._least:
                continue
            inner = self.rewritten(part, field.first, field.end, depth + 1)
            if inner is not None:
                pieces += [self._data[copied : field.start], _tag(field.number), _varint(sum(map(len, inner))), *inner]
                copied = field.end
        return [*pieces, self._data[copied:end]] if pieces else None

    def _count(self, kind: str, number: int) -> None:
        self._fields += 1
        if (kind, number) in (("graph", 1), ("function", 7)):
            self._nodes += 1
            if self._nodes > self._most_nodes:
                raise FileError(
                    f"it has more than {self._most_nodes} nodes, the most that are read. Write a part of the model"
                )
        if self._fields > _MOST_FIELDS:
            raise FileError(f"it has more than {_MOST_FIELDS} fields besides its tensors, the most that are read")

    def _without_numbers(self, start: int, end: int) -> list[bytes] | None:
        found: list[_Field] = []
        dtype, at = 0, start
        while at < end:
            field = self._field(at, end)
            at = field.end
            if field.number in (_EXTERNAL_DATA, _DATA_LOCATION):
                return None
            if field.number == _DATA_TYPE and field.kind == 0:
                dtype, _ = self._number(field.first, field.end)
            elif field.number in _NUMBERS:
                if found:  # one field for each number
                    return None
                found.append(field)
            self._count("tensor", field.number)
        if len(found) != 1 or found[0].kind != 2 or found[0].end - found[0].first < self._least:
            return None
        (field,) = found
        if _NUMBERS[field.number] not in (None, dtype):
            return None
        entries = {"location": OWN_FILE, "offset": str(field.first), "length": str(field.end - field.first)}
        places = [
            _message(_EXTERNAL_DATA, _message(1, key.encode()) + _message(2, value.encode()))
            for key, value in entries.items()
        ]
        external = _varint(_DATA_LOCATION << 3) + _varint(1)
        return [self._data[start : field.start], self._data[field.end : end], *places, external]

    def _field(self, at: int, end: int) -> _Field:
        """Return the field that begins here. Raises ValueError for one that is cut off, or of no known kind."""
        start = at
        tag, at = self._number(at, end)
        kind = tag & 7
        first = at
        if kind == 0:
            _, at = self._number(at, end)
        elif kind == 2:
            length, first = self._number(at, end)
            at = first + length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("it has a field of no known kind")
        if at > end or tag >> 3 == 0:
            raise ValueError("a part of it is longer than what is there")
        return _Field(tag >> 3, kind, start, first, at)

    def _number(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            if at >= end or shift > 63:
                raise ValueError("a number in it has no end")
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def _tag(number: int) -> bytes:
    return _varint(number << 3 | 2)


def _message(number: int, content: bytes) -> bytes:
    return _tag(number) + _varint(len(content)) + content
