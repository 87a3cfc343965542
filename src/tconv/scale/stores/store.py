"""Interfaces of what a job reads (`ImageSource`) and writes (`ImageTarget`).

Both look like arrays [N, C, *sizes], whatever the order of axes in the file: N counts images (batch, time, pages, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tconv._arrays import Array
from tconv.scale.regions import Region, Sizes


class ImageSource(Protocol):
    """Images [N, C, *sizes] that are read region by region. It can be pickled: other processes open it anew."""

    name: str
    """Path, or what stands for it in messages."""
    description: str
    """Format and details, for reports."""
    shape: tuple[int, ...]
    """[N, C, *sizes]"""
    dtype: np.dtype[Any]
    block: Sizes
    """Sizes of what is decoded at once (chunks, tiles, rows); 1 along axes where any part can be read."""

    def read(self, image: int, region: Region) -> Array:
        """Return values [C, *region], an array of its own. Threads may call it at a time. Raises FileError."""
        ...

    def read_bytes(self, region: Region) -> int:
        """Return the most bytes that reading a region allocates, the result included."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return what changes if the images change, as JSON has it: sizes, dtype, files' times. It reads no values."""
        ...

    def close(self) -> None:
        """Close files."""
        ...


class ImageTarget(Protocol):
    """Images [N, C, *sizes] that are written in whole units. It can be pickled: workers open it anew.

    It is made and written under a working path, and moved to its final name by the job. A unit is a file, or a part of
    one, that one writer owns: a shard of Zarr, a tile of TIFF.
    """

    name: str
    """Final path, or what stands for it in messages."""
    description: str
    shape: tuple[int, ...]
    """[N, C, *sizes]"""
    dtype: np.dtype[Any]
    unit: Sizes
    """Sizes of the smallest parts that may be written: tiles are whole numbers of them, but at the ends."""
    in_place: bool
    """True for an array that is there, and is written under its final name."""
    in_memory: bool
    """True for an array that no other process sees: it has no path, and no journal."""

    def create(self, place: Path) -> None:
        """Make the empty output at a working path. Raises FileError."""
        ...

    def open(self, place: Path) -> None:
        """Open the output at a path, to write or to read. Raises FileError if it is not the one that was created."""
        ...

    def write(self, image: int, region: Region, values: Array) -> None:
        """Write values [C, *region]. Threads may write regions of different units at a time. Raises FileError."""
        ...

    def write_bytes(self, region: Region) -> int:
        """Return the most bytes that writing a region allocates beside the values."""
        ...

    def sync(self, image: int, region: Region) -> None:
        """Wait until a region is on the disk, so that a power cut leaves it there."""
        ...

    def stored(self, image: int, region: Region) -> Array:
        """Return values [C, *region] as they are stored. Raises FileError for damaged ones."""
        ...

    def has(self, image: int, region: Region) -> bool:
        """Return False if parts of a region are not there. It reads no values: it looks for files and their sizes."""
        ...

    def disk_bytes(self) -> int:
        """Return the most bytes of the whole output on the disk."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return format, sizes, chunks and codecs as JSON has them: what the bytes of the output depend on."""
        ...

    def finish(self) -> None:
        """Write what stands behind the values (metadata), and wait until it is on the disk."""
        ...

    def close(self) -> None:
        """Close files."""
        ...
