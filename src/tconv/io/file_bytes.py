"""Content of a file, or an error with the reason why it cannot be read.

All readers of pictures and arrays open their files here, so that their messages are the same.
"""

from __future__ import annotations

from pathlib import Path

from tconv.errors import FileError


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Return the file's content, or its first `most` bytes. Raises FileError if it cannot be read or is empty."""
    try:
        if path.is_dir():
            raise FileError(f"{path} is a directory; a file is needed. Choose a file in it")
        if path.exists() and not path.is_file():
            raise FileError(f"{path} is a device or a pipe; a file is needed. Choose another")
        with path.open("rb") as file:
            data = file.read(most)
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; a file is needed. Choose one that does") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, and FileError
        if isinstance(error, FileError):
            raise
        why = getattr(error, "strerror", None) or error
        raise FileError(f"{path} cannot be read: {why}. Choose a readable file") from None
    if not data:
        raise FileError(f"{path} is empty. Choose another file")
    return data
