"""Arrays in memory, and what NumPy's indexing reads, as sources and targets of images."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import DtypeError
from tconv.scale.regions import Region, Sizes, elements
from tconv.scale.stores.axis_layout import AxisLayout, bare_axes, checked_sizes, copied, shape_in_words


class ArraySource:
    """Array in memory, or one that NumPy's indexing reads, in any order of axes."""

    def __init__(
        self, array: Any, layout: AxisLayout | None = None, name: str = "x", drop: mmap.mmap | None = None
    ) -> None:
        """`drop` is the map of a file whose pages are let go after each read; without a layout, [N, C, *sizes]."""
        layout = layout or bare_axes(array.shape, array.ndim - 2)
        self.array, self.layout, self.name = array, layout, name
        self.shape, self.dtype = layout.image_shape, array.dtype.newbyteorder("=")
        self.block: Sizes = (1,) * layout.ndim
        self.description = f"array {shape_in_words(layout.shape)} of {array.dtype}"
        self._drop = drop

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_drop": None}

    def read(self, image: int, region: Region) -> Array:
        """Return a copy of values [C, *region]."""
        values = self.array[self.layout.selection(image, region)]
        values = np.array(self.layout.to_image(values), self.dtype, order="C")
        if self._drop is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._drop.madvise(mmap.MADV_DONTNEED)  # pages of a shared map stay in the system's cache of the file
        return values

    def read_bytes(self, region: Region) -> int:
        """Return the bytes of the copy; of a memory map, those of the pages that it touches too."""
        size: int = self.shape[1] * elements(region) * self.dtype.itemsize
        return size if self._drop is None else 3 * size

    def identity(self) -> dict[str, Any]:
        """Return shape and dtype."""
        return {"shape": list(self.layout.shape), "dtype": str(self.dtype), **self.layout.roles}

    def close(self) -> None:
        """Close nothing."""


class ArrayTarget:
    """Array in memory that NumPy's indexing writes, in any order of axes."""

    in_place = in_memory = True

    def __init__(
        self, array: Any, layout: AxisLayout | None = None, name: str = "y", unit: Sizes | None = None
    ) -> None:
        """`unit` are the sizes of what is written at once, 1 if it is None; without a layout, [N, C, *sizes]."""
        layout = layout or bare_axes(array.shape, array.ndim - 2)
        self.array, self.layout, self.name = array, layout, name
        self.shape, self.dtype = layout.image_shape, array.dtype
        self.unit: Sizes = unit or (1,) * layout.ndim
        self.description = f"array {shape_in_words(layout.shape)} of {array.dtype}"

    def create(self, place: Path) -> None:
        """Make nothing: the array is there."""

    def open(self, place: Path) -> None:
        """Open nothing."""

    def empty(self) -> bool:
        """Return True: the elements of an array have no state of being written."""
        return True

    def write(self, image: int, region: Region, values: Array) -> None:
        """Copy values."""
        checked_sizes(values, self.shape[1], region, self.name)
        self.array[self.layout.selection(image, region)] = self.layout.from_image(values)

    def write_bytes(self, region: Region) -> int:
        """Return 0."""
        return 0

    def sync(self, image: int, region: Region) -> None:
        """Wait for nothing."""

    def sync_many(self, parts: list[tuple[int, Region]]) -> None:
        """Wait for nothing."""

    def stored(self, image: int, region: Region) -> Array:
        """Return values [C, *region]."""
        return copied(self.layout, self.array[self.layout.selection(image, region)])

    def has(self, image: int, region: Region) -> bool:
        """Return True."""
        return True

    def disk_bytes(self) -> int:
        """Return 0."""
        return 0

    def settings(self) -> dict[str, Any]:
        """Return shape, axes and dtype."""
        return {"format": "array", "shape": list(self.layout.shape), "dtype": str(self.dtype), **self.layout.roles}

    def finish(self) -> None:
        """Write nothing more."""

    def close(self) -> None:
        """Close nothing."""


def check_numbers(dtype: Any, name: object) -> None:
    """Raise DtypeError for elements that are no numbers."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biufc":
        raise DtypeError(
            f"{name} has elements of {dtype}; numbers are needed. Write array.astype(np.float32), for example"
        )
