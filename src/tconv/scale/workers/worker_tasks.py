"""Tasks of workers: one tile, read, computed, written and synced; and the comparison with the client's machine."""

from __future__ import annotations

import json
import math
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._memory import empty, pool_bounded
from tconv.scale.chunks.shared_object import Shared
from tconv.scale.chunks.thread_share import thread_team
from tconv.scale.memory_bound import peak_bytes
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.regions import Region, Sizes, region_sizes
from tconv.scale.tile_run import Stage, Tile, TileRecord, checksum_of, run_tile

_TRIAL = 16
"""Outputs along each axis that are computed to compare two machines."""


class Failure(NamedTuple):
    """Error of a task, as a result: its cause would be lost on the way."""

    error: BaseException
    cause: BaseException | None
    trace: str
    worker: str


class Done(NamedTuple):
    """Record of a tile, and the most resident bytes that its worker has had."""

    record: TileRecord
    peak: int


class Trial(NamedTuple):
    """Sum of a few outputs of an operator on this machine."""

    method: str
    checksum: int


class WorkerStage:
    """Stage that a worker opens once.

    However many threads the worker has, it holds as many tiles as the plan counts. One is computed at a time, with all
    threads, and one is written.
    """

    def __init__(self, stage: Stage, trial: Trial, identity: str) -> None:
        self.stage, self.trial, self.identity = stage, trial, identity
        self._opened: Stage | None = None
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._places = threading.BoundedSemaphore(tiles_at_once(stage))
        self._pool = ExitStack()

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkerStage, (self.stage, self.trial, self.identity)

    def opened(self) -> Stage:
        """Return the stage, after a check of this process. Raises MismatchError, FileError."""
        with self._lock:
            if self._opened is None:
                self._check()
                of = self.stage
                size = of.operator.channels[1] * of.operator.result.itemsize * math.prod(of.tile or (1,))
                self._pool.enter_context(pool_bounded(size))
                self._opened = replace(of, operator=_InTeam(of.operator))
        return self._opened

    def run(self, tile: Tile) -> TileRecord:
        """Read, compute, write and sync one tile, when there is room for it. Raises _Cancelled, and as `opened`."""
        stage = self.opened()
        with self._places:
            if not _is_wanted():
                raise _Cancelled
            return run_tile(replace(stage, target=_Wanted(stage.target, self._writing)), tile)

    def _check(self) -> None:
        found = trial_of(self.stage.operator, self.stage.sizes, self.stage.contexts.get(0))
        if found != self.trial:
            raise MismatchError(
                f"it sums by the method {found.method!r} with other bits than the client's {self.trial.method!r}"
            )
        identity = identity_text(self.stage.source)
        if identity != self.identity:
            raise MismatchError(
                f"it sees another input under {self.stage.source.name}: {identity}, the client {self.identity}"
            )


def tiles_at_once(stage: Stage) -> int:
    """Return the number of tiles that a process has at a time, as the memory was planned."""
    return min(stage.windows, stage.results)


class MismatchError(Exception):
    """Difference between a worker and the client that would change the output."""


class _InTeam:
    """Operator whose computations have all threads of a worker, one after the other.

    One thread starts them all: a network keeps rows for the next tile in the thread that computed the one above it, and
    each of the worker's threads would keep its own.
    """

    def __init__(self, operator: TileOperator) -> None:
        self._operator = operator
        self._thread = ThreadPoolExecutor(1, "tconv")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._operator, name)

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out, when no other computation runs."""
        with thread_team():
            self._thread.submit(self._operator.compute, x, window, sizes, outputs, out, context).result()


def trial_of(operator: TileOperator, sizes: Sizes, context: Any) -> Trial:
    """Return the checksum of the first outputs for inputs that are the same on every machine."""
    outputs = tuple(slice(0, min(_TRIAL, size)) for size in operator.output_sizes(sizes))
    window = operator.window(outputs, sizes)
    shape = operator.channels[0], *region_sizes(window)
    numbers = np.arange(int(np.prod(shape)), dtype=np.uint64) * np.uint64(2654435761) % np.uint64(241)
    x = numbers.reshape(shape).astype(np.float64)
    x = x.astype(operator.dtype) if operator.dtype.kind in "iu" else (x / 241).astype(operator.dtype)
    out = empty((operator.channels[1], *region_sizes(outputs)), operator.result)
    operator.compute(x, window, sizes, outputs, out, context)
    return Trial(operator.method, checksum_of(out))


def identity_text(source: Any) -> str:
    """Return a source's identity as text that two processes can compare."""
    return json.dumps(source.identity(), sort_keys=True, default=str)


# -- what workers call -------------------------------------------------------------------------------------------


def check_worker(shared: Shared) -> Failure | None:
    """Open the stage on this worker, and compare it with the client."""
    try:
        shared.value.opened()
    except BaseException as error:
        return _failure(error)
    return None


def run_on_worker(shared: Shared, tile: Tile) -> Done | Failure:
    """Read, compute, write and sync one tile."""
    try:
        return Done(shared.value.run(tile), peak_bytes())
    except BaseException as error:
        return _failure(error)


class _Cancelled(Exception):  # noqa: N818
    """End of a task whose result nobody wants any more."""


class _Wanted:
    """Target that is written only while its task is wanted: a late one must not write over a new job."""

    def __init__(self, target: Any, lock: threading.Lock) -> None:
        self._target, self._lock = target, lock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def write(self, image: int, region: Region, values: Array) -> None:
        """Write values, if the task was not cancelled."""
        with self._lock:
            if not _is_wanted():
                raise _Cancelled
            self._target.write(image, region, values)


def _is_wanted() -> bool:
    """Return False if this task was cancelled while it ran."""
    try:
        from distributed.worker import get_worker, thread_state

        task = get_worker().state.tasks.get(thread_state.key)
        return task is not None and task.state in ("executing", "long-running")
    except (ImportError, ValueError, AttributeError):
        return True


def _failure(error: BaseException) -> Failure:
    from distributed import get_worker

    try:
        worker = get_worker().address
    except ValueError:
        worker = "a worker"
    trace = "".join(traceback.format_exception(error))
    return Failure(_portable(error), _portable(error.__cause__), trace, worker)


def _portable(error: Any) -> Any:
    """Return an error without its frames; as a RuntimeError of its text if it cannot travel."""
    if error is None:
        return None
    bare = error.with_traceback(None)
    try:
        pickle.loads(pickle.dumps(bare))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return bare
