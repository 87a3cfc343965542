"""Directories of TIFF: tags by their numbers, as they lie in TIFF and BigTIFF files and in EXIF blocks.

Reader and writer of the tags alone; what the tags mean is known to the modules that use them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by the number of its type."""

_NUMPY = {1: "u1", 3: "<u2", 4: "<u4", 6: "i1", 8: "<i2", 9: "<i4", 11: "<f4", 12: "<f8", 13: "<u4"}
_NUMPY |= {16: "<u8", 17: "<i8", 18: "<u8"}
"""NumPy's names of the types of plain numbers."""

ASCII, SHORT, LONG, RATIONAL, DOUBLE, UNDEFINED, LONG8 = 2, 3, 4, 5, 12, 7, 16
_RATIONALS = (RATIONAL, 10)

_IPTC = 33723
"""Bytes that many writers call numbers of 4 bytes."""

_MOST_TAGS = 4096
_CLASSIC_END = 2**32 - 2**20
"""Length of a file from which offsets need 8 bytes."""


class DirectoryError(ValueError):
    """A directory that breaks off or states nonsense."""


class Tag(NamedTuple):
    """Values of one tag: number of the type, number of the values, and their bytes with the lightest byte first."""

    kind: int
    size: int
    raw: bytes

    @classmethod
    def of(cls, kind: int, values: Iterable[float]) -> Tag:
        r"""Return a tag of plain numbers.

        >>> Tag.of(SHORT, [1, 2])
        Tag(kind=3, size=2, raw=b'\x01\x00\x02\x00')
        """
        numbers = list(values)
        return cls(kind, len(numbers), np.array(numbers, _NUMPY[kind]).tobytes())

    @classmethod
    def text(cls, text: str | bytes) -> Tag:
        """Return a tag of text, which ends in a zero byte."""
        raw = (text.encode() if isinstance(text, str) else text).rstrip(b"\0") + b"\0"
        return cls(ASCII, len(raw), raw)

    def numbers(self) -> tuple[float, ...]:
        """Return plain numbers and fractions as numbers, in Python's types; nothing for text and bytes."""
        if self.kind in _RATIONALS:
            pairs = np.frombuffer(self.raw, "<u4" if self.kind == RATIONAL else "<i4").reshape(-1, 2).tolist()
            return tuple(over / under if under else 0.0 for over, under in pairs)
        name = _NUMPY.get(self.kind)
        return () if name is None else tuple(np.frombuffer(self.raw, name).tolist())

    def integers(self) -> tuple[int, ...]:
        """Return whole numbers; nothing for other types."""
        name = _NUMPY.get(self.kind, "f")
        return () if "f" in name else tuple(np.frombuffer(self.raw, name).tolist())

    def string(self) -> str:
        """Return text up to its first zero byte."""
        return self.raw.partition(b"\0")[0].decode("utf-8", "replace")


class Header(NamedTuple):
    """Byte order ("<" or ">") and kind of a file, and the place of its first directory."""

    order: str
    big: bool
    first: int


def read_header(data: bytes) -> Header:
    """Return the header of a TIFF or BigTIFF file, or of an EXIF block. Raises DirectoryError for other content."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise DirectoryError("it has no TIFF header")
    (version,) = struct.unpack(order + "H", data[2:4])
    if version == 42:
        return Header(order, False, struct.unpack(order + "I", data[4:8])[0])
    if version == 43 and len(data) >= 16:
        return Header(order, True, struct.unpack(order + "Q", data[8:16])[0])
    raise DirectoryError("it has no TIFF header")


def read_directory(
    data: bytes, header: Header, place: int, broken: list[int] | None = None
) -> tuple[dict[int, Tag], int]:
    """Return the tags of the directory at a place in the file, and the place of the next one, 0 for the last.

    Tags of unknown types are left out, and those whose values lie outside the file, whose numbers `broken` collects.
    Raises DirectoryError where the directory itself breaks off.
    """
    order, big = header.order, header.big
    count_format, entry_format, word = (order + "Q", order + "HHQ", 8) if big else (order + "H", order + "HHI", 4)
    start = place + struct.calcsize(count_format)
    if place < 8 or start > len(data):
        raise DirectoryError("a directory lies outside the file")
    (count,) = struct.unpack(count_format, data[place:start])
    size = struct.calcsize(entry_format) + word
    end = start + count * size
    if count > _MOST_TAGS or end > len(data):
        raise DirectoryError("a directory breaks off")
    tags: dict[int, Tag] = {}
    for at in range(start, end, size):
        code, kind, values = struct.unpack(entry_format, data[at : at + size - word])
        if kind not in _SIZES or code in tags:
            continue
        length = values * _SIZES[kind]
        offset = at + size - word
        if length > word:
            (offset,) = struct.unpack(order + ("Q" if big else "I"), data[offset : offset + word])
        if offset + length > len(data):
            if broken is not None:
                broken.append(code)
            continue
        raw = data[offset : offset + length]
        tags[code] = Tag(kind, values, raw if code == _IPTC else _little(raw, kind, order))
    following = data[end : end + word]
    return tags, int.from_bytes(following, "little" if order == "<" else "big")


def read_chain(data: bytes, broken: list[int] | None = None) -> list[dict[int, Tag]]:
    """Return all directories of a file in their order. Raises DirectoryError if the first cannot be read.

    `broken` as in `read_directory`, for the first. The chain ends at a directory that breaks off, and at one that was
    there before.
    """
    header = read_header(data)
    tags, following = read_directory(data, header, header.first, broken)
    chain, seen = [tags], {header.first}
    while following and following not in seen:
        seen.add(following)
        try:
            tags, following = read_directory(data, header, following)
        except DirectoryError:
            break
        chain.append(tags)
    return chain


def _little(raw: bytes, kind: int, order: str) -> bytes:
    size = 4 if kind in _RATIONALS else _SIZES[kind]
    if order == "<" or size == 1:
        return raw
    return np.frombuffer(raw, f">u{size}").astype(f"<u{size}").tobytes()


def head(first: int, big: bool) -> bytes:
    """Return the first bytes of a file, with the place of its first directory."""
    return b"II" + (struct.pack("<HHHQ", 43, 8, 0, first) if big else struct.pack("<HI", 42, first))


def needs_big(length: int) -> bool:
    """Return True if offsets in a file of this length need 8 bytes."""
    return length > _CLASSIC_END


def directory(tags: Mapping[int, Tag], place: int, big: bool = False, last: bool = True) -> bytes:
    """Return the bytes of a directory at a place in the file; the next one follows it unless it is the last."""
    word = "<Q" if big else "<I"
    inside = struct.calcsize(word)
    count = struct.pack("<Q" if big else "<H", len(tags))
    behind = place + len(count) + len(tags) * (4 + 2 * inside) + inside
    entries, arrays = [], []
    for code, tag in sorted(tags.items()):
        value = tag.raw.ljust(inside, b"\0")
        if len(tag.raw) > inside:
            value = struct.pack(word, behind)
            arrays.append(tag.raw + b"\0" * (len(tag.raw) % 2))
            behind += len(arrays[-1])
        entries.append(struct.pack("<HH", code, tag.kind) + struct.pack(word, tag.size) + value)
    return b"".join([count, *entries, struct.pack(word, 0 if last else behind), *arrays])
