"""Tiles and blocks of channels of the filtered form, the estimate that picks them, and a thread's scratch memory."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd import epilogue_channels_last, microkernel
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.tiling import ceil, imbalance, odd_cache_lines
from tconv.kernels.simd.elements import elements_of
from tconv.kernels.simd.winograd_f22 import input_packing
from tconv.kernels.simd.winograd_f22.algebra import FilteredGeometry, filtered_geometry, filtered_lengths

_TERMS = 128
"""Input channels of a part: the rounding error is then near that of PyTorch's own sum."""
_SUMS = 384 << 10
"""Bytes of sums in memory at a time, unless one block of channels needs more."""
_TABLE_BYTES = 1500
"""Bytes of the tables, and of the objects that they are computed from, for each product."""
_BLOCKS = (6, 8, 5, 4, 3, 2, 1)
_LINES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_VECTORS = (2, 3, 4, 5, 6, 8, 12, 16)
_MOST_POSITION_BYTES = 1024
"""Bytes of the positions of a tile of whole rows: a plane of many channels stays in a core's own cache."""
_MOST_SPLITS = 16


class Tiles(NamedTuple):
    """Tiles of positions and ranges of output channels."""

    whole: bool
    lines: int
    width: int
    vectors: int
    segments: int
    row_tiles: int
    splits: int
    channels_last: bool
    """layout of the output"""

    @property
    def total(self) -> int:
        """Number of tiles."""
        return self.segments * self.row_tiles * self.splits


class ChannelBlocks(NamedTuple):
    """Blocks of output channels of equal size; the last may have channels that are not written."""

    size: int
    total: int
    vectors: int
    """vectors of positions that fit the registers with them"""


def channel_blocks(channels: int) -> ChannelBlocks:
    """Return the blocks that need the fewest multiply-adds."""
    size = min(_BLOCKS, key=lambda size: ceil(channels, size) * size / min(size, 4))
    return ChannelBlocks(size, ceil(channels, size), microkernel.most_vectors(size))


def ranges(channels: int) -> list[tuple[int, int]]:
    """Return the ranges of input channels, one for each part."""
    count = ceil(channels, _TERMS)
    return [(channels * i // count, channels * (i + 1) // count) for i in range(count)]


class FilteredLayer(NamedTuple):
    """Layer in the filtered form, for every size of x."""

    geometry: FilteredGeometry
    blocks: ChannelBlocks
    masks: int
    """distances at which elements are read"""


@lru_cache(maxsize=256)
def filtered_layer(layer: Layer) -> FilteredLayer:
    """Return the filtered form of a layer."""
    geometry = filtered_geometry(layer.geometry)
    return FilteredLayer(geometry, channel_blocks(layer.out_channels), len(input_packing.mask_distances(geometry)))


class TilesEstimate(NamedTuple):
    """Tiles of positions with a rough count of cycles: of the multiply-adds, of packing, and of writing."""

    multiply: float
    packing: int
    writing: int
    whole: bool
    lines: int
    width: int
    segments: int
    row_tiles: int


@lru_cache(maxsize=64)
def estimates(p: Problem) -> list[TilesEstimate]:
    """Return estimates for all candidate tiles. A wrong estimate costs time, nothing else.

    It runs for every size of x not seen before, so it uses plain integers, and computes outside of the loop what all
    candidates share.
    """
    (geometry, blocks, _), sizes, elements = filtered_layer(p.layer), filtered_lengths(p), elements_of(p.dtype)
    lanes = elements.lanes
    lines, positions, output_positions = p.batch * sizes.lines, sizes.fast.positions, sizes.fast.output_positions
    # pieces of a row, as equal as possible, or whole rows
    forms: list[tuple[bool, int, int, int]] = []
    for vectors in _VECTORS:
        width = min(vectors * lanes, output_positions)
        segments = ceil(output_positions, width)
        form = False, 1, min(ceil(ceil(output_positions, segments), lanes) * lanes, output_positions), segments
        if not forms or forms[-1] != form:
            forms.append(form)
    for rows in _LINES:
        if rows * positions * elements.summed_size > _MOST_POSITION_BYTES:
            break
        forms.append((True, min(rows, lines), positions, 1))
        if rows >= lines:
            break
    (up, down), channels, size = geometry.slow.reach, p.in_channels, blocks.size
    calls = geometry.product_count * blocks.total
    weights = calls * size * channels * elements.summed_size / 16
    per_line, per_vector = geometry.blocks * geometry.slow.step, geometry.blocks * (40 + 4 * geometry.planes)
    writing = p.out_channels * geometry.rows * geometry.slow_phases * 3
    all_estimates = []
    for whole, rows, width, segments in forms:
        tiles, vectors, along = segments * ceil(lines, rows), ceil(rows * width, lanes), ceil(width, lanes)
        groups = ceil(vectors, blocks.vectors)
        group = vectors / groups
        per_channel = max(size * group / 2, (size + group) / 2, 4.0) + 0.5
        multiply = tiles * groups * calls * (channels * per_channel + 40 + 3 * size * group)
        packed = per_line * (rows + down - up) * (12 + 6 * along) + vectors * per_vector
        all_estimates.append(
            TilesEstimate(
                multiply + tiles * weights,
                tiles * channels * packed,
                tiles * vectors * writing,
                whole,
                rows,
                width,
                segments,
                ceil(lines, rows),
            )
        )
    return all_estimates


def cycles(p: Problem) -> float:
    """Return the estimated cycles of the whole call on one thread."""
    return min(each.multiply + each.packing + each.writing for each in estimates(p))


@lru_cache(maxsize=256)
def pick_tiles(p: Problem, threads: int, channels_last: bool = False) -> Tiles:
    """Return the tiles with the least estimated cycles of all threads. `channels_last` is the layout of the output."""
    candidates, lanes = estimates(p), elements_of(p.dtype).lanes
    # channels that are written together are those of one thread
    single = threads == 1 or (channels_last and epilogue_channels_last.together(p.out_channels, lanes))
    most = min(channel_blocks(p.out_channels).total, 1 if single else _MOST_SPLITS)
    best, best_splits, least = candidates[0], 1, math.inf
    for estimate in candidates:
        for splits in range(1, most + 1):
            cycles = estimate.multiply + estimate.packing * splits + estimate.writing
            if cycles >= least:  # more ranges of channels only pack more often
                break
            cycles *= imbalance(estimate.segments * estimate.row_tiles * splits, threads)
            if cycles < least:
                best, best_splits, least = estimate, splits, cycles
    _, _, _, whole, lines, width, segments, row_tiles = best
    vectors = ceil(lines * width, lanes)
    return Tiles(whole, lines, width, vectors, segments, row_tiles, best_splits, channels_last)


def scratch_bytes(p: Problem) -> int:
    """Return the bytes of the packed weight, two copies during packing, the tables, and each thread's scratch."""
    threads = get_num_threads()
    (geometry, blocks, _), sizes, t = filtered_layer(p.layer), filtered_lengths(p), pick_tiles(p, threads)
    size = p.accumulate.itemsize
    packed_bytes = size * geometry.product_count * blocks.total * blocks.size * p.in_channels
    rows = sizes.lines * (geometry.blocks + geometry.slow_phases) * geometry.slow.step
    tables = 8 * rows + _TABLE_BYTES * geometry.product_count
    scratch = min(threads, t.total) * scratch_layout(p.layer, t).scratch
    return packed_bytes + 2 * size * p.weight_count + tables + scratch


def summary(p: Problem) -> str:
    """Return a line for the plan."""
    threads = get_num_threads()
    (geometry, blocks, _), t = filtered_layer(p.layer), pick_tiles(p, threads)
    threads = min(threads, t.total)
    return (
        f"{elements_of(p.dtype).lanes} lanes ({target().cpu}), {threads} thread{'s' * (threads > 1)}; "
        f"{geometry.product_count} products for {geometry.direct_products}, "
        f"{t.total} tiles of {t.lines} x {t.width} positions, {blocks.size} channels at a time"
    )


class ScratchLayout(NamedTuple):
    """Places in a thread's scratch memory, in bytes; slots count rows, pitch, stream and plane numbers."""

    slots: int
    pitch: int
    stream: int
    plane: int
    masks: int
    streams: int
    panel: int
    sums: int
    range_blocks: int
    scratch: int


@lru_cache(maxsize=256)
def scratch_layout(layer: Layer, t: Tiles) -> ScratchLayout:
    """Return the layout of a thread's scratch memory."""
    (geometry, blocks, mask_count), elements = filtered_layer(layer), elements_of(layer.dtype)
    lanes, size = elements.lanes, elements.summed_size
    length = t.vectors * lanes
    (up, down), (left, right) = geometry.slow.reach, geometry.fast.reach
    slots = t.lines + down - up
    pitch = t.width if t.whole else t.width + right - left
    stream = odd_cache_lines(slots * pitch + right - left + 3 * lanes, elements)
    plane = odd_cache_lines(layer.in_channels * length, elements)

    def after(place: int, numbers: int) -> int:
        return ceil(place + size * numbers, 64) * 64

    masks = after(8 * (HEAD + geometry.blocks * geometry.slow.step * slots), 0)
    streams = after(masks, mask_count * length)
    panel = after(streams, input_packing.CHANNELS * geometry.blocks * geometry.slow.step * geometry.fast.step * stream)
    sums = after(panel, geometry.blocks * geometry.planes * plane)
    block_sums = blocks.size * geometry.rows * length
    range_blocks = _range_blocks(layer.out_channels, blocks, t, size * block_sums, lanes)
    scratch = after(sums, range_blocks * block_sums + 4 * lanes)
    return ScratchLayout(slots, pitch, stream, plane, masks, streams, panel, sums, range_blocks, scratch)


def _range_blocks(channels: int, blocks: ChannelBlocks, t: Tiles, block_bytes: int, lanes: int) -> int:
    """Return the number of blocks that are written together, if the sums of a block have this many bytes.

    Channels last are transposed, a vector of them at a time: they are all of a range, or a number of vectors, if their
    sums do not become much larger.
    """
    most = ceil(blocks.total, t.splits)
    fitting = min(most, max(1, _SUMS // block_bytes))
    if not t.channels_last:
        return fitting
    even = lanes // math.gcd(lanes, blocks.size)  # blocks whose channels are a number of vectors
    rounded = min(most, ceil(fitting, even) * even)
    better = most if epilogue_channels_last.together(channels, lanes) else rounded
    least = min(most, ceil(lanes, blocks.size))
    return max(least, better if better * block_bytes <= 2 * _SUMS else fitting)


def vectors_of(p: Problem, t: Tiles) -> set[int]:
    """Return the numbers of vectors of positions that a tile can have."""
    lanes, sizes = elements_of(p.dtype).lanes, filtered_lengths(p)
    if t.whole:
        lines = p.batch * sizes.lines
        return {ceil(count * t.width, lanes) for count in (t.lines, lines % t.lines or t.lines)}
    return {ceil(width, lanes) for width in (t.width, sizes.fast.output_positions % t.width or t.width)}
