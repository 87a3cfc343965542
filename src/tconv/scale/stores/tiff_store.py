"""TIFF and BigTIFF in the registry of formats."""

from __future__ import annotations

from pathlib import Path

from tconv.errors import ArgumentError
from tconv.scale.stores.formats import SourceOptions, StoreFormat, TargetOptions
from tconv.scale.stores.tiff_source import TiffSource
from tconv.scale.stores.tiff_target import TiffTarget, target_like


def _open(path: Path, inner: str, options: SourceOptions) -> TiffSource:
    """Return the pages of a TIFF file; a level is one of a pyramid, 0 the largest."""
    return TiffSource(path, ndim=options.ndim, level=options.level or 0, page=options.page, axes=options.axes)


def _target(path: Path, inner: str, options: TargetOptions) -> TiffTarget:
    """Return a tiled TIFF file. Raises ArgumentError for a compression."""
    if options.compression not in ("auto", None):
        raise ArgumentError(
            f"compression is {options.compression!r} for {path}; a TIFF file that is written by tiles is not "
            f"compressed: compression=None is needed. Write {path.stem}.zarr for a compressed output"
        )
    if options.shards is not None:
        raise ArgumentError(
            f"shards is {options.shards} for {path}; a TIFF file has tiles alone, chunks= is needed. "
            f"Write chunks={options.shards}"
        )
    return target_like(path, options.layout, options.dtype, options.chunks, options.like)


FORMAT = StoreFormat("TIFF", _open, _target)
