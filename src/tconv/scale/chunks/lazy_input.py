"""Input of a lazy call: chunks of a Dask array, or a store of which each task reads its own window."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tconv.errors import ArrayError, MissingExtraError, ShapeError
from tconv.scale.chunks.image_axes import ImageAxes
from tconv.scale.job_fingerprint import MODIFIED
from tconv.scale.stores.axis_layout import layout_for
from tconv.scale.stores.formats import open_source
from tconv.scale.stores.store import ImageSource

Axes = ImageAxes | Any
"""Axes that are known, or names of them, or None to read them off the array."""


@dataclass
class LazyInput:
    """One of both: a lazy array, or a source."""

    axes: ImageAxes
    shape: tuple[int, ...]
    """in the order of the array's axes"""
    dtype: np.dtype[Any]
    array: Any = None
    """array of Dask, or of NumPy in memory, of which the chunks are still to be chosen"""
    source: ImageSource | None = None
    block: tuple[int, ...] = ()
    """sizes along the spatial axes of what the source decodes at once"""

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...] | None:
        """Chunks along the array's axes; None for stores, and for arrays in memory."""
        return getattr(self.array, "chunks", None)

    def identity(self) -> Any:
        """Return what names the tasks of this input."""
        if self.source is None:
            return self.array.name
        known = self.source.identity()
        if MODIFIED not in known:  # nothing tells two arrays apart, or two times of one
            return uuid.uuid4().hex
        return type(self.source).__name__, self.source.name, known


def read_input(array: Any, ndim: int, axes: Axes) -> LazyInput:
    """Return the input of a call. Raises ArrayError, FileError, ShapeError, ArgumentError."""
    require_dask()
    import dask.array

    kind = type(array).__module__.partition(".")[0]
    if isinstance(array, dask.array.Array) or (kind == "numpy" and not isinstance(array, np.memmap)):
        if isinstance(array, np.ma.MaskedArray) or not hasattr(array, "shape"):
            raise ArrayError(f"array is a {type(array).__name__}; a plain array is needed. Write array.filled(0)")
        refuse_unknown_sizes(array.shape)
        found = axes if isinstance(axes, ImageAxes) else ImageAxes.of_layout(layout_for(array.shape, ndim, axes, None))
        return LazyInput(found, array.shape, array.dtype, array)
    if not (kind in ("numpy", "zarr") or isinstance(array, (str, os.PathLike)) or hasattr(array, "identity")):
        raise ArrayError(
            f"array is a {type(array).__module__}.{type(array).__qualname__}; an array of Dask, NumPy, Zarr or xarray, "
            "or the path of one is needed. Write dask.array.from_array(array)"
        )
    names = axes.names if isinstance(axes, ImageAxes) else axes
    source: Any = open_source(array, ndim=ndim, axes=names)
    layout = source.layout
    return LazyInput(ImageAxes.of_layout(layout), layout.shape, source.dtype, source=source, block=tuple(source.block))


def refuse_unknown_sizes(shape: tuple[float, ...]) -> None:
    """Raise ShapeError for an array of Dask that does not know its sizes."""
    if any(math.isnan(size) for size in shape):
        raise ShapeError(
            f"the array has shape {shape}, with chunks of sizes that are not known (nan); they decide the chunks of "
            "the output. Write array.compute_chunk_sizes()"
        )


def require_dask() -> None:
    """Raise MissingExtraError if Dask is not installed."""
    try:
        import dask.array  # noqa: F401
    except ImportError:
        raise MissingExtraError("A lazy array", "dask", "scale") from None


def chunked(array: Any, chunks: Callable[[], Any]) -> Any:
    """Return an array of Dask: one in memory in the chunks that a function returns."""
    import dask.array

    return array if isinstance(array, dask.array.Array) else dask.array.from_array(array, chunks=chunks())
