"""Tiles and blocks of columns of the filtered form with lanes over output channels, and a thread's scratch memory."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.channel_lanes.microkernel import most_positions
from tconv.kernels.simd.channel_lanes.schedule import blocks_of, panel_pitch
from tconv.kernels.simd.direct.tiling import ceil, imbalance
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.winograd_f22.algebra import FilteredGeometry, filtered_geometry, filtered_lengths

_NEAR = 512 << 10
"""Bytes of the panel that stay in a core's own cache."""
_LINES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
_MOST_POSITIONS = 256
_MOST_SPLITS = 16


class FilteredLayer(NamedTuple):
    """Layer in the filtered form, for every size of x."""

    geometry: FilteredGeometry
    blocks: tuple[int, ...]
    """vectors of each block of output channels"""


@lru_cache(maxsize=256)
def filtered_layer(layer: Layer) -> FilteredLayer:
    """Return the filtered form of a layer."""
    return FilteredLayer(
        filtered_geometry(layer.geometry), blocks_of(layer.out_channels, elements_of(layer.dtype).lanes)
    )


class Tiles(NamedTuple):
    """Tiles of some lines of positions, whole or pieces, and ranges of blocks of output channels."""

    lines: int
    width: int
    segments: int
    row_tiles: int
    splits: int

    @property
    def total(self) -> int:
        """Number of tiles."""
        return self.segments * self.row_tiles * self.splits


@lru_cache(maxsize=256)
def pick_tiles(p: Problem, threads: int) -> Tiles:
    """Return the tiles with the least estimated cycles of all threads.

    Fitted to times on a Zen 4 core. A wrong estimate costs time, nothing else.
    """
    (geometry, blocks), sizes, elements = filtered_layer(p.layer), filtered_lengths(p), elements_of(p.dtype)
    lanes, size, channels = elements.lanes, elements.summed_size, p.in_channels
    all_lines, positions = p.batch * sizes.lines, sizes.fast.output_positions
    products, planes = geometry.product_count, geometry.blocks * geometry.planes
    most = min(len(blocks), _MOST_SPLITS if threads > 1 else 1)
    weights = products * channels * sum(blocks) * lanes * size
    best, least = Tiles(1, positions, 1, all_lines, 1), math.inf
    for lines in sorted({min(lines, all_lines) for lines in _LINES}):
        for width in sorted({ceil(positions, ceil(positions, width)) for width in _WIDTHS}):
            if lines * width > max(_MOST_POSITIONS, width):
                break
            segments, row_tiles = ceil(positions, width), ceil(all_lines, lines)
            many = lines * width
            total = segments * row_tiles
            multiply = 0.0
            for vectors in blocks:
                calls = ceil(many, most_positions(vectors))
                multiply += products * (channels * max(many * vectors, 4.0 * calls) + calls * (30 + 6 * vectors))
            panel = planes * many * channels * size
            multiply *= 1 + 0.005 * min(12.0, max(0.0, panel / _NEAR - 1))
            packing = many * planes * ceil(channels, lanes) * 3
            computing = total * (multiply + weights / 32)
            for splits in range(1, most + 1):
                cycles = computing + total * packing * splits
                if cycles >= least:
                    break
                cycles *= imbalance(total * splits, threads)
                if cycles < least:
                    best, least = Tiles(lines, width, segments, row_tiles, splits), cycles
    return best


class ScratchLayout(NamedTuple):
    """Places in a thread's scratch memory, in bytes; plane and pitch count numbers."""

    pitch: int
    plane: int
    zeros: int
    constants: int
    constants_size: int
    sums: int
    panel: int
    scratch: int


@lru_cache(maxsize=256)
def scratch_layout(layer: Layer, t: Tiles) -> ScratchLayout:
    """Return the layout of a thread's scratch memory."""
    (geometry, blocks), elements = filtered_layer(layer), elements_of(layer.dtype)
    lanes, size, pitch = elements.lanes, elements.summed_size, panel_pitch(layer.in_channels, elements)
    positions = t.lines * t.width
    plane = positions * pitch
    constants_size = layer.out_channels + 9 * lanes

    def after(place: int, numbers: int) -> int:
        return ceil(place + size * numbers, 64) * 64

    zeros = after(8 * HEAD, 0)
    constants = after(zeros, layer.in_channels + lanes)
    sums = after(constants, 2 * constants_size)
    panel = after(sums, geometry.rows * positions * max(blocks) * lanes)
    scratch = after(panel, geometry.blocks * geometry.planes * plane + 2 * lanes)
    return ScratchLayout(pitch, plane, zeros, constants, constants_size, sums, panel, scratch)


def lines_of(p: Problem, t: Tiles) -> set[int]:
    """Return the numbers of positions that a tile can have."""
    sizes = filtered_lengths(p)
    lines, positions = p.batch * sizes.lines, sizes.fast.output_positions
    widths = {t.width, positions % t.width or t.width}
    return {some * width for some in (t.lines, lines % t.lines or t.lines) for width in widths}
