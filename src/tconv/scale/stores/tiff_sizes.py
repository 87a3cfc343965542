"""Sizes that a compressed tile states of itself, compared with those of its page before anything is allocated."""

from __future__ import annotations

import struct

from tconv.errors import FileError

_JPEG, _JPEG2000, _PNG, _WEBP = (6, 7, 33007, 34892), (33003, 33004, 33005, 34712), (34933,), (50001, 34927)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers that begin a frame."""
_END = b"\xff\xd9"
"""JPEG's last marker, which coded pixels never contain."""


def check_stated(data: bytes, compression: int, tile: tuple[int, int]) -> None:
    """Raise FileError if a tile states more rows or columns than `tile`, or is a JPEG without its end.

    Decoders fill what is missing of a JPEG with grey, and say nothing. Of compressions of bytes nothing is checked.
    """
    stated = stated_sizes(data, compression)
    if stated is not None and (stated[0] > tile[0] or stated[1] > tile[1]):
        raise FileError(f"it states {stated[1]} x {stated[0]} pixels, and its page tiles of {tile[1]} x {tile[0]}")
    if compression in _JPEG and _END not in data:
        raise FileError("its JPEG ends too early")


def stated_sizes(data: bytes, compression: int) -> tuple[int, int] | None:
    r"""Return rows and columns that a JPEG, JPEG 2000, PNG or WebP states; None for others, and where none are found.

    >>> stated_sizes(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes([0, 0, 0, 7, 0, 0, 0, 5]), 34933)
    (5, 7)
    """
    try:
        if compression in _JPEG:
            return _jpeg(data)
        if compression in _JPEG2000:
            at = data.index(b"\xff\x4f\xff\x51", 0, 4096) + 8
            right, bottom, left, top = struct.unpack(">4I", data[at : at + 16])
            return bottom - top, right - left
        if compression in _PNG:
            columns, rows = struct.unpack(">2I", data[16:24])
            return rows, columns
        if compression in _WEBP:
            return _webp(data)
    except (struct.error, ValueError, IndexError):
        pass
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker in _FRAMES:
            rows, columns = struct.unpack(">2H", data[place + 5 : place + 9])
            return rows, columns
        if marker == 0xFF:  # a byte to fill
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without content
            place += 2
        else:
            place += 2 + max(2, int.from_bytes(data[place + 2 : place + 4], "big"))
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        columns, rows = struct.unpack("<2H", data[26:30])
        return rows & 0x3FFF, columns & 0x3FFF
    return None
