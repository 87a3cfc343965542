"""`conv_transpose` and `apply`: lazy arrays of Dask, with the bits of the whole image, whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arguments import shown
from tconv.errors import ArgumentError, ArrayError, DtypeError, MissingExtraError, ShapeError
from tconv.geometry import Geometry
from tconv.scale.chunks.axis_chunks import axis_chunks, borders_of, output_borders, output_scale
from tconv.scale.chunks.chunk_plan import ChunkPlan
from tconv.scale.chunks.image_axes import ImageAxes
from tconv.scale.chunks.shared_object import Shared
from tconv.scale.operators.tile_operator import TileOperator
from tconv.streaming.layer_digest import fingerprint


def lazy(kind: str, operator: TileOperator, array: Any, axes: ImageAxes, chunks: Any) -> Any:
    """Return the lazy output of an operator, in the axes of the array."""
    from dask.array.core import normalize_chunks
    from tconv.scale.chunks.graph import lazy_array

    given = array
    _check(operator, given, axes)
    if axes.channel is not None and len(given.chunks[axes.channel]) > 1:
        given = given.rechunk({axes.channel: -1})
    sizes = tuple(given.shape[axis] for axis in axes.spatial)
    outputs = operator.output_sizes(sizes)
    shape = axes.shape([given.shape[axis] for axis in axes.images], operator.channels[1], outputs)
    default = _default_chunks(operator, given.chunks, axes, sizes, outputs)
    asked = default if chunks is None else _asked_chunks(chunks, default, shape, operator.result, normalize_chunks)
    images = {axis: asked[axis] for axis in axes.images if asked[axis] != given.chunks[axis]}
    if images:
        given = given.rechunk(images)
    spatial = tuple(
        axis_chunks(operator, sizes, number, borders_of(given.chunks[axis]), borders_of(asked[axis]))
        for number, axis in enumerate(axes.spatial)
    )
    plan = ChunkPlan(
        Shared(fingerprint(operator), operator), axes, tuple(borders_of(asked[axis]) for axis in axes.images), spatial, sizes
    )
    result = lazy_array(kind, plan, given, None)
    if axes.channel is not None and len(asked[axes.channel]) > 1:
        result = result.rechunk({axes.channel: asked[axes.channel]})
    return result


def _check(operator: TileOperator, array: Any, axes: ImageAxes) -> None:
    if any(np.isnan(size) for size in array.shape):
        raise ShapeError(
            f"the array has shape {array.shape}, with chunks of unknown sizes; sizes decide the chunks of the output. "
            "Write array.compute_chunk_sizes()"
        )
    channels = 1 if axes.channel is None else array.shape[axes.channel]
    if channels != operator.channels[0]:
        raise ShapeError(
            f"the array has shape {array.shape} with {channels} channels; {operator.name} has "
            f"{operator.channels[0]}. Write axes= if another axis has them"
        )
    if array.dtype != operator.dtype:
        raise DtypeError(
            f"the array is {array.dtype}; the weights are {operator.dtype}, and mixed dtypes are refused. Write "
            f"array.astype({operator.dtype.name!r})"
        )


def _default_chunks(operator: Any, chunks: Any, axes: ImageAxes, sizes: Any, outputs: Any) -> tuple[tuple[int, ...], ...]:
    found = list(chunks)
    if axes.channel is not None:
        found[axes.channel] = (operator.channels[1],)
    for number, axis in enumerate(axes.spatial):
        scale, offset = output_scale(operator, sizes, number)
        borders = output_borders(borders_of(chunks[axis]), outputs[number], scale, offset)
        found[axis] = tuple(np.diff(borders).tolist())
    return tuple(found)


def _asked_chunks(chunks: Any, default: Any, shape: Any, dtype: Any, normalize: Any) -> tuple[tuple[int, ...], ...]:
    """Return the chunks that were asked for, as a tuple of sizes per axis. Raises ArgumentError."""
    if isinstance(chunks, dict):
        chunks = tuple(chunks.get(axis, chunks.get(axis - len(shape), sizes)) for axis, sizes in enumerate(default))
    try:
        asked = normalize(chunks, shape, dtype=dtype, previous_chunks=default)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise ArgumentError(
            f"chunks is {shown(chunks)}, which does not fit an output {shape}: {error}. Write a number per axis, as "
            f"chunks={tuple(max(sizes) for sizes in default)}"
        ) from None
    return tuple(tuple(map(int, sizes)) for sizes in asked)
