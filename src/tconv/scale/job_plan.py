"""Plan of a job, before anything runs: tiles, memory, disk, and the work for the tiles' borders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tconv._memory import si
from tconv.scale.memory_bound import bound_of, bound_text, release_memory, resident_bytes, size_text
from tconv.scale.regions import Sizes, region_sizes, whole
from tconv.scale.tile_plan import MemoryBudget, Need, memory_with_borders, plan_stage, totals
from tconv.scale.tile_run import Stage

RESERVE = 24 << 20
"""Bytes that are left for what a prediction does not count: small arrays, and the rounding of pages."""
_PYRAMID = 12 << 20
"""Bytes left for holes in the heap, where levels are decoded that were just written."""
_COMPILER = 56 << 20
"""Bytes of the compiler of the kernel, which runs at the first call of a layer on a machine."""
_MUCH, _LITTLE = 1.3, 0.1
"""Work of tiles, in multiples of that of the whole, that is told with the bound under which borders have less."""
_TRIAL = 16
_TRIAL_WORK = 1 << 31
"""Multiply-adds of a trial, at most: a tenth of a second."""


@dataclass(frozen=True)
class StagePlan:
    """One pass over all images."""

    operation: str
    source: str
    target: str
    shape: tuple[int, ...]
    """[N, C', *sizes'] of the output"""
    tile: Sizes
    part: Sizes | None
    tiles: int
    need: Need
    work: int
    """multiply-adds of all tiles"""
    work_of_whole: int
    """multiply-adds without any borders between tiles"""
    bytes_read: int
    bytes_written: int
    enough: int | None = None
    """bytes of tiles with which their borders would be little work, where it is much; else None"""

    @property
    def halo(self) -> float:
        """Work of all tiles, in multiples of that of the whole."""
        return self.work / self.work_of_whole if self.work_of_whole else 1.0

    def __str__(self) -> str:
        sizes, tile = (" x ".join(map(str, each)) for each in (self.shape[2:], self.tile))
        images = f"{self.shape[0]} images of " if self.shape[0] > 1 else ""
        parts = f", computed in parts of {' x '.join(map(str, self.part))}" if self.part else ""
        overlap = "reading and writing beside the computation" if self.need.windows > 1 else "one step after the other"
        return (
            f"{self.operation}\n"
            f"  reads   {self.source}: {si(self.bytes_read, 'B')} in all\n"
            f"  writes  {self.target}: {images}{sizes}, {si(self.bytes_written, 'B')}\n"
            f"  tiles   {self.tiles} of {tile}{parts}; {overlap}\n"
            f"  work    {si(self.work, 'multiply-adds')}, {self.halo:.4g} times those of the whole"
        )


@dataclass(frozen=True)
class JobPlan:
    """Plan of a job; `print(plan)` shows it.

    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> x, y = np.ones((3, 100, 150), np.float32), np.empty((8, 200, 300), np.float32)
    >>> plan = tconv.scale.plan(layer, x, y)
    >>> plan.tiles, plan.stages[0].tile, plan.disk
    (1, (200, 300), 0)
    """

    output: Path | None
    max_memory: int
    """bound of the resident bytes of the process, given or chosen"""
    base_memory: int
    """resident bytes of the process before it starts"""
    stages: tuple[StagePlan, ...]
    disk: int
    """most bytes of the output on the disk"""
    executor: str
    reserve: int = RESERVE
    """bytes for what is not counted one by one"""
    bound_origin: str = ""
    """where a bound that was not given comes from, in words"""

    @property
    def memory(self) -> int:
        """Predicted resident bytes at the peak."""
        return self.base_memory + self.reserve + max(stage.need.memory for stage in self.stages)

    @property
    def bound_text(self) -> str:
        """Bound of memory, and where it comes from: "1 GB (the default)"."""
        return bound_text(self.max_memory, self.bound_origin)

    @property
    def enough(self) -> int | None:
        """Bound of memory under which borders would be little work, where it is much; else None."""
        most = max((stage.enough or 0 for stage in self.stages), default=0)
        return self.base_memory + self.reserve + most if most else None

    @property
    def tiles(self) -> int:
        """Number of tiles of all stages."""
        return sum(stage.tiles for stage in self.stages)

    @property
    def halo(self) -> float:
        """Work of all tiles, in multiples of that of the whole."""
        whole = sum(stage.work_of_whole for stage in self.stages)
        return sum(stage.work for stage in self.stages) / whole if whole else 1.0

    def __str__(self) -> str:
        lines = [str(stage) for stage in self.stages]
        lines.append(
            f"memory    {si(self.memory, 'B')} predicted, {si(self.base_memory, 'B')} of it before the start; "
            f"bound {self.bound_text}"
        )
        if self.enough is not None:
            lines.append(f"borders   little work with max_memory={size_text(self.enough)!r}")
        if self.disk:
            lines.append(f"disk      up to {si(self.disk, 'B')}")
        lines.append(f"runs on   {self.executor}")
        return "\n".join(lines)


def plan_job(
    stages: Sequence[Stage],
    output: Path | None,
    max_memory: int | None,
    executor: str,
    windows: int = 2,
    results: int = 2,
    may_split: bool = True,
    in_turn: bool = False,
) -> JobPlan:
    """Choose the sizes of all tiles, where they are not given, and return the plan.

    With `may_split`, tiles that are too large are computed in parts; with `in_turn`, one thread computes all tiles, in
    the order of `Stage.tiles_in_turn`. Raises TooLargeError if not even one tile fits into `max_memory`, or the default
    if that is None, beside what the process has.
    """
    for stage in stages:
        stage.check()
    reserve = RESERVE + (_PYRAMID if len(stages) > 1 else 0) + (0 if all(map(compiled, stages)) else _COMPILER)
    release_memory(bound_of(max_memory, 0).size // 4)
    base = resident_bytes()
    bound = bound_of(max_memory, base)
    budget = MemoryBudget(bound.size, base, reserve, bound.origin)
    planned = []
    for number, stage in enumerate(stages):
        need = plan_stage(stage, budget, windows, results, may_split, stages[number + 1 :])
        work, read = totals(stage, in_turn)
        shape = stage.target.shape
        assert stage.tile is not None
        whole_work = shape[0] * stage.operator.work(whole(stage.output_sizes), stage.sizes)
        planned.append(
            StagePlan(
                stage.operator.name,
                _words(stage.source),
                _words(stage.target),
                shape,
                stage.tile,
                stage.part,
                stage.tile_count,
                need,
                work,
                whole_work,
                read,
                math.prod(shape) * stage.target.dtype.itemsize,
                memory_with_borders(stage, _LITTLE) if stage.part and work > _MUCH * whole_work else None,
            )
        )
    disk = sum(stage.target.disk_bytes() for stage in stages)
    return JobPlan(output, bound.size, base, tuple(planned), disk, executor, reserve, bound.origin)


def compiled(stage: Stage) -> bool:
    """Compute a few zeros, so that the process has the memory of compiled code already; False if that cannot be.

    Operators that need more than a window, and those whose few outputs are much work, are left out.
    """
    operator, sizes = getattr(stage.operator, "unchecked", stage.operator), stage.sizes
    outputs = tuple(slice(0, min(size, _TRIAL)) for size in stage.output_sizes)
    try:
        if operator.work(outputs, sizes) > _TRIAL_WORK:
            return False
        window = operator.window(outputs, sizes)
        x = np.zeros((operator.channels[0], *region_sizes(window)), operator.dtype)
        operator.compute(x, window, sizes, outputs, stage.empty(outputs))
    except Exception:  # it fails without a context, and may fail for zeros; the job itself will say so
        return False
    return True


def _words(store: Any) -> str:
    """Return the name and the format of a source or target."""
    return store.description if store.name in store.description else f"{store.name}, {store.description}"
