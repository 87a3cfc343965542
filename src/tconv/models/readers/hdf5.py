"""Reader of HDF5 files, such as Keras' weights: datasets by name, whose numbers are read when they are asked for.

The file is opened in another process, because HDF5's library ends the process on some damaged files. Datasets that lie
in one piece, as Keras writes them, are then read from their place without it.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, MissingExtraError
from tconv.models.readers.number_types import from_bfloat16

_SECONDS = 120
_KINDS = "biuf"


class Dataset(NamedTuple):
    """Numbers in an HDF5 file."""

    shape: tuple[int, ...]
    dtype: str
    """Name of their type; "bfloat16" for Keras' own mark of it."""
    nbytes: int


class Hdf5File:
    """An HDF5 file, or one within an archive: bytes `start` to `start + size` of a file."""

    def __init__(self, path: Path, start: int = 0, size: int | None = None) -> None:
        if not importlib.util.find_spec("h5py"):
            raise MissingExtraError(f"reading {path.name}", "h5py", "keras")
        self._path, self._start = path.absolute(), start
        self._size = path.stat().st_size - start if size is None else size
        table = json.loads(self._asked())
        self._entries: Mapping[str, Any] = table["datasets"]
        self.groups: Mapping[str, Mapping[str, str]] = table["groups"]
        """Texts that are attributes of groups, by the groups' names; "" is the root."""
        self.datasets = {name: _described(entry) for name, entry in self._entries.items()}
        """Datasets by name."""

    def _asked(self, *names: str) -> bytes:
        """Return the answer of the other process. Raises FileError."""
        known = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, str(Path(__file__).with_name("hdf5_worker.py"))]
        command += [str(self._path), str(self._start), str(self._size), *names]
        quiet = {"PYTHONPATH": known, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, env={**os.environ, **quiet})
        except subprocess.TimeoutExpired:
            raise FileError(f"its HDF5 file was not read within {_SECONDS} seconds") from None
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            reason = lines[-1] if done.returncode == 1 and lines else f"HDF5 ended with {done.returncode}"
            raise FileError(f"its HDF5 file cannot be read: {reason}")
        return done.stdout

    def read(self, name: str) -> Array:
        """Return the numbers of a dataset; bfloat16 as float32. Raises FileError."""
        entry, described = self._entries[name], self.datasets[name]
        kind = np.dtype(entry["dtype"])
        if kind.kind not in _KINDS and described.dtype != "bfloat16":
            raise FileError(f"{name} has the type {kind}; numbers are needed")
        count = math.prod(described.shape)
        if entry["offset"] is None:
            data = self._asked(name)
            if len(data) != count * kind.itemsize:
                raise FileError(f"{name} has {len(data)} bytes; {count * kind.itemsize} are needed")
        else:
            data = self._piece(name, int(entry["offset"]), count * kind.itemsize)
        if described.dtype == "bfloat16":
            return from_bfloat16(np.frombuffer(data, "<u2")).reshape(described.shape)
        values = np.frombuffer(data, kind).reshape(described.shape)
        return values.astype(kind.newbyteorder("="), copy=False)

    def _piece(self, name: str, offset: int, size: int) -> bytes:
        if not 0 <= offset <= offset + size <= self._size:
            raise FileError(f"{name} needs bytes {offset} to {offset + size} of {self._size}; the file is cut off")
        with self._path.open("rb") as file:
            file.seek(self._start + offset)
            return file.read(size)


def _described(entry: Mapping[str, Any]) -> Dataset:
    shape, kind = tuple(int(size) for size in entry["shape"]), np.dtype(entry["dtype"])
    bfloat16 = entry.get("kind") == "bfloat16" and kind.itemsize == 2
    return Dataset(shape, "bfloat16" if bfloat16 else kind.name, math.prod(shape) * kind.itemsize)
