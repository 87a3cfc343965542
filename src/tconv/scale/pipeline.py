"""Executor in this process: one thread reads ahead, this one computes with the kernel's threads, another one writes.

The inputs and the outputs that are in memory at a time are counted (`Stage.windows`, `Stage.results`), so that a slow
disk makes the others wait instead of filling the memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tconv._arrays import Array
from tconv.kernels.num_threads import get_num_threads
from tconv.scale.tile_run import Stage, Tile, TileRecord, TileWindow, add_values, checksum, checksum_of


class _Piece(NamedTuple):
    """Inputs of a part of a tile, in the order of reading."""

    tile: Tile
    window: TileWindow
    is_first: bool
    checksum: int | None
    """of all inputs of the tile, with the last part"""


class _Result(NamedTuple):
    tile: Tile
    out: Array
    window: int


class _Stopped(Exception):  # noqa: N818
    """End of a thread whose work is no longer wanted."""


class LocalExecutor:
    """Executor of tiles in this process."""

    syncs = False
    windows = results = 2
    repeated = peak_memory = 0
    dashboard: str | None = None

    @property
    def description(self) -> str:
        """Threads of this process."""
        threads = get_num_threads()
        return f"this process, {threads} thread{'s' * (threads > 1)}"

    def run(self, stage: Stage, tiles: Iterator[Tile]) -> Iterator[TileRecord]:
        """Yield the record of each tile when it is written, in the order of the tiles.

        After an exception, one thrown into the iterator too, the records of tiles that are written are yielded before
        it is raised.
        """
        running = _Pipeline(stage, tiles)
        try:
            yield from running.records()
        except GeneratorExit:
            running.end()
            raise
        except BaseException:
            running.end()
            yield from running.written()
            raise
        finally:
            running.end()

    def close(self) -> None:
        """End nothing: no thread is left."""


class _Pipeline:
    """Three threads with queues between them, of one run: reading, computing and writing."""

    def __init__(self, stage: Stage, tiles: Iterator[Tile]) -> None:
        self._stage, self._tiles = stage, tiles
        self._change = threading.Condition()  # its lock may be taken again by the thread that has it
        self._free_windows, self._free_results = stage.windows, stage.results
        self._pieces: deque[_Piece | None] = deque()  # None at the end
        self._computed: deque[_Result | None] = deque()
        self._written: deque[TileRecord] = deque()
        self._error: BaseException | None = None
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for work, name in ((self._read, "tconv reader"), (self._write, "tconv writer"))
        ]

    def records(self) -> Iterator[TileRecord]:
        """Compute in this thread, and yield the records of written tiles."""
        for thread in self._threads:
            thread.start()
        out: Array | None = None
        while (piece := self._take(self._pieces)) is not None:
            if piece.is_first:
                self._claim_result()
                out = self._stage.empty(piece.tile.outputs)
            assert out is not None
            self._stage.compute_part(piece.tile, piece.window, out)
            result = None if piece.checksum is None else _Result(piece.tile, out, piece.checksum)
            del piece  # its memory is free before another window is read
            with self._change:
                self._free_windows += 1
                if result is not None:
                    self._computed.append(result)
                self._change.notify_all()
            if result is not None:
                del out, result
                out = None
            yield from self.written()
        self._put(self._computed, None)
        self._threads[1].join()
        self._raise_error()
        yield from self.written()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def written(self) -> Iterator[TileRecord]:
        """Yield the records of the tiles that were written meanwhile."""
        while self._written:
            yield self._written.popleft()

    def end(self) -> None:
        """End all threads, within the step that each is at; what is computed is written.

        An interrupt is raised when they have ended.
        """
        interrupt: BaseException | None = None
        with self._change:
            self._stopped = True
            self._change.notify_all()
        for thread in self._threads:
            while thread.ident is not None and thread.is_alive():
                try:
                    thread.join()
                except KeyboardInterrupt as error:
                    interrupt = error
        self._pieces.clear()
        self._computed.clear()
        if interrupt is not None:
            raise interrupt

    def _read(self) -> None:
        """Read the inputs of all tiles, each part of a tile by itself."""
        for tile in self._tiles_while_wanted():
            parts, digest = list(self._stage.parts(tile)), checksum()
            for number, outputs in enumerate(parts):
                self._claim_window()
                window = self._stage.read(tile.image, outputs)
                add_values(digest, window.x)
                is_last = number == len(parts) - 1
                self._put(self._pieces, _Piece(tile, window, number == 0, int(digest.intdigest()) if is_last else None))
                del window
        self._put(self._pieces, None)

    def _tiles_while_wanted(self) -> Iterator[Tile]:
        """Yield tiles; each is taken when there is room for its inputs."""
        while True:
            self._wait(lambda: self._free_windows > 0)
            tile = next(self._tiles, None)
            if tile is None:
                return
            yield tile

    def _write(self) -> None:
        """Write the outputs of all tiles; of those that are computed even when the others are no longer wanted."""
        while (result := self._take(self._computed, even_stopped=True)) is not None:
            record = TileRecord(result.tile, checksum_of(result.out), result.window)
            self._stage.write(result.tile, result.out)
            del result
            with self._change:
                self._free_results += 1
                self._written.append(record)
                self._change.notify_all()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run the work of a thread; its exception stops all."""
        try:
            work()
        except _Stopped:
            pass
        except BaseException as error:
            with self._change:
                self._error = self._error or error
                self._stopped = True
                self._change.notify_all()

    def _wait(self, condition: Callable[[], object]) -> None:
        """Wait for a condition. Raises the exception of another thread, or _Stopped."""
        with self._change:
            self._change.wait_for(lambda: self._stopped or condition())
            if self._stopped:
                raise self._error if self._error is not None and self._is_main() else _Stopped

    def _claim_window(self) -> None:
        with self._change:
            self._wait(lambda: self._free_windows > 0)
            self._free_windows -= 1

    def _claim_result(self) -> None:
        with self._change:
            self._wait(lambda: self._free_results > 0)
            self._free_results -= 1

    def _is_main(self) -> bool:
        return threading.current_thread() not in self._threads

    def _take(self, queue: deque[Any], even_stopped: bool = False) -> Any:
        with self._change:
            self._change.wait_for(lambda: self._stopped or queue)
            if not (queue and even_stopped):
                self._wait(lambda: queue)
            return queue.popleft()

    def _put(self, queue: deque[Any], item: Any) -> None:
        with self._change:
            queue.append(item)
            self._change.notify_all()
