"""Interface of what runs the tiles of a job: this process, or workers of Dask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from tconv.scale.tile_run import Stage, Tile, TileRecord


class Executor(Protocol):
    """Runner of tiles. `pipeline.LocalExecutor` is one; `distributed_run` has the other."""

    syncs: bool
    """True if a tile is on the disk before its record is yielded; else the job waits for that."""
    windows: int
    """Most inputs that a process has at once: of the tile that it computes and of those that it reads before."""
    results: int
    """Most outputs that a process has at once: of the tile that it computes and of those that it writes."""

    repeated: int
    """Tiles that a worker made in place of another one that was lost."""
    peak_memory: int
    """Most resident bytes of a worker; 0 without workers."""
    dashboard: str | None
    """Address of the dashboard of Dask, or the reason why there is none; None before workers have started."""

    @property
    def description(self) -> str:
        """Words for reports: "this process, 2 threads"."""
        ...

    def run(self, stage: Stage, tiles: Iterator[Tile]) -> Iterator[TileRecord]:
        """Yield the record of each tile, in any order, when it is written.

        A tile is taken from the iterator when its work begins, for the job notes it then; threads may take one. The
        target is open in this process. An exception of any part ends all others and is raised; closing the iterator
        (an interrupt) ends them, too, within the step that runs. No thread and no task is left.
        """
        ...

    def close(self) -> None:
        """End worker processes, after the last stage."""
        ...
