"""Chunks of input and output: those asked for, or the input's over the scale of the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tconv._arguments import shown
from tconv.errors import ArgumentError
from tconv.scale.chunks.axis_chunks import borders_of, output_borders, output_scale
from tconv.scale.chunks.image_axes import ImageAxes
from tconv.scale.chunks.lazy_input import LazyInput
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.regions import Sizes

Chunks = tuple[tuple[int, ...], ...]
_SMALL = 1 << 22
"""Bytes of the output of a store's block below which chunks of Dask's own size are better."""


def default_chunks(operator: TileOperator, given: LazyInput, axes: ImageAxes, sizes: Sizes, outputs: Sizes) -> Chunks:
    """Return the chunks of an output with these axes: those of the input over the scale, all channels in one."""
    images: Sequence[tuple[int, ...]]
    if given.chunks is not None:
        images = [given.chunks[axis] for axis in given.axes.images]
        spatial = [given.chunks[axis] for axis in given.axes.spatial]
    else:
        images = [(1,) * given.shape[axis] or (0,) for axis in given.axes.images]
        spatial = _blocks(operator, given, sizes, outputs)
    along = []
    for axis, parts in enumerate(spatial):
        scale, offset = output_scale(operator, sizes, axis)
        along.append(tuple(np.diff(output_borders(borders_of(parts), outputs[axis], scale, offset)).tolist()))
    return axes.ordered(images, (operator.channels[1],), along)


def _blocks(operator: TileOperator, given: LazyInput, sizes: Sizes, outputs: Sizes) -> list[tuple[int, ...]]:
    """Return chunks of an input without any: the blocks of its store, or whole numbers of them if they are small."""
    from dask.array.core import normalize_chunks

    block = given.block or (1,) * len(sizes)
    block = tuple(min(part, size) for part, size in zip(block, sizes, strict=True))
    of_output = operator.channels[1] * operator.result.itemsize * _product(outputs) / max(_product(sizes), 1)
    if of_output * _product(block) >= _SMALL:
        chosen = block
    else:  # in bytes of the output
        dtype = np.dtype((np.void, max(1, round(of_output))))
        chosen = tuple(
            parts[0] for parts in normalize_chunks("auto", sizes, dtype=dtype, limit="64MiB", previous_chunks=block)
        )
        chosen = tuple(
            min(size, max(part, each // part * part)) for each, part, size in zip(chosen, block, sizes, strict=True)
        )
    return [tuple(normalize_chunks((part,), (size,))[0]) for part, size in zip(chosen, sizes, strict=True)]


def _product(sizes: Sequence[int]) -> float:
    return float(np.prod(sizes, dtype=float))


def asked_chunks(chunks: Any, default: Chunks, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Chunks:
    """Return the chunks that were asked for, as sizes along each axis of the output. Raises ArgumentError.

    They are written as for Dask: a number, one per axis, sizes per axis, -1, "auto", None for the default, or a dict
    of some axes.
    """
    from dask.array.core import normalize_chunks

    if chunks is None:
        return default
    given = chunks
    try:
        if isinstance(chunks, Mapping):
            unknown = [axis for axis in chunks if not isinstance(axis, int) or not -len(shape) <= axis < len(shape)]
            if unknown:
                raise ValueError(f"there is no axis {unknown[0]!r}")
            of = {axis % len(shape): each for axis, each in chunks.items()}
            given = tuple(of.get(axis) for axis in range(len(shape)))
        if isinstance(given, tuple | list):
            given = tuple(
                each if own is None else own for own, each in zip(given, default, strict=len(given) == len(shape))
            )
        asked = normalize_chunks(given, shape, dtype=dtype, previous_chunks=default)
        found = tuple(tuple(int(size) for size in sizes) for sizes in asked)
        if any(min(sizes, default=0) < (length > 0) for sizes, length in zip(found, shape, strict=True)):
            raise ValueError("every chunk needs at least 1 element")
    except (ValueError, TypeError, KeyError, NotImplementedError, IndexError, ZeroDivisionError) as error:
        reason = "every chunk needs at least 1 element" if isinstance(error, ZeroDivisionError) else error
        raise ArgumentError(
            f"chunks is {shown(chunks)}, which does not fit the output {shape}: {reason}. Write a number per axis, as "
            f"chunks={tuple(max(sizes) for sizes in default)}"
        ) from None
    return found


def input_chunks(operator: TileOperator, asked: Chunks, axes: ImageAxes, given: LazyInput, sizes: Sizes) -> Chunks:
    """Return the chunks of an input in memory that lie under those of the output."""
    along = []
    for axis, (place, size) in enumerate(zip(axes.spatial, sizes, strict=True)):
        scale, offset = output_scale(operator, sizes, axis)
        borders = [round((border - offset) / scale) for border in borders_of(asked[place])[1:-1]] if scale else []
        inner = sorted({border for border in borders if 0 < border < size})
        along.append(tuple(stop - start for start, stop in pairwise((0, *inner, size))))
    channels = 1 if given.axes.channel is None else given.shape[given.axes.channel]
    return given.axes.ordered([asked[axis] for axis in axes.images], (channels,), along)
