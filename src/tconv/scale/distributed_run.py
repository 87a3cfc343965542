"""Executor of jobs on workers of `dask.distributed`: local processes, or those of a scheduler anywhere.

A worker reads, computes, writes and syncs whole tiles; the client gets their checksums, and alone writes the journal.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import numpy as np

from tconv._arguments import int_of
from tconv.errors import ArgumentError, ClusterError, GeometryError
from tconv.scale.chunks.shared_object import Shared
from tconv.scale.tile_run import Stage, Tile, TileRecord
from tconv.scale.workers.cluster import PATIENCE, Cluster, quiet_logs, require_distributed, threads_of_each
from tconv.scale.workers.worker_checks import check_versions, check_workers, failed
from tconv.scale.workers.worker_tasks import (
    Done,
    Failure,
    WorkerStage,
    identity_text,
    run_on_worker,
    tiles_at_once,
    trial_of,
)

_LOOK = 0.25
_MOST_SENT = 1 << 26
"""Bytes of an input in memory that is sent to workers."""
_MOST_TRIES = 4


class DaskExecutor:
    """Executor of tiles on workers: `workers` processes of this machine, or those of the scheduler at an address.

    The bound of memory is that of each process. Use it as a context, or call `close`: local workers live until then.
    """

    syncs = True

    def __init__(self, *, workers: int | None = None, scheduler: str | None = None) -> None:
        require_distributed()
        if scheduler is not None and workers is not None:
            raise ArgumentError(
                f"workers={workers!r} was given together with scheduler={scheduler!r}, which has its own workers. "
                "Write one of both"
            )
        if scheduler is None:
            try:
                workers = int_of(1 if workers is None else workers, "workers", least=1)
            except GeometryError as error:
                raise ArgumentError(str(error)) from None
        elif not isinstance(scheduler, str) or "://" not in scheduler:
            raise ArgumentError(
                f"scheduler is {scheduler!r}; the address of a scheduler of Dask is needed. Write "
                'scheduler="tcp://10.0.0.1:8786"'
            )
        self._workers, self._scheduler = workers, scheduler
        # a worker with several threads reads and writes beside its computation
        self.windows = self.results = 1 if workers is not None and threads_of_each(workers) == 1 else 2
        self._cluster: Cluster | None = None
        self.repeated = 0
        """Tiles that another worker got because theirs was lost."""
        self.peak_memory = 0
        """Most resident bytes that a worker has had, as far as it has told."""
        self.dashboard: str | None = None
        """Address of the dashboard, or the reason why there is none; None before the workers have started."""

    @property
    def description(self) -> str:
        """Workers, for reports."""
        if self._scheduler is not None:
            return f"workers of {self._scheduler}"
        return f"{self._workers} worker process{'es' * (self._workers != 1)}"

    def __enter__(self) -> DaskExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close(abort=error[0] is not None)

    def start(self) -> None:
        """Start or find the workers, and compare their version of tconv with this one. Raises ClusterError."""
        if self._cluster is None:
            with quiet_logs():
                cluster = Cluster(self._workers, self._scheduler)
                cluster.start()
                self._cluster, self.dashboard = cluster, cluster.dashboard
                check_versions(cluster)

    def close(self, *, abort: bool = False) -> None:
        """End local workers, or leave the scheduler."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            with quiet_logs():
                cluster.close(abort=abort)

    def run(self, stage: Stage, tiles: Iterator[Tile]) -> Iterator[TileRecord]:
        """Yield the record of each tile when it is on the disk, in any order.

        After an exception, one thrown into the iterator too, the records of tiles that are written are yielded before
        it is raised; then local workers are ended. Raises ClusterError if the scheduler or all workers are lost.
        """
        refuse_memory(stage)
        try:
            self.start()
            assert self._cluster is not None
            with quiet_logs():
                run = _Run(self._cluster, stage, tiles)
                try:
                    yield from run.records()
                except GeneratorExit:
                    raise
                except BaseException:
                    yield from run.finished()
                    raise
                finally:
                    self.repeated += run.repeats()
                    self.peak_memory = max(self.peak_memory, run.peak)
                    run.cancel()
        except BaseException:
            self.close(abort=True)
            raise


def _outcome(future: Any) -> tuple[Any, BaseException | None]:
    """Return the result of a task that has ended, or its exception; None and None if it was lost."""
    with suppress(OSError, TimeoutError, CancelledError):  # the scheduler or the worker ends just now
        try:
            if future.status == "finished":
                return future.result(timeout=PATIENCE), None
            if future.status == "error":
                return None, future.exception(timeout=PATIENCE)
        finally:
            future.release()
    return None, None


def refuse_memory(stage: Stage) -> None:
    """Raise ArgumentError for arrays in this process's memory: workers do not see what it has, nor it what they write.

    Small inputs travel to the workers.
    """
    source: Any = stage.source
    array, target = getattr(source, "array", None), stage.target
    if target.in_memory or (isinstance(array, np.ndarray) and array.nbytes > _MOST_SENT):
        store, other = (target, "output") if target.in_memory else (source, "source")
        raise ArgumentError(
            f"{store.name} is an array in the memory of this process, which workers do not see. Write a path as "
            f"{other}, or leave out workers= and scheduler="
        )


class _Run:
    """Tiles of one stage on their way: a few per worker, so that a scheduler holds few of a million."""

    def __init__(self, cluster: Cluster, stage: Stage, tiles: Iterator[Tile]) -> None:
        self._cluster, self._tiles, self._at_once = cluster, tiles, tiles_at_once(stage)
        self.peak = 0
        """most resident bytes of a worker"""
        self._again = 0
        """tiles that this client gave to workers again, beside those that the scheduler did"""
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._on_way: dict[Any, tuple[Any, Tile, int]] = {}
        """future, tile and number of tries by key"""
        self._token = uuid.uuid4().hex[:12]
        self._number = 0
        trial = trial_of(stage.operator, stage.sizes, stage.contexts.get(0))
        content = WorkerStage(stage, trial, identity_text(stage.source))
        self._wait_for_workers()
        client = cluster.client
        from tconv.scale.workers.repeat_counter import RepeatCounter

        # a task, not scattered data: it is made again if the workers that have it are lost
        counter = RepeatCounter(f"tconv-tile-{self._token}")
        self._counter = counter.name
        client.register_plugin(counter)
        self._stage = client.submit(
            _same, Shared(self._token, content, outlives_tasks=False), key=f"tconv-stage-{self._token}"
        )
        check_workers(cluster, self._stage)
        self._most = 0
        self._lost_since: float | None = None
        self._look()

    def records(self) -> Iterator[TileRecord]:
        """Keep a few tiles on their way, and yield their records."""
        while True:
            while len(self._on_way) < self._most and (tile := next(self._tiles, None)) is not None:
                self._submit(tile, 1)
            if not self._on_way:
                return
            record = self._record(self._next())
            if record is not None:
                yield record

    def finished(self) -> Iterator[TileRecord]:
        """Yield the records that have come meanwhile."""
        while True:
            try:
                key = self._done.get_nowait()
            except queue.Empty:
                return
            with suppress(Exception):
                record = self._record(key)
                if record is not None:
                    yield record

    def repeats(self) -> int:
        """Return the number of tiles that were given to another worker."""
        from tconv.scale.workers.repeat_counter import repeats

        with suppress(Exception):
            if self._cluster.is_connected:
                return self._again + int(self._cluster.client.run_on_scheduler(repeats, self._counter))
        return self._again

    def cancel(self) -> None:
        """Take back all tiles that are on their way."""
        futures = [future for future, _, _ in self._on_way.values()]
        self._on_way.clear()
        with suppress(Exception):
            if futures and self._cluster.is_connected:
                self._cluster.client.cancel(futures, force=True)
        with suppress(Exception):
            if self._cluster.is_connected:
                self._cluster.client.unregister_scheduler_plugin(self._counter)
        self._stage = None

    def _submit(self, tile: Tile, tries: int) -> None:
        key = f"tconv-tile-{self._token}", self._number
        self._number += 1
        try:
            future = self._cluster.client.submit(run_on_worker, self._stage, tile, key=key, pure=False)
        except (OSError, RuntimeError) as error:  # the client has noticed that the scheduler is gone
            raise self._lost() from error
        self._on_way[key] = future, tile, tries
        future.add_done_callback(lambda _: self._done.put(key))

    def _record(self, key: Any) -> TileRecord | None:
        """Return the record of a task that has ended; None if it was lost, and is on its way again."""
        future, tile, tries = self._on_way.pop(key, (None, None, 0))
        if future is None or tile is None:
            return None
        result, error = _outcome(future)
        if isinstance(result, Failure):
            raise failed(result)
        if isinstance(result, Done):
            self.peak = max(self.peak, result.peak)
            return result.record
        if error is not None and type(error).__name__ != "KilledWorker":
            raise error
        if tries >= _MOST_TRIES or error is not None:
            raise ClusterError(
                f"the workers of image {tile.image}, outputs {tile.outputs}, were lost {tries if error is None else 4} "
                "times. Give them more memory, or write a smaller max_memory="
            )
        time.sleep(_LOOK)  # the end of a scheduler looks like that of all its workers, at first
        if not self._cluster.is_connected:
            raise self._lost()
        self._again += 1
        self._submit(tile, tries + 1)
        return None

    def _next(self) -> Any:
        """Return the key of the next task that ends. Raises ClusterError if none can."""
        while True:
            try:
                return self._done.get(timeout=_LOOK)
            except queue.Empty:
                self._look()

    def _look(self) -> None:
        """Count the workers, and start local ones again that were lost."""
        cluster, now = self._cluster, time.monotonic()
        cluster.revive()
        workers = {}
        with suppress(Exception):
            workers = cluster.workers() if cluster.is_connected else {}
        if workers:
            self._lost_since = None
            self._most = sum(min(threads, self._at_once) + 1 for threads in workers.values())
            return
        self._lost_since = self._lost_since or now
        if now - self._lost_since > cluster.patience:
            raise self._lost()

    def _lost(self) -> ClusterError:
        connected = self._cluster.is_connected
        what = "all workers of" if connected else "the scheduler at"
        where = self._cluster.address or "this machine"
        return ClusterError(
            f"{what} {where} {'were' if connected else 'was'} lost. Start them again, and make the "
            "same call: it goes on with the tiles that are not done"
        )

    def _wait_for_workers(self) -> None:
        """Wait a little for the first worker. Raises ClusterError if there is none."""
        end = time.monotonic() + PATIENCE
        while not self._cluster.workers():
            if time.monotonic() > end:
                raise ClusterError(
                    f"the scheduler at {self._cluster.scheduler} has no workers. Start some with `dask worker "
                    f"{self._cluster.scheduler}`"
                )
            time.sleep(_LOOK)


def _same(stage: Shared) -> Shared:
    """Return the stage: each worker that runs a tile of it gets a copy, once."""
    return stage
