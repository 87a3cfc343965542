"""One array of Zarr, of version 2 or 3 and any codec: opened in each process that uses it, read with bounded memory."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.scale.regions import Region, Sizes, elements
from tconv.scale.stores.axis_layout import AxisLayout, shape_in_words
from tconv.scale.stores.zarr_chunks import ARENAS, cells, chunks_at_once
from tconv.scale.stores.zarr_files import chunk_identity, is_node, open_node, unit_files


class ZarrArray:
    """One array of Zarr with the roles of its axes. It can be pickled; one on a disk is opened at the first use."""

    def __init__(self, folder: Path | None, array: Any, layout: AxisLayout, name: str) -> None:
        self.folder, self.layout, self.name = folder, layout, name
        self._array, self._lock = array, threading.Lock()
        self.writable = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_array": None if self.folder else self._array}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def array(self) -> Any:
        """The open zarr.Array."""
        with self._lock:
            if self._array is None:
                assert self.folder is not None
                self._array = open_node(self.folder, "r+" if self.writable else "r")
            return self._array

    @property
    def steps(self) -> Sizes:
        """Sizes of what is one file: shards, or chunks."""
        return tuple(self.array.shards or self.array.chunks)

    def at_once(self) -> int:
        """Return how many chunks one call of zarr reads: of shards, their parts, so that no shard is held whole."""
        array = self.array
        return chunks_at_once(math.prod(array.chunks) * array.dtype.itemsize, array.shards is not None)

    def read(self, image: int, region: Region) -> Array:
        """Return values [C, *region] in the native order of bytes. Raises FileError for damaged chunks."""
        layout, array = self.layout, self.array
        selection = layout.selection(image, region)
        out = np.empty((layout.image_shape[1], *(s.stop - s.start for s in region)), array.dtype.newbyteorder("="))
        stored = layout.from_image(out)
        for cell in cells(selection, self.array.chunks, self.at_once()):
            place = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(cell, selection, strict=True))
            stored[place] = self._values(array, cell)
        if self.folder is not None:
            self._check_files(self.folder, selection)
        return out

    def _check_files(self, folder: Path, selection: tuple[slice, ...]) -> None:
        """Raise FileError for what zarr reads as the fill value without an error: empty files, a store that is gone."""
        for file in unit_files(folder, self.array, selection):
            with suppress(FileNotFoundError):  # a chunk of the fill value
                if file.stat().st_size == 0:
                    raise FileError(f"{file} cannot be read: it is empty. Restore it from a copy, or write it anew")
        if not is_node(folder):
            raise FileError(f"{folder} was removed while it was read. Put it back, and go on")

    def _values(self, array: Any, cell: tuple[slice, ...]) -> Array:
        try:
            values: Array = array[cell]
            return values
        except Exception as error:  # each codec has its own kind, and zarr some more
            raise FileError(
                f"{self._damaged(array, cell)} cannot be read: {type(error).__name__}: {error}. "
                "Restore it from a copy, or write it anew"
            ) from error

    def _damaged(self, array: Any, cell: tuple[slice, ...]) -> str:
        """Return the name of the first damaged file, or the place in an array without files."""
        if self.folder is None:
            return f"{self.name} at [{', '.join(f'{span.start}:{span.stop}' for span in cell)}]"
        blocks = list(cells(cell, self.steps, 1))
        for block in blocks[:-1]:
            try:
                array[block]
            except Exception:  # the same kinds as above
                return str(next(unit_files(self.folder, array, block)))
        return str(next(unit_files(self.folder, array, blocks[-1])))

    def read_bytes(self, region: Region) -> int:
        """Return the most bytes that reading allocates: the values, and some chunks as they are and decoded."""
        array, layout = self.array, self.layout
        values = layout.image_shape[1] * elements(region) * array.dtype.itemsize
        return int(values + 3 * self.at_once() * math.prod(array.chunks) * array.dtype.itemsize + ARENAS)


class ZarrSource:
    """Array of Zarr to read."""

    def __init__(self, store: ZarrArray, attributes: dict[str, Any], named: bool) -> None:
        array = store.array
        self.store, self.layout, self.name = store, store.layout, store.name
        self.shape, self.dtype = store.layout.image_shape, array.dtype.newbyteorder("=")
        self.block = store.layout.along_space(array.chunks)
        self.attributes, self.named = attributes, named
        self.description = f"{described(array)} in {store.name}"

    def read(self, image: int, region: Region) -> Array:
        """Return values [C, *region]. Raises FileError for damaged chunks."""
        return self.store.read(image, region)

    def check_written(self, image: int, region: Region) -> None:
        """Raise FileError for files that are not there, which are read as the fill value."""
        folder, selection = self.store.folder, self.layout.selection(image, region)
        for file in () if folder is None else unit_files(folder, self.store.array, selection):
            if not file.exists():
                raise FileError(f"{file} is missing. Restore it from a copy, or write it anew")

    def read_bytes(self, region: Region) -> int:
        """Return the most bytes that reading allocates: the values, and chunks as they are and decoded."""
        return self.store.read_bytes(region)

    def identity(self) -> dict[str, Any]:
        """Return shape and dtype, and what changes with the files of the chunks."""
        same = {"shape": list(self.layout.shape), "dtype": str(self.dtype), **self.layout.roles}
        folder = self.store.folder
        return same if folder is None else {**same, "modified": chunk_identity(folder)}

    def close(self) -> None:
        """Close nothing: files are open only while they are read."""


def described(array: Any) -> str:
    """Return shape, dtype and chunks of an array of Zarr."""
    parts = chunking(array.chunks, array.shards)
    return f"{shape_in_words(array.shape)} of {array.dtype}, Zarr {array.metadata.zarr_format}, {parts}"


def chunking(chunks: Sizes, shards: Sizes | None) -> str:
    """Return the sizes of chunks and shards in words."""
    inner = shape_in_words(chunks)
    return f"chunks {inner}" if shards is None else f"shards {shape_in_words(shards)} of chunks {inner}"
