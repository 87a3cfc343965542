"""Report of a job that has ended, and its progress while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tconv._memory import si
from tconv.scale.executor import Executor
from tconv.scale.job_plan import JobPlan
from tconv.scale.memory_bound import MemoryWatch


class Progress(NamedTuple):
    """State of a running job. Elements are those of one channel of the output, of all stages.

    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> x, y = np.ones((3, 100, 150), np.float32), np.empty((8, 200, 300), np.float32)
    >>> seen = []
    >>> report = tconv.scale.run(layer, x, y, progress=seen.append)
    >>> seen[-1].done, seen[-1].total, seen[-1].tiles
    (60000, 60000, 1)
    """

    done: int
    """elements that are written, those of earlier sessions included"""
    total: int
    rate: float
    """elements per second of this session"""
    seconds_left: float
    memory: int
    """resident bytes of this process"""
    max_memory: int
    tiles_done: int
    tiles: int
    dashboard: str | None = None
    """address of Dask's dashboard, or the reason why there is none; None before workers have started, or without any"""


class Meter:
    """Counter of finished tiles, which calls `progress` at most ten times a second."""

    def __init__(
        self,
        progress: Callable[[Progress], None] | None,
        total: int,
        tiles: int,
        done: int,
        tiles_done: int,
        executor: Executor,
    ) -> None:
        self._progress, self._total, self._tiles, self._executor = progress, total, tiles, executor
        self._done, self._before, self._tiles_done = done, done, tiles_done
        self._start, self._told = time.monotonic(), 0.0

    def add(self, elements: int, memory: MemoryWatch) -> None:
        """Count a tile."""
        self._done, self._tiles_done = self._done + elements, self._tiles_done + 1
        if time.monotonic() - self._told >= 0.1:
            self.tell(memory)

    def tell(self, memory: MemoryWatch) -> None:
        """Call `progress`."""
        if self._progress is None:
            return
        self._told = time.monotonic()
        rate = (self._done - self._before) / max(self._told - self._start, 1e-9)
        left = (self._total - self._done) / rate if rate > 0 else float("inf")
        self._progress(
            Progress(
                self._done,
                self._total,
                rate,
                left,
                memory.look(),
                memory.bound or 0,
                self._tiles_done,
                self._tiles,
                self._executor.dashboard,
            )
        )


@dataclass(frozen=True)
class JobReport:
    """Result of a job; `print(report)` shows it.

    >>> import numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)
    >>> x, y = np.ones((3, 100, 150), np.float32), np.empty((8, 200, 300), np.float32)
    >>> report = tconv.scale.run(layer, x, y)
    >>> report.tiles, report.done_before, report.was_done
    (1, 0, False)
    """

    path: Path | None
    """output; None for an array in memory"""
    plan: JobPlan
    seconds: float
    elements: int
    """outputs of this session, of one channel"""
    done_now: int
    """tiles of this session"""
    done_before: int
    """tiles of earlier sessions"""
    done_twice: int
    """tiles whose work began again, because a session ended before they were noted"""
    sessions: int
    peak_memory: int
    """most resident bytes of this process while the job ran, or of a worker that said it"""
    was_done: bool = False
    """True if the output was there, and nothing was written"""
    dashboard: str | None = None
    """address of Dask's dashboard, or the reason why there was none; None without workers"""

    @property
    def tiles(self) -> int:
        """Number of tiles of the whole job."""
        return self.done_now + self.done_before

    @property
    def max_memory(self) -> int:
        """Bound of the resident bytes, given or chosen."""
        return self.plan.max_memory

    def __str__(self) -> str:
        name = self.path or self.plan.stages[-1].target
        if self.was_done:
            return f"{name} is already done: {self.tiles} tiles; nothing was written"
        rate = self.elements / max(self.seconds, 1e-9)
        before = f", {self.done_before} before" if self.done_before else ""
        again = f", {self.done_twice} of all twice" if self.done_twice else ""
        read = sum(stage.bytes_read for stage in self.plan.stages)
        written = sum(stage.bytes_written for stage in self.plan.stages)
        return (
            f"{name}: {si(self.elements, 'elements')} in {self.seconds:.3g} s ({si(rate, 'elements')} per second)\n"
            f"tiles     {self.done_now} now{before}{again}; work {self.plan.halo:.4g} times that of the whole\n"
            f"bytes     {si(read, 'B')} read, {si(written, 'B')} written, in the whole job\n"
            f"memory    {si(self.peak_memory, 'B')} at the peak, {si(self.plan.memory, 'B')} predicted; bound "
            f"{self.plan.bound_text}"
            + (f"\nran on    {self.plan.executor}; dashboard {self.dashboard}" if self.dashboard else "")
        )
