"""Process that opens an HDF5 file: `python hdf5_worker.py PATH START SIZE [DATASET]`. It imports nothing of tconv.

HDF5's library ends the process on some damaged files, so no caller opens one itself. Prints a table of the datasets in
JSON, or the bytes of one dataset. START and SIZE are those of the HDF5 file within PATH.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any

MOST_DATASETS = 200_000
_MOST_MEMORY, _MOST_SECONDS = 8 << 30, 60
_MOST_RATIO = 1100  # of bytes to stored bytes; gzip reaches 1032
_ATTRIBUTES = ("name", "model_config", "keras_version", "backend", "dtype")
_LONGEST, _LONGEST_NAME = 64 << 20, 1000


class FilePart(io.RawIOBase):
    """A file within a file, for reading."""

    def __init__(self, path: str, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = open(path, "rb"), start, size, 0  # noqa: SIM115

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the place, and return it."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there are bytes, and return their number."""
        self._file.seek(self._start + self._at)
        data = self._file.read(min(len(buffer), max(0, self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _attributes(found: Any) -> dict[str, str]:
    kept = {}
    for name in _ATTRIBUTES:
        value = found.attrs.get(name) if name in found.attrs else None
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) and len(value) <= (_LONGEST if name == "model_config" else _LONGEST_NAME):
            kept[name] = value
    return kept


def _table(h5py: Any, file: Any) -> dict[str, Any]:
    datasets: dict[str, Any] = {}
    groups: dict[str, Any] = {"": _attributes(file)}
    waiting, known = [("", file)], set()
    while waiting:
        path, group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            inner = f"{path}/{name}" if path else name
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{inner} is a link to another place, which is not followed")
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if isinstance(found, h5py.Group):
                if address in known or len(groups) > MOST_DATASETS:
                    raise ValueError(f"{inner} leads back to a group that contains it, or there are too many groups")
                known.add(address)
                groups[inner] = {key: text for key, text in _attributes(found).items() if key != "model_config"}
                waiting.append((inner, found))
            elif isinstance(found, h5py.Dataset):
                datasets[inner] = _dataset(inner, found)
            if len(datasets) > MOST_DATASETS:
                raise ValueError("it has too many datasets")
    return {"datasets": datasets, "groups": groups}


def _dataset(name: str, found: Any) -> dict[str, Any]:
    if found.external or found.is_virtual:
        raise ValueError(f"{name} is stored in another file, which is not opened")
    plain = found.chunks is None and found.dtype.kind in "biufV"
    return {
        "shape": list(found.shape or ()),
        "dtype": found.dtype.str,
        "offset": found.id.get_offset() if plain else None,
        "stored": found.id.get_storage_size(),
        **({"kind": kind} if (kind := _attributes(found).get("dtype")) else {}),
    }


def _numbers(file: Any, name: str) -> bytes:
    found = file[name]
    _dataset(name, found)
    size = int(found.size or 0) * found.dtype.itemsize
    if size > _MOST_RATIO * found.id.get_storage_size() + 4096:
        raise ValueError(f"{name} has {size} bytes of {found.id.get_storage_size()} stored ones")
    return bytes(found[()].tobytes())


def main() -> None:
    """Print what was asked for; errors go to standard error in one line, with code 1."""
    path, start, size, *names = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]  # its modules have the names of packages
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
    try:
        import h5py

        with h5py.File(io.BufferedReader(FilePart(path, int(start), int(size))), "r") as file:
            made = _numbers(file, names[0]) if names else json.dumps(_table(h5py, file)).encode()
    except Exception as error:  # HDF5 has many kinds
        print(" ".join(str(error).split())[:300] or type(error).__name__, file=sys.stderr)
        sys.exit(1)
    sys.stdout.buffer.write(made)


if __name__ == "__main__":
    main()
