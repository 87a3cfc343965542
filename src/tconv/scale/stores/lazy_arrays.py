"""Arrays of Dask and xarray as sources: a region is computed when it is read."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArrayError, FileError, MissingExtraError, ShapeError
from tconv.scale.regions import Region, Sizes, elements
from tconv.scale.stores.axis_layout import AxisLayout, layout_for, shape_in_words
from tconv.scale.stores.formats import SourceOptions
from tconv.scale.stores.memory_array import ArraySource, check_numbers
from tconv.scale.stores.store import ImageSource


class DaskSource:
    """Array of Dask, of which a region is computed by Dask's threads in this process.

    Dask computes whole chunks, and what they depend on: the memory for those that a region touches is counted, that of
    the array's own graph is not known. Chunks that two regions touch are computed twice.
    """

    def __init__(self, array: Any, layout: AxisLayout, name: str) -> None:
        self.array, self.layout, self.name = array, layout, name
        self.shape, self.dtype = layout.image_shape, array.dtype.newbyteorder("=")
        self.block: Sizes = layout.along_space(array.chunksize)
        self.description = (
            f"Dask array {shape_in_words(array.shape)} of {array.dtype}, chunks {shape_in_words(array.chunksize)}"
        )

    def read(self, image: int, region: Region) -> Array:
        """Return computed values [C, *region]. Raises FileError with the error of Dask's task."""
        try:
            values = self.array[self.layout.selection(image, region)].compute(scheduler="threads")
        except Exception as error:  # any error of the caller's own functions
            raise FileError(
                f"{self.name} cannot be computed: {type(error).__name__}: {error}. "
                "Call array[...].compute() on a part of it to see why"
            ) from error
        # a chunk that is computed may be memory of the caller's array
        return np.array(self.layout.to_image(np.asarray(values)), self.dtype, order="C")

    def read_bytes(self, region: Region) -> int:
        """Return the bytes of the values, twice, and of the chunks that they may touch."""
        chunks = self.array.chunksize
        touched = list(chunks)
        for axis, span in zip(self.layout.spatial, region, strict=True):
            count = -(-(span.stop - span.start) // chunks[axis]) + 1
            touched[axis] = min(count * chunks[axis], self.array.shape[axis])
        if self.layout.channel is not None:
            touched[self.layout.channel] = self.array.shape[self.layout.channel]
        values = self.shape[1] * elements(region)
        return int((2 * values + math.prod(touched)) * self.dtype.itemsize)

    def identity(self) -> dict[str, Any]:
        """Return shape and dtype. The names of Dask's tasks stay the same while the files that they read change."""
        return {"shape": list(self.layout.shape), "dtype": str(self.dtype), **self.layout.roles}

    def close(self) -> None:
        """Close nothing."""


def dask_source(array: Any, options: SourceOptions) -> ImageSource:
    """Return the source of an array of Dask. Raises ArrayError for other collections, ShapeError for unknown sizes."""
    try:
        import dask.array
    except ImportError:
        raise MissingExtraError("An array of Dask", "dask", "scale") from None
    if not isinstance(array, dask.array.Array):
        raise ArrayError(
            f"source is a {type(array).__name__} of Dask; a dask.array.Array is needed. Write x.to_dask_array()"
        )
    return _computed(array, options, None, "the array of Dask")


def _computed(array: Any, options: SourceOptions, names: Any, name: str) -> DaskSource:
    if any(math.isnan(size) for size in array.shape):
        raise ShapeError(f"{name} has chunks of unknown sizes. Write array.compute_chunk_sizes()")
    if not isinstance(array._meta, np.ndarray) or isinstance(array._meta, np.ma.MaskedArray):
        raise ArrayError(
            f"{name} has chunks of {type(array._meta).__name__}; arrays of NumPy are needed. "
            "Write array.map_blocks(numpy.asarray)"
        )
    check_numbers(array.dtype, name)
    return DaskSource(array, layout_for(tuple(array.shape), options.ndim, options.axes, names), name)


class _Variable:
    """Array of xarray that is read from its file by indexing."""

    def __init__(self, variable: Any) -> None:
        self.variable, self.shape, self.dtype = variable, variable.shape, variable.dtype

    def __getitem__(self, selection: tuple[slice, ...]) -> Array:
        return np.asarray(self.variable[selection].values)


def xarray_source(array: Any, options: SourceOptions) -> ImageSource:
    """Return the source of a DataArray: its dimensions are the axes, its attributes are kept.

    One that is backed by Dask is computed region by region, one of a file is read so. Coordinates are not kept.
    """
    import xarray

    if not isinstance(array, xarray.DataArray):
        raise ArrayError(
            f"source is an xarray.{type(array).__name__}; one DataArray is needed. Write dataset['name of a variable']"
        )
    names = [str(name) for name in array.dims]
    title = str(array.name or "the DataArray")
    check_numbers(array.dtype, title)
    source: Any
    if array.chunks is not None:
        source = _computed(array.data, options, names, title)
    else:
        layout = layout_for(array.shape, options.ndim, options.axes, names)
        inside = array.values if array.variable._in_memory else _Variable(array.variable)
        source = ArraySource(inside, layout, title)
    source.named, source.attributes = True, _plain(array.attrs)
    return source  # type: ignore[no-any-return]


def _plain(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Return those attributes that JSON can hold."""
    plain = {}
    for name, value in attributes.items():
        value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        with suppress(TypeError, ValueError):
            json.dumps(value, allow_nan=False)
            plain[str(name)] = value
    return plain
