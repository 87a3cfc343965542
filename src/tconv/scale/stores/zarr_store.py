"""Zarr in the registry of formats: arrays that are opened, new ones, and arrays that are there to be filled."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tconv.errors import ArgumentError, FileError, OutputError
from tconv.scale.stores.axis_layout import layout_for
from tconv.scale.stores.formats import SourceOptions, StoreFormat, TargetOptions, format_of
from tconv.scale.stores.memory_array import check_numbers
from tconv.scale.stores.store import ImageSource, ImageTarget
from tconv.scale.stores.zarr_array import ZarrArray, ZarrSource
from tconv.scale.stores.zarr_chunks import chunk_and_shard
from tconv.scale.stores.zarr_files import has_chunks, is_node, open_node, zarr
from tconv.scale.stores.zarr_target import ZarrTarget

_DIMENSIONS = "_ARRAY_DIMENSIONS"
"""Attribute in which xarray keeps the names of axes of arrays of version 2."""
_OF_IMAGES = ("ome", "multiscales", "omero")
"""Attributes of images of OME-Zarr, which describe the sizes of the input."""
_MOST_COMPRESSED = (1 << 31) - 1 - 16
"""Bytes of a chunk that Blosc takes."""


# -- sources ---------------------------------------------------------------------------------------------------------


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


def array_source(array: Any, folder: Path | None, options: SourceOptions, name: str) -> ZarrSource:
    """Return the source of an open array: its axes are the caller's, or those that it names, or by its rank."""
    check_numbers(array.dtype, name)
    attributes = dict(array.attrs)
    known = getattr(array.metadata, "dimension_names", None) or attributes.pop(_DIMENSIONS, None)
    layout = layout_for(tuple(array.shape), options.ndim, options.axes, known)
    named = bool(known) and layout.names == tuple(known)
    return ZarrSource(ZarrArray(folder, array, layout, name), attributes, named)


# -- targets ---------------------------------------------------------------------------------------------------------


def _path_target(path: Path, inner: str, options: TargetOptions) -> ImageTarget:
    """Return the target of a path: a new array, or one that is there without chunks. Nothing is made yet."""
    final = path / inner if inner else path
    existing = _empty_array(final)
    if existing is not None:
        return _existing_target(existing, final, options)
    root = path if inner else None
    return ZarrTarget(str(final), options.layout, options.dtype, create_arguments(options), root)


def _empty_array(folder: Path) -> Any:
    """Return an array that is there to be filled: one without chunks, or one that a job began to fill."""
    if not is_node(folder):
        return None
    node = open_node(folder, "r+")
    if not isinstance(node, zarr().Array):
        return None
    return node if not has_chunks(folder) or _began_in_place(folder) else None


def _began_in_place(folder: Path) -> bool:
    try:
        with folder.with_name(folder.name + ".journal").open("rb") as journal:
            return b'"in_place": true' in journal.readline(1 << 20)
    except OSError:
        return False


def target_of_object(array: Any, options: TargetOptions) -> ImageTarget:
    """Return the target of a writable zarr.Array whose shape and dtype are those of the result."""
    if not isinstance(array, zarr().Array):
        raise ArgumentError(
            f"output is a {type(array).__name__} of zarr; a zarr.Array is needed. Write output=group['name']"
        )
    return _existing_target(array, None, options)


def create_arguments(options: TargetOptions) -> dict[str, Any]:
    """Return the arguments of zarr.create_array for an output."""
    layout, dtype = options.layout, options.dtype
    channels = layout.image_shape[1]
    element = channels * dtype.itemsize
    chunks, shards = chunk_and_shard(layout.image_shape[2:], element, options.chunks, options.shards)
    if options.compression is not None and math.prod(chunks) * element > _MOST_COMPRESSED:
        raise ArgumentError(
            f"chunks={chunks} of {channels} channels of {dtype} are {math.prod(chunks) * element:,} bytes each; "
            f"{_MOST_COMPRESSED:,} can be compressed together. Write smaller chunks="
        )
    named = getattr(options.like, "named", False)
    attributes = getattr(options.like, "attributes", {})
    return {
        "shape": layout.shape,
        "dtype": dtype,
        "chunks": layout.stored(channels, chunks),
        "shards": None if shards is None else layout.stored(channels, shards),
        "compressors": codecs_for(options.compression, dtype),
        "fill_value": 0,
        "dimension_names": layout.names if named else [name.lower() for name in layout.names],
        "attributes": {name: value for name, value in attributes.items() if name not in _OF_IMAGES},
    }


def codecs_for(compression: str | None, dtype: np.dtype[Any]) -> list[Any]:
    """Return the codecs of a new array: a compressor, and a checksum of each chunk.

    "auto" and "lz4": bytes of elements shuffled and compressed by LZ4, about as fast as the disk. "zstd": smaller
    files, slower. None: no compression.
    """
    codecs = zarr().codecs
    if compression not in ("auto", "lz4", "zstd", None):
        raise ArgumentError(
            f'compression is {compression!r}; "lz4", "zstd" or None is needed for Zarr. Write compression="zstd"'
        )
    shuffle = "shuffle" if dtype.itemsize > 1 else "bitshuffle"
    name, level = ("zstd", 1) if compression == "zstd" else ("lz4", 5)
    blosc = codecs.BloscCodec(typesize=dtype.itemsize, cname=name, clevel=level, shuffle=shuffle)
    return [*([] if compression is None else [blosc]), codecs.Crc32cCodec()]


def _existing_target(array: Any, folder: Path | None, options: TargetOptions) -> ZarrTarget:
    """Return the target of an array that is there. Raises OutputError if it cannot take the result, with the reason."""
    layout, name = options.layout, str(folder or "the array of Zarr")
    if tuple(array.shape) != layout.shape or array.dtype != options.dtype:
        raise OutputError(
            f"{name} has shape {tuple(array.shape)} and dtype {array.dtype}; the result has {layout.shape} and "
            f"{options.dtype}. Write zarr.create_array(path, shape={layout.shape}, dtype={str(options.dtype)!r}, ...)"
        )
    if array.read_only:
        raise OutputError(f'{name} was opened to be read only. Write zarr.open_array(path, mode="r+")')
    steps = tuple(array.shards or array.chunks)
    for axis in layout.batch:
        if steps[axis] > 1 and layout.shape[axis] > 1:
            kind = "shards" if array.shards else "chunks"
            aligned = tuple(1 if a in layout.batch else step for a, step in enumerate(steps))
            raise OutputError(
                f"{name} has {kind} of {steps}, which images along axis {layout.names[axis]} share; whole {kind} "
                f"of one image at a time are written. Write zarr.create_array(path, {kind}={aligned}, ...)"
            )
    _check_exact(array, name)
    if folder is None and hasattr(array.store, "root"):
        folder = Path(array.store.root) / array.path
        array = open_node(folder, "r+")
    store = ZarrArray(folder, array.with_config({"write_empty_chunks": True}), layout, str(folder or name))
    store.writable = True
    created = {
        "chunks": tuple(array.chunks),
        "shards": array.shards and tuple(array.shards),
        "compressors": [*array.filters, *array.compressors],
    }
    return ZarrTarget(store.name, layout, options.dtype, created, None, store)


def _check_exact(array: Any, name: str) -> None:
    """Raise OutputError for codecs that change values: what is stored would not be what was computed."""
    sizes = (2,) * array.ndim
    noise = np.random.default_rng(0).integers(0, 256, 2**array.ndim * array.dtype.itemsize, np.uint8)
    values = noise.view(array.dtype) if array.dtype.kind != "b" else noise > 127
    version = array.metadata.zarr_format
    serializer = {"serializer": array.serializer} if version == 3 else {"order": array.metadata.order}
    try:
        sample = zarr().create_array(
            {},
            shape=sizes,
            chunks=sizes,
            dtype=array.dtype,
            filters=array.filters or None,
            compressors=array.compressors or None,
            zarr_format=version,
            **serializer,
        )
        sample[...] = values.reshape(sizes)
        kept = sample[...].tobytes() == values.tobytes()
    except Exception as error:  # of many kinds, one for each codec
        raise OutputError(f"{name} cannot be written: {type(error).__name__}: {error}. Use other codecs") from error
    if not kept:
        codecs = ", ".join(type(each).__name__ for each in (*array.filters, *array.compressors))
        raise OutputError(
            f"{name} has codecs that change values ({codecs}); what was computed would not be in it. Use codecs that "
            "keep all bits, such as compressors=zarr.codecs.ZstdCodec()"
        )


FORMAT = StoreFormat("Zarr", _open_path, _path_target)
