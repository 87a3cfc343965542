"""Thread that makes written tiles last: it waits until a group of them is on the disk, then notes them in the journal.

A sync for each tile would make the disk wait for the computation, and the other way round. A group is what was written
within a second.
"""

from __future__ import annotations

import threading
import time

from tconv.scale.journal import Done, Journal
from tconv.scale.tile_check import refuse_changed_input
from tconv.scale.tile_run import Stage, TileRecord

_SECONDS = 1.0
_TILES = 1000


class GroupCommit:
    """Commits of the tiles of one stage. `count` are the tiles that are noted.

    `synced` says that tiles are on the disk when they are put in.
    """

    def __init__(self, journal: Journal, number: int, stage: Stage, synced: bool) -> None:
        self._journal, self._number, self._stage, self._synced = journal, number, stage, synced
        self._next_look = 0.0
        self.count = 0
        self._waiting: list[TileRecord] = []
        self._change = threading.Condition()
        self._ending = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="tconv journal", daemon=True)
        self._thread.start()

    def put(self, record: TileRecord) -> None:
        """Add a tile that is written; wait while a whole group of others does.

        Raises the error of an earlier commit, FileError for a full disk.
        """
        with self._change:
            self._change.wait_for(lambda: self._error is not None or len(self._waiting) < _TILES)
            if self._error is not None:
                raise self._error
            self._waiting.append(record)
            if len(self._waiting) >= _TILES:
                self._change.notify_all()

    def close(self) -> None:
        """Commit what was put in, and end the thread. Raises the error of any commit that was not raised before."""
        with self._change:
            self._ending = True
            self._change.notify_all()
        interrupt: BaseException | None = None
        while self._thread.is_alive():
            try:
                self._thread.join()
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            ending = False
            while not ending:
                due = time.monotonic() + _SECONDS
                with self._change:
                    self._change.wait_for(lambda: self._ending or len(self._waiting) >= _TILES, due - time.monotonic())
                    ending, group, self._waiting = self._ending, self._waiting, []
                    self._change.notify_all()
                self._commit(group)
        except BaseException as error:
            with self._change:
                self._error = error
                self._change.notify_all()

    def _commit(self, group: list[TileRecord]) -> None:
        if not group:
            return
        if not self._synced:
            regions = [(record.tile.image, record.tile.outputs) for record in group]
            sync_many = getattr(self._stage.target, "sync_many", None)  # of stores that sync many files at once
            if sync_many is not None:
                sync_many(regions)
            else:
                for region in regions:
                    self._stage.target.sync(*region)
        seen = self._look_at_input()
        done = [Done(self._stage.number(each.tile), each.values, each.window) for each in group]
        self._journal.done(self._number, done, seen)
        self.count += len(group)

    def _look_at_input(self) -> bool:
        """Return True if the input was looked at, and is unchanged: that may cost a thirtieth of the time.

        Raises FileError if it was changed.
        """
        start = time.monotonic()
        if start < self._next_look:
            return False
        refuse_changed_input(self._journal, self._number, self._stage)
        end = time.monotonic()
        self._next_look = end + 30 * (end - start)
        return True
