"""Arrays of Zarr version 3 that are written in whole shards.

A shard is one file, of which zarr writes any part by reading and writing the whole: two writers in one lose chunks
without an error. Only whole shards are written here, so each has one writer, whatever the number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.scale.regions import Region, Sizes, elements
from tconv.scale.stores.axis_layout import AxisLayout, checked_sizes, shape_in_words
from tconv.scale.stores.raw_file import file_errors
from tconv.scale.stores.zarr_array import ZarrArray, chunking
from tconv.scale.stores.zarr_chunks import ARENAS, CONCURRENCY, cells, chunks_at_once
from tconv.scale.stores.zarr_files import (
    has_chunks,
    make_groups,
    open_node,
    remove_partial_files,
    sync_files,
    unit_files,
    zarr,
)
from tconv.scale.stores.zarr_shard import ShardWriter


class ZarrTarget:
    """Array of Zarr version 3 that is written in whole shards, or whole chunks where there are no shards."""

    def __init__(
        self,
        name: str,
        layout: AxisLayout,
        dtype: np.dtype[Any],
        created: dict[str, Any],
        root: Path | None = None,
        existing: ZarrArray | None = None,
    ) -> None:
        """`created` are the arguments of zarr.create_array; `existing` is an array that is there."""
        self.name, self.layout, self.dtype, self.shape = name, layout, dtype, layout.image_shape
        self.in_place = existing is not None
        self.in_memory = existing is not None and existing.folder is None
        self._created, self._root, self._store = created, root, existing
        self._shards = None if existing is not None else ShardWriter.of(created)
        self.unit: Sizes = layout.along_space(created["shards"] or created["chunks"])
        self.description = (
            f"{shape_in_words(layout.shape)} of {dtype}, {chunking(created['chunks'], created['shards'])} in {name}"
        )

    @property
    def chunk_sizes(self) -> Sizes:
        """Sizes of chunks along space."""
        return self.layout.along_space(self._created["chunks"])

    @property
    def store(self) -> ZarrArray:
        """Array that is open. Raises FileError before `create` or `open`."""
        if self._store is None:
            raise FileError(f"{self.name} is not open. Call open(place) first")
        return self._store

    def make_parents(self) -> None:
        """Make the groups from the store's root to the array's folder. Raises FileError for other nodes there."""
        if self._root is not None and not self.in_place:
            make_groups(self._root, Path(self.name).parent)

    def create(self, place: Path) -> None:
        """Make the array without chunks. Raises FileError for a place that is taken."""
        if self.in_place:
            return
        if place.exists():
            raise FileError(f"{place} exists, and nothing is overwritten. Choose another name")
        self.make_parents()
        with file_errors(place, "written"):
            place.parent.stat()
            try:
                zarr().create_array(str(place), config={"write_empty_chunks": True}, **self._created)
            except (OSError, FileError):
                raise
            except Exception as error:
                raise ArgumentError(
                    f"{self.name} cannot be made: {error}. Use other chunks, shards or compression"
                ) from error
        sync_files(place.parent, [place / "zarr.json"])
        ZarrTarget.open(self, place)

    def open(self, place: Path) -> None:
        """Open the array. Raises FileError for one of another shape, dtype or chunks."""
        if self.in_place:
            return
        array = open_node(place, "r+")
        given = (getattr(array, name, None) for name in ("shape", "dtype", "chunks", "shards"))
        needed = (self.layout.shape, self.dtype, self._created["chunks"], self._created["shards"])
        if tuple(given) != needed:
            raise FileError(f"{place} is not {self.description}. Remove it, or choose another name")
        self._store = ZarrArray(place, array, self.layout, str(place))
        self._store.writable = True

    def empty(self) -> bool:
        """Return whether no chunk was written yet."""
        folder = self.store.folder
        return folder is None or not has_chunks(folder)

    def write(self, image: int, region: Region, values: Array) -> None:
        """Write values [C, *region]: whole shards. Raises ShapeError for parts of them, FileError for a full disk."""
        checked_sizes(values, self.shape[1], region, self.name)
        self._check_aligned(region)
        store, array = self.store, self.store.array
        selection = self.layout.selection(image, region)
        stored = self.layout.from_image(values)
        at_once = self._at_once() if self._shards is None else 1
        for cell in cells(selection, store.steps, at_once):
            place = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(cell, selection, strict=True))
            files = [] if store.folder is None else list(unit_files(store.folder, array, cell))
            with file_errors(Path(store.name), "written"):
                if self._shards is not None:
                    self._shards.write(files[0], stored[place])
                    continue
                for file in files:  # zarr would read and merge what is there, which may be damaged
                    file.unlink(missing_ok=True)
                array[cell] = stored[place]

    def _check_aligned(self, region: Region) -> None:
        for span, unit, size in zip(region, self.unit, self.shape[2:], strict=True):
            if span.start % unit or (span.stop % unit and span.stop != size):
                raise ShapeError(
                    f"the region {[f'{s.start}:{s.stop}' for s in region]} cuts shards of {self.unit} of {self.name}; "
                    "several writers of one lose chunks. Write whole ones"
                )

    def write_bytes(self, region: Region) -> int:
        """Return the bytes of what is in work: chunks in their order, compressed, and those of a shard put together."""
        chunk = math.prod(self._created["chunks"]) * self.dtype.itemsize
        if not self._created["shards"]:
            return int(3 * self._at_once() * chunk + ARENAS)
        shard = math.prod(self._created["shards"]) * self.dtype.itemsize
        return int(2 * shard + min(CONCURRENCY, shard // chunk) * chunk + ARENAS)

    def _at_once(self) -> int:
        """Return how many files one call of zarr writes."""
        created = self._created
        return 1 if created["shards"] else chunks_at_once(math.prod(created["chunks"]) * self.dtype.itemsize, False)

    def sync(self, image: int, region: Region) -> None:
        """Wait until a region's files and their names are on the disk."""
        self.sync_many([(image, region)])

    def sync_many(self, parts: list[tuple[int, Region]]) -> None:
        """Wait until the files of many regions are on the disk; by one call for the file system, if they are many."""
        folder = self.store.folder
        if folder is not None:
            selections = (self.layout.selection(*part) for part in parts)
            sync_files(folder, (file for each in selections for file in unit_files(folder, self.store.array, each)))

    def stored(self, image: int, region: Region) -> Array:
        """Return values [C, *region] of the files. Raises FileError for files that are missing or damaged."""
        self.check_read(image, region)
        return self.store.read(image, region)

    def check_read(self, image: int, region: Region) -> None:
        """Raise FileError for parts that are not there, which zarr would read as zeros."""
        missing = next(self._missing(image, self._units(region)), None)
        if missing is not None:
            raise FileError(f"{missing} is missing. Write that part anew")

    def read_bytes(self, region: Region) -> int:
        """Return the most bytes that `stored` allocates."""
        created = self._created
        chunk = math.prod(created["chunks"]) * self.dtype.itemsize
        values = self.shape[1] * elements(region) * self.dtype.itemsize
        return int(values + 3 * chunks_at_once(chunk, created["shards"] is not None) * chunk + ARENAS)

    def _units(self, region: Region) -> Region:
        """Return the whole units that a region touches."""
        return tuple(
            slice(span.start // unit * unit, min(-(-span.stop // unit) * unit, size))
            for span, unit, size in zip(region, self.unit, self.shape[2:], strict=True)
        )

    def has(self, image: int, region: Region) -> bool:
        """Return whether each shard has a file that is not empty."""
        return next(self._missing(image, self._units(region)), None) is None

    def _missing(self, image: int, region: Region) -> Iterator[Path]:
        store, array = self.store, self.store.array
        if store.folder is None:
            return
        for file in unit_files(store.folder, array, self.layout.selection(image, region)):
            try:
                if file.stat().st_size == 0:
                    yield file
            except OSError:
                yield file

    def disk_bytes(self) -> int:
        """Return the bytes of all chunks without compression, and of their checksums, the indices and the metadata."""
        created, shape = self._created, self.layout.shape
        steps, chunks = created["shards"] or created["chunks"], created["chunks"]
        files = math.prod(-(-size // step) for size, step in zip(shape, steps, strict=True))
        inner = math.prod(steps) // math.prod(chunks)
        # chunks at the end of an array are stored whole, filled up with zeros
        size = math.prod(-(-size // chunk) * chunk for size, chunk in zip(shape, chunks, strict=True))
        return int(size * self.dtype.itemsize + files * (64 * inner + 4096) + 65536)

    def settings(self) -> dict[str, Any]:
        """Return format, shape, axes, dtype, chunks, shards and codecs."""
        created = self._created
        return {
            "format": "zarr 3",
            "shape": list(self.layout.shape),
            "dtype": str(self.dtype),
            **self.layout.roles,
            "chunks": list(created["chunks"]),
            "shards": created["shards"] and list(created["shards"]),
            "codecs": [_settings_of(codec) for codec in created["compressors"]],
            "in_place": self.in_place,
        }

    def finish(self) -> None:
        """Remove what broken-off writes left, and wait until the metadata is on the disk."""
        folder = self.store.folder
        if folder is not None:
            remove_partial_files(folder)
            sync_files(folder, [folder / name for name in ("zarr.json", ".zarray") if (folder / name).exists()])

    def close(self) -> None:
        """Close nothing: files are open only while they are written."""


def _settings_of(codec: Any) -> dict[str, Any]:
    """Return the settings of a codec of version 3, or of one of version 2."""
    settings: dict[str, Any] = codec.to_dict() if hasattr(codec, "to_dict") else codec.get_config()
    return settings
