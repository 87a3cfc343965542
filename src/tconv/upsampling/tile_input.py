"""Pictures that are read tile by tile: where they come from, and what their numbers mean."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.io import array_files
from tconv.io.picture import Picture
from tconv.io.picture_reading import ENDINGS as PICTURE_ENDINGS
from tconv.io.picture_reading import open_picture
from tconv.io.picture_writing import samples_of
from tconv.scale.stores.axis_layout import named_axes
from tconv.scale.stores.formats import endings, is_zarr_folder, open_source
from tconv.scale.stores.memory_array import ArraySource
from tconv.scale.stores.raw_file import file_errors
from tconv.scale.stores.store import ImageSource
from tconv.upsampling.file_run import upsampler_for
from tconv.upsampling.image_checks import check_array
from tconv.upsampling.inputs import Batch, PictureInput, Shape, is_feature_file
from tconv.upsampling.option_names import Naming
from tconv.upsampling.stored_values import StoredValues
from tconv.upsampling.tile_options import TileOptions
from tconv.upsampling.upsampler import Upsampler
from tconv.upsampling.upsampler_selection import Selection

_LAZY = ("zarr", "dask", "xarray")
"""Libraries whose arrays are larger than memory."""


class TileInput(NamedTuple):
    """Images [N, C, H, W] that are read tile by tile, and the meaning of their values."""

    source: ImageSource
    batch: Batch
    notes: list[str]
    path: Path | None
    stem: str
    """First part of the default output name."""


def is_lazy(image: Any) -> bool:
    """Return True for an array of Zarr, Dask or xarray."""
    return type(image).__module__.partition(".")[0] in _LAZY


def is_deferred(image: Any) -> bool:
    """Return True for an array whose values are computed later: of Dask, or one of xarray that has chunks."""
    return (
        is_lazy(image) and type(image).__module__.partition(".")[0] != "zarr" and bool(getattr(image, "chunks", None))
    )


def is_store(path: Path) -> bool:
    """Return True for a path into a Zarr store; a file of another kind in a folder whose name ends so is none."""
    if path.suffix.lower() in (*PICTURE_ENDINGS, *array_files.ENDINGS) and not os.path.isdir(path):
        return False
    if any(part.lower().endswith(".zarr") for part in path.parts):
        return True
    return is_zarr_folder(path)


def is_tiled(image: Any, output: Any, options: TileOptions) -> bool:
    """Return True for a call that works tile by tile: its options say so, or it reads or writes a Zarr store."""
    read = is_store(image) if isinstance(image, Path) else is_lazy(image)
    is_path = isinstance(output, (str, os.PathLike)) and isinstance(os.fspath(output), str)
    written = is_path and (is_store(Path(output)) or str(output).lower().endswith(".btf"))
    return bool(options.given) or read or written


def is_of_tiles(path: Path) -> bool:
    """Return True for a path of a format that is read and written tile by tile."""
    return is_store(path) or path.name.lower().endswith(endings())


def open_tiles(
    image: Any, selection: Selection, alpha: bool | None, options: TileOptions
) -> tuple[TileInput, Upsampler]:
    """Return the input of a path or an array, and the upsampler of its pictures. No pixels are read.

    Raises FileError, ArgumentError, ShapeError, DtypeError, MissingExtraError.
    """
    path, axes = image if isinstance(image, Path) else None, options.axes
    if path is not None and not is_of_tiles(path):
        return _whole_picture(path, selection, alpha, options)
    if path is None and axes is None:
        axes = axes_of(image)
    if isinstance(image, np.ndarray) and options.axes is None:
        check_array(image, "image", alpha)
    source = open_source(image, ndim=2, level=options.level, page=options.page, axes=axes)
    if len(source.shape) != 4 or 0 in source.shape:
        shape = getattr(getattr(source, "layout", None), "shape", source.shape)
        raise ShapeError(f"{source.name} has shape {shape}; no axis may be empty. Use another one")
    picture = getattr(source, "picture", None)
    if picture is not None:
        return _of_picture(source, picture, path, selection, alpha)
    is_pixels = isinstance(image, np.ndarray) and options.axes is None
    notes = [] if options.axes else _notes_on_axes(source, selection.naming)
    return _of_values(source, path, selection, alpha, is_pixels, notes)


def axes_of(image: Any) -> str | None:
    """Return the axes of an array of NumPy or Dask as `tconv.upsample` reads it: channels last; None for stores."""
    if type(image).__module__.partition(".")[0] in ("zarr", "xarray"):
        return None
    if not isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[0] <= 4 < image.shape[2]:
        raise ShapeError(
            f"image has shape {image.shape}, which looks like [C, H, W]; channels last are usual, [H, W, C]. Write "
            'axes="CYX", or axes="YXC" if the channels are last'
        )
    return {2: "YX", 3: "YXC"}.get(image.ndim)


def _notes_on_axes(source: ImageSource, naming: Naming) -> list[str]:
    """Return a note for a store without names of axes that looks like [H, W, C], since it is read as [C, H, W]."""
    _, channels, height, width = source.shape
    if getattr(source, "named", False) or not width <= 4 < channels:
        return []
    return [f"read as {channels} channels of {width} x {height}; {naming.example('axes', 'YXC')} if channels are last"]


def _whole_picture(
    path: Path, selection: Selection, alpha: bool | None, options: TileOptions
) -> tuple[TileInput, Upsampler]:
    """Return a picture of another format, which is read as a whole: it counts as memory that is there at the start."""
    for name in ("level", "page", "axes"):
        if getattr(options, name) is not None:
            raise ArgumentError(
                f"{selection.naming.name(name)} was given, and {path} has none; TIFF and Zarr have. Leave it out"
            )
    if path.suffix.lower() == ".npz":
        raise ArgumentError(f"{path} is an archive, which is not read tile by tile. Use .npy files")
    picture = open_picture(path)
    source = PictureSourceOfFile(picture.read(), path)
    source.description = picture.description
    source.picture = _with_samples(picture)
    return _of_picture(source, picture, path, selection, alpha)


class PictureSourceOfFile(ArraySource):
    """A picture of a file, [C, H, W], that is decoded as a whole."""

    picture: Picture
    """Facts of the file beside its pixels."""

    def __init__(self, array: Array, path: Path) -> None:
        pixels = np.moveaxis(array, 0, 2) if len(array) > 1 else array[0]
        super().__init__(pixels, named_axes("YXC"[: pixels.ndim], pixels.shape, 2), str(path))
        self._path = path

    def identity(self) -> dict[str, Any]:
        """Return shape, dtype and path, and size and time of the file."""
        with file_errors(self._path, "read"):
            status = self._path.stat()
        return {**super().identity(), "modified": [str(self._path), status.st_size, status.st_mtime_ns]}


def _of_picture(
    source: ImageSource, picture: Any, path: Path | None, selection: Selection, alpha: bool | None
) -> tuple[TileInput, Upsampler]:
    """Return the input of a picture, whose file says what its channels are."""
    if alpha is not None and alpha != picture.alpha:
        samples = picture.samples
        at_end = samples is None or samples.alpha_at in (None, picture.shape[0] - 1)
        if alpha or not at_end:
            raise ArgumentError(
                f"{selection.naming.flag('alpha') if alpha else selection.naming.off('alpha')} was given for "
                f"{source.name}, whose file says otherwise; tiles keep the channels of the file. Leave it out"
            )
    upsampler = selection.for_pictures()
    opened = PictureInput(picture, upsampler.mixes)
    batch = opened.batches[""]
    batch = batch._replace(shape=_shape(source))
    if alpha is False:
        plain = StoredValues(picture.dtype)
        batch = batch._replace(values=plain, stated=None if batch.stated is None else plain, may_be_bands=False)
    notes = list(picture.notes)
    if source.shape[0] > 1:
        notes.append(f"all {source.shape[0]:,} pages; {selection.naming.example('page', 0)} takes the first")
    upsampler = upsampler_for(source.name, selection, upsampler, [batch], notes, alpha)
    stem = _stem(Path(source.name) if path is None else path)
    return TileInput(source, batch, notes, path, stem), upsampler.fitted(*source.shape[2:])


def _of_values(
    source: ImageSource,
    path: Path | None,
    selection: Selection,
    alpha: bool | None,
    is_pixels: bool,
    notes: list[str],
) -> tuple[TileInput, Upsampler]:
    """Return the input of an array or a store: of a NumPy array the pixels, else feature maps or bands."""
    channels, dtype = source.shape[1], source.dtype
    if path is not None and is_feature_file(path):
        upsampler = selection.for_feature_maps(path)
    else:
        upsampler = selection.for_pictures() if is_pixels or not selection.is_open else selection.for_feature_maps(path)
    has_alpha = (is_pixels and channels in (2, 4)) if alpha is None else alpha
    if has_alpha and channels == 1:
        raise ShapeError(f"{source.name} has one channel and alpha=True; opacity needs another one. Write alpha=None")
    values = StoredValues(dtype, has_alpha and not upsampler.mixes)
    if has_alpha:
        picture = Picture(Path("image"), _shape(source)[1:], dtype, True, "", [])
        source.picture = _with_samples(picture)  # type: ignore[attr-defined]
    batch = Batch(_shape(source), values, bands=not is_pixels and channels - has_alpha not in (1, 3))
    upsampler = upsampler_for(source.name, selection, upsampler, [batch], notes, alpha)
    stem = "image" if path is None else _stem(path)
    return TileInput(source, batch, notes, path, stem), upsampler.fitted(*source.shape[2:])


def _stem(path: Path) -> str:
    """Return the name of a file or store without its ending: of two stores scan.1.zarr and scan.2.zarr two names."""
    name = path.name
    return name[: -len(".ome.zarr")] if name.lower().endswith(".ome.zarr") else path.stem


def _with_samples(picture: Picture) -> Picture:
    """Return a picture whose opacity is called so, as TIFF does."""
    return replace(picture, samples=picture.samples or samples_of(picture.shape[0], picture.alpha))


def _shape(source: ImageSource) -> Shape:
    n, channels, height, width = source.shape
    return n, channels, height, width


def refuse_unlike_whole(upsampler: Upsampler, dtype: np.dtype[Any], name: str) -> None:
    """Raise DtypeError for complex numbers and a kernel across channels: NumPy's sums depend on the width of a tile."""
    if dtype.kind == "c" and upsampler.mixes:
        raise DtypeError(
            f"{name} has dtype {dtype}, and the kernel goes across channels; tiles of those differ in their last bits. "
            "Enlarge the real and the imaginary part, two arrays"
        )
