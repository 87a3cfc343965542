"""How a problem in pairs (`pairs.py`) is cut into tiles and blocks, and what a thread's memory holds."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Layer, Problem
from tconv.kernels.simd import microkernel
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.tiling import ceil, imbalance
from tconv.kernels.simd.winograd_f22 import pack
from tconv.kernels.simd.winograd_f22.filtering import Pairs, lengths, pairs

_TERMS = 128
"""Input channels whose products are summed in one chain: the error is then near that of PyTorch's own sum."""
_SUMS = 192 << 10
"""Bytes of sums that are held at a time, where one block of channels needs no more."""
_TABLED = 1500
"""Bytes of tables, and of what they are made from, for each product."""
_BLOCKS = (6, 8, 5, 4, 3, 2, 1)
_LINES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_VECTORS = (2, 3, 4, 5, 6, 8, 12, 16)
_MOST_POSITIONS = 256
_MOST_SPLITS = 16


class Tiles(NamedTuple):
    """How positions and output channels are cut."""

    whole: bool
    lines: int
    width: int
    vectors: int
    segments: int
    row_tiles: int
    splits: int

    @property
    def items(self) -> int:
        """Items of work."""
        return self.segments * self.row_tiles * self.splits


class Blocks(NamedTuple):
    """Output channels in blocks of equal size; the last may have some that nobody writes."""

    size: int
    total: int
    held: int
    """vectors of positions beside them"""


def blocks(channels: int) -> Blocks:
    """The blocks that take the fewest multiply-adds."""
    size = min(_BLOCKS, key=lambda size: ceil(channels, size) * size / min(size, 4))
    return Blocks(size, ceil(channels, size), microkernel.most_vectors(size))


def ranges(channels: int) -> list[tuple[int, int]]:
    """Input channels whose sums make one part."""
    count = ceil(channels, _TERMS)
    return [(channels * i // count, channels * (i + 1) // count) for i in range(count)]


class Layered(NamedTuple):
    """The parts of a problem that stay when x has another size."""

    done: Pairs
    cut: Blocks
    masks: int
    """distances at which elements are taken"""


@lru_cache(maxsize=64)
def layered(layer: Layer) -> Layered:
    """That of a layer."""
    done = pairs(layer.geometry)
    return Layered(done, blocks(layer.out_channels), len(pack.shifts(done)))


class CutEstimate(NamedTuple):
    """A cut of positions with a rough count of cycles: before packing, of packing, and of writing."""

    multiply: float
    packing: int
    writing: int
    whole: bool
    lines: int
    width: int
    segments: int
    row_tiles: int


@lru_cache(maxsize=64)
def estimates(p: Problem) -> list[CutEstimate]:
    """All cuts that are tried; of a guess that is wrong nothing depends but time.

    Made for every size of x that was not seen before: plain integers, and what all cuts share outside of the loop.
    """
    (done, cut, _), sizes, lanes = layered(p.layer), lengths(p), target().lanes
    lines, positions, made = p.batch * sizes.lines, sizes.fast.positions, sizes.fast.made
    # pieces of a row, as equal as can be, or whole rows
    forms: list[tuple[bool, int, int, int]] = []
    for vectors in _VECTORS:
        width = min(vectors * lanes, made)
        segments = ceil(made, width)
        form = False, 1, min(ceil(ceil(made, segments), lanes) * lanes, made), segments
        if not forms or forms[-1] != form:
            forms.append(form)
    for rows in _LINES:
        if rows * positions > _MOST_POSITIONS:
            break
        forms.append((True, min(rows, lines), positions, 1))
        if rows >= lines:
            break
    (up, down), channels, size = done.slow.reach, p.in_channels, cut.size
    of_calls = done.products * cut.total
    weights = of_calls * size * channels * 4 / 16
    of_line, of_vector = done.blocks * done.slow.step, done.blocks * (40 + 4 * done.planes)
    writing = p.out_channels * done.rows * done.slow_phases * 3
    found = []
    for whole, rows, width, segments in forms:
        tiles, vectors, along = segments * ceil(lines, rows), ceil(rows * width, lanes), ceil(width, lanes)
        groups = ceil(vectors, cut.held)
        held = vectors / groups
        per_channel = max(size * held / 2, (size + held) / 2, 4.0) + 0.5
        multiply = tiles * groups * of_calls * (channels * per_channel + 40 + 3 * size * held)
        packed = of_line * (rows + down - up) * (12 + 6 * along) + vectors * of_vector
        found.append(
            CutEstimate(
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
    return found


def cycles(p: Problem) -> float:
    """Estimated, of one thread."""
    return min(each.multiply + each.packing + each.writing for each in estimates(p))


@lru_cache(maxsize=256)
def tiles(p: Problem, threads: int) -> Tiles:
    """The cut with the least estimated cycles of all threads."""
    found = estimates(p)
    most = min(blocks(p.out_channels).total, _MOST_SPLITS if threads > 1 else 1)
    chosen, cut, best = found[0], 1, math.inf
    for each in found:
        for splits in range(1, most + 1):
            needed = each.multiply + each.packing * splits + each.writing
            if needed >= best:  # more ranges of channels only pack more often
                break
            needed *= imbalance(each.segments * each.row_tiles * splits, threads)
            if needed < best:
                chosen, cut, best = each, splits, needed
    _, _, _, whole, lines, width, segments, row_tiles = chosen
    return Tiles(whole, lines, width, ceil(lines * width, target().lanes), segments, row_tiles, cut)


def scratch_bytes(p: Problem) -> int:
    """The packed weight and two copies made while packing, tables, and what each thread holds."""
    threads = get_num_threads()
    (done, cut, _), sizes, t = layered(p.layer), lengths(p), tiles(p, threads)
    packed_bytes = 4 * done.products * cut.total * cut.size * p.in_channels
    tables = 8 * sizes.lines * (done.blocks + done.slow_phases) * done.slow.step + _TABLED * done.products
    return packed_bytes + 2 * 4 * p.weight_count + tables + min(threads, t.items) * layout(p.layer, t).scratch


def summary(p: Problem) -> str:
    """What it does, in a line."""
    threads = get_num_threads()
    (done, cut, _), t = layered(p.layer), tiles(p, threads)
    threads = min(threads, t.items)
    return (
        f"{target().lanes} lanes ({target().cpu}), {threads} thread{'s' * (threads > 1)}; {done.products} products "
        f"for {done.direct}, {t.items} items of {t.lines} x {t.width} positions, {cut.size} channels at a time"
    )


class Layout(NamedTuple):
    """Where things lie in a thread's memory, in bytes; slots, pitch and stream count rows and floats."""

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
def layout(layer: Layer, t: Tiles) -> Layout:
    """A thread's memory."""
    (done, cut, masked), lanes = layered(layer), target().lanes
    length = t.vectors * lanes
    (up, down), (left, right) = done.slow.reach, done.fast.reach
    slots = t.lines + down - up
    pitch = t.width if t.whole else t.width + right - left
    stream = _odd(slots * pitch + right - left + 3 * lanes)
    plane = _odd(layer.in_channels * length)

    def after(place: int, floats: int) -> int:
        return ceil(place + 4 * floats, 64) * 64

    masks = after(8 * (HEAD + done.blocks * done.slow.step * slots), 0)
    streams = after(masks, masked * length)
    panel = after(streams, pack.CHANNELS * done.blocks * done.slow.step * done.fast.step * stream)
    sums = after(panel, done.blocks * done.planes * plane)
    of_block = cut.size * done.rows * length
    range_blocks = max(1, min(ceil(cut.total, t.splits), _SUMS // (4 * of_block)))
    scratch = after(sums, range_blocks * of_block + 4 * lanes)
    return Layout(slots, pitch, stream, plane, masks, streams, panel, sums, range_blocks, scratch)


def _odd(floats: int) -> int:
    """So many floats, or a few more: an odd number of cache lines, or what lies side by side shares their places."""
    return (ceil(floats, 16) | 1) * 16


def vectors_of(p: Problem, t: Tiles) -> set[int]:
    """Return all counts of vectors that a tile can have."""
    lanes, sizes = target().lanes, lengths(p)
    if t.whole:
        lines = p.batch * sizes.lines
        return {ceil(count * t.width, lanes) for count in (t.lines, lines % t.lines or t.lines)}
    return {ceil(width, lanes) for width in (t.width, sizes.fast.made % t.width or t.width)}
