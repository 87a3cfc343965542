"""How a problem in pairs (`pairs.py`) is cut into tiles and blocks, and what a thread's memory holds."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Problem
from tconv.kernels.simd import microkernel
from tconv.kernels.simd.call_frame import HEAD
from tconv.kernels.simd.cpu_target import target
from tconv.kernels.simd.direct.tiling import ceil, groups_of, imbalance
from tconv.kernels.simd.winograd_f22 import pack
from tconv.kernels.simd.winograd_f22.filtering import Pairs, pairs

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


@lru_cache(maxsize=256)
def tiles(p: Problem, threads: int) -> tuple[Tiles, float]:
    """The cut with the least estimated cycles of all threads, and these."""
    done, cut = pairs(p), blocks(p.out_channels)
    lanes = target().lanes
    lines, positions = p.batch * done.lines, done.fast.positions
    # whole rows, or pieces of one
    forms = {(True, min(rows, lines), positions) for rows in _LINES if rows * positions <= _MOST_POSITIONS}
    forms |= {(False, 1, min(size * lanes, done.fast.made)) for size in _VECTORS}
    best: tuple[float, Tiles] | None = None
    for whole, rows, width in sorted(forms):
        segments = 1 if whole else ceil(done.fast.made, width)
        if not whole:  # as equal as can be
            width = min(ceil(ceil(done.fast.made, segments), lanes) * lanes, done.fast.made)
        for splits in range(1, min(cut.total, _MOST_SPLITS if threads > 1 else 1) + 1):
            made = Tiles(whole, rows, width, ceil(rows * width, lanes), segments, ceil(lines, rows), splits)
            cost = _cycles(p, done, cut, made, threads)
            if best is None or cost < best[0]:
                best = cost, made
    assert best is not None
    return best[1], best[0]


def _cycles(p: Problem, done: Pairs, cut: Blocks, t: Tiles, threads: int) -> float:
    """A rough count of cycles; of a guess that is wrong nothing depends but time."""
    total = t.segments * t.row_tiles
    groups = ceil(t.vectors, cut.held)
    held = t.vectors / groups
    per_channel = max(cut.size * held / 2, (cut.size + held) / 2, 4.0) + 0.5
    calls = total * groups * done.products * cut.total
    multiply = calls * (p.in_channels * per_channel + 40 + 3 * cut.size * held)
    weights = total * done.products * cut.total * cut.size * p.in_channels * 4 / 16
    lines = t.lines + done.slow.reach[1] - done.slow.reach[0]
    rows = done.blocks * done.slow.step * lines * (12 + 6 * ceil(t.width, target().lanes))
    packing = total * t.splits * p.in_channels * (rows + done.blocks * t.vectors * (40 + 4 * done.planes))
    writing = total * t.vectors * p.out_channels * done.rows * done.slow_phases * 3
    return (multiply + weights + packing + writing) * imbalance(t.items, threads)


def scratch_bytes(p: Problem) -> int:
    """The packed weight and two copies made while packing, tables, and what each thread holds."""
    threads = get_num_threads()
    done, cut, (t, _) = pairs(p), blocks(p.out_channels), tiles(p, threads)
    packed_bytes = 4 * done.products * cut.total * cut.size * p.in_channels
    tables = 8 * done.lines * (done.blocks + done.slow_phases) * done.slow.step + _TABLED * done.products
    held = layout(p, done, cut, t).scratch
    return packed_bytes + 2 * 4 * p.weight_count + tables + min(threads, t.items) * held


def summary(p: Problem) -> str:
    """What it does, in a line."""
    threads = get_num_threads()
    done, cut, (t, _) = pairs(p), blocks(p.out_channels), tiles(p, threads)
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


def layout(p: Problem, done: Pairs, cut: Blocks, t: Tiles) -> Layout:
    """A thread's memory."""
    lanes = target().lanes
    length = t.vectors * lanes
    (up, down), (left, right) = done.slow.reach, done.fast.reach
    slots = t.lines + down - up
    pitch = t.width if t.whole else t.width + right - left
    stream = _odd(slots * pitch + right - left + 3 * lanes)
    plane = _odd(p.in_channels * length)

    def after(place: int, floats: int) -> int:
        return ceil(place + 4 * floats, 64) * 64

    masks = after(8 * (HEAD + done.blocks * done.slow.step * slots), 0)
    streams = after(masks, len(pack.shifts(done)) * length)
    panel = after(streams, pack.CHANNELS * done.blocks * done.slow.step * done.fast.step * stream)
    sums = after(panel, done.blocks * done.planes * plane)
    of_block = cut.size * done.rows * length
    range_blocks = max(1, min(ceil(cut.total, t.splits), _SUMS // (4 * of_block)))
    scratch = after(sums, range_blocks * of_block + 4 * lanes)
    return Layout(slots, pitch, stream, plane, masks, streams, panel, sums, range_blocks, scratch)


def _odd(floats: int) -> int:
    """So many floats, or a few more: an odd number of cache lines, or what lies side by side shares their places."""
    return (ceil(floats, 16) | 1) * 16


def sizes(p: Problem, done: Pairs, cut: Blocks, t: Tiles) -> set[int]:
    """In which numbers of vectors the tiles are taken."""
    lanes, lines = target().lanes, p.batch * done.lines
    counts = {t.lines, lines % t.lines or t.lines} if t.whole else {1}
    widths = {t.width} if t.whole else {t.width, done.fast.made % t.width or t.width}
    found = set()
    for count, width in product(counts, widths):
        found |= groups_of(ceil(count * width, lanes), cut.held)
    return found
