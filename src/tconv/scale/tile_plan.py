"""Tile sizes from a bound of memory: whole units of the target, with the least work and reading for their borders.

The memory of a job is predicted as

    what the process has now + windows * (bytes of reading a window) + scratch of the operator
    + results * (bytes of a tile's outputs) + bytes of writing one

with two windows and two results where reading, computing and writing overlap, and one of each where memory is short. A
unit that is too large for the bound is computed in parts, which are put together in memory; where it does not fit
itself, the job is refused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tconv._memory import si
from tconv.errors import ShapeError, TooLargeError
from tconv.scale.memory_bound import bound_text, size_text
from tconv.scale.regions import Region, Sizes, elements, placed, region_sizes
from tconv.scale.tile_run import Stage

_LARGEST_TILE = 32 << 20
"""Bytes of outputs from which on a tile is not made larger: the work for its borders is small, and what a stop loses
grows."""
_PLACES = 16
_ASPECT = 0.01
"""Share of the cost for each doubling of a side beside another: of tiles that cost the same, the square one."""
_SMALLEST_SHARE = 4 << 20
"""Bytes of outputs up to which a tile may be more than an eighth of all."""
_LONGEST_TILE = 1 << 41
"""Multiply-adds from which on a tile is not made larger: about half a minute."""
_MACS_PER_BYTE = 40
"""Multiply-adds in the time in which one byte is read and decoded."""
_TILE_BYTES = 100_000
"""Bytes that could be read in the time that each tile costs."""
_RUN_BYTES = 2048
"""Bytes that could be read in the time that each run of bytes along the last axis costs, read or written."""


_BORDERS = 0.5
"""Share of the work that borders may cost under a bound that a message advises."""
_GROWTH = 2 << 20
"""Bytes by which the start of a process differs from another one's."""


class Need(NamedTuple):
    """Bytes that a stage needs beside what the process has: with so many windows and results at once."""

    memory: int
    outputs: int
    """bytes of these that are outputs and scratch"""
    windows: int
    results: int
    scratch: int
    """bytes of these that a computation allocates"""


class MemoryBudget(NamedTuple):
    """Bytes that the process may have, that it has, and that are kept free."""

    bound: int
    base: int
    reserve: int
    origin: str = ""
    """where a bound that was not given comes from, in words"""

    @property
    def free(self) -> int:
        """Bytes for tiles."""
        return self.bound - self.base - self.reserve

    @property
    def bound_text(self) -> str:
        """Bound, and where it comes from."""
        return bound_text(self.bound, self.origin)


class _Measures(NamedTuple):
    """Numbers of one tile, which cost an operator some time: bytes, multiply-adds, bytes read and runs of them."""

    result: int
    writing: int
    reading: int
    scratch: int
    work: int
    read: int
    runs: int
    outputs: int
    aspect: float
    """logarithm of the longest side, in shortest ones"""

    def need(self, windows: int, results: int, whole: _Measures | None = None) -> Need:
        """Return the bytes of a tile; of a part of it, where `whole` is the tile."""
        made = results * (whole or self).result + self.scratch + (self.result if whole else 0)
        memory = made + windows * self.reading + (whole or self).writing
        return Need(memory, made, windows, results, self.scratch)

    @property
    def cost(self) -> float:
        """Cost of an output: the time of its multiply-adds and of its reading, in bytes that could be read."""
        read = self.read + _RUN_BYTES * self.runs + _TILE_BYTES
        return (read + self.work / _MACS_PER_BYTE) / self.outputs * (1 + _ASPECT * self.aspect)

    def is_moderate(self, all_outputs: int) -> bool:
        """Return True if a stop may lose a tile, and if others are left, whose reading and writing overlap with it."""
        share = max(_SMALLEST_SHARE, all_outputs * self.result // self.outputs // 8)
        return self.result <= min(_LARGEST_TILE, share) and self.work <= _LONGEST_TILE


def _measures(stage: Stage, outputs: Region, tile: Sizes | None = None) -> _Measures:
    """Return the numbers of a tile; with the sizes of tiles, what is read is the mean over such tiles."""
    operator = stage.operator
    window = operator.window(outputs, stage.sizes)
    return _Measures(
        operator.channels[1] * elements(outputs) * operator.result.itemsize,
        stage.target.write_bytes(outputs),
        stage.source.read_bytes(window),
        operator.scratch_bytes(outputs, stage.sizes),
        operator.work(outputs, stage.sizes),
        bytes_read(stage, window) if tile is None else _mean_bytes_read(stage, window, tile),
        _runs(window, stage.source.block, stage.source.shape[1])
        + _runs(outputs, stage.target.unit[:-1], operator.channels[1]),
        elements(outputs),
        math.log2(max(region_sizes(outputs)) / min(region_sizes(outputs))),
    )


def _runs(region: Region, blocks: Sizes, channels: int) -> int:
    """Return the runs of bytes of a region along the last axis, where single rows are read or written; 0 elsewhere."""
    return channels * elements(region[:-1]) if max(blocks, default=1) == 1 else 0


def needed(stage: Stage, tile: Sizes, part: Sizes | None, windows: int, results: int) -> Need:
    """Return the most bytes of tiles of these sizes, computed in parts of those sizes."""
    found = []
    for outputs in _samples(stage.output_sizes, tile):
        whole = _measures(stage, outputs)
        if part is None:
            found.append(whole.need(windows, results))
            continue
        pieces = _samples(region_sizes(outputs), part)  # one inside of a tile has borders on all sides
        found += [_measures(stage, placed(piece, outputs)).need(windows, results, whole) for piece in pieces]
    return max(found)


def _samples(sizes: Sizes, tile: Sizes) -> list[Region]:
    """Return a tile inside of the image, and, where they are others, the one beside it and the first."""
    found: list[Region] = []
    for place in (_middle, _beside, lambda count: 0):
        region = tuple(_span(place(-(-size // step)), size, step) for size, step in zip(sizes, tile, strict=True))
        if region not in found:
            found.append(region)
    return found


def _middle(count: int) -> int:
    """Return the number of a whole tile in the middle of an axis, 0 for the only one."""
    return min(count // 2, max(0, count - 2))


def _beside(count: int) -> int:
    """Return the number of the tile beside it: the last one of two, as borders differ between both sides."""
    return 1 if count == 2 else min(count // 2 + 1, max(0, count - 2))


def _span(number: int, size: int, step: int) -> slice:
    return slice(number * step, min((number + 1) * step, size))


def plan_stage(
    stage: Stage,
    budget: MemoryBudget,
    windows: int,
    results: int,
    may_split: bool = True,
    others: Sequence[Stage] = (),
) -> Need:
    """Choose the sizes of a stage's tiles, where they are not given, and return what they need.

    A tile that is too large is computed in parts, with `may_split`. `others` are the job's stages, which an advised
    bound is for. Raises TooLargeError where no tile fits, and
    ShapeError for given tiles that are no whole units.
    """
    sizes, unit = stage.output_sizes, stage.target.unit
    unit = tuple(min(u, size) for u, size in zip(unit, sizes, strict=True))
    if stage.tile is not None:
        tile = _checked(stage.tile, unit, sizes, stage.target.name)
        need, part = _fitting(stage, tile, stage.part, budget.free, windows, results, may_split)
    else:
        tile, (need, part) = unit, _fitting(stage, unit, None, budget.free, windows, results, may_split)
        if need is not None and part is None:
            tile, need = _grown(stage, unit, budget.free, need)
    if need is None:
        raise _too_large(stage, tile, budget, others, may_split)
    stage.tile, stage.part, stage.windows, stage.results = tile, part, need.windows, need.results
    stage.scratch, stage.bound = need.scratch, budget.bound
    return need


def _checked(tile: Sizes, unit: Sizes, sizes: Sizes, name: str) -> Sizes:
    tile = tuple(min(t, size) for t, size in zip(tile, sizes, strict=False))
    whole = len(tile) == len(sizes) and all(
        t > 0 and (t % u == 0 or t == size) for t, u, size in zip(tile, unit, sizes, strict=True)
    )
    if not whole:
        raise ShapeError(
            f"tile is {tile}; {name} is written in units of {unit}, and a tile is whole ones. Write tile={unit}"
        )
    return tile


def _fitting(
    stage: Stage, tile: Sizes, part: Sizes | None, budget: int, windows: int, results: int, may_split: bool
) -> tuple[Need | None, Sizes | None]:
    """Return what a tile needs, overlapped if that fits, and the parts it is computed in; None if it does not fit."""
    for many in dict.fromkeys([(windows, results), (1, results), (1, 1)]):
        need = needed(stage, tile, part, *many)
        if need.memory <= budget:
            return need, part
    if not may_split:
        return None, part
    for smaller in _halved(tile):
        for many in dict.fromkeys([(windows, results), (1, 1)]):
            need = needed(stage, tile, smaller, *many)
            if need.memory <= budget:
                return need, smaller
    return None, None


def _halved(tile: Sizes) -> Iterator[Sizes]:
    """Yield the parts of a tile that are tried: the longest axis is halved again and again."""
    while max(tile) > 1:
        axis = max(range(len(tile)), key=lambda axis: tile[axis])
        tile = tuple(-(-size // 2) if i == axis else size for i, size in enumerate(tile))
        yield tile


def memory_with_borders(stage: Stage, share: float, may_split: bool = True) -> int:
    """Return the least bytes for a stage's tiles, or units, with borders that cost at most this share of the work."""
    sizes, work = stage.output_sizes, stage.operator.work
    tile = stage.tile or tuple(map(min, stage.target.unit, sizes))
    whole = _samples(sizes, tile)[0]
    most = (1 + share) * work(whole, stage.sizes)
    least = needed(stage, tile, None, 1, 1).memory
    for part in _halved(tile) if may_split else ():
        pieces = _classes(region_sizes(whole), part)
        if sum(count * work(placed(piece, whole), stage.sizes) for piece, count in pieces) > most:
            break
        least = min(least, needed(stage, tile, part, 1, 1).memory)
    return least


def _too_large(
    stage: Stage, tile: Sizes, budget: MemoryBudget, others: Sequence[Stage], may_split: bool
) -> TooLargeError:
    """Return the error that names what would do for all stages: another bound, or smaller units."""
    whole = needed(stage, tile, None, 1, 1).memory
    least = max(memory_with_borders(each, _BORDERS, may_split) for each in (stage, *others))
    smaller = ""
    if stage.tile is None:
        fits = (unit for unit in _halved(tile) if needed(stage, unit, None, 1, 1).memory <= budget.free)
        unit = next(fits, None)
        smaller = "" if unit is None else f", or write units (chunks, shards, tiles) of at most {unit}"
    base = budget.base + budget.reserve
    return TooLargeError(
        f"max_memory is {budget.bound_text}; the process has {si(budget.base, 'B')} before it starts, "
        f"{si(budget.reserve, 'B')} are kept free, and one tile {tile} of {stage.target.name} needs {si(whole, 'B')}, "
        f"or {si(least, 'B')} in parts. Write max_memory={size_text(base + least + _GROWTH)!r}{smaller}"
    )


def _grown(stage: Stage, unit: Sizes, budget: int, need: Need) -> tuple[Sizes, Need]:
    """Return tiles of more units: an axis after the other is doubled while that saves work or reading, and fits."""
    tile, sizes = unit, stage.output_sizes
    all_outputs = stage.target.shape[0] * math.prod(sizes)
    cost = _measures(stage, _samples(sizes, tile)[0], tile).cost
    for factor in (2.0, 1.5):
        while True:
            found: list[tuple[float, Sizes]] = []
            for axis in range(len(unit)):
                units = int(tile[axis] / unit[axis] * factor)
                larger = (*tile[:axis], min(units * unit[axis], sizes[axis]), *tile[axis + 1 :])
                if larger != tile:
                    measures = _measures(stage, _samples(sizes, larger)[0], larger)
                    if measures.is_moderate(all_outputs) and measures.need(need.windows, need.results).memory <= budget:
                        found.append((measures.cost, larger))
            if not found or min(found)[0] >= cost:
                break
            cost, tile = min(found)
    while tile != unit:
        exact = needed(stage, tile, None, need.windows, need.results)
        if exact.memory <= budget:
            return tile, exact
        axis = max(range(len(unit)), key=lambda axis: tile[axis] / unit[axis])  # a tile elsewhere needs more
        tile = (*tile[:axis], max(tile[axis] // unit[axis] // 2, 1) * unit[axis], *tile[axis + 1 :])
    return unit, need


def bytes_read(stage: Stage, window: Region) -> int:
    """Return the bytes of the whole blocks that a window lies in, as they are after decoding."""
    source = stage.source
    whole = [
        min(-(-span.stop // block) * block, size) - span.start // block * block
        for span, block, size in zip(window, source.block, stage.sizes, strict=True)
    ]
    return int(source.shape[1] * math.prod(whole) * source.dtype.itemsize)


def _mean_bytes_read(stage: Stage, window: Region, tile: Sizes) -> int:
    """Return the bytes that `bytes_read` has for windows of this size, in the mean over places in the blocks."""
    read = float(stage.source.shape[1] * stage.source.dtype.itemsize)
    axes = zip(window, tile, stage.source.block, stage.sizes, stage.output_sizes, strict=True)
    for span, step, block, size, outputs in axes:
        count, length = min(_PLACES, -(-outputs // step)), span.stop - span.start
        starts = [(span.start + round(place * step * size / outputs)) % block for place in range(count)]
        blocks = sum(-(-(start + length) // block) for start in starts) / count
        read *= min(blocks * block, size)
    return int(read)


def totals(stage: Stage, in_turn: bool = False) -> tuple[int, int]:
    """Return the multiply-adds and the bytes read of all tiles: borders included, parts as they are.

    With `in_turn`, tiles of a network that are computed below each other have the rows between them once.
    """
    assert stage.tile is not None
    work = read = 0
    for outputs, count in _classes(stage.output_sizes, stage.tile):
        for piece, pieces in _classes(region_sizes(outputs), stage.part or region_sizes(outputs)):
            place = placed(piece, outputs)
            work += count * pieces * stage.operator.work(place, stage.sizes)
            read += count * pieces * bytes_read(stage, stage.operator.window(place, stage.sizes))
    if in_turn and stage.part is None and getattr(stage.operator, "goes_down", False):
        columns = _classes(stage.output_sizes, (stage.output_sizes[0], *stage.tile[1:]))
        work = sum(count * stage.operator.work(outputs, stage.sizes) for outputs, count in columns)
    images = stage.target.shape[0]
    return images * work, images * read


def _classes(sizes: Sizes, tile: Sizes) -> Iterator[tuple[Region, int]]:
    """Yield tiles that stand for many, with their number: along each axis the first, one inside, and the last."""
    axes = []
    for size, step in zip(sizes, tile, strict=True):
        count = -(-size // step)
        numbers = {0: 1, count // 2: max(1, count - 2), count - 1: 1} if count > 2 else dict.fromkeys(range(count), 1)
        axes.append([(_span(number, size, step), many) for number, many in numbers.items()])
    for parts in itertools.product(*axes):
        yield tuple(span for span, _ in parts), math.prod(many for _, many in parts)
