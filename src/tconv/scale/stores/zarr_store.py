"""Openers of paths and objects of Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tconv.errors import ArgumentError, FileError
from tconv.scale.stores.formats import SourceOptions, StoreFormat, TargetOptions, format_of
from tconv.scale.stores.store import ImageSource, ImageTarget
from tconv.scale.stores.zarr_files import is_node, open_node, zarr
from tconv.scale.stores.zarr_source import array_source
from tconv.scale.stores.zarr_target import existing_target, path_target


def _open_path(path: Path, inner: str, options: SourceOptions) -> ImageSource:
    folder = path / inner if inner else path
    if (folder.exists() or not inner) and not path.exists():
        raise FileError(f"{path} does not exist. Use the path of a store that is there")
    node = open_node(folder, "r")
    if isinstance(node, zarr().Array):
        return array_source(node, folder, options, str(folder))
    if "multiscales" in node.attrs or "multiscales" in node.attrs.get("ome", {}):
        return format_of(".ome.zarr").open_path(path, inner, options)
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and is_node(each))
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
