"""Bounded reader of the ZIP archives that PyTorch writes: nothing is unpacked to disk, and no member is read twice.

PyTorch stores members without compression, so that a tensor is a range of bytes of the file.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

from tconv.errors import FileError

_MOST_MEMBERS = 400_000
_MOST_TEXT = 96 << 20
_HEADER = struct.Struct("<26sHH")
_MOST_EXPANSION = 1100  # deflate writes at most 1032 bytes for one
_MOST_INFLATED = 1 << 30  # PyTorch itself compresses nothing


class Archive:
    """Members of a ZIP archive below its one top folder, by name. Raises FileError for a damaged archive."""

    def __init__(self, path: Path, start: int = 0, size: int | None = None, owner: object = None) -> None:
        """Read the names of the members. `start` and `size` are those of an archive within the file.

        `owner` is kept as long as the archive: the file of a program in memory is removed with it.
        """
        self.path, self._start, self._owner = path, start, owner
        self._size = path.stat().st_size - start if size is None else size
        try:
            with self._opened() as file:
                entries = file.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, IndexError) as error:
            raise FileError(
                f"{path} is no archive that PyTorch wrote, or is cut off: {str(error)[:100]}. Write the file again"
            ) from None
        if len(entries) > _MOST_MEMBERS:
            raise FileError(f"{path} has {len(entries)} members; {_MOST_MEMBERS} are read. Write one model per file")
        tops = {entry.filename.partition("/")[0] for entry in entries}
        self.folder = f"{next(iter(tops))}/" if len(tops) == 1 else ""
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            name = entry.filename.removeprefix(self.folder)
            if name in self._entries:
                raise FileError(f"{path} has two members {name[:100]!r}. Write the file again")
            self._entries[name] = entry
        if "byteorder" in self and self.content("byteorder", most=100).strip() == b"big":
            raise FileError(f"{path} was written on a machine of the other byte order. Write it on this one")

    def _opened(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(_Part(self.path, self._start, self._size))  # type: ignore[call-overload,no-any-return,unused-ignore]

    def inner(self, name: str) -> Archive:
        """Return the archive that a member is. Raises FileError."""
        entry, size = self._entries.get(name), self.size(name)
        if entry is None or entry.compress_type != zipfile.ZIP_STORED:
            raise FileError(f"{self.path}: {name[:100]} is compressed, which PyTorch's writer does not do")
        return Archive(self.path, self._start + self._offset(name), size, self._owner)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """Names of all members, in the file's order."""
        return list(self._entries)

    def size(self, name: str) -> int:
        """Return the bytes of a member. Raises FileError for one that is absent or claims more than it can have."""
        entry = self._entries.get(name)
        if entry is None:
            raise FileError(f"{self.path} has no member {name[:100]!r}. Write the file again")
        room = self._size if entry.compress_type == zipfile.ZIP_STORED else entry.compress_size * _MOST_EXPANSION
        if entry.file_size > room or entry.compress_size > self._size:
            raise FileError(
                f"{self.path}: {name[:100]} claims {entry.file_size} bytes, more than are stored. Write the file again"
            )
        return entry.file_size

    def content(self, name: str, start: int = 0, count: int | None = None, most: int = _MOST_TEXT) -> bytes:
        """Return `count` bytes of a member from `start` on, or all if they are `most` or fewer. Raises FileError."""
        size = self.size(name)
        count = size - start if count is None else count
        if start < 0 or count < 0 or start + count > size:
            raise FileError(
                f"{self.path}: {name[:100]} has {size} bytes, where {start} to {start + count} are needed. Write the "
                "file again"
            )
        is_stored = self._entries[name].compress_type == zipfile.ZIP_STORED
        most = most if is_stored else min(most, _MOST_INFLATED)
        if (count if is_stored else start + count) > most:
            raise FileError(f"{self.path}: {name[:100]} has {count} bytes; at most {most} are read")
        try:
            if is_stored:
                found = self._stored(name, start, count)
                checksum = self._entries[name].CRC if count == size else 0  # 0 where PyTorch was told to write none
                if len(found) != count:
                    raise EOFError("it is cut off")
                if checksum and zlib.crc32(found) != checksum:
                    raise EOFError("its checksum is another one")
                return found
            with self._opened() as file, file.open(self._entries[name]) as member:
                if start:
                    member.seek(start)
                found = member.read(count)
        except FileError:
            raise
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
            raise FileError(f"{self.path}: {name[:100]} is damaged: {str(error)[:100]}. Write the file again") from None
        if len(found) != count:
            raise FileError(f"{self.path}: {name[:100]} is cut off. Write the file again")
        return found

    def _offset(self, name: str) -> int:
        """Return the first byte of a member that is not compressed. Raises FileError."""
        entry = self._entries[name]
        with self.path.open("rb") as file:
            file.seek(self._start + entry.header_offset)
            header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(b"PK\x03\x04") or entry.flag_bits & 1:
            raise FileError(f"{self.path}: {name[:100]} is cut off or encrypted. Write the file again")
        return entry.header_offset + _HEADER.size + int(sum(_HEADER.unpack(header)[1:]))

    def _stored(self, name: str, start: int, count: int) -> bytes:
        """Return bytes of a member that is not compressed, straight from the file. May be fewer at its end."""
        first = self._offset(name) + start
        with self.path.open("rb") as file:
            file.seek(self._start + first)
            return file.read(max(min(count, self._size - first), 0))

    def text(self, name: str) -> str:
        """Return a member as text. Raises FileError."""
        try:
            return self.content(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise FileError(f"{self.path}: {name[:100]} is no text: byte {error.start} is not valid UTF-8") from None


class _Part(io.RawIOBase):
    """Range of bytes of a file, as a file of its own."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._start, self._length, self._at = start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        origin = {0: 0, 1: self._at, 2: self._length}[whence]
        if origin + offset < 0:
            raise OSError("a place before the start")
        self._at = origin + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        left = max(self._length - self._at, 0)
        self._file.seek(self._start + self._at)
        found = self._file.read(left if count is None or count < 0 else min(count, left))
        self._at += len(found)
        return found

    def close(self) -> None:
        self._file.close()
        super().close()
