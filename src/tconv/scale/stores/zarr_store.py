"""Arrays of Zarr to read (versions 2 and 3, any codec), and the openers of paths and objects of Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError
from tconv.scale.regions import Region
from tconv.scale.stores.array_file import axes_of
from tconv.scale.stores.axis_layout import layout_for
from tconv.scale.stores.formats import SourceOptions, StoreFormat, TargetOptions, format_of
from tconv.scale.stores.store import ImageSource, ImageTarget
from tconv.scale.stores.zarr_array import ZarrArray, described
from tconv.scale.stores.zarr_files import check_dtype, chunk_identity, open_node, zarr
from tconv.scale.stores.zarr_target import existing_target, path_target

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


def _open_path(path: Path, inner: str, options: SourceOptions) -> ImageSource:
    folder = path / inner if inner else path
    if (folder.exists() or not inner) and not path.exists():
        raise FileError(f"{path} does not exist. Use the path of a store that is there")
    node = open_node(folder, "r")
    if isinstance(node, zarr().Array):
        return array_source(node, folder, options, str(folder))
    if "multiscales" in node.attrs or "multiscales" in node.attrs.get("ome", {}):
        return format_of(".ome.zarr").open_path(path, inner, options)
    names = sorted(name for name, _ in node.arrays())
    advice = f"Write {folder / names[0]}" if names else "Use the path of an array"
    raise FileError(
        f"{folder} is a group with {', '.join(names[:8]) or 'no array'} in it; an array is needed. {advice}"
    )


FORMAT = StoreFormat("Zarr", _open_path, path_target)


def source_of_object(array: Any, options: SourceOptions) -> ImageSource:
    """Return the source of a zarr.Array, or of a zarr.Group that holds an image of OME-Zarr."""
    package = zarr()
    if not isinstance(array, (package.Array, package.Group)):
        raise ArgumentError(f"source is a {type(array).__name__} of zarr; a zarr.Array is needed")
    root = getattr(array.store, "root", None)
    folder = None if root is None else Path(root) / array.path
    if folder is not None:
        return _open_path(folder, "", options)
    if isinstance(array, package.Group):
        raise ArgumentError("source is a zarr.Group in memory; a zarr.Array is needed. Write group['name']")
    return array_source(array, None, options, "the array of Zarr")


def target_of_object(array: Any, options: TargetOptions) -> ImageTarget:
    """Return the target of a writable zarr.Array whose shape and dtype are those of the result."""
    if not isinstance(array, zarr().Array):
        raise ArgumentError(
            f"output is a {type(array).__name__} of zarr; a zarr.Array is needed. Write output=group['name']"
        )
    return existing_target(array, None, options)
