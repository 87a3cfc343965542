"""Bytes of a TIFF file by their places: read where they are needed, by several threads, never mapped.

A map of a file counts as resident memory as far as it was read; these reads leave nothing behind.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from tconv.errors import FileError
from tconv.io.file_bytes import read_bytes


class FileBytes:
    """Content of a file, whose slices are read when they are taken: `data[place : place + size]`, and `len(data)`.

    Raises FileError for a file that is missing, empty or not readable.
    """

    def __init__(self, path: Path) -> None:
        read_bytes(path, 1)  # its messages are those of all readers
        self._path, self._lock = path, threading.Lock()
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror}. Choose a readable file") from error
        self.size = os.fstat(self._file.fileno()).st_size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self.size)
        data = bytearray(max(0, stop - start))
        return bytes(data[: self.read_into(memoryview(data), start)])

    def read_into(self, buffer: memoryview[Any], place: int) -> int:
        """Fill a buffer from a place in the file; return the number of bytes that were there. Raises FileError."""
        done = 0
        try:
            while done < len(buffer) and (got := self._read(buffer[done:], place + done)):
                done += got
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise FileError(f"{self._path} cannot be read at byte {place}: {why}. Choose a readable file") from error
        return done

    def _read(self, buffer: memoryview[Any], place: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], place)
        with self._lock:  # Windows
            self._file.seek(place)
            return self._file.readinto(buffer) or 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
