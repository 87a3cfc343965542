"""Arrays of Zarr as sources of images: versions 2 and 3, any codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tconv._arrays import Array
from tconv.scale.regions import Region
from tconv.scale.stores.array_file import axes_of
from tconv.scale.stores.axis_layout import layout_for
from tconv.scale.stores.formats import SourceOptions
from tconv.scale.stores.zarr_array import ZarrArray, described
from tconv.scale.stores.zarr_files import check_dtype, chunk_identity

_DIMENSIONS = "_ARRAY_DIMENSIONS"
"""Attribute in which xarray keeps the names of axes of arrays of version 2."""


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

    def read_bytes(self, region: Region) -> int:
        """Return the most bytes that reading allocates: the values, and chunks as they are and decoded."""
        return self.store.read_bytes(region)

    def identity(self) -> dict[str, Any]:
        """Return shape and dtype, and what changes with the files of the chunks."""
        same = {"shape": list(self.layout.shape), "dtype": str(self.dtype), **axes_of(self.layout)}
        folder = self.store.folder
        return same if folder is None else {**same, "modified": chunk_identity(folder)}

    def close(self) -> None:
        """Close nothing: files are open only while they are read."""


def array_source(array: Any, folder: Path | None, options: SourceOptions, name: str) -> ZarrSource:
    """Return the source of an open array: its axes are the caller's, or those that it names, or by its rank."""
    check_dtype(array.dtype, name)
    attributes = dict(array.attrs)
    known = getattr(array.metadata, "dimension_names", None) or attributes.pop(_DIMENSIONS, None)
    layout = layout_for(tuple(array.shape), options.ndim, options.axes, known)
    named = bool(known) and layout.names == tuple(known)
    return ZarrSource(ZarrArray(folder, array, layout, name), attributes, named)
