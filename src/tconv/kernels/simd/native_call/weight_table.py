"""Packing in machine code, so that a weight that changes in every step of a training needs no Python.

The direct forms put the weight's numbers in another order: a table has the index of the number that comes to each
place. The form's own packing of arrays of indices shows it. The forms with fewer multiplications add numbers of several
taps up, with signs, in the same order for all channels: their table has the indices of one tap, and for each product
the taps and signs. Places without a number (columns that fill a vector) are 0.

Both arrays are walked through in pieces that fit into the caches: the packed one is cut into segments, and the segments
are packed in the order in which the weight has their numbers.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._fork import own_in_forks
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.bfloat16_dot import direct_elements
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.form import Form
from tconv.kernels.simd.native_call import weight_gather
from tconv.kernels.simd.native_call.weight_gather import copy_address, sums_address
from tconv.kernels.simd.winograd_channels.tiling import filtered_layer
from tconv.kernels.simd.winograd_f22.algebra import filtered_geometry
from tconv.kernels.simd.winograd_f22.tiling import channel_blocks
from tconv.kernels.simd.winograd_f22.weight_packing import LARGEST

MOST_NUMBERS = 1 << 24
"""Numbers of a weight above which there is no table: it would have 64 MiB and more."""
_SEGMENT = 64
"""Numbers of a segment: some cache lines."""
_SEGMENTS_OF_PART = 256
"""Segments of a part, which one thread packs: some tens of microseconds."""


class WeightTable:
    """Table of a layer, a form and a layout of the weight: a function of machine code, and its parts."""

    def __init__(self, function: int, parts: list[dict[int, int]], used: list[Array], scratch: int = 0) -> None:
        self._parts, self._used = np.zeros((len(parts), weight_gather.PART), np.int64), used
        for row, part in zip(self._parts, parts, strict=True):
            row[[*part]] = [*part.values()]
        self.function, self.scratch = function, scratch
        self.count, self.address = len(parts), int(self._parts.ctypes.data)


_tables: weakref.WeakValueDictionary[Any, WeightTable] = weakref.WeakValueDictionary()
_lock = threading.RLock()
own_in_forks(_lock)


def table_of(form: Form, layer: Layer, layout: Any, shape: tuple[int, ...], build: bool = True) -> WeightTable | None:
    """Return the table for native weights of this shape; None if they are too large for one.

    Without `build` None, too, if there is none yet.
    """
    if math.prod(shape) > MOST_NUMBERS:
        return None
    key = form.name, layer, layout, shape
    with _lock:
        found = _tables.get(key)
    if found is not None or not build:
        return found
    # without the lock: a fork waits for it after that of the object cache
    made = (_table_of_sums if form.name.startswith("winograd") else _table_of_places)(form, layer, layout, shape)
    with _lock:
        return _tables.setdefault(key, made)


def scratch_bytes(form: Form, layer: Layer) -> int:
    """Return the bytes of scratch memory of a thread that packs with a table."""
    taps = math.prod(layer.geometry.kernel) if form.name.startswith("winograd") else 0
    return taps * _SEGMENT * elements_of(layer.dtype).summed_size


def _canonical(array: Array, layout: Any, layer: Layer) -> Array:
    return array if layout is None else layout.canonical(array, layer.geometry.groups)


def _segments(indices: Array, begin: int, size: int) -> tuple[list[dict[int, int]], list[Array]]:
    """Return parts of a table for neighbouring places from `begin` on, of numbers of this size, and their arrays."""
    length = min(_SEGMENT, len(indices))
    starts = np.arange(0, len(indices), length)
    starts[-1] = len(indices) - length  # whole, too: it shares numbers with the one before
    cut = indices[starts[:, None] + np.arange(length)]
    order = np.argsort(np.where(cut < 0, -1 - cut, cut).min(axis=1), kind="stable")
    places, cut = (begin + starts[order]) * size, np.ascontiguousarray(cut[order], np.int32)
    parts = [
        {
            weight_gather.PLACES: places[first:].ctypes.data,
            weight_gather.INDICES: cut[first:].ctypes.data,
            weight_gather.SEGMENTS: min(_SEGMENTS_OF_PART, len(places) - first),
            weight_gather.LENGTH: length,
        }
        for first in range(0, len(places), _SEGMENTS_OF_PART)
    ]
    return parts, [places, cut]


# -- another order ----------------------------------------------------------------------------------------------------


def _table_of_places(form: Form, layer: Layer, layout: Any, shape: tuple[int, ...]) -> WeightTable:
    """Return the table of a form that changes nothing but the order."""
    elements = direct_elements(layer)
    indices = _indices(form, layer, layout, shape, elements.dot)
    return WeightTable(copy_address(elements), *_segments(indices, 0, 2 if elements.dot else elements.summed_size))


def _indices(form: Form, layer: Layer, layout: Any, shape: tuple[int, ...], halves: bool) -> Array:
    """Return the index of the number at each place, -1 where there is none."""
    size, dtype = math.prod(shape), layer.dtype
    digits = 128 if dtype.itemsize == 2 else 1 << 23
    extent = tuple(max(2, extent) for extent in layer.geometry.extent)
    p = Problem(layer.geometry, 1, layer.in_channels, layer.out_channels, extent, dtype)
    indices, factor = None, 1
    while indices is None or factor < size:
        # a digit of the index, and 1 more: exact in the dtype, and 0 is a place without a number
        native = (np.arange(size) // factor % digits + 1).astype(dtype).reshape(shape)
        packed = form.pack_weight(p, _canonical(native, layout, layer))
        digit = (packed.view(dtype) if halves else packed).astype(np.int32) - 1
        indices = digit if indices is None else np.where(digit < 0, -1, indices + digit * factor)
        factor *= digits
    return indices


# -- sums of taps -----------------------------------------------------------------------------------------------------


def _table_of_sums(form: Form, layer: Layer, layout: Any, shape: tuple[int, ...]) -> WeightTable:
    """Return the table of a form that adds taps up. It has one group."""
    elements, g = elements_of(layer.dtype), layer.geometry
    indices = _canonical(np.arange(math.prod(shape), dtype=np.int32).reshape(shape), layout, layer)
    by_tap = indices.reshape(*indices.shape[:2], -1)
    distances = np.ascontiguousarray(by_tap[0, 0] - by_tap[0, 0, 0], np.int64)
    kernel = g.kernel if g.ndim > 1 else (1, *g.kernel)
    terms = []
    products = [each.taps for chunk in filtered_geometry(g).chunks for each in chunk.products]
    for taps in products:
        numbers = [(int(np.ravel_multi_index(tap, kernel)), sign) for tap, sign in taps]
        terms += [len(taps), *(number for term in numbers for number in term)]
    flat = np.array(terms, np.int64)
    parts: list[dict[int, int]] = []
    used = [distances, flat]
    blocks = _blocks_of_channels if form.name == "winograd_channels" else _blocks_of_rows
    for begin, places in blocks(layer, by_tap[:, :, 0]):
        more, arrays = _segments(places, begin, elements.summed_size)
        for part in more:
            part[weight_gather.STEP] = len(places) * elements.summed_size
            part[weight_gather.DISTANCES], part[weight_gather.TAPS] = distances.ctypes.data, len(distances)
            part[weight_gather.TERMS], part[weight_gather.PRODUCTS] = flat.ctypes.data, len(products)
        parts += more
        used += arrays
    return WeightTable(sums_address(elements, LARGEST[elements.summed]), parts, used)


def _filled(first: Array, width: int) -> Array:
    """Return the indices [C_in, width] of a tap; below 0 beyond the output channels."""
    wide = np.full((len(first), width), -1 - first[0, 0], np.int32)
    wide[:, : first.shape[1]] = first
    return wide


def _blocks_of_rows(layer: Layer, first: Array) -> Iterator[tuple[int, Array]]:
    """Yield the one block of `winograd_f22`: its place, and one product [block][channel][row of the block]."""
    blocks = channel_blocks(layer.out_channels)
    wide = _filled(first, blocks.total * blocks.size).reshape(layer.in_channels, blocks.total, blocks.size)
    yield 0, wide.transpose(1, 0, 2).ravel()


def _blocks_of_channels(layer: Layer, first: Array) -> Iterator[tuple[int, Array]]:
    """Yield the blocks of `winograd_channels`: place, and one product [channel][column of the block]."""
    filtered, lanes = filtered_layer(layer), elements_of(layer.dtype).lanes
    wide, column = _filled(first, sum(filtered.blocks) * lanes), 0
    for width in (vectors * lanes for vectors in filtered.blocks):
        begin = filtered.geometry.product_count * layer.in_channels * column
        yield begin, wide[:, column : column + width].ravel()
        column += width
