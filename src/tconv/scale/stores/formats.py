"""Formats of images on disk by the endings of their names, and arrays of other libraries: one registry.

Each format is a module of this package, named in `_MEMBERS`, with a `FORMAT` in it. It is imported when it is needed.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import shown
from tconv.errors import ArgumentError, FileError, ShapeError
from tconv.scale.stores.axis_layout import Axes, AxisLayout, bare_axes
from tconv.scale.stores.store import ImageSource, ImageTarget


@dataclass(frozen=True)
class SourceOptions:
    """Parts of a file to read, and its axes."""

    ndim: int = 2
    """spatial axes of the operator"""
    level: int | None = None
    """level of a pyramid"""
    page: int | None = None
    """page of a file with several"""
    axes: Axes | None = None
    """names of the stored axes in order, if the file's own are not to be used"""


@dataclass(frozen=True)
class TargetOptions:
    """An output that is to be written."""

    layout: AxisLayout
    """stored order of axes and sizes; `layout.image_shape` is [N, C', *sizes']"""
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None = None
    """sizes along the spatial axes of what is compressed together"""
    shards: tuple[int, ...] | None = None
    """sizes along the spatial axes of what is one file"""
    compression: str | None = "auto"
    """codec: "auto", None for none, or a name that the format knows"""
    like: ImageSource | None = None
    """input whose metadata the output keeps"""


class StoreFormat(NamedTuple):
    """One format of files."""

    name: str
    open_path: Callable[[Path, str, SourceOptions], ImageSource]
    """function of a path, a place in it ("" or "group/array") and options"""
    target: Callable[[Path, str, TargetOptions], ImageTarget]
    """function of a final path, a place in it and options; it makes nothing on the disk"""


_MEMBERS = {
    ".ome.zarr": "ome_zarr",
    ".zarr": "zarr_store",
    ".npy": "array_file",
    ".tiff": "tiff_store",
    ".tif": "tiff_store",
    ".btf": "tiff_store",
    ".svs": "tiff_store",
    ".ndpi": "tiff_store",
    ".scn": "tiff_store",
}
"""Module of each ending; longer endings stand before shorter ones that they contain."""
_READ_ONLY = ".svs", ".ndpi", ".scn"
"""Endings of scanners' own kinds of TIFF, which are not written."""
_OBJECTS = {
    "zarr": "zarr_store:source_of_object",
    "dask": "lazy_arrays:dask_source",
    "xarray": "lazy_arrays:xarray_source",
    "numpy": "array_file:source_of_object",
}
"""Opener of the objects of each library, a function of the object and `SourceOptions`."""
_URL = "://"


def open_source(
    source: Any, *, ndim: int = 2, level: int | None = None, page: int | None = None, axes: Axes | None = None
) -> ImageSource:
    """Return the images [N, C, *sizes] of a path or an array, to be read region by region.

    >>> import numpy as np
    >>> open_source(np.zeros((3, 30, 40), np.float32)).shape
    (1, 3, 30, 40)
    >>> open_source(np.zeros((30, 40, 3), np.float32), axes="YXC").shape
    (1, 3, 30, 40)

    source: a path (.npy, .zarr, "file.zarr/group/array", .ome.zarr, .tif, .tiff, .btf), or an array of NumPy (memory
    maps too), Zarr, Dask or xarray. ndim: spatial axes of the operator. level: of a pyramid, 0 the largest. page: of a
    file with several. axes: names of the stored axes in order, "YXC" or "TCZYX"; C are channels, the last `ndim` of Z,
    Y and X space, all others count images. Without it the file's own names hold, or else the rank: [*sizes],
    [C, *sizes], [N, C, *sizes].

    Raises FileError for files that are missing, damaged or of no known format, ShapeError and ArgumentError for axes
    that do not fit.
    """
    if axes is not None and not isinstance(axes, (str, list, tuple)):
        raise ArgumentError(
            f'axes is {shown(axes)}; names of axes in order are needed. Write axes="TCZYX", for example'
        )
    options = SourceOptions(ndim, level, page, axes)
    if isinstance(source, (str, os.PathLike)):
        path, inner, member = _located(source, reading=True)
        try:
            opened: ImageSource = member.open_path(path, inner, options)
        except (ShapeError, ArgumentError) as error:
            if path.name in str(error):
                raise
            raise type(error)(f"{source}: {error}") from None
        return opened
    if hasattr(source, "read_bytes") and hasattr(source, "identity"):  # an ImageSource
        return source  # type: ignore[no-any-return]
    library = type(source).__module__.partition(".")[0]
    if library not in _OBJECTS:
        raise ArgumentError(
            f"source is a {type(source).__module__}.{type(source).__qualname__}; a path or an array of NumPy, Zarr, "
            "Dask or xarray is needed. Write numpy.asarray(source), for example"
        )
    module, _, function = _OBJECTS[library].partition(":")
    made: ImageSource = getattr(_module(module), function)(source, options)
    return made


def target_for(
    output: Any,
    shape: tuple[int, ...],
    dtype: Any,
    *,
    chunks: int | tuple[int, ...] | None = None,
    shards: int | tuple[int, ...] | None = None,
    compression: str | None = "auto",
    like: ImageSource | None = None,
) -> ImageTarget:
    """Return an output [N, C', *sizes'] that is written in whole units; nothing is made on the disk yet.

    output: a path by its ending, or a writable zarr.Array or numpy.memmap or array, whose shape and dtype must be
    those of the result in the input's order of axes. like: the input, whose axes, names and metadata the output keeps.
    chunks, shards: sizes along the spatial axes. compression: "auto", None or a codec of the format.

    Raises FileError for formats that are not known, ShapeError and DtypeError for outputs that do not fit.
    """
    layout = output_layout(shape, like)
    sizes = len(shape) - 2
    native = np.dtype(dtype).newbyteorder("=")
    options = TargetOptions(
        layout, native, _sizes("chunks", chunks, sizes), _sizes("shards", shards, sizes), compression, like
    )
    if isinstance(output, (str, os.PathLike)):
        path, inner, member = _located(output, reading=False)
        target: ImageTarget = member.target(path, inner, options)
        return target
    library = type(output).__module__.partition(".")[0]
    if library not in ("zarr", "numpy"):
        raise ArgumentError(
            f"output is a {type(output).__module__}.{type(output).__qualname__}; a path, a zarr.Array or a NumPy array "
            'is needed. Write output="result.zarr", for example'
        )
    made: ImageTarget = _module(_OBJECTS[library].partition(":")[0]).target_of_object(output, options)
    return made


def output_layout(shape: tuple[int, ...], like: ImageSource | None) -> AxisLayout:
    """Return the stored axes of an output [N, C', *sizes']: those of the input, or [N, C', *sizes'] without one."""
    layout: AxisLayout = getattr(like, "layout", None) or bare_axes(like.shape if like else shape, len(shape) - 2)
    return layout.resized(shape)


def endings() -> tuple[str, ...]:
    """Return the endings of all formats."""
    return tuple(_MEMBERS)


def is_zarr_folder(path: Path) -> bool:
    """Return True for a folder that is an array or a group of Zarr, whatever its name."""
    return os.path.isdir(path) and any(os.path.lexists(path / name) for name in ("zarr.json", ".zarray", ".zgroup"))


def _located(given: str | os.PathLike[str], reading: bool) -> tuple[Path, str, StoreFormat]:
    """Return the path of a file or store, the place in it, and its format."""
    text = os.fspath(given)
    if _URL in text:
        raise FileError(
            f"{text} is the address of a remote store; a path on this machine's disks is needed. Download it, or write "
            "source=zarr.open_array(address) for an array of Zarr"
        )
    if "\0" in text:
        raise FileError(f"{text!r} has a null character, which no path has. Write it without")
    path = Path(text)
    for count in range(1, len(path.parts) + 1):
        part = path.parts[count - 1].lower()
        ending = next((ending for ending in _MEMBERS if part.endswith(ending)), None)
        if ending and (count == len(path.parts) or ending.endswith(".zarr")):
            inner = "/".join(path.parts[count:])
            if ending in _READ_ONLY and not reading:
                raise FileError(f"{path} has an ending that is only read; .tif is written. Write {path.stem}.tif")
            return Path(*path.parts[:count]), inner, format_of(ending)
    if reading and is_zarr_folder(path):
        return path, "", format_of(".zarr")
    if reading and not os.path.exists(path):
        raise FileError(f"{path} does not exist; a path to read is needed. Use the path of a file that is there")
    known = [ending for ending in _MEMBERS if reading or ending not in _READ_ONLY]
    raise FileError(
        f"{path} has an ending of no known format; one of {', '.join(known)} is needed. "
        f"Write {path.stem}.zarr, for example"
    )


def format_of(ending: str) -> StoreFormat:
    """Return the format of an ending."""
    found: StoreFormat = _module(_MEMBERS[ending]).FORMAT
    return found


def _module(name: str) -> Any:
    return importlib.import_module(f"tconv.scale.stores.{name}")


def _sizes(name: str, given: int | tuple[int, ...] | None, count: int) -> tuple[int, ...] | None:
    if given is None:
        return None
    entries = (given,) * count if isinstance(given, int) else tuple(given)
    if len(entries) != count or any(
        isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in entries
    ):
        raise ArgumentError(
            f"{name} is {given!r}; one number of at least 1 for each of {count} spatial axes is needed. "
            f"Write {name}=512, for example"
        )
    return tuple(int(n) for n in entries)
